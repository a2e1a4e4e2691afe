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

from climbopt.certification.proof.curves import Functions, Index
from climbopt.certification.proof.decomposition import Decomposition, Indices
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval, where

EPS = float(np.finfo(float).eps)
NODES, SPACING = 17, 3
"""Nodes of a part that is not linear, and the power of their even steps: parts bend most next to a ratio of 0."""
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
class Cells:
    """Intervals [lower, upper] of the variables of blocks, (Q,) each; 0 for blocks that have none."""

    block: Indices
    lower: Array
    upper: Array

    def __getitem__(self, chosen: NDArray[np.generic]) -> Cells:
        """Return some of them."""
        return Cells(self.block[chosen], self.lower[chosen], self.upper[chosen])


@dataclass(frozen=True, eq=False)
class Choices:
    """Where the law is touched, z0, and the price theta of the total, (P,) each: of every piece's every target."""

    z0: Array
    theta: Array


def deviation(curves: Functions, on: Interval, at: Index) -> Interval:
    """Return enclosures of function less chord on intervals: by the curvature, and by the range of the values."""
    width = enclosing(on.upper) - enclosing(on.lower)
    bend = curves.curvature(on, at) * (width * width) * Interval.of(0.125, 0.125)
    value = curves.enclose(on, at)
    spread = (value - value).upper
    return Interval(np.fmax(-positive(bend.upper), -spread), np.fmin(positive(-bend.lower), spread))


def positive(value: Array) -> Array:
    """Return the positive parts."""
    return np.maximum(value, 0.0)


@dataclass(frozen=True, eq=False)
class Nodes:
    """The parts on a box: chords between nodes of the ratios, plus a rest.

    Parameters
    ----------
    ratios : ndarray, (S, M)
        Nodes less `middle`.
    middle : ndarray, (S,)
    values : ndarray, (K, T, S, M)
        Of the parts there less their middles; 0 for a target's own source.
    center : Interval, (K, T)
        Sums of the middles.
    rest : Interval, (K, T)
        What sums may be beyond chords.
    around : Interval, (K, T)
        All that sums can be, less `center`.
    size : ndarray, (K, T)
        Sums of the largest absolute values.
    """

    ratios: Array
    middle: Array
    values: Array
    center: Interval
    rest: Interval
    around: Interval
    size: Array

    @classmethod
    def on(cls, problem: Decomposition, box: Box) -> Nodes:
        """Return the parts on a box."""
        S, parts, others = problem.n_sources, problem.separable.parts, problem.others[..., None] > 0
        m = 2 if all(part.linear for part in parts) else NODES
        low, high = box.lower[:S, None], box.upper[:S, None]
        ratios = low + (high - low) * np.linspace(0.0, 1.0, m) ** SPACING
        ratios[:, -1:] = high
        block, at = np.arange(S)[:, None], (problem.pairs[0][..., None], problem.pairs[1][..., None])
        shape = (len(parts), *problem.others.shape, m)
        values, centers = np.zeros(shape), np.zeros(shape[:-1])
        rest = Interval(np.zeros(shape[:2]), np.zeros(shape[:2]))
        for k, part in enumerate(parts):
            known = part.enclose(problem.cumulative(enclosing(ratios), block), at)
            value = where(others, known.broadcast_to(shape[1:]))
            mid = value.middle
            centers[k] = 0.5 * (mid.max(axis=-1) + mid.min(axis=-1))
            values[k] = mid - centers[k][..., None]
            off = (value - enclosing(centers[k][..., None]) - enclosing(values[k])).hull(-1)
            if not part.linear:
                cells = problem.cumulative(Interval(ratios[:, :-1], ratios[:, 1:]), block)
                off = off + where(others, deviation(part, cells, at)).hull(-1)
            rest.lower[k], rest.upper[k] = off.sum(1).lower, off.sum(1).upper
        mids = 0.5 * (ratios[:, 0] + ratios[:, -1])
        around = enclosing(values).hull(-1).sum(2) + rest
        size = np.abs(values).max(axis=-1, initial=0.0).sum(axis=-1)
        return cls(ratios - mids[:, None], mids, values, enclosing(centers).sum(2), rest, around, size)


