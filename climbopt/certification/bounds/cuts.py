"""What planes show of a box: the linear rows, and any plane below a function that is at most a number.

All points that are looked for have slopes'x <= limit for such a plane, and the box is cut to where they can be.
"""

from __future__ import annotations

import numpy as np

from climbopt.certification.bounds.declared import exact, middle
from climbopt.certification.bounds.planes import Plane
from climbopt.certification.bounds.relaxable import Box
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval
from climbopt.numerics.polytope import Polytope

ROW_ROUNDS = 3
"""Passes over the linear rows."""
NEWS = 1e-3
"""Share of the widths that a pass has to take off for another one."""


def cut(box: Box, slopes: Interval, limit: Interval) -> Box | None:
    """Return a box that holds every point of another with slopes'x <= limit; None where there is none.

    slopes_j x_j is at most the limit less the least of the other terms: where one of these is unbounded, nothing is
    known of x_j.
    """
    least = (slopes * Interval(box.lower, box.upper)).lower
    unbounded = ~np.isfinite(least)
    room = exact(np.asarray((limit - exact(np.where(unbounded, 0.0, least)).sum(0)).upper))
    if not np.isfinite(room.lower) or unbounded.sum() > 1:
        return box
    if room.lower < 0 and not unbounded.any():
        return None
    rises, falls = slopes.lower > 0, slopes.upper < 0
    if unbounded.any():
        rises, falls = rises & unbounded, falls & unbounded
    sure = rises | falls
    step = room / Interval(np.where(sure, slopes.lower, 1.0), np.where(sure, slopes.upper, 1.0))
    start = Interval(np.where(unbounded, 0.0, box.lower), np.where(unbounded, 0.0, box.upper))
    upper = np.where(rises, np.minimum(box.upper, (exact(start.lower) + step).upper), box.upper)
    lower = np.where(falls, np.maximum(box.lower, (exact(start.upper) + step).lower), box.lower)
    return None if (lower > upper).any() else Box(lower, upper)


def by_rows(box: Box, polytope: Polytope) -> Box | None:
    """Return a box that holds every point of another that meets the linear rows; None where there is none."""
    for _ in range(ROW_ROUNDS):
        before = box
        for row, low, high in zip(polytope.dense, polytope.rows.lower, polytope.rows.upper, strict=True):
            for slopes, limit in ((row, high), (-row, -low)):
                found = cut(box, exact(slopes), exact(np.asarray(limit))) if np.isfinite(limit) else box
                if found is None:
                    return None
                box = found
        if not box.width.sum() <= (1 - NEWS) * before.width.sum():
            break
    return box


def with_rows(plane: Plane, polytope: Polytope, rows: Array, reduced: Array) -> Plane:
    """Return the plane plus rows'(A x - limits), which is not above it on the polytope; any multipliers will do.

    Those of the equations are made such that the slopes come nearest to `reduced`, (n,): functions that agree where
    equations hold may slope differently across them.
    """
    rows, on = rows.copy(), polytope.equation
    left = reduced - middle(plane.slopes) - polytope.dense.T @ rows
    rows[on] += np.linalg.lstsq(polytope.dense[on].T, left, rcond=None)[0]
    limits = np.where(rows > 0, polytope.rows.upper, polytope.rows.lower)
    used = (rows != 0) & np.isfinite(rows) & np.isfinite(limits)
    slopes = plane.slopes + (exact(polytope.dense[used]) * rows[used][:, None]).sum(0)
    return Plane(slopes, plane.constant - (exact(rows[used]) * limits[used]).sum(0))


def least(plane: Plane, box: Box) -> float:
    """Return a lower bound of a plane on a box."""
    return float((plane.constant + (plane.slopes * Interval(box.lower, box.upper)).sum(0)).lower)
