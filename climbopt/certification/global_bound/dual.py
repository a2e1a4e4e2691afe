"""The dual function: a lower bound of a problem over a box of its variables, for any multipliers.

With z_i = own_i(r_i) + sum_k gate_ik(r_i) s_ik, and the sums s_ik = sum_j part_kij(r_j) as variables of their own that
multipliers lambda tie to the ratios, the Lagrangian falls apart into functions of one variable each: for x_j

    (c_j + (A'y)_j) x_j + sum_ik lambda_ik part_kij(x_j)
        + sum over the targets i whose own source is j: min over s in S_i(x_j) of w_i L_i(z_i) + v_i z_i - lambda_i's

The variable's interval is cut into pieces. On a piece, w L(z) is at least a line kappa + (u - v) z, and S_i(x) is
enlarged to what theta prices: for any theta

    min over s of q's >= theta (total - x - sum_j mid_j)
                         + sum_j min over nodes m of (q'B_jm - theta R_jm) - sum_k |q_k| E_k

with q = u gate(x) - lambda, parts B_jm at nodes R_jm, both less their middles, and E what chords between nodes may be
off by. The right side is concave in q. So on the piece all of this lies above the line through its values at the ends,
less what the curvature of own and of gates allows. u, theta and the pieces are chosen in floating point; any choice is
valid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from climbopt.certification.global_bound.separable import Functions, Index, Separable
from climbopt.model.convexity import JointProofs, Proofs
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval
from climbopt.numerics.polytope import Polytope
from climbopt.program import MixtureFunctions, StandardForm

Indices = NDArray[np.intp]
EPS = float(np.finfo(float).eps)
NODES, SPACING = 17, 3
"""Nodes of a part that is not linear, and the power of their even steps: parts bend most next to a ratio of 0."""
STEPS, HALVINGS = 8, 40
"""Steps of the search for the slope at which a law is touched, and for the point that has it."""
HALVED, NARROW = 30, 1e-12
"""Times that pieces are halved, and the width that is not."""
MOST = 200
"""Pieces a block beyond which none is halved."""
SMALL = 1e-9
"""Below it no law whose domain begins at 0 is touched."""
SHARE = 0.2
"""Of what is missing to the target the share that the width of the pieces may cost."""
ENOUGH, SHRINKS = 2, 0.6
"""After so many halvings a box that has shrunk to this share is looked at anew."""


@dataclass(frozen=True, eq=False)
class Prices:
    """Prices of the linear rows, (k,), of nonlinear rows, (l,), >= 0 for upper limits, and of the sums, (K, T)."""

    rows: Array
    nonlinear: Array
    sums: Array


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
    """Intervals [lower, upper] of blocks: block j < n is variable j, later ones targets without own source."""

    block: Indices
    lower: Array
    upper: Array

    def __getitem__(self, chosen: NDArray[np.generic]) -> Cells:
        """Return some of them."""
        return Cells(self.block[chosen], self.lower[chosen], self.upper[chosen])


@dataclass(frozen=True, eq=False)
class OnCells:
    """What is known of the blocks' functions on pieces.

    Parameters
    ----------
    pieces : Cells
    bound : ndarray, (Q,)
        Nowhere on the piece is the block's function below it.
    x, value : ndarray, (Q,)
        A point of the piece, and about the block's value there.
    target, of : ndarray of int, (P,)
        The targets of the blocks of the pieces, and the pieces.
    sums : ndarray, (K, P)
        About the sums that are best at x.
    z : ndarray, (P,)
    """

    pieces: Cells
    bound: Array
    x: Array
    value: Array
    target: Indices
    of: Indices
    sums: Array
    z: Array

    def __getitem__(self, chosen: NDArray[np.bool_]) -> OnCells:
        """Return those of some pieces."""
        places = np.cumsum(chosen) - 1
        mine = chosen[self.of]
        return OnCells(
            self.pieces[chosen],
            self.bound[chosen],
            self.x[chosen],
            self.value[chosen],
            self.target[mine],
            places[self.of[mine]],
            self.sums[:, mine],
            self.z[mine],
        )

    def __add__(self, other: OnCells) -> OnCells:
        """Return these and others behind them."""
        a, b = self, other
        pieces = Cells(*(np.append(getattr(a.pieces, n), getattr(b.pieces, n)) for n in ("block", "lower", "upper")))
        return OnCells(
            pieces,
            np.append(a.bound, b.bound),
            np.append(a.x, b.x),
            np.append(a.value, b.value),
            np.append(a.target, b.target),
            np.append(a.of, b.of + a.bound.size),
            np.hstack([a.sums, b.sums]),
            np.append(a.z, b.z),
        )


def sum_down(values: Array, index: Indices, size: int) -> Array:
    """Return lower bounds of sums of floats by an index, (size,)."""
    total = np.bincount(index, values, size)
    with np.errstate(invalid="ignore"):
        slack = np.bincount(index, np.abs(values), size) * EPS * (np.bincount(index, minlength=size).max(initial=0) + 2)
        return np.where(np.isfinite(total), total - slack, total)


def middle(interval: Interval) -> Array:
    """Return a number in each interval; 0 where that has no bounds."""
    with np.errstate(invalid="ignore"):
        found = 0.5 * (interval.lower + interval.upper)
    return np.where(np.isfinite(found), found, 0.0)


def largest(interval: Interval) -> Array:
    """Return the largest absolute value in each interval."""
    return np.maximum(np.abs(interval.lower), np.abs(interval.upper))


def above_zero(value: Array) -> Array:
    """Return the positive parts."""
    return np.maximum(value, 0.0)


@dataclass(frozen=True, eq=False)
class Nodes:
    """The parts on a box, at nodes of the ratios.

    Parameters
    ----------
    ratios : ndarray, (S, M)
        Less the middles.
    middle : ndarray, (S,)
        The middles of the ratios.
    values : ndarray, (K, T, S, M)
        Of the parts less their middles, 0 for a target's own source.
    radius : ndarray, (K, T)
        What all values of a target together may be off by.
    center : Interval, (K, T)
        Sums of the parts' middles.
    error : ndarray, (K, T)
        What chords between the nodes may be off by, all sources together.
    reach : ndarray, (K, T)
        Sums are nowhere farther from `center`.
    """

    ratios: Array
    middle: Array
    values: Array
    radius: Array
    center: Interval
    error: Array
    reach: Array


@dataclass(frozen=True, eq=False)
class Problem:
    """A standard form whose z decompose.

    Parameters
    ----------
    form : StandardForm
    functions : MixtureFunctions
    separable : Separable
    """

    form: StandardForm
    functions: MixtureFunctions
    separable: Separable

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

    @cached_property
    def home(self) -> Indices:
        """The block of each target, (T,): its own source, or one of its own behind the variables."""
        own = np.concatenate([part.model.own_source for part in self.functions.responses.parts])
        strangers = np.cumsum(own < 0) - 1
        return np.where(own >= 0, own, self.form.n + strangers).astype(np.intp)

    @cached_property
    def n_blocks(self) -> int:
        """Variables, and targets without own source."""
        return int(self.form.n + (self.home >= self.form.n).sum())

    @cached_property
    def offset_and_scale(self) -> tuple[Array, Array]:
        """The cumulative ratio of each block is offset + scale x, (n_blocks,); 0 for what is no ratio."""
        offset, scale = np.zeros(self.n_blocks), np.zeros(self.n_blocks)
        offset[: self.n_sources], scale[: self.n_sources] = self.functions.offset, self.functions.scale
        return offset, scale

    def cumulative(self, x: Array, block: Indices) -> Interval:
        """Return enclosures of the cumulative ratios of blocks at x."""
        offset, scale = self.offset_and_scale
        found: Interval = Interval.enclosing(offset[block]) + Interval.enclosing(scale[block]) * Interval.enclosing(x)
        return Interval(np.where(found.upper >= 0, above_zero(found.lower), found.lower), found.upper)

    def cumulative_on(self, lower: Array, upper: Array, block: Indices) -> Interval:
        """Return enclosures of the cumulative ratios of blocks between two x."""
        return Interval(self.cumulative(lower, block).lower, self.cumulative(upper, block).upper)

    @cached_property
    def others(self) -> Array:
        """1 for pairs of a target with another source, 0 for own ones; (T, S)."""
        return np.where(self.home[:, None] == np.arange(self.n_sources), 0.0, 1.0)

    @cached_property
    def total(self) -> tuple[Array, float]:
        """Variables whose sum a row fixes, as 0 and 1, (n,), and the sum; zeros where no row does."""
        row = np.zeros(self.form.n)
        row[: self.form.n_ratios] = 1.0
        found = np.flatnonzero((self.polytope.dense == row).all(axis=1) & self.polytope.equation)
        return (row, float(self.polytope.rows.lower[found[0]])) if found.size else (0 * row, 0.0)

    @cached_property
    def summed(self) -> Array:
        """1 for pairs of a target with another source in the row of the total, (T, S)."""
        return self.others * self.total[0][: self.n_sources]

    def part(self, k: int) -> Functions:
        """Return a part."""
        return self.separable.parts[k]

    @cached_property
    def pairs(self) -> tuple[Indices, Indices]:
        """Index of every pair, (T, 1) and (1, S)."""
        return np.arange(len(self.home))[:, None], np.arange(self.n_sources)[None, :]

    @cached_property
    def lines(self) -> list[tuple[Interval, Interval] | None]:
        """Of each part that is linear in x its values at x = 0 and slopes, (T, S), 0 for own sources."""
        offset, scale = (Interval.enclosing(a[: self.n_sources]) for a in self.offset_and_scale)
        found: list[tuple[Interval, Interval] | None] = []
        for part in self.separable.parts:
            if part.linear:
                zero = Interval.enclosing(np.zeros(self.others.shape))
                slope = part.enclose_slopes(zero, self.pairs) * Interval.enclosing(self.others)
                at_zero = part.enclose(zero, self.pairs) * Interval.enclosing(self.others)
                found.append((at_zero + slope * offset, slope * scale))
            else:
                found.append(None)
        return found

    def nodes(self, box: Box) -> Nodes:
        """Return the parts at nodes of a box's ratios."""
        S, parts = self.n_sources, self.separable.parts
        m = 2 if all(part.linear for part in parts) else NODES
        low, high = box.lower[:S], box.upper[:S]
        ratios = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, m) ** SPACING
        ratios[:, -1] = high
        block = np.broadcast_to(np.arange(S)[:, None], ratios.shape)
        at, ti, sj = self.cumulative(ratios, block), *(index[..., None] for index in self.pairs)
        shape = (len(parts), *self.others.shape, m)
        values, radius, error = np.zeros(shape), np.zeros(shape[:2]), np.zeros(shape[:2])
        centers = np.zeros(shape[:3])
        mask = self.others[..., None]
        for k, part in enumerate(parts):
            found = part.enclose(at, (ti, sj)).broadcast_to(shape[1:])
            mid = np.where(mask > 0, middle(found), 0.0)
            centers[k] = 0.5 * (mid.max(axis=-1) + mid.min(axis=-1))
            values[k] = np.where(mask > 0, mid - centers[k][..., None], 0.0)
            off = np.where(mask > 0, found.upper - found.lower, 0.0) + 2 * EPS * (np.abs(mid) + np.abs(values[k]))
            radius[k] = off.max(axis=-1).sum(axis=-1)
            if not part.linear:
                error[k] = (self._chords(part, ratios) * self.others).sum(axis=-1)
        grow = 1 + 4 * (S + m) * EPS
        reach = (np.abs(values).max(axis=-1, initial=0.0).sum(axis=-1) + radius + error) * grow
        mids = 0.5 * (ratios.max(axis=1) + ratios.min(axis=1)) if S else np.zeros(0)
        center = Interval.enclosing(centers).sum(2)
        return Nodes(ratios - mids[:, None], mids, values, radius * grow, center, error * grow, reach)

    def _chords(self, part: Functions, ratios: Array) -> Array:
        """Return what chords of a part between nodes may be off by, (T, S)."""
        low, high = ratios[:, :-1], ratios[:, 1:]
        block = np.broadcast_to(np.arange(len(ratios))[:, None], low.shape)
        on, (ti, sj) = self.cumulative_on(low, high, block), self.pairs
        errors = chord_errors(part, on, (ti[..., None], sj[..., None]), self.functions.scale * (high - low))
        return np.asarray(errors.max(axis=-1))


