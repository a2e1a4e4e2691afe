"""The inequality that every lower bound here rests on, evaluated in outward-rounded arithmetic.

The Lagrangian of a decomposed form falls apart into functions of one variable each, blocks: for x_j

    (c_j + (A'y)_j) x_j + sum_ik lambda_ik part_kij(x_j)
        + sum over the targets i whose own source is j: min over s in S_i(x_j) of w_i L_i(z_i) + v_i z_i - lambda_i's

with z_i = own_i(x_j) + sum_k gate_ik(x_j) s_k, where S_i(x) is what the sums s_k = sum_j part_kij(r_j) can be: the
other ratios are in the box, and their sum is total - x. The multipliers y, mu and lambda may be any numbers. An
objective that is a power mean of losses is above slopes @ losses for slopes that support it. On a piece of the
variable's interval

- w L(z) + v z >= kappa + u z: a tangent at a stated z0 where w >= 0 and the law is convex, else by the mean value
  theorem;
- every function of x is its chord between the ends of the piece plus a deviation, which its curvature or its range
  encloses;
- parts are chords between nodes plus a deviation; so at an end of the piece, with q = u gate(x) - lambda, for any
  theta,  min over s in S_i(x) of q's >= theta (total - x) + sum_j min over nodes of (q'part_j(r) - theta r).

For each s the function with chords in place of curves is linear in x; so its minimum over s is nowhere below the lesser
of its lower bounds at the two ends. Cells, z0 and theta are choices: any are valid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from climbopt.certification.proof.curves import UNKNOWN, deviation
from climbopt.certification.proof.decomposition import Box, Decomposition, Indices
from climbopt.certification.proof.enclosures import Chords, chords, nodes, z_range
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval, where

EPS = float(np.finfo(float).eps)
enclosing = Interval.enclosing


@dataclass(frozen=True, eq=False)
class Prices:
    """Multipliers of linear rows, (k,), of nonlinear rows, (l,), > 0 for upper limits, and of the sums, (K, T).

    `losses` are slopes of a power mean, (m,), that stand in its place: 0 where they do not support it.
    """

    rows: Array
    nonlinear: Array
    sums: Array
    losses: Array = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, eq=False)
class Cells:
    """Intervals [lower, upper] of the variables of blocks, (Q,) each; 0 for blocks that have none."""

    block: Indices
    lower: Array
    upper: Array

    def __getitem__(self, chosen: NDArray[np.generic]) -> Cells:
        """Return some of them."""
        return Cells(self.block[chosen], self.lower[chosen], self.upper[chosen])

    @property
    def ends(self) -> Interval:
        """Both ends, (Q, 2)."""
        return enclosing(np.stack([self.lower, self.upper], axis=1))


@dataclass(frozen=True, eq=False)
class Choices:
    """Where the law is touched, z0, and the price theta of the total, (P,) each: of every piece's every target."""

    z0: Array
    theta: Array


