"""What is left of a box of a problem below a target, by one evaluation of a bound at given multipliers.

This is all that a proof repeats: `examined` is told the multipliers, and nothing about where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from climbopt.certification.global_bound.dual import (
    EPS,
    Box,
    Dual,
    Prices,
    Problem,
    evaluate,
    middle,
)
from climbopt.certification.global_bound.separable import NoBoundError, Separable
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval
from climbopt.numerics.polytope import Polytope
from climbopt.program import MixtureFunctions, StandardForm

TIGHTENINGS = 3
"""Times that rows tighten a box."""
NARROW = 1e-9
"""A width that is not cut."""


@dataclass(frozen=True, eq=False)
class Step:
    """What is left of a box, and by which multipliers.

    Parameters
    ----------
    multipliers : Prices
    lower : float
        The objective is nowhere below it on the box that was examined; inf where nothing is left.
    box : Box
        Outside of it no point of that box is below the target.
    cut : bool
        Whether the target was used.
    split : tuple of int and float, or None
        A variable, and where to cut it; None where the box is too small.
    """

    multipliers: Prices
    lower: float
    box: Box
    cut: bool
    split: tuple[int, float] | None


@dataclass(frozen=True, eq=False)
class BoundedProblem(Problem):
    """A problem with the boxes that its rows allow."""

    def root(self, upper: float) -> Box:
        """Return a box of all points that are feasible and have an objective of at most `upper`."""
        bounds, n = self.polytope.bounds, self.form.n_ratios
        low, high = bounds.lower.copy(), bounds.upper.copy()
        high[:n] = np.where(self.total[0][:n] > 0, np.minimum(high[:n], self.total[1]), high[:n])
        box = self.tightened(Box(low, high), upper)
        if box is None:
            return Box(low, low)
        free = np.flatnonzero(~np.isfinite(box.width))
        if free.size:
            name = self.form.variables[int(free[0])]
            raise NoBoundError(f"nothing bounds the auxiliary '{name}': no mixture is known that meets the constraints")
        return box

    def inside(self, box: Box) -> Polytope:
        """Return the polytope with the bounds of a box."""
        return Polytope(self.polytope.bounds.within(box.lower, box.upper), self.polytope.A, self.polytope.rows)

    @cached_property
    def rows(self) -> tuple[Array, Array]:
        """Linear rows as a x <= b: a and b, each finite side one."""
        rows, dense = self.polytope.rows, self.polytope.dense
        up, low = np.isfinite(rows.upper), np.isfinite(rows.lower)
        return np.vstack([dense[up], -dense[low]]), np.append(rows.upper[up], -rows.lower[low])

    def tightened(self, box: Box, upper: float) -> Box | None:
        """Return a box cut by the rows and, where it has auxiliaries, by nonlinear rows; None where nothing is left."""
        a, b = self.rows
        more, limit = self._of_auxiliaries(box, upper)
        a, b = np.vstack([a, more]), np.append(b, limit)
        low, high = box.lower.copy(), box.upper.copy()
        for _ in range(TIGHTENINGS):
            for row, at_most in zip(a, b.tolist(), strict=True):
                on = np.flatnonzero(row)
                least = row[on] * np.where(row[on] > 0, low[on], high[on])
                loose = np.isinf(least)
                known = np.where(loose, 0.0, least)
                slack = (on.size + 4) * 2 * EPS * (abs(at_most) + np.abs(known).sum())
                room = at_most - (known.sum() - known) + slack
                with np.errstate(over="ignore"):
                    end = np.where(loose.sum() > loose, np.inf * np.sign(row[on]), room / row[on])
                end = end + np.sign(row[on]) * 4 * EPS * np.abs(np.where(np.isfinite(end), end, 0.0))
                high[on] = np.where(row[on] > 0, np.minimum(high[on], end), high[on])
                low[on] = np.where(row[on] < 0, np.maximum(low[on], end), low[on])
        return Box(low, high) if (low <= high).all() else None

    def _of_auxiliaries(self, box: Box, upper: float) -> tuple[Array, Array]:
        """Return rows a x <= b that nonlinear rows and the objective imply for auxiliaries, z and losses enclosed."""
        table, n = self.functions.table, self.form.n
        reads = np.flatnonzero((table.parts.x[:, self.n_sources :] != 0).any(axis=1))
        reads = reads[[k not in table.curved for k in reads.tolist()]]
        if not reads.size:
            return np.zeros((0, n)), np.zeros(0)
        z = self.enclosed(box)
        limits = self.form.nonlinear
        lower, high = np.append(-np.inf, limits.lower)[reads], np.append(upper, limits.upper)[reads]
        on_x, on_z, on_loss = (Interval.enclosing(part[reads]) for part in table.parts)
        rest = (on_z * z).sum(1) + Interval.enclosing(table.constant[reads])
        if table.reads_losses:
            losses = self.losses(z)
            rest = rest + _where(table.parts.loss[reads] != 0, on_loss * losses).sum(1)
        a = np.vstack([on_x.lower, -on_x.lower])
        b = np.append(high - rest.lower, rest.upper - lower)
        b = b + 4 * EPS * np.abs(np.where(np.isfinite(b), b, 0.0))
        kept = np.isfinite(b)
        return a[kept], b[kept]

    def enclosed(self, box: Box) -> Interval:
        """Return enclosures of z on a box, (T,)."""
        nodes, home, t = self.nodes(box), self.home, np.arange(len(self.home))
        strangers = np.zeros(self.n_blocks - self.form.n)
        low, high = np.append(box.lower, strangers), np.append(box.upper, strangers)
        on = self.cumulative_on(low[home], high[home], home)
        z = self.separable.own.enclose(on, t)
        for k, gate in enumerate(self.separable.gates):
            reach = nodes.reach[k]
            z = z + gate.enclose(on, t) * (nodes.center[k] + Interval(-reach, reach))
        return Interval(np.maximum(z.lower, self.proofs.end_of_domain), z.upper)

    def values(self, box: Box) -> Interval:
        """Return enclosures of the objective and the nonlinear rows on a box, (1 + k,)."""
        table, z = self.functions.table, self.enclosed(box)
        on_x, on_z, on_loss = (Interval.enclosing(part) for part in table.parts)
        found = (on_x * Interval(box.lower, box.upper)).sum(1) + (on_z * z).sum(1) + Interval.enclosing(table.constant)
        if table.reads_losses:
            found = found + _where(table.parts.loss != 0, on_loss * self.losses(z)).sum(1)
        curved = np.isin(np.arange(len(table)), list(table.curved))
        return Interval(np.where(curved, -np.inf, found.lower), np.where(curved, np.inf, found.upper))

    def has_no_point(self, box: Box) -> bool:
        """Return whether the nonlinear rows alone show that no point of a box is feasible."""
        rows, limits = self.values(box)[1:], self.form.nonlinear
        return bool((rows.lower > limits.upper).any() or (rows.upper < limits.lower).any())

    def losses(self, z: Interval) -> Interval:
        """Return enclosures of the losses at z, (T,)."""
        t, law, proofs = np.arange(len(self.home)), self.separable.law, self.proofs
        ends = [law.enclose(Interval.enclosing(end), t) for end in (z.lower, z.upper)]
        if proofs.loss_decreasing:
            return Interval(ends[1].lower, ends[0].upper)
        return Interval(ends[0].lower, ends[1].upper) if proofs.loss_increasing else law.enclose(z, t)

    def prices(self, x: Array, nonlinear: Array) -> Array:
        """Return the slopes of the Lagrangian by the sums at x, (K, T)."""
        table, at = self.functions.table, self.functions.at(x)
        _, on_z, on_loss = table.split(np.append(1.0, nonlinear) @ table.dense)
        u = on_z + np.where(on_loss != 0, on_loss * at.slopes if table.reads_losses else 0.0, 0.0)
        extended = np.append(x, np.zeros(self.n_blocks - self.form.n))
        cum, t = middle(self.cumulative(extended[self.home], self.home)), np.arange(len(self.home))
        gates = [u * gate.values(cum, t) for gate in self.separable.gates]
        found = np.array(gates).reshape(len(gates), t.size)
        return np.where(np.isfinite(found), found, 0.0)


def _where(mask: NDArray[np.bool_], values: Interval) -> Interval:
    """Return some intervals, and 0 for the others."""
    return Interval(np.where(mask, values.lower, 0.0), np.where(mask, values.upper, 0.0))


def bounded(form: StandardForm) -> BoundedProblem:
    """Return a standard form as a problem that bounds are computed for."""
    functions = form.functions
    if not isinstance(functions, MixtureFunctions):
        raise NoBoundError("only functions made of ratios, z and losses are bounded; use backend scip")
    if 0 in functions.table.curved:
        raise NoBoundError(
            "an expression that is not affine in ratios, z and losses stands in the objective; use backend scip"
        )
    return BoundedProblem(form, functions, Separable.of(functions.responses.parts))


def allowed(problem: BoundedProblem, multipliers: Prices) -> Prices:
    """Return multipliers without those of limits that are infinite, and of rows that are not affine."""
    table = problem.functions.table

    def signed(values: Array, lower: Array, upper: Array) -> Array:
        return np.where(np.isfinite(np.where(values > 0, upper, lower)) & np.isfinite(values), values, 0.0)

    rows, nonlinear = problem.polytope.rows, problem.form.nonlinear
    mu = signed(multipliers.nonlinear, nonlinear.lower, nonlinear.upper)
    mu[[k - 1 for k in table.curved if k]] = 0.0
    return Prices(signed(multipliers.rows, rows.lower, rows.upper), mu, multipliers.sums)


def examined(problem: BoundedProblem, box: Box, multipliers: Prices, target: float, tolerance: float) -> Step:
    """Return what the dual function at some multipliers leaves of a box below a target."""
    multipliers = allowed(problem, multipliers)
    tight = problem.tightened(box, target)
    if tight is None or (target == np.inf and problem.has_no_point(tight)):
        return Step(multipliers, np.inf, box, True, None)
    value = evaluate(Dual(problem, multipliers, tight), target, tolerance)
    if value.lower >= target:
        return Step(multipliers, value.lower, tight, False, None)
    left = value.left(target, tight)
    if left is None:
        return Step(multipliers, np.inf, tight, True, None)
    cut = bool((left.lower > tight.lower).any() or (left.upper < tight.upper).any())
    return Step(multipliers, value.lower, left, cut, _split(left))


def _split(box: Box) -> tuple[int, float] | None:
    """Return the widest variable and its middle, where a box is to be cut; None where it is too small."""
    score = np.where(box.width > NARROW, box.width, 0.0)
    j = int(np.argmax(score))
    return (j, 0.5 * float(box.lower[j] + box.upper[j])) if score[j] > 0 else None