def chord_errors(curves: Functions, on: Interval, at: Index, width: Array) -> Array:
    """Return how far functions on intervals of a width may be from their chords: by curvature, or by their range."""
    with np.errstate(invalid="ignore", over="ignore"):
        bent = largest(curves.curvature(on, at)) * width**2 / 8 * (1 + 8 * EPS)
        ranges = curves.enclose(on, at)
        spread = (ranges.upper - ranges.lower) * (1 + 2 * EPS)
    return np.where(width > 0, np.fmin(np.where(np.isnan(bent), np.inf, bent), spread), 0.0)


@dataclass(frozen=True, eq=False)
class Dual:
    """The dual function of a problem at multipliers, on a box.

    Parameters
    ----------
    problem : Problem
    multipliers : Prices
    box : Box
    """

    problem: Problem
    multipliers: Prices
    box: Box

    @cached_property
    def nodes(self) -> Nodes:
        """The parts on the box."""
        return self.problem.nodes(self.box)

    @cached_property
    def _lagrangian(self) -> tuple[Interval, Interval, Interval, Interval]:
        """The numbers of x, (n,), z, (T,), and losses, (T,), and the constant, rows included."""
        problem, y = self.problem, self.multipliers
        table, form = problem.functions.table, problem.form
        weights = np.append(1.0, y.nonlinear)
        total = table.lagrangian(weights, np.append(0.0, form.nonlinear.named(y.nonlinear)), Interval.enclosing)
        on_x, on_z, on_loss = table.split(total)
        rows = problem.polytope.rows
        used = np.flatnonzero(y.rows)
        priced = Interval.enclosing(y.rows[used])
        on_x = on_x + (Interval.enclosing(problem.polytope.dense[used]) * priced[:, None]).sum(0)
        constant = total[-1:] - (priced * Interval.enclosing(rows.named(y.rows)[used])).sum(0)
        return on_x, on_z, on_loss, constant

    @property
    def constant(self) -> float:
        """What belongs to no block, rounded down."""
        return float(self._lagrangian[3].lower[0])

    def on(self, pieces: Cells) -> OnCells:
        """Return bounds of the blocks' functions on pieces."""
        with np.errstate(all="ignore"):  # where nothing is known ends are infinite, and the bound of NaN is -inf
            return self._on(pieces)

    def _on(self, pieces: Cells) -> OnCells:
        problem, block = self.problem, pieces.block
        ends = np.stack([pieces.lower, pieces.upper], axis=1)
        # Next to 0 a loss may be infinite, and its tangent at the middle is too low at the upper end however small the
        # piece is; the tangent at that end is not.
        at_zero = (problem.cumulative(pieces.lower, block).lower <= 0) & (pieces.upper > pieces.lower)
        x = np.where(at_zero & (block < problem.n_sources), pieces.upper, 0.5 * (pieces.lower + pieces.upper))
        lines, bend, at_middle = self._linear_and_parts(pieces, ends, x)
        members = [np.flatnonzero(problem.home == j) for j in range(problem.n_blocks)]
        of = np.repeat(np.arange(block.size), [members[j].size for j in block.tolist()]).astype(np.intp)
        target = np.concatenate([members[j] for j in block.tolist()] or [np.zeros(0, int)]).astype(np.intp)
        part = _TargetCells(self, target, pieces[of], x[of])
        both = np.append(np.arange(block.size), of).astype(np.intp)
        low = [sum_down(np.append(lines.lower[:, e], part.ends[:, e]), both, block.size) for e in (0, 1)]
        lost = -sum_down(np.append(-bend, -part.bent), both, block.size)
        bound = np.minimum(*low) - lost
        bound = np.where(np.isnan(bound), -np.inf, bound - 4 * EPS * np.abs(bound))
        value = at_middle + np.bincount(of, part.value, block.size)
        return OnCells(pieces, bound, x, value, target, of, part.sums, part.z)

    def _linear_and_parts(self, pieces: Cells, ends: Array, x: Array) -> tuple[Interval, Array, Array]:
        """Return the source part at the ends, (Q, 2), what it may lie below its chord, (Q,), and about its middle."""
        problem, block, S = self.problem, pieces.block, self.problem.n_sources
        slope, at_zero = self._lagrangian[0], Interval.enclosing(np.zeros(problem.form.n))
        curved = []
        for k, line in enumerate(problem.lines):
            price = Interval.enclosing(self.multipliers.sums[k][:, None])
            if line is None:
                curved.append(k)
                continue
            zero, by_x = ((price * one).sum(0) for one in line)
            slope, at_zero = _padded(slope, by_x), _padded(at_zero, zero)
        inside = np.minimum(block, problem.form.n - 1)
        is_variable = Interval.enclosing(np.where(block < problem.form.n, 1.0, 0.0))
        by_x, zero = slope[inside] * is_variable, at_zero[inside] * is_variable
        found = zero[:, None] + by_x[:, None] * Interval.enclosing(ends)
        bend, at_middle = np.zeros(block.size), middle(zero) + middle(by_x) * x
        ratios = np.flatnonzero(block < S)
        if not (curved and ratios.size):
            return found, bend, at_middle
        j, low, high = block[ratios], pieces.lower[ratios], pieces.upper[ratios]
        targets, T = np.arange(len(problem.home))[:, None], len(problem.home)
        mask = problem.others[:, j]
        add, addm = Interval.enclosing(np.zeros((ratios.size, 2))), np.zeros(ratios.size)
        curve = Interval.enclosing(np.zeros(ratios.size))
        loose = np.zeros(ratios.size)
        on, scale = problem.cumulative_on(low, high, j), problem.functions.scale
        for k in curved:
            part, raw = problem.part(k), self.multipliers.sums[k][:, None] * mask
            price = Interval.enclosing(raw)
            cum = problem.cumulative(ends[ratios], np.stack([j, j], axis=1))
            value = part.enclose(cum[None], (targets[..., None], j[None, :, None])).broadcast_to((T, j.size, 2))
            add = add + (price[..., None] * value).sum(0)
            mid = part.values(middle(problem.cumulative(x[ratios], j))[None], (targets, j[None]))
            addm += np.where(raw != 0, raw * mid, 0.0).sum(0)
            bent = price * part.curvature(on[None], (targets, j[None])).broadcast_to((T, j.size))
            curve = curve + bent.sum(0)
            loose += (np.abs(raw) * chord_errors(part, on[None], (targets, j[None]), scale * (high - low))).sum(0)
        with np.errstate(invalid="ignore"):
            by_curve = above_zero(curve.upper) * (scale * (high - low)) ** 2 / 8
        lower, upper = found.lower.copy(), found.upper.copy()
        lower[ratios], upper[ratios] = (found[ratios] + add).lower, (found[ratios] + add).upper
        bend[ratios] = np.fmin(np.where(np.isnan(by_curve), np.inf, by_curve), loose * (1 + 4 * T * EPS)) * (
            1 + 8 * EPS
        )
        at_middle[ratios] += addm
        return Interval(lower, upper), bend, at_middle