@dataclass(frozen=True, eq=False)
class Dual:
    """The blocks of a decomposed form on a box, at multipliers."""

    problem: Decomposition
    prices: Prices
    box: Box

    def __post_init__(self) -> None:
        object.__setattr__(self, "problem", self.problem.on(self.box.lower, self.box.upper))

    @cached_property
    def nodes(self) -> Nodes:
        """The parts on the box."""
        return Nodes.on(self.problem, self.box)

    @cached_property
    def lagrangian(self) -> tuple[Interval, Interval, Interval, Interval]:
        """The numbers of x, (n,), z, (T,), and losses, (T,), and the constant, (1,), rows included."""
        problem, rows, y = self.problem, self.problem.polytope.rows, self.prices.rows
        table, affine = problem.functions.table, np.ones(len(self.prices.nonlinear), dtype=bool)
        affine[[k - 1 for k in table.curved if k]] = False  # rows that are not affine have no price
        mu = np.where(affine, self.prices.nonlinear, 0.0)
        limits = np.append(0.0, problem.form.nonlinear.named(mu))
        total = table.lagrangian(np.append(1.0, mu), limits, enclosing)
        if problem.mean is not None and problem.mean[0].supports(self.prices.losses):
            slopes = enclosing(self.prices.losses[:, None]) * problem.mean[1].by_y(table.dense.shape[1])
            total = total + _first(slopes.sum(0), table.dense.shape[1] + 1)
        on_x, on_z, on_loss = table.split(total)
        used = np.flatnonzero(y)
        on_x = on_x + (enclosing(problem.polytope.dense[used]) * enclosing(y[used][:, None])).sum(0)
        constant = total[-1:] - (enclosing(y[used]) * enclosing(rows.named(y)[used])).sum(0)
        return on_x, on_z, on_loss, constant

    def targets(self, pieces: Cells) -> tuple[Indices, Indices]:
        """Return every target of every piece's block, (P,), and the piece that it belongs to."""
        members = [np.flatnonzero(self.problem.home == j) for j in range(self.problem.n_blocks)]
        of = np.repeat(np.arange(pieces.block.size), [members[j].size for j in pieces.block.tolist()])
        target = np.concatenate([np.zeros(0, int), *(members[j] for j in pieces.block.tolist())])
        return target.astype(np.intp), of.astype(np.intp)

    def bounds(self, pieces: Cells, choices: Choices) -> Array:
        """Return what the function of each piece's block is nowhere below on the piece, (Q,)."""
        with np.errstate(all="ignore"):  # infinite ends where nothing is known
            target, of = self.targets(pieces)
            ends, dip = self._of_targets(target, pieces[of], choices)
            place = np.arange(of.size) - np.searchsorted(of, of)  # of each target among those of its piece
            shape = (pieces.block.size, int(place.max(initial=-1)) + 1)

            def gathered(values: Array) -> Interval:
                table = np.zeros((*shape, *values.shape[1:]))
                table[of, place] = values
                return enclosing(table).sum(1)

            own, own_dip = self._of_variables(pieces)
            low = (own + gathered(ends)).lower.min(axis=1)
            bound = (enclosing(low) + enclosing(own_dip) + gathered(dip)).lower
            return np.where(np.isnan(bound), -np.inf, bound)

    def _of_variables(self, pieces: Cells) -> tuple[Interval, Array]:
        """Return what variables add at the ends, (Q, 2), and a lower bound of its deviation from chords, (Q,)."""
        problem, n, S = self.problem, self.problem.form.n, self.problem.n_sources
        slope, at_zero = self.lagrangian[0], enclosing(np.zeros(n))
        prices = [enclosing(price[:, None]) for price in self.prices.sums]
        for price, line in zip(prices, problem.lines, strict=True):
            if line is not None:
                zero, by_x = (_first((price * numbers).sum(0), n) for numbers in line)
                slope, at_zero = slope + by_x, at_zero + zero
        variable, j = pieces.block < n, np.minimum(pieces.block, n - 1)
        ends = enclosing(np.stack([pieces.lower, pieces.upper], axis=1))
        value = where(variable[:, None], at_zero[j][:, None] + slope[j][:, None] * ends)
        dip = enclosing(np.zeros(pieces.block.size))
        curved = [k for k, line in enumerate(problem.lines) if line is None]
        is_ratio = pieces.block < S
        targets, j = problem.pairs[0], np.minimum(pieces.block, S - 1)
        mask = problem.others[:, j] * is_ratio
        for k in curved:
            part, price = problem.separable.parts[k], enclosing(self.prices.sums[k][:, None] * mask)
            at_ends = part.enclose(problem.cumulative(ends, j[:, None])[None], (targets[..., None], j[None, :, None]))
            value = value + (price[..., None] * at_ends).sum(0)
            on = problem.cumulative(Interval(pieces.lower, pieces.upper), j)
            dip = dip + (price * deviation(part, on[None], (targets, j[None]))).sum(0)
        return value, dip.lower

    def _of_targets(self, t: Indices, pieces: Cells, choices: Choices) -> tuple[Array, Array]:
        """Return lower bounds of what targets add at the ends, (P, 2), and of its deviation from chords, (P,)."""
        problem, nodes, separable, block = self.problem, self.nodes, self.problem.separable, pieces.block
        ends = enclosing(np.stack([pieces.lower, pieces.upper], axis=1))
        at_ends = problem.cumulative(ends, block[:, None])
        on = problem.cumulative(Interval(pieces.lower, pieces.upper), block)
        kappa, u = self._line(t, on, choices.z0)
        theta, in_total, summed = enclosing(choices.theta), enclosing(problem.total[0][block]), problem.summed[t]
        rest = enclosing(problem.total[1]) - enclosing(summed * nodes.middle).sum(1)
        value = kappa[:, None] + u[:, None] * separable.own.enclose(at_ends, t[:, None])
        value = value + theta[:, None] * (rest[:, None] - in_total[:, None] * ends)
        dip, middles = deviation(separable.own, on, t), []
        for k, gate in enumerate(separable.gates):
            center, around = nodes.center[k][t], nodes.around[k][t]
            q = u[:, None] * gate.enclose(at_ends, t[:, None]) - enclosing(self.prices.sums[k][t][:, None])
            middles.append(q.middle)
            value = value + q * (center + nodes.rest[k][t])[:, None] + (q - enclosing(middles[-1])) * around[:, None]
            dip = dip + deviation(gate, on, t) * (center + around)
        value = value + self._least(t, summed, np.array(middles).reshape(len(middles), t.size, 2), choices.theta)
        return value.lower, (u * dip).lower

    def _line(self, t: Indices, on: Interval, z0: Array) -> tuple[Interval, Interval]:
        """Return kappa and u of w L(z) + v z >= kappa + u z, for all z of the targets on the pieces."""
        _, on_z, on_loss, _ = self.lagrangian
        law, w, v, proofs = self.problem.separable.law, on_loss[t], on_z[t], self.problem.proofs
        inside = (z0 > proofs.end_of_domain[t]) & (z0 < np.inf)  # outside of its domain nothing is proved of a law
        z0 = np.where(inside, z0, np.nan)
        at = enclosing(z0)
        loss, slope, unused = law.enclose(at, t), law.enclose_slopes(at, t), (w.lower == 0) & (w.upper == 0)
        known = np.isfinite(loss.lower) & np.isfinite(loss.upper) & np.isfinite(slope.lower) & np.isfinite(slope.upper)
        loss, slope = (
            Interval(np.where(known, x.lower, -np.inf), np.where(known, x.upper, np.inf)) for x in (loss, slope)
        )
        u, kappa = w * slope, w * (loss - slope * at)
        tangent = unused | (proofs.loss_convex & (w.lower >= 0))
        if not tangent.all():  # w L(z) = w L(z0) + w L'(some number between) (z - z0)
            z = self.problem.separable.own.enclose(on, t)
            for k, gate in enumerate(self.problem.separable.gates):
                z = z + gate.enclose(on, t) * (self.nodes.center[k][t] + self.nodes.around[k][t])
            z = Interval(np.maximum(z.lower, proofs.end_of_domain[t]), z.upper)
            slopes = w * law.enclose_slopes(Interval(np.minimum(z.lower, z0), np.maximum(z.upper, z0)), t)
            tilt = enclosing(slopes.middle)
            line = w * loss - tilt * at + (slopes - tilt) * (z - at)
            u, kappa = where(tangent, u, tilt), where(tangent, kappa, line)
        return where(~unused, kappa), where(~unused, u) + v

    def _least(self, t: Indices, summed: Array, q: Array, theta: Array) -> Interval:
        """Return enclosures of sum_j min over nodes of (q'values - theta ratios), (P, 2), its rounding included."""
        nodes = self.nodes
        priced = theta[:, None] * summed
        cost = -priced[:, None, :, None] * nodes.ratios
        size = np.repeat((np.abs(priced) @ np.abs(nodes.ratios).max(axis=1))[:, None], 2, axis=1)
        for k, q_k in enumerate(q):
            cost = cost + q_k[:, :, None, None] * nodes.values[k][t][:, None]
            size = size + np.abs(q_k) * nodes.size[k][t][:, None]
        least = cost.min(axis=-1).sum(axis=-1)
        # each product and sum is off by at most EPS / 2 of it: K + S + 3 of them follow one another
        slack = 2 * (len(q) + self.problem.n_sources + 8) * EPS * size
        return Interval(least - slack, least + slack)

    def value(self, pieces: Cells, bound: Array) -> Value:
        """Return the value of the dual function by bounds of pieces that cover every block's interval."""
        least = np.full(self.problem.n_blocks, np.inf)
        np.minimum.at(least, pieces.block, bound)
        return Value(pieces, bound, least, self.lagrangian[3], self.problem.form.n)


def _first(numbers: Interval, n: int) -> Interval:
    """Return numbers with zeros behind them, (n,)."""
    return Interval(*(np.append(end, np.zeros(n - end.size)) for end in (numbers.lower, numbers.upper)))


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
            total: Interval = enclosing(self.least).sum(0) + self.constant[0]
        return total

    @property
    def lower(self) -> float:
        """The objective is nowhere below it on the box, where all rows hold."""
        return -np.inf if np.isnan(self.total.lower) else float(self.total.lower)

    def without(self, target: float) -> NDArray[np.bool_]:
        """Return which pieces have no point whose objective is below `target`."""
        lifted = self.total - enclosing(self.least[self.pieces.block]) + enclosing(self.bound)
        return np.asarray(lifted.lower >= target)

    def left(self, target: float) -> Box | None:
        """Return a box around what may be below `target`; None where nothing is."""
        pieces, size = self.pieces[~self.without(target)], self.least.size
        low, high = np.full(size, np.inf), np.full(size, -np.inf)
        np.minimum.at(low, pieces.block, pieces.lower)
        np.maximum.at(high, pieces.block, pieces.upper)
        return Box(low[: self.n], high[: self.n]) if (low < np.inf).all() else None
