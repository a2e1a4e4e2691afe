"""Where to touch laws, and what the total is worth: choices in floating point, which no bound rests on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from climbopt.certification.proof.blocks import Cells, Choices, Dual, enclosing
from climbopt.certification.proof.decomposition import Indices
from climbopt.model.templates import Array

STEPS, HALVINGS = 8, 40
"""Steps of the search for the slope at which a law is touched, and for the point that has it."""
SETTLED = 1e-9
"""Sums this near to one end of a jump, relative to the jump, are that end."""
SMALL = 1e-9
"""Below it no law whose domain begins at 0 is touched."""


def choose(dual: Dual, pieces: Cells) -> tuple[Choices, Array]:
    """Return choices that suit one point of each piece, and about the block's value there, (Q,)."""
    problem, block = dual.problem, pieces.block
    # Next to 0 a loss may be infinite, and its tangent at the middle is too low at the upper end however small the
    # piece is; the tangent at that end is not.
    at_zero = (problem.cumulative(enclosing(pieces.lower), block).lower <= 0) & (pieces.upper > pieces.lower)
    x = np.where(at_zero & (block < problem.n_sources), pieces.upper, 0.5 * (pieces.lower + pieces.upper))
    target, of = dual.targets(pieces)
    with np.errstate(all="ignore"):
        touch = _Touch(dual, target, block[of], x[of])
        value = _of_variables(dual, block, x) + np.bincount(of, touch.value, block.size)
    return Choices(np.where(np.isfinite(touch.z0), touch.z0, 1.0), touch.theta), value


def _of_variables(dual: Dual, block: Indices, x: Array) -> Array:
    """Return about what variables add at x."""
    problem, (zero, slope) = dual.problem, (numbers.middle for numbers in dual.lines)
    value = zero[block] + slope[block] * x
    ratios = np.flatnonzero(block < problem.n_sources)
    j, targets = block[ratios], problem.pairs[0]
    cumulative = problem.cumulative(enclosing(x[ratios]), j).middle
    for price, part in zip(dual.prices.sums, problem.separable.parts, strict=True):
        if not part.linear:
            priced = price[:, None] * problem.others[:, j]
            value[ratios] += np.where(priced != 0, priced * part.values(cumulative, (targets, j)), 0.0).sum(axis=0)
    return value


