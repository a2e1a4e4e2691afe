"""Points of rationals that meet every bound and linear row exactly, and upper bounds of the objective there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flint import fmpq, fmpq_mat

from climbopt.certification.global_bound.boxes import values
from climbopt.certification.proof.balls import in_balls
from climbopt.certification.proof.decomposition import Box, Decomposition
from climbopt.model.templates import Array
from climbopt.numerics.polytope import EmptyPolytopeError, Polytope
from climbopt.numerics.quadratic import project
from climbopt.program import StandardForm

INWARD = (0.0, 1e-12, 1e-9, 1e-7)
"""Shares of the way to an interior point that are tried until every limit holds exactly."""


def upper_bound(form: StandardForm, x: Array) -> float | None:
    """Return an upper bound of the optimum, proved at a rational point near x; None where none is shown feasible."""
    point = exactly_feasible(form.polytope, x)
    if point is None:
        return None
    # The point itself may be no float: objective and rows are enclosed on the floats around it.
    low, high = (np.array(ends) for ends in zip(*map(_ends, point), strict=True))
    problem, limits = Decomposition.of(form), form.nonlinear
    with in_balls():
        at = values(problem, Box(low, high))
    feasible = (at.upper[1:] <= limits.upper).all() and (at.lower[1:] >= limits.lower).all()
    return float(at.upper[0]) if feasible and np.isfinite(at.upper[0]) else None


def _ends(number: fmpq) -> tuple[float, float]:
    """Return floats around a rational; itself twice where it is one."""
    value = int(number.p) / int(number.q)
    if rational(value) == number:
        return value, value
    return float(np.nextafter(value, -np.inf)), float(np.nextafter(value, np.inf))


def rational(value: float) -> fmpq:
    """Return the exact value of a float."""
    return fmpq(*float(value).as_integer_ratio())


def _exact(matrix: Array) -> fmpq_mat:
    """Return a matrix of floats in rationals."""
    rows, columns = matrix.shape
    return fmpq_mat(rows, columns, [rational(value) for value in matrix.ravel().tolist()])


def exactly_feasible(polytope: Polytope, x: Array) -> list[fmpq] | None:
    """Return rationals near x that meet every bound and row of a polytope exactly; None where none are found.

    The variables with most room are solved for from the equations.
    """
    try:
        inside = polytope.interior_point()
        x = project(x, polytope)
    except EmptyPolytopeError:
        return None
    points = (_on_equations(polytope, (1 - share) * x + share * inside) for share in INWARD)
    return next((point for point in points if point is not None and _meets(polytope, point)), None)


def _on_equations(polytope: Polytope, x: Array) -> list[fmpq] | None:
    """Return x as rationals, some entries changed so that the equations hold exactly."""
    rows, limits = polytope.dense[polytope.equation], polytope.rows.lower[polytope.equation]
    point = [rational(value) for value in x.tolist()]
    if not len(rows):
        return point
    # Variables far from their bounds take up what the equations need, and stay inside: they come first.
    order = np.argsort(-np.minimum(x - polytope.bounds.lower, polytope.bounds.upper - x), kind="stable").tolist()
    # [rows | limits] reduced exactly: each row has a 1 at its basic variable, where the other rows have 0.
    reduced, rank = _exact(np.column_stack([rows[:, order], limits])).rref()
    basis = [next(k for k in range(x.size + 1) if reduced[i, k] != 0) for i in range(rank)]
    if rank < len(rows) or x.size in basis:
        return None
    others = [k for k in range(x.size) if k not in basis]
    for i, k in enumerate(basis):
        point[order[k]] = reduced[i, x.size] - sum(reduced[i, other] * point[order[other]] for other in others)
    return point


def _meets(polytope: Polytope, point: Sequence[fmpq]) -> bool:
    """Whether rationals meet every bound and row exactly."""
    limits, activity = polytope.bounds + polytope.rows, _exact(polytope.dense) * fmpq_mat([[value] for value in point])
    return all(
        (low == -np.inf or value >= rational(low)) and (high == np.inf or value <= rational(high))
        for value, low, high in zip(
            [*point, *activity.entries()], limits.lower.tolist(), limits.upper.tolist(), strict=True
        )
    )
