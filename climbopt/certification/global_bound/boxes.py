"""What is left of a box below a target, by pieces that are halved where that pays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from climbopt.certification.global_bound.choices import choose
from climbopt.certification.proof.blocks import Cells, Choices, Dual, Prices, Value, enclosing
from climbopt.certification.proof.check import tightened
from climbopt.certification.proof.decomposition import Box, Decomposition
from climbopt.certification.proof.enclosures import rests
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval
from climbopt.numerics.polytope import Polytope

FIRST = 8
"""Pieces of each block to begin with."""
HALVED, NARROW = 30, 1e-12
"""Times that pieces are halved, and the width that is not."""
MOST = 200
"""Pieces a block beyond which none is halved."""
SHARE = 0.2
"""Of what is missing to the target the share that the width of the pieces may cost."""
ENOUGH, SHRINKS = 2, 0.6
"""After so many halvings a box that has shrunk to this share is looked at anew."""
SMALLEST = 1e-9
"""A width of a box that is not cut."""
SUPPORT = 1e-13
"""By what share slopes of a mean are shortened, so that they are proved to support it."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Pieces with choices, bounds and about the values at their middles."""

    pieces: Cells
    choices: Choices
    bound: Array
    value: Array

    @classmethod
    def at(cls, dual: Dual, pieces: Cells) -> Evaluated:
        """Return pieces with choices for them."""
        choices, value = choose(dual, pieces)
        return cls(pieces, choices, dual.bounds(pieces, choices), value)

    def replaced(self, dual: Dual, chosen: NDArray[np.bool_], others: Evaluated) -> Evaluated:
        """Return them with others in place of some; each block's pieces stay in order."""
        kept, mine = ~chosen, ~chosen[dual.targets(self.pieces)[1]]
        a, b = self.pieces[kept], others.pieces
        pieces = Cells(np.append(a.block, b.block), np.append(a.lower, b.lower), np.append(a.upper, b.upper))
        order = np.lexsort((pieces.upper, pieces.lower, pieces.block))
        # z0 and theta are one for each target of each piece, in the order of the pieces.
        of = np.append(dual.targets(a)[1], kept.sum() + dual.targets(b)[1])
        pairs = np.argsort(np.argsort(order)[of], kind="stable")
        return Evaluated(
            pieces[order],
            Choices(
                np.append(self.choices.z0[mine], others.choices.z0)[pairs],
                np.append(self.choices.theta[mine], others.choices.theta)[pairs],
            ),
            np.append(self.bound[kept], others.bound)[order],
            np.append(self.value[kept], others.value)[order],
        )


@dataclass(frozen=True, eq=False)
class Step:
    """What is left of a box, and by which multipliers.

    Parameters
    ----------
    prices : Prices
    lower : float
        The objective is nowhere below it on the box that was examined; inf where nothing is left.
    box : Box
        Outside of it no point of that box is below the target.
    cut : bool
        Whether the target was used.
    split : tuple of int and float, or None
        A variable, and where to cut it; None where the box is too small.
    evaluated : Evaluated or None
        None where rows alone leave nothing.
    """

    prices: Prices
    lower: float
    box: Box
    cut: bool
    split: tuple[int, float] | None
    evaluated: Evaluated | None = None


def examined(problem: Decomposition, box: Box, prices: Prices, target: float, tolerance: float) -> Step:
    """Return what the dual function at some multipliers leaves of a box below a target."""
    prices = allowed(problem, prices)
    tight = tightened(problem, box)
    if tight is None or (target == np.inf and has_no_point(problem, tight)):
        return Step(prices, np.inf, box, True, None)
    dual = Dual(problem, prices, tight)
    evaluated = evaluate(dual, target, tolerance)
    value = dual.value(evaluated.pieces, evaluated.bound)
    if value.lower >= target:
        return Step(prices, value.lower, tight, False, None, evaluated)
    left = value.left(target)
    if left is None:
        return Step(prices, np.inf, tight, True, None, evaluated)
    cut = bool((left.lower > tight.lower).any() or (left.upper < tight.upper).any())
    return Step(prices, value.lower, left, cut, _split(problem, left), evaluated)


def evaluate(dual: Dual, target: float, tolerance: float) -> Evaluated:
    """Return pieces that are halved where that pays.

    Parameters
    ----------
    dual : Dual
    target : float
        What the value is wanted to reach; pieces are not halved where they have nothing below it.
    tolerance : float
        Halving stops where the pieces cost about less, or once they leave much less of the box.
    """
    n, width = dual.problem.n_blocks, dual.box.width
    on = Evaluated.at(dual, whole(dual.problem, dual.box))
    for halved in range(HALVED + 1):
        value: Value = dual.value(on.pieces, on.bound)
        if value.lower >= target or halved == HALVED or on.bound.size > MOST * n:
            break
        # A piece is coarse where its bound is below the best value of its block by more than the block's share of what
        # may be missed: elsewhere a finer piece would not raise the sum.
        best, missing = np.full(n, np.inf), target - value.lower
        np.minimum.at(best, on.pieces.block, np.where(np.isnan(on.value), np.inf, on.value))
        allowance = max(tolerance, SHARE * missing if np.isfinite(missing) else 0.0) / n
        coarse = (on.bound < (best - allowance)[on.pieces.block]) & (on.pieces.upper - on.pieces.lower > NARROW)
        coarse &= ~value.without(target)
        if not coarse.any():
            break
        if halved >= ENOUGH:
            # In a much smaller box the sums are enclosed more tightly, which finer pieces of this one are not.
            left = value.left(target)
            if left is None or left.width.sum() < SHRINKS * width.sum():
                break
        # Both halves, with choices of their own.
        on = on.replaced(dual, coarse, Evaluated.at(dual, halves(on.pieces[coarse])))
    return on


