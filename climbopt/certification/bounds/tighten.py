"""Smaller boxes that keep every point better than the incumbent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from climbopt.certification.bounds.curvature import LeastHessian
from climbopt.certification.bounds.oracle import Convex, Minimum, Tilted, boxed, minimise
from climbopt.certification.bounds.relaxable import Box
from climbopt.model.mixture import Indices
from climbopt.numerics.polytope import EmptyPolytopeError, Polytope

ROUNDS = 3
"""Passes over the linear rows."""
SLACK = 1e-11
"""What bounds are widened by against rounding, in units of x; ratios are of order 1."""
NARROW = 1e-7
"""A narrower variable is left alone."""
SEARCHES = 3
"""Multipliers of the level that are tried for each bound."""


def by_rows(box: Box, polytope: Polytope) -> Box | None:
    """Return the box tightened by the linear rows: what the others leave each variable; None where it is empty."""
    lower, upper, A = box.lower.copy(), box.upper.copy(), polytope.dense
    rising, falling = np.maximum(A, 0.0), np.minimum(A, 0.0)
    on = A != 0
    divisor = np.where(on, A, 1.0)
    for _ in range(ROUNDS):
        least = rising * lower + falling * upper
        most = rising * upper + falling * lower
        room_up = (polytope.rows.upper - least.sum(axis=1))[:, None] + least  # of A_kj x_j
        room_down = (polytope.rows.lower - most.sum(axis=1))[:, None] + most
        with np.errstate(invalid="ignore"):
            high = np.where(on, np.where(A > 0, room_up, room_down) / divisor, np.inf)
            low = np.where(on, np.where(A > 0, room_down, room_up) / divisor, -np.inf)
        new_lower = np.maximum(lower, low.max(axis=0, initial=-np.inf) - SLACK)
        new_upper = np.minimum(upper, high.min(axis=0, initial=np.inf) + SLACK)
        if (new_lower > new_upper).any():
            return None
        still = max(np.abs(new_lower - lower).max(), np.abs(new_upper - upper).max()) <= 10 * SLACK
        lower, upper = new_lower, new_upper
        if still:
            break
    return Box(lower, upper)


def by_costs(box: Box, minimum: Minimum, upper: float) -> Box | None:
    """Return the box tightened by reduced costs: reduced_j times the distance from the better end is at most the gap.

    None where no point is better than the incumbent's value `upper`.
    """
    if not np.isfinite(minimum.lower):
        return None if minimum.lower > 0 else box
    gap = upper - minimum.lower
    if gap < 0:
        return None
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        reach = gap / np.abs(minimum.reduced) * (1 + 1e-9) + SLACK
    low = np.where(minimum.reduced < 0, np.maximum(box.lower, box.upper - reach), box.lower)
    high = np.where(minimum.reduced > 0, np.minimum(box.upper, box.lower + reach), box.upper)
    return Box(low, high)


def by_curvature(box: Box, minimum: Minimum, least: LeastHessian, upper: float) -> Box | None:
    """Return the box cut by the ellipsoid d'Md / 2 <= gap around a minimum, M what the Hessian is at least.

    A convex function's tangent is at least `minimum.lower` on the polytope, and the function above it by d'Md / 2.
    """
    gap = upper - minimum.lower
    if not np.isfinite(gap):
        return box if gap > 0 else None
    if gap < 0:
        return None
    values, vectors = least.spectrum()
    floor = 1e-10 * float(np.abs(values).max(initial=0.0))
    certain = values - floor
    if values.size == 0 or certain.min() <= 0:
        return box
    reach = least.scales * np.sqrt(2 * gap * (vectors**2 / certain).sum(axis=1)) * (1 + 1e-6) + SLACK
    low, high = np.maximum(box.lower, minimum.x - reach), np.minimum(box.upper, minimum.x + reach)
    return None if (low > high).any() else Box(low, high)


def by_programs(box: Box, polytope: Polytope, n: int) -> Box | None:
    """Return the box tightened in its first n variables to a polytope's ends, by linear programs; None where empty.

    Each end is what the program's multipliers prove. Where HiGHS finds no point at all, its word is not taken.
    """
    lower, upper, inside = box.lower.copy(), box.upper.copy(), boxed(polytope, box.lower, box.upper)
    unit = np.eye(lower.size)
    try:
        for j in np.flatnonzero(box.width[:n] > NARROW).tolist():
            lower[j] = max(lower[j], inside.linear_minimum(unit[j])[0] - SLACK)
            upper[j] = min(upper[j], SLACK - inside.linear_minimum(-unit[j])[0])
    except EmptyPolytopeError:
        pass
    return None if (lower > upper).any() else Box(lower, upper)


def by_levels(
    box: Box,
    polytope: Polytope,
    functions: Convex,
    minimum: Minimum,
    upper: float,
    which: Indices,
    time_is_up: Callable[[], bool],
) -> Box | None:
    """Return the box tightened by the level set of a convex function that is below the Lagrangian.

    For any mu > 0 and every point with functions(y) <= upper, mu s y_j >= min_y (mu s y_j + functions(y)) - upper.
    """
    lower, high = box.lower.copy(), box.upper.copy()
    if not np.isfinite(upper - minimum.lower):
        return box
    gap = max(upper - minimum.lower, 1e-14 * max(1.0, abs(upper)))
    for j in which.tolist():
        for sign in (1.0, -1.0):
            end = lower[j] if sign > 0 else high[j]
            room = sign * (minimum.x[j] - end)
            if room <= NARROW:
                continue
            if time_is_up():
                return Box(lower, high)
            found = _level(functions, boxed(polytope, lower, high), minimum, upper, gap, j, sign, room)
            if sign > 0:
                lower[j] = max(lower[j], found - SLACK)
            else:
                high[j] = min(high[j], -found + SLACK)
            if lower[j] > high[j]:
                return None
    return Box(lower, high)


def _level(
    functions: Convex, polytope: Polytope, minimum: Minimum, upper: float, gap: float, j: int, sign: float, room: float
) -> float:
    """Return a lower bound of sign y_j over the level set, the best of a few multipliers."""
    direction = np.zeros(minimum.x.size)
    mu, best, y = 2 * gap / room, -np.inf, minimum.x
    for _ in range(SEARCHES):
        direction[j] = sign * mu
        found = minimise(Tilted(functions, direction.copy()), polytope, y, tolerance=1e-4)
        if not np.isfinite(found.lower):
            return best if found.lower < 0 else np.inf
        best, y = max(best, (found.lower - upper) / mu), found.x
        used = (functions.at(y).value - minimum.lower) / gap
        if 0.6 < used < 1.6:
            break
        mu *= np.sqrt(1.0 / max(used, 0.05)) if used > 0 else 4.0
    return best
