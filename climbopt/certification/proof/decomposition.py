"""A standard form as functions of one variable each that its Lagrangian falls apart into."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from climbopt.certification.proof.separable import NoBoundError, Separable
from climbopt.model.outer import PowerMean
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval
from climbopt.numerics.polytope import Polytope
from climbopt.problem.table import Placed
from climbopt.program import MixtureFunctions, StandardForm

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Box:
    """Bounds of x, (n,)."""

    lower: Array
    upper: Array

    @property
    def width(self) -> Array:
        """Upper less lower bounds, (n,)."""
        return self.upper - self.lower

    def halves(self, j: int, at: float) -> tuple[Box, Box]:
        """Return the box up to and from a value of variable j."""
        upper, lower = self.upper.copy(), self.lower.copy()
        upper[j] = lower[j] = at
        return Box(self.lower, upper), Box(lower, self.upper)


@dataclass(frozen=True, eq=False)
class Decomposition:
    """A standard form as blocks.

    Block j < n holds what depends on variable j alone: its own terms, what it gives through the sums of all targets,
    and the targets whose own source it is. Later blocks hold a target without own source each.

    Parameters
    ----------
    form : StandardForm
    functions : MixtureFunctions
    box : Box
        Where it holds.
    """

    form: StandardForm
    functions: MixtureFunctions
    box: Box

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
        return cls(form, functions, Box(form.polytope.bounds.lower, form.polytope.bounds.upper))

    def on(self, box: Box) -> Decomposition:
        """Return the decomposition where x is in a box, which is the nearer for forms that are enclosed there."""
        return replace(self, box=box) if self.separable.inseparable else self

    @cached_property
    def separable(self) -> Separable:
        """The functions of one number that z and losses are made of."""
        sources = np.arange(self.n_sources)
        ratios = self.cumulative(Interval(self.box.lower[sources], self.box.upper[sources]), sources)
        return Separable.of(self.functions.responses.parts, ratios)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the standard form: templates, parameters, bounds, rows and objective."""
        form, functions, table = self.form, self.functions, self.functions.table
        texts: list[object] = [*form.variables, functions.scale]
        arrays: list[object] = [form.polytope.dense, table.dense, table.constant, functions.offset]
        arrays += [
            end
            for rows in (form.polytope.bounds, form.polytope.rows, form.nonlinear)
            for end in (rows.lower, rows.upper)
        ]
        if self.mean is not None:
            mean, placed = self.mean
            arrays += [mean.weights, mean.references, [mean.power], placed.by_y(table.dense.shape[1])]
        for response in functions.responses.parts:
            model = response.model
            texts += [model.sources, model.targets, response.D, response.N]
            texts += [model.law.expression, model.use.expression, model.interaction.own, model.interaction.pair]
            arrays += [model.parameters[p.name] for p in model.templates.parameters] + [model.own_source]
        sha = hashlib.sha256(repr([str(text) for text in texts]).encode())
        for numbers in (np.asarray(array, dtype=float) for array in arrays):
            sha.update(repr(numbers.shape).encode() + numbers.tobytes())
        return sha.hexdigest()

    @property
    def polytope(self) -> Polytope:
        """The bounds and linear rows."""
        return self.form.polytope

    @cached_property
    def loss_convex(self) -> bool:
        """Whether every law is proved convex in z where it is defined."""
        return all(proofs.loss_convex for proofs in self.functions.proofs(self.polytope))

    @cached_property
    def end_of_domain(self) -> Array:
        """The least z at which the law of each target is defined, (T,)."""
        return np.concatenate([proofs.end_of_domain for proofs in self.functions.proofs(self.polytope)])

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

    def by_block(self, x: Array) -> Array:
        """Return the variables, (n,), by block, (n_blocks,); 0 for blocks that have none."""
        return np.append(x, np.zeros(self.n_blocks - x.size))

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

    def priced(self, prices: Array) -> tuple[Interval, Interval]:
        """Return the sum over targets of prices, (K, T), times linear parts: its values at x = 0 and slopes, (S,)."""
        value = slope = zero = Interval.enclosing(np.zeros(self.others.shape))
        for price, part in zip(prices, self.separable.parts, strict=True):
            if part.linear:
                weight = Interval.enclosing(price[:, None] * self.others)
                value = value + weight * part.enclose(zero, self.pairs)
                slope = slope + weight * part.enclose(zero, self.pairs, 1)
        offset, scale = Interval.enclosing(self.functions.offset), Interval.enclosing(self.functions.scale)
        return value.sum(0) + slope.sum(0) * offset, slope.sum(0) * scale
