"""A standard form as functions of one variable each that its Lagrangian falls apart into."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from climbopt.certification.proof.separable import NoBoundError, Separable
from climbopt.model.convexity import JointProofs, Proofs
from climbopt.model.outer import PowerMean
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval
from climbopt.numerics.polytope import Polytope
from climbopt.problem.table import Placed
from climbopt.program import MixtureFunctions, StandardForm

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Decomposition:
    """A standard form as blocks.

    Block j < n holds what depends on variable j alone: its own terms, what it gives through the sums of all targets,
    and the targets whose own source it is. Later blocks hold a target without own source each.

    Parameters
    ----------
    form : StandardForm
    functions : MixtureFunctions
    lower, upper : ndarray, (n,)
        Bounds of x where it holds.
    """

    form: StandardForm
    functions: MixtureFunctions
    lower: Array
    upper: Array

    @classmethod
    def of(cls, form: StandardForm) -> Decomposition:
        """Return the decomposition of a form; raises NoBoundError where its objective has none."""
        functions = form.functions
        if not isinstance(functions, MixtureFunctions):
            raise NoBoundError("only functions made of ratios, z and losses are bounded; use backend scip")
        if 0 in functions.table.curved and not isinstance(functions.table.curved[0].outer, PowerMean):
            raise NoBoundError(
                "the objective has an expression that is not affine in ratios, z and losses, and is no power mean of "
                "losses; use backend scip"
            )
        return cls(form, functions, form.polytope.bounds.lower, form.polytope.bounds.upper)

    def on(self, lower: Array, upper: Array) -> Decomposition:
        """Return the decomposition where x is in a box, which is the nearer for forms that are enclosed there."""
        return replace(self, lower=lower, upper=upper) if self.separable.inseparable else self

    @cached_property
    def separable(self) -> Separable:
        """The functions of one number that z and losses are made of."""
        sources = np.arange(self.n_sources)
        ratios = self.cumulative(Interval(self.lower[sources], self.upper[sources]), sources)
        return Separable.of(self.functions.responses.parts, ratios)

    @property
    def polytope(self) -> Polytope:
        """The bounds and linear rows."""
        return self.form.polytope

    @cached_property
    def proofs(self) -> Proofs | JointProofs:
        """What is proved of the laws."""
        return self.functions.proofs(self.polytope)

    @cached_property
    def n_sources(self) -> int:
        """Number of ratios, excesses among them; S."""
        return int(self.functions.offset.size)

    @property
    def mean(self) -> tuple[PowerMean, Placed] | None:
        """The power mean that the objective is, and where its losses stand; None for an affine objective."""
        placed = self.functions.table.curved.get(0)
        return None if placed is None or not isinstance(placed.outer, PowerMean) else (placed.outer, placed)

    @cached_property
    def home(self) -> Indices:
        """The block of each target, (T,)."""
        own = np.concatenate([part.model.own_source for part in self.functions.responses.parts])
        return np.where(own >= 0, own, self.form.n + np.cumsum(own < 0) - 1).astype(np.intp)

    @cached_property
    def n_blocks(self) -> int:
        """Number of variables and of targets without own source."""
        return int(self.form.n + (self.home >= self.form.n).sum())

    @cached_property
    def others(self) -> Array:
        """1 for pairs of a target with another source, 0 for own ones; (T, S)."""
        return np.where(self.home[:, None] == np.arange(self.n_sources), 0.0, 1.0)

    @cached_property
    def pairs(self) -> tuple[Indices, Indices]:
        """Index of every pair, (T, 1) and (1, S)."""
        return np.arange(len(self.home))[:, None], np.arange(self.n_sources)[None, :]

    @cached_property
    def total(self) -> tuple[Array, float]:
        """Variables whose sum a row fixes, as 0 and 1, (n_blocks,), and the sum; zeros where no row does."""
        row = np.where(np.arange(self.n_blocks) < self.form.n_ratios, 1.0, 0.0)
        fixed = (self.polytope.dense == row[: self.form.n]).all(axis=1) & self.polytope.equation
        return (row, float(self.polytope.rows.lower[fixed][0])) if fixed.any() else (0 * row, 0.0)

    @cached_property
    def summed(self) -> Array:
        """1 for pairs of a target with another source in the row of the total, (T, S)."""
        return self.others * self.total[0][: self.n_sources]

    def cumulative(self, x: Interval, block: Indices) -> Interval:
        """Return enclosures of offset + scale x for blocks on intervals of x; 0 for what is no ratio."""
        is_ratio = block < self.n_sources
        offset = np.where(is_ratio, self.functions.offset[np.minimum(block, self.n_sources - 1)], 0.0)
        scale = np.where(is_ratio, self.functions.scale, 0.0)
        value: Interval = Interval.enclosing(offset) + Interval.enclosing(scale) * x
        return Interval(np.where(value.upper >= 0, np.maximum(value.lower, 0.0), value.lower), value.upper)

    @cached_property
    def lines(self) -> list[tuple[Interval, Interval] | None]:
        """The values at x = 0 and slopes, (T, S), of each part that is linear in x, 0 for own sources; else None."""
        mask, zero = Interval.enclosing(self.others), Interval.enclosing(np.zeros(self.others.shape))
        offset, scale = Interval.enclosing(self.functions.offset), Interval.enclosing(self.functions.scale)
        lines: list[tuple[Interval, Interval] | None] = []
        for part in self.separable.parts:
            if part.linear:
                slope, at_zero = (f(zero, self.pairs) * mask for f in (part.enclose_slopes, part.enclose))
                lines.append((at_zero + slope * offset, slope * scale))
            else:
                lines.append(None)
        return lines
