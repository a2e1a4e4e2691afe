"""The minima of least squares inside bounds, of many problems at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climbopt.fitting.least_squares import Block, stacks
from climbopt.model.templates import Array

MAX_STEPS = 600
TOLERANCE = 1e-9
"""Share of the cost: a step that promises less is not taken."""
FIRST_DAMPING, LEAST_DAMPING = 1.0, 1e-9
"""Of the coordinates in units of their prior's spread."""
ROUNDING = 1e-15
"""Least damping as a share of the normal matrix's largest entry, so that it stays regular in floating point."""
NEAR, LOWER = 0.75, 3.0
"""Where a step gains more than this share of what it promises, the damping is divided by this."""
RAISE, RAISE_MORE = 2.0, 4.0
"""What the damping is multiplied by after a step that gained less, and one that gained nothing and is not taken."""


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # such trials are not taken
def minimum(block: Block, start: Array, tolerance: float = TOLERANCE) -> Array:
    """Return the coordinates of a local minimum of each problem, by damped Gauss-Newton steps inside the bounds.

    Levenberg-Marquardt in units of the prior's spread, in which the priors alone make the normal matrix at least 1;
    coordinates at their bound whose gradient points outwards are held, and the way of a step goes on along a bound
    that it meets. The problems of a batch go their own ways: each has its own damping, and ends by itself.

    Parameters
    ----------
    block : Block
    start : ndarray, (p,), or (K, p) of a batch
        Moved onto the bounds where it is outside. A start whose cost is no number is returned.
    tolerance : float
        Ends where a step promises to lower the sum of squares by a smaller share.

    Source
    ------
    Bertsekas, Projected Newton methods for optimization problems with simple constraints, SIAM J. Control 20 (1982).
    """
    if start.ndim == 1:
        return np.asarray(minimum(block.repeated(1), start[None], tolerance)[0])
    spread, lower = block.spread, block.lower
    result = np.maximum(start, lower)
    cost = 2 * block.cost(result)
    live = np.flatnonzero(np.isfinite(cost))  # the problems that have not ended, of which all below is
    here, x, cost, damping = block.take(live), result[live], cost[live], np.full(live.size, FIRST_DAMPING)
    normal, gradient = _model(here, x)
    for _ in range(MAX_STEPS):
        step = _steps(normal.damped(damping), gradient, (lower - x) / spread)
        # Decrease of |residuals|^2 in the linear model: -(2 g's + s'J'J s), with g = J'residuals.
        promised = -(2 * gradient * step + step * normal.times(step)).sum(axis=1)
        on = promised > tolerance * cost
        if not on.all():
            result[live] = x
            live, here, normal = live[on], here.take(np.flatnonzero(on)), normal.take(on)
            x, cost, damping, gradient, step, promised = (
                array[on] for array in (x, cost, damping, gradient, step, promised)
            )
        if not live.size:
            break
        trial = np.maximum(x + spread * step, lower)
        gained = cost - 2 * here.cost(trial)
        # NaN compares false, so that the damping rises until every prediction is a number.
        better = gained > 0
        damping *= np.where(better, np.where(gained > NEAR * promised, 1 / LOWER, RAISE), RAISE_MORE)
        damping = np.maximum(damping, LEAST_DAMPING)
        if better.any():
            # The block still has the predictions of all trials, so that derivatives alone remain to be computed.
            there, slope = _model(here, trial)
            x, cost = np.where(better[:, None], trial, x), np.where(better, cost - gained, cost)
            normal, gradient = normal.where(better, there), np.where(better[:, None], slope, gradient)
    result[live] = x
    return result


def minima(batches: Sequence[Block], starts: Sequence[Array], tolerance: float = TOLERANCE) -> list[Array]:
    """Return the minima of several batches, (K, p) each, those that are alike searched for as one.

    Parameters
    ----------
    batches : sequence of Block
        Of as many problems each.
    starts : sequence of ndarray, (K, p)
    tolerance : float
        As of :func:`minimum`.
    """
    result = list(starts)
    for which, batch in stacks(batches):
        ends = minimum(batch, np.concatenate([starts[i] for i in which]), tolerance)
        for i, end in zip(which, np.split(ends, len(which)), strict=True):
            result[i] = end
    return result


