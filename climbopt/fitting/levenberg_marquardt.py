"""The minimum of a block's least squares inside its bounds."""

from __future__ import annotations

import numpy as np

from climbopt.fitting.least_squares import Block
from climbopt.model.templates import Array

MAX_STEPS = 300
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


def minimum(block: Block, start: Array, tolerance: float = TOLERANCE) -> Array:
    """Return the coordinates of a local minimum, by damped Gauss-Newton steps inside the bounds.

    Levenberg-Marquardt in units of the prior's spread, in which the priors alone make the normal matrix at least 1;
    coordinates at their bound whose gradient points outwards are held, and the way of a step goes on along a bound
    that it meets.

    Parameters
    ----------
    block : Block
    start : ndarray, (p,)
        Moved onto the bounds where it is outside.
    tolerance : float
        Ends where a step promises to lower the sum of squares by a smaller share.

    Source
    ------
    Bertsekas, Projected Newton methods for optimization problems with simple constraints, SIAM J. Control 20 (1982).
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # such trials are not taken
        return _descend(block, start, tolerance)


def _descend(block: Block, start: Array, tolerance: float) -> Array:
    """Return what :func:`minimum` does; the start itself where its cost is no number."""
    spread = block.spread
    x, damping = np.maximum(start, block.lower), FIRST_DAMPING
    residuals = block.residuals(x)
    cost = _square(residuals)
    for _ in range(MAX_STEPS):
        jacobian = block.jacobian(x) * spread
        gradient, normal = jacobian.T @ residuals, jacobian.T @ jacobian
        while True:
            step = _step(gradient, normal, damping, (block.lower - x) / spread)
            # Decrease of |residuals|^2 in the linear model: -(2 g's + s'J'J s), with g = J'residuals.
            promised = -float(2 * gradient @ step + step @ normal @ step)
            if not promised > tolerance * cost:
                return x
            trial = np.maximum(x + spread * step, block.lower)
            new = block.residuals(trial)
            gained = cost - _square(new)
            # NaN compares false, so that the damping rises until every prediction is a number.
            if gained > 0:  # not where a prediction is no number
                break
            damping *= RAISE_MORE
        damping = max(damping / LOWER, LEAST_DAMPING) if gained > NEAR * promised else damping * RAISE
        x, residuals, cost = trial, new, cost - gained
    return x


def _square(residuals: Array) -> float:
    """Return the sum of squares; infinite where it is too large for a number."""
    return float(residuals @ residuals)


def _step(gradient: Array, normal: Array, damping: float, room: Array) -> Array:
    """Return the damped Gauss-Newton step of the coordinates that no bound holds.

    `room` is how far each may go down. Where the way to the model's minimum meets a bound, the coordinate is held
    there and the way goes on to the minimum of the others, so that the model falls all along.
    """
    step = np.zeros(gradient.size)
    # At a bound (room 0) a coordinate is free only where the descent direction -g points inwards.
    free = (room < 0) | (gradient < 0)
    damped = normal + max(damping, ROUNDING * float(normal.max(initial=0.0))) * np.eye(gradient.size)
    while free.any():
        rows = damped[free]
        way = np.zeros(gradient.size)
        # From the point reached so far to the damped model's minimum over the free coordinates.
        way[free] = -np.linalg.solve(rows[:, free], gradient[free] + rows @ step)
        down = np.flatnonzero(step + way < room)
        if not down.size:
            return step + way
        # Shares of the way at which bounds are met; the first one met is held from here on.
        lengths = (room - step)[down] / way[down]
        first = int(down[lengths.argmin()])
        step += max(float(lengths.min()), 0.0) * way
        step[first], free[first] = room[first], False
    return step