def _padded(whole: Interval, part: Interval) -> Interval:
    """Return an array with another added to its first entries."""
    n = part.lower.size
    first = whole[:n] + part
    return Interval(np.append(first.lower, whole.lower[n:]), np.append(first.upper, whole.upper[n:]))


class _TargetCells:
    """Targets on pieces of their own ratio: `ends` (P, 2), `bent` (P,), and about the minimum at the middle."""

    def __init__(self, dual: Dual, target: Indices, pieces: Cells, x: Array) -> None:
        self.dual, self.problem, self.target, self.pieces, self.x = dual, dual.problem, target, pieces, x
        self.nodes, self.K = dual.nodes, len(self.problem.separable.parts)
        _, on_z, on_loss, _ = dual._lagrangian
        self.v, self.w = on_z[target], on_loss[target]
        self.price = dual.multipliers.sums[:, target]
        self.block = self.problem.home[target]
        self.touched = self._is_touched()
        self._choose()
        self._bound()

    def _is_touched(self) -> NDArray[np.bool_]:
        """Where the weighted law lies above its tangents."""
        return np.asarray(self.problem.proofs.loss_convex & (self.w.lower >= 0))

    @cached_property
    def _steps(self) -> Array:
        """Changes of the parts from node to node, (K, P, S, M - 1)."""
        return np.diff(self.nodes.values, axis=-1)[:, self.target]

    def _fill(self, q: Array) -> tuple[Array, Array]:
        """Return about the sums, (K, P), less their middles, that are least in q, and the price theta of the total."""
        nodes, t, step = self.nodes, self.target, self._steps
        room = np.diff(nodes.ratios, axis=-1)  # (S, M - 1)
        cost = np.zeros((t.size, *room.shape))
        for k in range(self.K):
            cost += q[k][:, None, None] * step[k]
        with np.errstate(all="ignore"):
            slope = np.where(room > 0, cost / room, 0.0)
        if room.shape[1] > 1:  # a function that bends down is least at an end
            chord = cost.sum(axis=-1, keepdims=True) / np.maximum(room.sum(axis=-1), 1e-300)[None, :, None]
            falls = np.asarray(np.diff(slope, axis=-1) < -1e-12 * np.abs(slope[..., 1:])).any(axis=-1, keepdims=True)
            slope = np.where(falls, chord, slope)
        flat = slope.reshape(t.size, room.size)
        summed = np.repeat(self.problem.summed[t], room.shape[1], axis=1)
        free = np.broadcast_to(room.ravel(), flat.shape) * summed
        low = nodes.ratios[:, 0] + nodes.middle
        capacity = self.problem.total[1] - self.x * self._in_total - self.problem.summed[t] @ low
        order = np.argsort(np.where(summed > 0, flat, np.inf), axis=1)
        sorted_room = np.take_along_axis(free, order, axis=1)
        after = np.cumsum(sorted_room, axis=1)
        used = np.clip(capacity[:, None] - (after - sorted_room), 0.0, sorted_room)
        amount = np.zeros_like(flat)
        np.put_along_axis(amount, order, used, axis=1)
        with np.errstate(all="ignore"):
            share = np.where(free > 0, amount / free, np.where(summed > 0, 0.0, flat < 0))
        last = np.minimum((after < capacity[:, None]).sum(axis=1), flat.shape[1] - 1)
        theta = np.take_along_axis(np.take_along_axis(flat, order, axis=1), last[:, None], axis=1)[:, 0]
        start = nodes.values[:, :, :, 0].sum(axis=-1)[:, t]
        shares = share.reshape(t.size, *room.shape)
        sums = start + np.array([(one * shares).sum(axis=(1, 2)) for one in step]).reshape(start.shape)
        return sums, np.where(np.isfinite(theta) & (self.problem.total[0].any()), theta, 0.0)

    @cached_property
    def _in_total(self) -> Array:
        """1 where the target's own ratio counts in the total, (P,)."""
        total = self.problem.total[0]
        return np.where(self.block < total.size, total[np.minimum(self.block, total.size - 1)], 0.0)

    def _choose(self) -> None:
        """Choose u and theta at a point of each piece, in floating point."""
        problem, t = self.problem, self.target
        cum = middle(problem.cumulative(self.x, self.block))
        separable = problem.separable
        own = separable.own.values(cum, t)
        gates = np.array([gate.values(cum, t) for gate in separable.gates]).reshape(self.K, t.size)
        center = middle(self.nodes.center)[:, t]
        w, v = middle(self.w), middle(self.v)

        def z_of(sums: Array) -> Array:
            return np.asarray(own + (gates * (center + sums)).sum(axis=0))

        least, most = z_of(self._fill(gates)[0]), z_of(self._fill(-gates)[0])
        ends_at_zero = problem.proofs.end_of_domain[t] == 0.0
        most = np.where(ends_at_zero, np.maximum(most, SMALL), most)  # where no z is in the domain, a tangent there
        least = np.where(ends_at_zero, np.maximum(least, SMALL * most), least)
        most = np.maximum(most, least)

        def slope_at(z: Array) -> Array:
            u = np.where(w != 0, w * separable.law.slopes(np.clip(z, least, most), t)[1], 0.0) + v
            return np.where(np.isfinite(u), u, 0.0)

        def best(u: Array) -> tuple[Array, Array]:
            sums, self.theta = self._fill(u * gates - self.price)
            return sums, z_of(sums)

        # The best u is where the slope of the law at the z of the sums that are least at u is u itself; at a jump
        # of those sums both sides cost the same there. z falls with u.
        low, high = slope_at(least), slope_at(most)
        (a, z_a), (b, z_b) = best(low), best(high)
        u = high
        for _ in range(STEPS if (self.touched & (w != 0)).any() and self.K else 0):
            with np.errstate(all="ignore"):
                u = (self.price * (a - b)).sum(axis=0) / (z_a - z_b)
            u_a, u_b = slope_at(z_a), slope_at(z_b)
            u = np.where(np.isfinite(u), u, u_a)
            u = np.clip(np.clip(u, np.minimum(u_b, u_a), np.maximum(u_b, u_a)), low, high)
            c, z_c = best(u)
            up = slope_at(z_c) > u
            low, high = np.where(up, u, low), np.where(up, high, u)
            a, z_a, b, z_b = np.where(up, c, a), np.where(up, z_c, z_a), np.where(up, b, c), np.where(up, z_b, z_c)
        self.z0 = self._with_slope(slope_at, u, least, most)
        with np.errstate(all="ignore"):
            share = np.clip((self.z0 - z_b) / (z_a - z_b), 0.0, 1.0)
        mixed = b + np.where(np.isfinite(share), share, 0.0) * (a - b)
        self.sums, self.z = center + mixed, z_of(mixed)
        loss = separable.law.values(self.z, t)
        self.value = np.where(w != 0, w * loss, 0.0) + v * self.z - (self.price * self.sums).sum(axis=0)

    @staticmethod
    def _with_slope(slope_at: Callable[[Array], Array], u: Array, low: Array, high: Array) -> Array:
        """Return where between low and high an increasing slope is u."""
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            below = slope_at(middle) < u
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return 0.5 * (low + high)

    def _line(self, own: Interval, gates: list[Interval]) -> tuple[Interval, Interval]:
        """Return kappa and u: w L(z) + v z is at least kappa + u z on the piece."""
        t, law, zero = self.target, self.problem.separable.law, np.zeros(self.target.size)
        used = (self.w.lower != 0) | (self.w.upper != 0)
        at = Interval.enclosing(np.where(np.isfinite(self.z0), self.z0, 1.0))
        loss, slope = law.enclose(at, t), law.enclose_slopes(at, t)
        u, kappa = self.w * slope, self.w * (loss - slope * at)
        if not (self.touched | ~used).all():  # by the mean value theorem on all z of the piece
            reach = self.nodes.reach[:, t]
            z = own
            for k, gate in enumerate(gates):
                z = z + gate * (self.nodes.center[k][t] + Interval(-reach[k], reach[k]))
            z = Interval(np.maximum(z.lower, self.problem.proofs.end_of_domain[t]), z.upper)
            mid = np.where((self.z0 > z.lower) & (self.z0 < z.upper), self.z0, middle(z))
            mid = np.where(np.isfinite(mid), mid, 1.0)
            fixed = self.w * law.enclose(Interval.enclosing(mid), t)
            slopes = self.w * law.enclose_slopes(z, t)
            tilt = Interval.enclosing(middle(slopes))
            rest = (slopes - tilt) * (z - Interval.enclosing(mid))
            line = fixed - tilt * Interval.enclosing(mid) + rest
            u, kappa = _chosen(self.touched, u, tilt), _chosen(self.touched, kappa, line)
        zeros = Interval.enclosing(zero)
        return _chosen(used, kappa, zeros), _chosen(used, u, zeros) + self.v

    def _bound(self) -> None:
        """Set the bounds at the ends, rounded down, and what the function may be below their chord, rounded up."""
        problem, t, block, nodes = self.problem, self.target, self.block, self.nodes
        separable, width = problem.separable, self.pieces.upper - self.pieces.lower
        ends = np.stack([self.pieces.lower, self.pieces.upper], axis=1)
        cum = problem.cumulative(ends, np.stack([block, block], axis=1))
        on = problem.cumulative_on(self.pieces.lower, self.pieces.upper, block)
        kappa, u = self._line(separable.own.enclose(on, t), [gate.enclose(on, t) for gate in separable.gates])
        own = separable.own.enclose(cum, t[:, None])
        theta, in_total = Interval.enclosing(self.theta), Interval.enclosing(self._in_total)
        left = Interval.enclosing(problem.summed[t] * nodes.middle).sum(1)
        base = kappa + theta * (Interval.enclosing(problem.total[1]) - left)
        base = base[:, None] + u[:, None] * own - (theta * in_total)[:, None] * Interval.enclosing(ends)
        middles, radii, wide = [], [], problem.offset_and_scale[1][block] * width
        lost = np.zeros(t.size)
        bend = separable.own.curvature(on, t)
        loose = largest(u) * chord_errors(separable.own, on, t, wide)
        for k, gate in enumerate(separable.gates):
            value, center = gate.enclose(cum, t[:, None]), nodes.center[k][t]
            q = u[:, None] * value - Interval.enclosing(self.price[k][:, None])
            base = base + q * center[:, None]
            middles.append(middle(q))
            radii.append(
                (q.upper - q.lower) * nodes.reach[k][t][:, None]
                + largest(q) * (nodes.radius + nodes.error)[k][t][:, None]
            )
            off = chord_errors(gate, on, t, wide)
            lost += largest(u) * off * nodes.reach[k][t]
            loose += largest(u) * largest(center) * off
            bend = bend + gate.curvature(on, t) * center
        with np.errstate(invalid="ignore"):
            by_curve = np.where(wide > 0, above_zero((u * bend).upper) * wide**2 / 8, 0.0)
        bent = np.fmin(np.where(np.isnan(by_curve), np.inf, by_curve), loose)
        self.bent = (bent + lost) * (1 + 16 * (self.K + 2) * EPS)
        least, slack = self._least(np.array(middles).reshape(self.K, t.size, 2))
        off = np.array(radii).reshape(self.K, t.size, 2).sum(axis=0)
        found = base.lower + least - (off + slack) * (1 + 8 * EPS)
        self.ends = found - 8 * EPS * (np.abs(base.lower) + np.abs(least) + off)

    def _least(self, q: Array) -> tuple[Array, Array]:
        """Return sum_j min_m (q'B_jm - theta R_jm), (P, 2), and what rounding may have added to it."""
        nodes, t = self.nodes, self.target
        priced = self.theta[:, None] * self.problem.summed[t]  # (P, S)
        cost = -priced[:, None, :, None] * nodes.ratios
        size = np.abs(priced) @ np.abs(nodes.ratios).max(axis=1, initial=0.0)
        size = np.stack([size, size], axis=1)
        for k in range(self.K):
            cost = cost + q[k][:, :, None, None] * nodes.values[k][t][:, None]
            size = size + np.abs(q[k]) * nodes.reach[k][t][:, None]
        terms = self.K + self.problem.n_sources + 8
        return cost.min(axis=-1).sum(axis=-1), 2 * terms * EPS * size


