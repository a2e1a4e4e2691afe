"""`refit`: a block's least squares again from a point near its minimum, by Gauss-Newton steps inside the bounds."""

from __future__ import annotations

import numpy as np

from climbopt.fitting.estimate import CEILING, CEILING_ROUNDS, CEILING_SPREAD, HIGHEST
from climbopt.fitting.least_squares import Block
from climbopt.templates import Array

MAX_STEPS = 200
DECREASE = 1e-5
"""Stops where a step promises less than this share of the cost."""
LEAST_DAMPING, FIRST_DAMPING, MOST_DAMPING = 1e-9, 1e-3, 1e9
"""Of the coordinates in units of their prior's spread."""
FAR = 0.25
"""Share of the promised decrease above which the damping is lowered."""


def refit(block: Block, start: Array) -> Array:
    """Return the coordinates that fit a block best, from a point inside its bounds; ceilings as in `fit`.

    Levenberg-Marquardt in units of the prior's spread; coordinates at their bound whose gradient points outwards are
    held, and a step that would leave the bounds is cut off there coordinate by coordinate.

    Parameters
    ----------
    block : Block
    start : ndarray, (n,)

    Source
    ------
    Bertsekas, Projected Newton methods for optimization problems with simple constraints, SIAM J. Control 20 (1982).
    """
    x = _minimum(block, start)
    if block.form.interaction.vanishes_without_own_data:
        return x
    for _ in range(CEILING_ROUNDS):
        mixtures, above = block.above_ceiling(x, HIGHEST)
        if not above:
            break
        block = block.with_ceilings(mixtures, CEILING, CEILING_SPREAD)
        x = _minimum(block, x)
    return x


def _minimum(block: Block, start: Array) -> Array:
    """Return a point where no step promises a decrease."""
    spread = block.spread
    x, damping = np.maximum(start, block.lower), FIRST_DAMPING
    residuals = block.residuals(x)
    cost = float(residuals @ residuals)
    for _ in range(MAX_STEPS):
        jacobian = block.jacobian(x) * spread
        gradient, normal = jacobian.T @ residuals, jacobian.T @ jacobian
        while True:
            step = _step(gradient, normal, damping, (block.lower - x) / spread)
            promised = -float(2 * gradient @ step + step @ normal @ step)
            if promised <= DECREASE * cost or damping > MOST_DAMPING:
                return x
            trial = np.maximum(x + spread * step, block.lower)
            new = block.residuals(trial)
            gained = cost - float(new @ new)
            if gained > 0:  # not where a prediction is no number
                break
            damping *= 10
        damping = max(damping / 10, LEAST_DAMPING) if gained > FAR * promised else damping * 4
        x, residuals, cost = trial, new, cost - gained
    return x


def _step(gradient: Array, normal: Array, damping: float, room: Array) -> Array:
    """Return the damped Gauss-Newton step of the coordinates that no bound holds.

    `room` is how far each may go down. Where the way to the model's minimum meets a bound, the coordinate is held
    there and the way goes on to the minimum of the others, so that the model falls all along.
    """
    step = np.zeros(gradient.size)
    free = (room < 0) | (gradient < 0)
    damped = normal + damping * np.eye(gradient.size)
    while free.any():
        right = gradient[free] + damped[np.ix_(free, ~free)] @ step[~free]
        way = np.zeros(gradient.size)
        way[free] = -np.linalg.solve(damped[np.ix_(free, free)], right) - step[free]
        down = np.flatnonzero(step + way < room)
        if not down.size:
            return step + way
        lengths = (room - step)[down] / way[down]
        first = int(down[lengths.argmin()])
        step += max(float(lengths.min()), 0.0) * way
        step[first], free[first] = room[first], False
    return step