def halves(pieces: Cells) -> Cells:
    """Return the two halves of each piece."""
    half = 0.5 * (pieces.lower + pieces.upper)
    return Cells(np.append(pieces.block, pieces.block), np.append(pieces.lower, half), np.append(half, pieces.upper))


def whole(problem: Decomposition, box: Box, cells: int = FIRST) -> Cells:
    """Return every block's interval in pieces of one width; a single one where its function is linear."""
    low, high, blocks = problem.by_block(box.lower), problem.by_block(box.upper), np.arange(problem.n_blocks)
    ratios = problem.n_sources if any(not part.linear for part in problem.separable.parts) else 0
    count = np.where((np.isin(blocks, problem.home) | (blocks < ratios)) & (high > low), cells, 1)
    block = np.repeat(blocks, count)
    first = np.arange(block.size) - np.searchsorted(block, block)
    edges = [low[block] + (high - low)[block] * (k / count[block]) for k in (first, first + 1)]
    return Cells(block.astype(np.intp), edges[0], np.where(first + 1 == count[block], high[block], edges[1]))


def _split(problem: Decomposition, box: Box) -> tuple[int, float] | None:
    """Return a variable and its middle, where a box is to be cut; None where it is too small.

    It is the widest, or what the widths of z that are enclosed on the box come from.
    """
    of_pairs = np.nan_to_num(problem.on(box).separable.width.sum(axis=0))
    score = box.width / max(box.width.max(), SMALLEST)
    score[: of_pairs.size] += of_pairs / max(of_pairs.max(), SMALLEST)
    score = np.where(box.width > SMALLEST, score, 0.0)
    j = int(np.argmax(score))
    return (j, 0.5 * float(box.lower[j] + box.upper[j])) if score[j] > 0 else None


def inside(problem: Decomposition, box: Box) -> Polytope:
    """Return the polytope with the bounds of a box."""
    polytope = problem.polytope
    return Polytope(polytope.bounds.within(box.lower, box.upper), polytope.A, polytope.rows)


def values(problem: Decomposition, box: Box) -> Interval:
    """Return enclosures of the objective and the nonlinear rows on a box, (1 + k,)."""
    table = problem.functions.table
    total = (enclosing(table.parts.x) * Interval(box.lower, box.upper)).sum(1) + rests(problem, box)
    curved = np.isin(np.arange(len(table)), list(table.curved))
    return Interval(np.where(curved, -np.inf, total.lower), np.where(curved, np.inf, total.upper))


def has_no_point(problem: Decomposition, box: Box) -> bool:
    """Return whether the nonlinear rows alone show that no point of a box is feasible."""
    rows, limits = values(problem, box)[1:], problem.form.nonlinear
    return bool((rows.lower > limits.upper).any() or (rows.upper < limits.lower).any())


def slopes_by_sums(problem: Decomposition, x: Array, nonlinear: Array) -> Array:
    """Return the slopes of the Lagrangian by the sums at x, (K, T)."""
    table, at = problem.functions.table, problem.functions.at(x)
    weights = np.append(1.0, nonlinear) @ table.dense
    if problem.mean is not None:
        weights = weights + slopes_of_mean(problem, x) @ problem.mean[1].by_y(weights.size)
    _, on_z, on_loss = table.split(weights)
    t, own = np.arange(len(problem.home)), problem.by_block(x)[problem.home]
    cumulative = problem.cumulative(enclosing(own), problem.home).middle
    gates = problem.separable.gates
    with np.errstate(invalid="ignore"):  # at a pole, where they count as 0
        # The Lagrangian's slope by z, and by the chain rule dz/ds = gate.
        u = on_z + np.where(on_loss != 0, on_loss * at.slopes if table.reads_losses else 0.0, 0.0)
        slopes = np.reshape([u * gate.values(cumulative, t) for gate in gates], (len(gates), t.size))
    return np.where(np.isfinite(slopes), slopes, 0.0)


def slopes_of_mean(problem: Decomposition, x: Array) -> Array:
    """Return slopes that support the power mean in the objective, its own at x where known; none where it is affine."""
    if problem.mean is None:
        return np.zeros(0)
    mean, placed = problem.mean
    at = problem.functions.at(x)
    slopes = (1 - SUPPORT) * mean.gradient(placed.read(np.concatenate([x, at.z, at.losses])))
    return slopes if np.isfinite(slopes).all() else (1 - SUPPORT) * mean.weights / mean.references


def allowed(problem: Decomposition, prices: Prices) -> Prices:
    """Return multipliers without those of limits that are infinite."""
    rows, nonlinear = problem.polytope.rows, problem.form.nonlinear
    return replace(prices, rows=rows.signed(prices.rows), nonlinear=nonlinear.signed(prices.nonlinear))