def _chosen(mask: NDArray[np.bool_], one: Interval, other: Interval) -> Interval:
    return Interval(np.where(mask, one.lower, other.lower), np.where(mask, one.upper, other.upper))


@dataclass(frozen=True, eq=False)
class Value:
    """The dual function's value, piece by piece.

    Parameters
    ----------
    on : OnCells
    least : ndarray, (n_blocks,)
        The least bound of each block's pieces.
    lower : float
        The objective is nowhere below it on the box, where all rows hold.
    """

    on: OnCells
    least: Array
    lower: float

    @classmethod
    def of(cls, dual: Dual, on: OnCells) -> Value:
        """Return the value of pieces that cover every block's interval."""
        n = dual.problem.n_blocks
        least = np.full(n, np.inf)
        np.minimum.at(least, on.pieces.block, on.bound)
        lower = sum_down(np.append(least, dual.constant), np.zeros(n + 1, dtype=np.intp), 1)[0]
        return cls(on, least, -np.inf if np.isnan(lower) else float(lower))

    def without(self, target: float) -> NDArray[np.bool_]:
        """Return which pieces have no point whose objective is below `target`."""
        size = float(np.abs(self.least).sum()) + abs(self.lower)
        with np.errstate(invalid="ignore"):
            rest = self.lower - self.least[self.on.pieces.block] + self.on.bound
            return np.asarray(rest - 8 * EPS * size >= target)

    def left(self, target: float, box: Box) -> Box | None:
        """Return a box around what may be below `target`; None where nothing is."""
        pieces, n = self.on.pieces[~self.without(target)], self.least.size
        low, high = np.full(n, np.inf), np.full(n, -np.inf)
        np.minimum.at(low, pieces.block, pieces.lower)
        np.maximum.at(high, pieces.block, pieces.upper)
        return Box(low[: box.lower.size], high[: box.lower.size]) if np.isfinite(low).all() else None