@dataclass(frozen=True, eq=False)
class Dual:
    """The blocks of a decomposed form on a box, at multipliers."""

    problem: Decomposition
    prices: Prices
    box: Box

    def __post_init__(self) -> None:
        # Pairs that do not decompose are enclosed on the box that is examined.
        object.__setattr__(self, "problem", self.problem.on(self.box))

    @cached_property
    def ratios(self) -> Array:
        """The nodes of the box, (S, M)."""
        return nodes(self.problem, self.box)

    @cached_property
    def parts(self) -> list[Chords]:
        """The parts on the box."""
        return chords(self.problem, self.ratios)

    @cached_property
    def lagrangian(self) -> tuple[Interval, Interval, Interval, Interval]:
        """The numbers of x, (n,), z, (T,), and losses, (T,), and the constant, (1,), rows included."""
        problem, table, y = self.problem, self.problem.functions.table, self.prices.rows
        mu, n = self.prices.nonlinear.copy(), problem.form.n
        mu[[k - 1 for k in table.curved if k]] = 0.0  # rows that are not affine have no price
        total = table.lagrangian(np.append(1.0, mu), np.append(0.0, problem.form.nonlinear.named(mu)), enclosing)
        if problem.mean is not None and problem.mean[0].supports(self.prices.losses):
            # G(L) >= slopes'L for slopes that support the mean G, so that they weigh the losses in its place.
            slopes = enclosing(self.prices.losses[:, None]) * problem.mean[1].by_y(table.dense.shape[1])
            total = total + padded(slopes.sum(0), total.lower.size)
        # A row adds y (a'x - limit), with the limit that the sign of y names: an affine function of x.
        affine = enclosing(np.column_stack([problem.polytope.dense, -problem.polytope.rows.named(y)]))
        linear = (affine * enclosing(y[:, None])).sum(0)
        on_x, on_z, on_loss = table.split(total)
        return on_x + linear[:n], on_z, on_loss, total[-1:] + linear[n:]

    @cached_property
    def lines(self) -> tuple[Interval, Interval]:
        """What variables add by themselves and by linear parts: values at 0 and slopes, (n_blocks,) each."""
        zero, by_x = (padded(numbers, self.problem.n_blocks) for numbers in self.problem.priced(self.prices.sums))
        return zero, padded(self.lagrangian[0], self.problem.n_blocks) + by_x

    def targets(self, pieces: Cells) -> tuple[Indices, Indices]:
        """Return every target of every piece's block, (P,), and the piece that it belongs to."""
        members = [np.flatnonzero(self.problem.home == j) for j in range(self.problem.n_blocks)]
        of = np.repeat(np.arange(pieces.block.size), [members[j].size for j in pieces.block.tolist()])
        target = np.concatenate([np.zeros(0, int), *(members[j] for j in pieces.block.tolist())])
        return target.astype(np.intp), of.astype(np.intp)

    def bounds(self, pieces: Cells, choices: Choices) -> Array:
        """Return what the function of each piece's block is nowhere below on the piece, (Q,)."""
        target, of = self.targets(pieces)
        with np.errstate(all="ignore"):  # infinite ends where nothing is known
            # Columns: the function with chords in place of curves at both ends, and its deviation from that.
            terms = np.concatenate([self._of_variables(pieces), self._of_targets(target, pieces[of], choices)])
            piece = np.append(np.arange(pieces.block.size), of)
            total, size = np.zeros((2, pieces.block.size, 3))
            np.add.at(total, piece, terms)
            np.add.at(size, piece, np.abs(terms))
            # A sum of n floats is off by at most n eps times the sum of their sizes (Higham 2002, section 4.2).
            low = total - np.bincount(piece)[:, None] * EPS * size
            # For each s it is linear in x: the least over the piece lies at an end.
            bound = (enclosing(low[:, :2].min(axis=1)) + enclosing(low[:, 2])).lower
            return np.where(np.isnan(bound), -np.inf, bound)

    def _of_variables(self, pieces: Cells) -> Array:
        """Return lower bounds of what variables add at both ends, and of its deviation from the chord, (Q, 3)."""
        problem, block, ends = self.problem, pieces.block, pieces.ends
        zero, slope = self.lines
        value, dip = zero[block][:, None] + slope[block][:, None] * ends, enclosing(np.zeros(block.size))
        at_ends = problem.cumulative(ends, block[:, None])
        on = problem.cumulative(Interval(pieces.lower, pieces.upper), block)
        # Parts that are linear are in `lines`; others count target by target, of which own ones are none.
        is_ratio, j, targets = block < problem.n_sources, np.minimum(block, problem.n_sources - 1), problem.pairs[0]
        for part, price in zip(problem.separable.parts, self.prices.sums, strict=True):
            if not part.linear:
                priced = enclosing(price[:, None] * problem.others[:, j] * is_ratio)
                value = value + (priced[..., None] * part.enclose(at_ends, (targets[..., None], j[:, None]))).sum(0)
                dip = dip + (priced * deviation(part, on, (targets, j))).sum(0)
        return np.column_stack([value.lower, dip.lower])

    def _of_targets(self, t: Indices, pieces: Cells, choices: Choices) -> Array:
        """Return lower bounds of what targets add at both ends, and of its deviation from the chord, (P, 3)."""
        problem, separable, block, ends = self.problem, self.problem.separable, pieces.block, pieces.ends
        at_ends = problem.cumulative(ends, block[:, None])
        on = problem.cumulative(Interval(pieces.lower, pieces.upper), block)
        kappa, u = self._line(t, on, choices.z0)
        in_total, total = problem.total
        # theta (total - x): what the price says of the sum of the other ratios.
        left = enclosing(total) - enclosing(in_total[block][:, None]) * ends
        value = kappa[:, None] + u[:, None] * separable.own.enclose(at_ends, t[:, None])
        value, dip, numbers = value + enclosing(choices.theta[:, None]) * left, deviation(separable.own, on, t), []
        for gate, part, price in zip(separable.gates, self.parts, self.prices.sums, strict=True):
            q = u[:, None] * gate.enclose(at_ends, t[:, None]) - enclosing(price[t][:, None])
            # q's = number's + (q - number)'s: the first is least node by node in `_least`, the second is enclosed.
            number = enclosing(q.middle)
            value = value + number * part.rest[t][:, None] + (q - number) * part.sums[t][:, None]
            dip = dip + deviation(gate, on, t) * part.sums[t]
            numbers.append(q.middle)
        value = value + self._least(t, numbers, choices.theta)
        return np.column_stack([value.lower, (u * dip).lower])

    def _line(self, t: Indices, on: Interval, z0: Array) -> tuple[Interval, Interval]:
        """Return kappa and u of w L(z) + v z >= kappa + u z, for all z of the targets on the pieces."""
        _, on_z, on_loss, _ = self.lagrangian
        law, w = self.problem.separable.law, on_loss[t]
        # outside of its domain nothing is proved of a law
        z0 = np.where((z0 > self.problem.end_of_domain[t]) & (z0 < np.inf), z0, np.nan)
        loss, slope = law.enclose(enclosing(z0), t), law.enclose(enclosing(z0), t, 1)
        loss = where(np.isfinite(loss.lower + loss.upper + slope.lower + slope.upper), loss, UNKNOWN)
        u, rest = w * slope, enclosing(0.0)
        # w L lies above its tangents where it is convex, and is 0 where w is.
        tangent = (w.lower >= 0) & (self.problem.loss_convex | (w.upper <= 0))
        if not tangent.all():  # w L(z) = w L(z0) + w L'(some number between) (z - z0)
            z = z_range(self.problem, self.parts, on, t)
            slopes = w * law.enclose(Interval(np.minimum(z.lower, z0), np.maximum(z.upper, z0)), t, 1)
            slopes = where(np.isfinite(slopes.lower + slopes.upper), slopes, UNKNOWN)  # else there may be a pole
            u = where(tangent, u, enclosing(slopes.middle))
            rest = where(~tangent, (slopes - u) * (z - enclosing(z0)))
        return w * loss - u * enclosing(z0) + rest, u + on_z[t]

    def _least(self, t: Indices, numbers: list[Array], theta: Array) -> Interval:
        """Return enclosures of sum_j min over nodes of (numbers'parts - theta ratios), (P, 2), with its rounding."""
        # A sum of functions of one ratio each, with chords in place of curves: each is least at one of its nodes.
        price = theta[:, None] * self.problem.summed[t]
        cost = np.repeat(-price[:, None, :, None] * self.ratios, 2, axis=1)
        size = np.abs(cost).max(axis=-1).sum(axis=-1)
        for number, part in zip(numbers, self.parts, strict=True):
            cost = cost + number[:, :, None, None] * part.values[t][:, None]
            size = size + np.abs(number) * np.abs(part.values).max(axis=-1).sum(axis=-1)[t][:, None]
        least = cost.min(axis=-1).sum(axis=-1)
        # each product and sum is off by at most EPS / 2 of it: K + S + 3 of them follow one another
        slack = 2 * (len(numbers) + self.problem.n_sources + 8) * EPS * size
        return Interval(least - slack, least + slack)

    def value(self, pieces: Cells, bound: Array) -> Value:
        """Return the value of the dual function by bounds of pieces that cover every block's interval."""
        least = np.full(self.problem.n_blocks, np.inf)
        np.minimum.at(least, pieces.block, bound)
        return Value(pieces, bound, least, self.lagrangian[3], self.problem.form.n)


