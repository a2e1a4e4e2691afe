"""The minimum of a convex quadratic over a polytope, and the projection onto a polytope.

The active-set step solves, on the free variables F and the active rows W,

    [H_FF  A_WF'] [x_F]   [-g_F - H_FB x_B]
    [A_WF    0  ] [ l ] = [b_W - A_WB x_B ]

by a Cholesky factor of H_FF + c A_WF' A_WF, which needs H to be positive definite only where the rows hold.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import lapack

from climbopt.numerics.polytope import FEASIBILITY, Array, Mask, Polytope, Rows

Sides = NDArray[np.int8]

CURVATURE = 1e-9
"""Eigenvalues of the reduced Hessian above minus this share of its norm count as not negative."""
CONTRADICTION = 1e3 * FEASIBILITY
"""Violation from which dependent active rows contradict each other."""
MAX_EXCHANGES = 30
"""Simultaneous exchanges of the whole active set before changing one constraint at a time."""


@dataclass(frozen=True, eq=False)
class DenseRegion:
    """A region of its parts: bounds, coefficients and limits of rows."""

    bounds: Rows
    dense: Array
    rows: Rows


Region = Polytope | DenseRegion
"""What a quadratic program is solved over."""


@dataclass(frozen=True, eq=False)
class Active:
    """Which sides are active: -1 lower, 1 upper, 0 neither; an entry per bound and per row."""

    bounds: Sides
    rows: Sides


@dataclass(frozen=True, eq=False)
class Face:
    """The minimum of a quadratic on an active set.

    Parameters
    ----------
    x : ndarray, (n,)
    bounds, rows : ndarray, (n,) and (k,)
        Multipliers: gradient + A' rows + bounds = 0, >= 0 at an upper side and <= 0 at a lower one.
    active : Active
        The active set.
    """

    x: Array
    bounds: Array
    rows: Array
    active: Active


def minimise(
    H: Array, g: Array, polytope: Region, start: Array, warm: Active | None = None, first: Active | None = None
) -> Face | None:
    """Return the minimum of x'Hx / 2 + g'x over a polytope, with its multipliers.

    The active set is exchanged as a whole (a primal-dual active-set method); where that does not settle, one
    constraint changes at a time from the feasible start, which is finite.

    Parameters
    ----------
    H : ndarray, (n, n)
        Symmetric.
    g : ndarray, (n,)
    start : ndarray, (n,)
        A feasible point.
    warm : Active, optional
        Where to begin; the constraints active at `start` by default.
    first : Active, optional
        Where to begin with changes of one constraint: independent constraints that hold at `start`, beside the
        equations; none by default.

    Returns
    -------
    Face or None
        None where H is not positive definite on a face that is visited, or neither method settled.
    """
    active = _active_at(start, polytope) if warm is None else warm
    # Of dependent rows that nearly agree, changes of one constraint meet some exactly, exchanges break all a little.
    return (
        _exchange_all(H, g, polytope, active, 10 * FEASIBILITY)
        or _one_at_a_time(H, g, polytope, start, first)
        or _exchange_all(H, g, polytope, active)
    )


def minimise_by_exchanges(
    H: Array, g: Array, polytope: Region, start: Array, warm: Active | None = None
) -> Face | None:
    """Return the minimum as :func:`minimise` does, from any start, by exchanges alone; None where they do not settle.

    They do not where the polytope is empty.
    """
    return _exchange_all(H, g, polytope, warm if warm is not None else _active_at(start, polytope))


def _exchange_all(
    H: Array, g: Array, polytope: Region, active: Active, contradiction: float = CONTRADICTION
) -> Face | None:
    """Return the minimum by exchanges of the whole active set, or None where they do not settle."""
    seen: set[bytes] = set()
    # a repeated active set means a cycle
    while len(seen) < MAX_EXCHANGES and (key := active.bounds.tobytes() + active.rows.tobytes()) not in seen:
        seen.add(key)
        face = _minimum_on(H, g, polytope, active, contradiction)
        if face is None:
            return None
        active = _exchanged(face, polytope)
        if active is face.active:
            return face
    return None


def project(x: Array, polytope: Polytope) -> Array:
    """Return the point of the polytope nearest to x in the Euclidean norm.

    Raises
    ------
    EmptyPolytopeError
        Where the polytope is empty.
    """
    clipped = np.clip(x, polytope.bounds.lower, polytope.bounds.upper)
    # With bounds alone the nearest point is the clipped one.
    if polytope.violation(clipped) == 0:
        return clipped
    if polytope.simplex is not None:
        on = polytope.simplex
        clipped[on] = _project_simplex(
            x[on], polytope.bounds.lower[on], polytope.bounds.upper[on], float(polytope.rows.lower[0])
        )
        return clipped
    identity = np.eye(x.size)
    # min |y - x|^2 / 2 is a quadratic program with H = I and g = -x.
    face = _exchange_all(identity, -x, polytope, _active_at(clipped, polytope)) or _one_at_a_time(
        identity, -x, polytope, polytope.interior_point()
    )
    if face is None:  # H is the identity: only degenerate rows fail to settle
        raise ArithmeticError("the projection onto the linear rows did not settle")
    return np.clip(face.x, polytope.bounds.lower, polytope.bounds.upper)


def negative_curvature(H: Array, A: Array, free: Mask) -> Array | None:
    """Return the direction of the least curvature x'Hx of the free variables with A x = 0; None where that is not < 0.

    Parameters
    ----------
    H : ndarray, (n, n)
        Symmetric.
    A : ndarray, (k, n)
    free : ndarray of bool, (n,)
        The other variables do not move.
    """
    rows, reduced = A[:, free], H[np.ix_(free, free)]
    # reduced Hessian Z'HZ on the null space of the rows
    basis = linalg.null_space(rows) if len(rows) else np.eye(int(free.sum()))
    if not basis.shape[1]:
        return None
    values, vectors = linalg.eigh(basis.T @ reduced @ basis, subset_by_index=[0, 0])
    if values[0] >= -CURVATURE * max(1.0, float(np.abs(reduced).max())):
        return None
    direction = np.zeros(free.size)
    direction[free] = basis @ vectors[:, 0]
    return direction


def _project_simplex(x: Array, lower: Array, upper: Array, total: float) -> Array:
    """Return clip(x - shift, lower, upper) with the shift that makes it sum to `total`."""
    breaks = np.concatenate([x - lower, x - upper])
    breaks = np.sort(breaks[np.isfinite(breaks)])
    breaks = np.concatenate([[breaks[0] - 1.0], breaks, [breaks[-1] + 1.0]])  # the outer pieces are unbounded
    # the sum falls with the shift and is linear between breaks: bisect for the piece of the root
    piece = bisect_left(
        range(1, len(breaks) - 1), True, key=lambda k: np.clip(x - breaks[k], lower, upper).sum() < total
    )
    # on that piece the free set is constant, and the shift follows from the sum
    inside = 0.5 * (breaks[piece] + breaks[piece + 1])
    free = (x - inside > lower) & (x - inside < upper)
    result = np.clip(x - inside, lower, upper)
    if free.any():
        # sum over free of (x - shift) = total - sum of the clipped entries.
        result[free] = x[free] - (x[free].sum() + result[~free].sum() - total) / free.sum()
    return np.asarray(np.clip(result, lower, upper))


def _ends(region: Region) -> tuple[Array, Array]:
    """Return the lower and the upper limits of bounds and rows, end to end."""
    return np.append(region.bounds.lower, region.rows.lower), np.append(region.bounds.upper, region.rows.upper)


def _active_at(x: Array, region: Region) -> Active:
    """Return the sides that are active at x."""
    value, (lower, upper) = np.append(x, region.dense @ x), _ends(region)
    sides = np.where(value <= lower + FEASIBILITY, -1, np.where(value >= upper - FEASIBILITY, 1, 0)).astype(np.int8)
    return Active(sides[: x.size], sides[x.size :])


def _minimum_on(
    H: Array, g: Array, polytope: Region, active: Active, contradiction: float = CONTRADICTION
) -> Face | None:
    """Return the minimum on an active set, ignoring inactive constraints; None where it does not exist."""
    fixed, held = active.bounds != 0, active.rows != 0
    limits = np.where(active.rows < 0, polytope.rows.lower, polytope.rows.upper)[held]
    A, x, rows = polytope.dense[held], np.zeros(g.size), np.zeros(active.rows.size)
    none_fixed = not fixed.any()
    if none_fixed:
        solved = _equality_minimum(H, -g, A, limits)
    else:
        x[fixed] = np.where(active.bounds < 0, polytope.bounds.lower, polytope.bounds.upper)[fixed]
        free = np.flatnonzero(~fixed)
        solved = _equality_minimum(H[free[:, None], free], -(g + H @ x)[free], A[:, free], limits - A @ x)
    if solved is None:
        return None
    x[slice(None) if none_fixed else free], rows[held] = solved
    # Dependent rows with contradictory limits have no common point; least squares would hide that.
    if len(A) and np.abs(A @ x - limits).max() > contradiction:
        return None
    # stationarity: gradient + A' rows + bounds = 0
    bounds = np.zeros(g.size) if none_fixed else np.where(fixed, -(H @ x + g + rows @ polytope.dense), 0.0)
    return Face(x, bounds, rows, active)


def _equality_minimum(H: Array, right: Array, A: Array, target: Array) -> tuple[Array, Array] | None:
    """Return the minimum of x'Hx / 2 - right'x with A x = target, and the multipliers of the equations."""
    if not right.size:
        return right, np.zeros(len(A))
    # Large enough against H that the rows' directions are positive, small enough to keep the condition number.
    size = max(1.0, float(np.abs(H).max()))
    for weight in (10.0 * size, 1e5 * size) if len(A) else (0.0,):
        # augmented Lagrangian: on A x = target, c |A x - target|^2 does not change the minimum
        factor, failed = lapack.dpotrf(H + weight * (A.T @ A), lower=1)
        if not failed:
            break
    else:  # H is not positive definite on the face: there is no unique minimum
        return None
    sides = np.empty((right.size, 1 + len(A)), order="F")
    sides[:, 0], sides[:, 1:] = right + weight * (target @ A), A.T
    solutions, _ = lapack.dpotrs(factor, sides, lower=1, overwrite_b=1)
    unconstrained, spread = solutions[:, 0], solutions[:, 1:]
    if not len(A):
        return unconstrained, np.zeros(0)
    # Schur complement: (A H^-1 A') rows = A H^-1 right - target
    schur, excess = A @ spread, A @ unconstrained - target
    # Least squares where rows depend on each other: multipliers are then not unique.
    rows = excess / schur[0] if len(A) == 1 and schur[0, 0] > 0 else np.linalg.lstsq(schur, excess, rcond=None)[0]
    return unconstrained - spread @ rows, rows


def _exchanged(face: Face, polytope: Region) -> Active:
    """Return the active set with violated constraints added and those with a multiplier of the wrong sign dropped.

    Returns the same object where nothing changes.
    """
    value, (lower, upper), n = np.append(face.x, polytope.dense @ face.x), _ends(polytope), face.x.size
    active, multiplier = np.append(face.active.bounds, face.active.rows), np.append(face.bounds, face.rows)
    # Equations are always active, with multipliers of either sign.
    wrong = (active * multiplier < 0) & (lower < upper)
    low, high = value < lower - FEASIBILITY, value > upper + FEASIBILITY
    inactive = active == 0
    if not (wrong | (low | high) & inactive).any():
        return face.active
    # Violated sides enter, sides with a multiplier of the wrong sign leave; the others stay.
    entering = np.where(low, -1, np.where(high, 1, 0))
    sides = np.where(inactive, entering, np.where(wrong, 0, active)).astype(np.int8)
    return Active(sides[:n], sides[n:])


def _one_at_a_time(H: Array, g: Array, polytope: Region, start: Array, first: Active | None = None) -> Face | None:
    """Return the minimum by the primal active-set method: one constraint enters or leaves at a time."""
    lower, upper = _ends(polytope)
    equation, n = lower == upper, start.size
    begin = np.zeros(lower.size) if first is None else np.append(first.bounds, first.rows)
    sides, x = np.where(equation, -1, begin).astype(np.int8), start.copy()
    # Finite in exact arithmetic; the bound catches cycles at degenerate points.
    for _ in range(20 * lower.size):
        face = _minimum_on(H, g, polytope, Active(sides[:n].copy(), sides[n:].copy()))
        if face is None:
            return None
        step = face.x - x
        if np.abs(step).max() <= FEASIBILITY:
            # at the minimum of the face: drop the constraint with the most wrong multiplier
            wrong = np.where(equation, 0.0, -sides * np.concatenate([face.bounds, face.rows]))
            if wrong.max() <= 0:
                return face
            sides[int(wrong.argmax())] = 0
            continue
        value, change = np.append(x, polytope.dense @ x), np.append(step, polytope.dense @ step)
        # Active constraints and those that the step does not move cannot block it.
        still = (sides != 0) | (np.abs(change) <= FEASIBILITY * np.abs(change).max())
        # ratio test: the largest step along the direction that stays feasible
        room = np.divide(np.where(change < 0, lower, upper) - value, change, np.full(change.size, np.inf), where=~still)
        blocking = int(room.argmin())
        length = min(1.0, max(0.0, float(room[blocking])))
        x = face.x if length == 1.0 else x + length * step
        if length < 1.0:
            sides[blocking] = -1 if change[blocking] < 0 else 1
    return None