class _Touch:
    """Targets at points of their own variable: `z0`, `theta` and about the `value` of their part, (P,) each.

    The best slope u is where the slope of the law at the z of the sums that are least at u is u itself.
    """

    def __init__(self, dual: Dual, target: Indices, block: Indices, x: Array) -> None:
        self.problem, self.ratios, self.target, self.x = dual.problem, dual.ratios, target, x
        _, on_z, on_loss, _ = dual.lagrangian
        self.w, self.v = on_loss.middle[target], on_z.middle[target]
        self.price = dual.prices.sums[:, target]
        self.in_total = self.problem.total[0][block]
        separable, shape = self.problem.separable, self.price.shape
        cumulative = self.problem.cumulative(enclosing(x), block).middle
        self.own = separable.own.values(cumulative, target)
        self.gates = np.reshape([gate.values(cumulative, target) for gate in separable.gates], shape)
        values = np.reshape([part.values[target] for part in dual.parts], (*shape, *self.ratios.shape))
        self.start, self._steps = values[..., 0].sum(axis=-1), np.diff(values, axis=-1)
        self._choose()

    def _z(self, sums: Array) -> Array:
        return np.asarray(self.own + (self.gates * sums).sum(axis=0))

    def _slope(self, z: Array) -> Array:
        """Return the slope of w L(z) + v z, z clipped to what it can be."""
        law = self.problem.separable.law.values(np.clip(z, self.least, self.most), self.target, 1)
        u = np.where(self.w != 0, self.w * law, 0.0) + self.v
        return np.where(np.isfinite(u), u, 0.0)

    def _best(self, u: Array) -> tuple[Array, Array]:
        """Return the sums that are least at a slope, and their z; `theta` is theirs afterwards."""
        sums, self.theta = self._fill(u * self.gates - self.price)
        return sums, self._z(sums)

    def _choose(self) -> None:
        """Choose u by regula falsi: z falls with u, and at a jump of the sums both sides cost the same."""
        # What z can be: gates of one sign make its least and its most by the same knapsack.
        self.least, most = self._z(self._fill(self.gates)[0]), self._z(self._fill(-self.gates)[0])
        ends_at_zero = self.problem.end_of_domain[self.target] == 0.0
        most = np.where(ends_at_zero, np.maximum(most, SMALL), most)  # where no z is in the domain, a tangent there
        self.least = np.where(ends_at_zero, np.maximum(self.least, SMALL * most), self.least)
        self.most = np.maximum(most, self.least)
        # The best tangent's slope u: the z of the sums that are least at u is where the law has that slope.
        low, high = self._slope(self.least), self._slope(self.most)
        (a, z_a), (b, z_b) = self._best(low), self._best(high)
        u, tangent = high, self.problem.loss_convex & (self.w > 0)
        for _ in range(STEPS if tangent.any() and len(self.gates) else 0):
            # Where the sums jump from a to b, the u at which both cost the same is exact.
            u = (self.price * (a - b)).sum(axis=0) / (z_a - z_b)
            u_a, u_b = self._slope(z_a), self._slope(z_b)
            u = np.where(np.isfinite(u), u, u_a)
            u = np.clip(np.clip(u, np.minimum(u_b, u_a), np.maximum(u_b, u_a)), low, high)
            c, z_c = self._best(u)
            if (
                np.abs(c - a).max(axis=0) * np.abs(c - b).max(axis=0) <= SETTLED * np.abs(a - b).max(axis=0) ** 2
            ).all():
                break  # the jump is between a and b
            up = self._slope(z_c) > u
            low, high = np.where(up, u, low), np.where(up, high, u)
            a, z_a, b, z_b = np.where(up, c, a), np.where(up, z_c, z_a), np.where(up, b, c), np.where(up, z_b, z_c)
        self.z0 = _with_slope(self._slope, u, self.least, self.most)
        # At a jump the sums are a mixture of both sides, whose z is that of the touch.
        share = np.clip((self.z0 - z_b) / (z_a - z_b), 0.0, 1.0)
        mixed = b + np.where(np.isfinite(share), share, 0.0) * (a - b)
        z = self._z(mixed)
        losses = np.where(self.w != 0, self.w * self.problem.separable.law.values(z, self.target), 0.0)
        self.value = losses + self.v * z - (self.price * mixed).sum(axis=0)

    def _fill(self, q: Array) -> tuple[Array, Array]:
        """Return about the sums, (K, P), that are least in q, and the price theta of the total."""
        t, problem = self.target, self.problem
        # A fractional knapsack: steps between nodes are taken in order of cost per unit of ratio, until the sum of the
        # others is full; theta is the cost of the last one.
        room = np.diff(self.ratios, axis=-1)  # (S, M - 1)
        cost = np.einsum("kp,kpsm->psm", q, self._steps)
        slope = np.where(room > 0, cost / room, 0.0)
        if room.shape[1] > 1:  # a function that bends down is least at an end
            chord = cost.sum(axis=-1, keepdims=True) / np.maximum(room.sum(axis=-1), 1e-300)[None, :, None]
            falls = np.asarray(np.diff(slope, axis=-1) < -1e-12 * np.abs(slope[..., 1:])).any(axis=-1, keepdims=True)
            slope = np.where(falls, chord, slope)
        flat = slope.reshape(t.size, room.size)
        summed = np.repeat(problem.summed[t], room.shape[1], axis=1)
        free = np.broadcast_to(room.ravel(), flat.shape) * summed
        # What is left of the total when every source is at its lower end.
        capacity = problem.total[1] - self.x * self.in_total - problem.summed[t] @ self.ratios[:, 0]
        order = np.argsort(np.where(summed > 0, flat, np.inf), axis=1)
        sorted_room = np.take_along_axis(free, order, axis=1)
        after = np.cumsum(sorted_room, axis=1)
        amount = np.zeros_like(flat)
        np.put_along_axis(amount, order, np.clip(capacity[:, None] - (after - sorted_room), 0.0, sorted_room), axis=1)
        # Sources outside of the total are free: all of the steps that lower the cost.
        share = np.where(free > 0, amount / free, np.where(summed > 0, 0.0, flat < 0)).reshape(cost.shape)
        last = np.minimum((after < capacity[:, None]).sum(axis=1), flat.shape[1] - 1)
        theta = np.take_along_axis(np.take_along_axis(flat, order, axis=1), last[:, None], axis=1)[:, 0]
        theta = np.where(np.isfinite(theta) & problem.total[0].any(), theta, 0.0)
        return self.start + np.einsum("kpsm,psm->kp", self._steps, share), theta


def _with_slope(slope_at: Callable[[Array], Array], u: Array, low: Array, high: Array) -> Array:
    """Return where between low and high an increasing slope is u."""
    for _ in range(HALVINGS):
        half = 0.5 * (low + high)
        below = slope_at(half) < u
        low, high = np.where(below, half, low), np.where(below, high, half)
    return 0.5 * (low + high)