def padded(numbers: Interval, size: int) -> Interval:
    """Return numbers with zeros behind them, (size,)."""
    return Interval(*(np.append(end, np.zeros(size - end.size)) for end in (numbers.lower, numbers.upper)))


@dataclass(frozen=True, eq=False)
class Value:
    """The dual function's value on a box.

    Parameters
    ----------
    pieces : Cells
    bound : ndarray, (Q,)
        Of the blocks' functions on the pieces.
    least : ndarray, (n_blocks,)
        The least of each block's.
    constant : Interval, (1,)
    n : int
        Number of variables.
    """

    pieces: Cells
    bound: Array
    least: Array
    constant: Interval
    n: int

    @cached_property
    def total(self) -> Interval:
        """The least of all blocks together."""
        with np.errstate(invalid="ignore"):
            return enclosing(enclosing(self.least).sum(0) + self.constant[0])

    @property
    def lower(self) -> float:
        """The objective is nowhere below it on the box, where all rows hold."""
        return -np.inf if np.isnan(self.total.lower) else float(self.total.lower)

    def without(self, target: float) -> NDArray[np.bool_]:
        """Return which pieces have no point whose objective is below `target`."""
        # The total with the piece's own bound in place of its block's least.
        lifted = self.total - enclosing(self.least[self.pieces.block]) + enclosing(self.bound)
        return np.asarray(lifted.lower >= target)

    def left(self, target: float) -> Box | None:
        """Return a box around what may be below `target`; None where nothing is."""
        pieces, size = self.pieces[~self.without(target)], self.least.size
        low, high = np.full(size, np.inf), np.full(size, -np.inf)
        np.minimum.at(low, pieces.block, pieces.lower)
        np.maximum.at(high, pieces.block, pieces.upper)
        return Box(low[: self.n], high[: self.n]) if (low < np.inf).all() else None