@dataclass(frozen=True, eq=False)
class _Arrow:
    """Symmetric matrices that join the coordinates of a target with its own and those of sources alone.

    Vectors are flat, (K, p), in the order of the block's coordinates.

    Parameters
    ----------
    own : ndarray, (K, T, q, q)
        Of each target's coordinates; those that are not moved have rows and columns of the unit matrix.
    joint : ndarray, (K, T, q, s)
        Of those with the sources'.
    shared : ndarray, (K, s, s)
        Of the sources'.
    of_targets, of_sources : ndarray of int, (T, q) and (s,)
        As of :class:`Block`.
    """

    own: Array
    joint: Array
    shared: Array
    of_targets: NDArray[np.intp]
    of_sources: NDArray[np.intp]

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> _Arrow:
        """Return some of the matrices."""
        return _Arrow(self.own[which], self.joint[which], self.shared[which], self.of_targets, self.of_sources)

    def where(self, chosen: NDArray[np.bool_], other: _Arrow) -> _Arrow:
        """Return the matrices with those that are chosen, (K,), replaced."""
        own, joint, shared = (
            np.where(chosen.reshape(-1, *[1] * (mine.ndim - 1)), its, mine)
            for mine, its in ((self.own, other.own), (self.joint, other.joint), (self.shared, other.shared))
        )
        return _Arrow(own, joint, shared, self.of_targets, self.of_sources)

    def damped(self, damping: Array) -> _Arrow:
        """Return the matrices with damping, (K,), on their diagonals."""
        largest = np.maximum(self.own.max(axis=(1, 2, 3), initial=0.0), self.shared.max(axis=(1, 2), initial=0.0))
        least = np.maximum(damping, ROUNDING * largest)
        own, shared = (least[:, None, None] * np.eye(one.shape[-1]) for one in (self.own, self.shared))
        return _Arrow(self.own + own[:, None], self.joint, self.shared + shared, self.of_targets, self.of_sources)

    def times(self, vector: Array) -> Array:
        """Return matrix times vector, (K, p)."""
        own, shared = self._split(vector)
        return self._joined(
            np.einsum("ktij,ktj->kti", self.own, own) + np.einsum("ktis,ks->kti", self.joint, shared),
            np.einsum("ktis,kti->ks", self.joint, own) + np.einsum("kij,kj->ki", self.shared, shared),
            vector.shape,
        )

    def solve(self, free: NDArray[np.bool_], right: Array) -> Array:
        """Return the solution, (K, p), in the coordinates that are free, (K, p), with the others at 0.

        By the Schur complement of the targets' coordinates.
        """
        own_free, shared_free = (part > 0 for part in self._split(free))
        own_right, shared_right = self._split(np.where(free, right, 0.0))
        own = _restricted(self.own, own_free)
        if not self.of_sources.size:
            direct = np.asarray(np.linalg.solve(own, own_right[..., None])[..., 0], dtype=float)
            return self._joined(direct, shared_right, right.shape)
        joint = self.joint * (own_free[..., None] & shared_free[:, None, None])
        solved = np.linalg.solve(own, np.concatenate([joint, own_right[..., None]], axis=-1))
        across, alone = solved[..., :-1], solved[..., -1]
        complement = _restricted(self.shared, shared_free) - np.einsum("ktis,ktiu->ksu", joint, across)
        reduced = shared_right - np.einsum("ktis,kti->ks", joint, alone)
        shared = np.linalg.solve(complement, reduced[..., None])[..., 0]
        return self._joined(alone - np.einsum("ktis,ks->kti", across, shared), shared, right.shape)

    def _split(self, vector: Array | NDArray[np.bool_]) -> tuple[Array, Array]:
        """Return the entries of targets, (K, T, q), and of sources, (K, s); 0 for what is not moved."""
        padded = np.concatenate([vector, np.zeros((len(vector), 1))], axis=1)
        return padded[:, self.of_targets], padded[:, self.of_sources]

    def _joined(self, own: Array, shared: Array, shape: tuple[int, ...]) -> Array:
        """Return the flat vectors, of the given shape, of entries of targets and of sources."""
        padded = np.zeros((shape[0], shape[1] + 1))
        padded[:, self.of_targets] = own
        padded[:, self.of_sources] = shared
        return padded[:, :-1]


def _restricted(matrix: Array, free: NDArray[np.bool_]) -> Array:
    """Return matrices with the rows and columns of what is not free, (..., q), made those of the unit matrix."""
    return np.asarray(np.where(free[..., None] & free[..., None, :], matrix, np.eye(free.shape[-1])))


def _model(block: Block, x: Array) -> tuple[_Arrow, Array]:
    """Return the normal matrices and the gradients, (K, p), of a batch at x, in units of the priors' spreads."""
    spread = np.append(block.spread, 0.0)
    own, shared = block.derivatives(x)
    own = np.moveaxis(own * spread[block.of_targets], 1, 2)  # (K, T, n, q)
    shared = np.moveaxis(shared * spread[block.of_sources], 1, 2)
    errors = np.moveaxis(block.robust_errors(x), 1, 2)[..., None]
    turned = np.swapaxes(own, -1, -2)
    across = np.swapaxes(shared, -1, -2)
    arrow = _Arrow(
        turned @ own + np.eye(own.shape[-1]),
        turned @ shared,
        (across @ shared).sum(axis=1) + np.eye(shared.shape[-1]),
        block.of_targets,
        block.of_sources,
    )
    of_losses = arrow._joined((turned @ errors)[..., 0], (across @ errors)[..., 0].sum(axis=1), x.shape)
    return arrow, of_losses + block.prior_errors(x)


def _steps(damped: _Arrow, gradient: Array, room: Array) -> Array:
    """Return the damped Gauss-Newton steps, (K, p), of the coordinates that no bound holds.

    `room` is how far each may go down. Where the way to a model's minimum meets a bound, the coordinate is held
    there and the way goes on to the minimum of the others, so that the model falls all along.
    """
    step = np.zeros(gradient.shape)
    # At a bound (room 0) a coordinate is free only where the descent direction -g points inwards.
    free = (room < 0) | (gradient < 0)
    on = np.flatnonzero(free.any(axis=1))
    while on.size:
        here = damped.take(on)
        # From the point reached so far to the damped model's minimum over the free coordinates.
        way = -here.solve(free[on], gradient[on] + here.times(step[on]))
        left = room[on] - step[on]
        # Shares of the way at which bounds are met; the first one met is held from here on.
        lengths = np.full(way.shape, np.inf)
        np.divide(left, way, out=lengths, where=free[on] & (way < left))
        first = lengths.argmin(axis=1)
        least = lengths[np.arange(on.size), first]
        met = np.isfinite(least)
        step[on] += np.where(met, np.maximum(least, 0.0), 1.0)[:, None] * way
        on, first = on[met], first[met]
        step[on, first], free[on, first] = room[on, first], False
        on = on[free[on].any(axis=1)]
    return step
