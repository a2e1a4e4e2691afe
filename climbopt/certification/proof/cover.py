"""Boxes outside of which no feasible point has an objective of at most a limit."""

from __future__ import annotations

import numpy as np

from climbopt.certification.proof.decomposition import Box, Decomposition
from climbopt.certification.proof.enclosures import rests
from climbopt.certification.proof.separable import NoBoundError
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval

enclosing = Interval.enclosing
TIGHTENINGS = 3
"""Times that rows tighten a box."""


def root(problem: Decomposition, upper: float) -> Box:
    """Return a box of all points that are feasible and have an objective of at most `upper`.

    Raises
    ------
    NoBoundError
        Where an auxiliary has no bounds.
    """
    bounds, n, (in_total, total) = problem.polytope.bounds, problem.form.n_ratios, problem.total
    low, high = bounds.lower.copy(), bounds.upper.copy()
    high[:n] = np.where(in_total[:n] > 0, np.minimum(high[:n], total), high[:n])  # as all of them are >= 0
    box = tightened(problem, Box(low, high))
    box = None if box is None else cut(box, *of_auxiliaries(problem, box, upper))
    if box is None:
        return Box(low, low)
    free = np.flatnonzero(~np.isfinite(box.width))
    if free.size:
        name = problem.form.variables[int(free[0])]
        raise NoBoundError(f"nothing bounds the auxiliary '{name}': no mixture is known that meets the constraints")
    return box


def tightened(problem: Decomposition, box: Box) -> Box | None:
    """Return a box cut by the linear rows; None where nothing is left."""
    rows, dense = problem.polytope.rows, problem.polytope.dense
    return cut(box, np.vstack([dense, -dense]), np.append(rows.upper, -rows.lower))


def cut(box: Box, a: Array, b: Array) -> Box | None:
    """Return a box cut by rows a x <= b; None where nothing is left."""
    low, high = box.lower, box.upper
    for _ in range(TIGHTENINGS):
        # a_j x_j <= b - the least that the other terms can be; divided by a_j, whose sign tells which end moves.
        terms = (enclosing(a) * Interval(low, high)).lower
        others = enclosing(np.where(np.eye(low.size) > 0, 0.0, terms[:, None])).sum(2)
        end = (enclosing(b[:, None]) - enclosing(others.lower)) / enclosing(a)
        high = np.minimum(high, np.where(a > 0, end.upper, np.inf).min(axis=0, initial=np.inf))
        low = np.maximum(low, np.where(a < 0, end.lower, -np.inf).max(axis=0, initial=-np.inf))
    return Box(low, high) if (low <= high).all() else None


def of_auxiliaries(problem: Decomposition, box: Box, upper: float) -> tuple[Array, Array]:
    """Return rows a x <= b that the objective and nonlinear rows imply for auxiliaries, z and losses enclosed."""
    table, limits = problem.functions.table, problem.form.nonlinear
    reads = (table.parts.x[:, problem.n_sources :] != 0).any(axis=1)
    reads[list(table.curved)] = False
    rest, on_x = rests(problem, box), table.parts.x[reads]
    # on_x x + rest <= upper limit, and >= lower limit, with rest anywhere in its enclosure.
    most = (enclosing(np.append(upper, limits.upper)) - rest).upper
    least = (rest - enclosing(np.append(-np.inf, limits.lower))).upper
    return np.vstack([on_x, -on_x]), np.append(most[reads], least[reads])