def evaluate(dual: Dual, target: float, tolerance: float) -> Value:
    """Return the dual function's value from pieces that are halved where that pays.

    Parameters
    ----------
    dual : Dual
    target : float
        What the value is wanted to reach; pieces are not halved where they have nothing below it.
    tolerance : float
        Halving stops where the pieces cost about less, or once they leave much less of the box.
    """
    n, width = dual.problem.n_blocks, dual.box.width
    on = dual.on(whole(dual.problem, dual.box))
    for halved in range(HALVED + 1):
        value, best = Value.of(dual, on), np.full(n, np.inf)
        if value.lower >= target or halved == HALVED or on.bound.size > MOST * n:
            break
        np.minimum.at(best, on.pieces.block, np.where(np.isnan(on.value), np.inf, on.value))
        missing = target - value.lower
        allowed = max(tolerance, SHARE * missing if np.isfinite(missing) else 0.0) / n
        coarse = (on.bound < (best - allowed)[on.pieces.block]) & (on.pieces.upper - on.pieces.lower > NARROW)
        coarse &= ~value.without(target)
        if not coarse.any():
            break
        if halved >= ENOUGH:
            left = value.left(target, dual.box)
            if left is None or left.width.sum() < SHRINKS * width.sum():
                break
        on = on[~coarse] + dual.on(halves(on.pieces[coarse]))
    return value


def halves(pieces: Cells) -> Cells:
    """Return the two halves of each piece."""
    middle = 0.5 * (pieces.lower + pieces.upper)
    return Cells(
        np.append(pieces.block, pieces.block), np.append(pieces.lower, middle), np.append(middle, pieces.upper)
    )


def whole(problem: Problem, box: Box, cells: int = 8) -> Cells:
    """Return every block's interval in pieces of one width."""
    strangers = problem.n_blocks - problem.form.n
    low, high = np.append(box.lower, np.zeros(strangers)), np.append(box.upper, np.zeros(strangers))
    edges = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, cells + 1)
    edges[:, -1] = high
    has_target = np.isin(np.arange(problem.n_blocks), problem.home)
    curved = has_target | (np.arange(problem.n_blocks) < problem.n_sources) & any(
        not part.linear for part in problem.separable.parts
    )
    many = np.flatnonzero(curved & (high > low))
    one = np.flatnonzero(~(curved & (high > low)))
    return Cells(
        np.append(np.repeat(many, cells), one).astype(np.intp),
        np.append(edges[many, :-1].ravel(), low[one]),
        np.append(edges[many, 1:].ravel(), high[one]),
    )
