"""The linear part of a problem: its rows as a polytope of the ratios, and of the auxiliaries of distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from climbopt.model.mixture import Indices
from climbopt.model.templates import Array
from climbopt.numerics.polytope import FEASIBILITY, EmptyPolytopeError, Label, Polytope, Rows, balancing
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import DistanceRow, ExpressionRow, LinearRow
from climbopt.problem.constraints.ratio_bounds import NamedBound

DEPENDENT = 1e-10
"""A row whose part outside the span of the equations is smaller than this share of it is a combination of them."""
MOST_EXCESS = 1.0
"""Upper bound of an auxiliary, which no mixture reaches, for a center >= 0; a negative center raises it."""

Excess = tuple[str, int, float]
"""Name, source j and center of an auxiliary u >= max(0, r_j - center)."""


@dataclass(frozen=True, eq=False)
class LinearPart:
    """The linear constraints over (ratios, excesses).

    Parameters
    ----------
    polytope : Polytope
        Its last row is the simplex.
    excess_names : tuple of str
        Names of the auxiliaries u.
    excess_of : ndarray of int
        The source whose excess over its center each u bounds: u_k >= max(0, r_j - center_k).
    centers : ndarray
    """

    polytope: Polytope
    excess_names: tuple[str, ...]
    excess_of: Indices
    centers: Array


def excesses_of(part: LinearPart, ratios: Array) -> Array:
    """Return the least auxiliaries for ratios."""
    return np.asarray(np.maximum(ratios[part.excess_of] - part.centers, 0.0))


def linear_part(problem: AllocationProblem, excesses: Sequence[Excess] = ()) -> LinearPart:
    """Return the polytope of a problem's ratios, with the names of its bounds and rows.

    An upper bound of 1 or more is left out: the simplex implies it, and keeping it
    would make every vertex degenerate.

    Parameters
    ----------
    problem : AllocationProblem
    excesses : sequence of (str, int, float)
        Further auxiliaries, placed before those of distances: name, source and center of each.

    Raises
    ------
    EmptyPolytopeError
        Where equations contradict each other; inequalities are not examined.
    """
    bounds, (A, rows, implied) = _bounds(problem), _rows(problem)
    (names, sources, centers), on_excesses, excess_rows = _excess_rows(problem, bounds, excesses)
    extra = len(names)
    simplex = np.append(np.ones(A.shape[1]), np.zeros(extra))  # the ratios sum to 1, the auxiliaries do not count
    # The least u is at most 1 - center at every mixture; a finite bound keeps the polytope bounded.
    most = [MOST_EXCESS + max(0.0, -center) for center in centers]
    polytope = Polytope(
        bounds + Rows(np.zeros(extra), np.array(most), tuple(Label(name, internal=True) for name in names)),
        csr_array(np.vstack([np.pad(A, ((0, 0), (0, extra))), on_excesses, simplex])),
        rows + excess_rows + Rows(np.ones(1), np.ones(1), (Label("simplex", tied=implied),)),
    )
    return LinearPart(polytope, tuple(names), np.array(sources, dtype=np.intp), np.array(centers, dtype=float))


def _bounds(problem: AllocationProblem) -> Rows:
    """Return the bounds of the ratios, from rows with one coefficient."""

    def labels(bounds: Mapping[str, NamedBound], own: str) -> tuple[Label, ...]:
        return tuple(replace(b.label or Label(f"{own}[{name}]"), tied=b.tied) for name, b in bounds.items())

    lower, upper = problem.bounds
    most = np.array([bound.value for bound in upper.values()])
    return Rows(
        np.array([bound.value for bound in lower.values()]),
        np.where(most < 1, most, np.inf),
        labels(lower, "nonnegative"),
        labels(upper, "simplex"),
    )


def _rows(problem: AllocationProblem) -> tuple[Array, Rows, tuple[str, ...]]:
    """Return the rows of several ratios, scaled for the solvers, and the names of those that the others imply."""
    rows = [row for row in problem.rows if isinstance(row, LinearRow) and len(row.coefficients) > 1]
    index = {name: j for j, name in enumerate(problem.model.sources)}
    A: Array = np.zeros((len(rows), len(index)))
    for k, row in enumerate(rows):
        A[k, [index[name] for name in row.coefficients]] = list(row.coefficients.values())
    # Row by row: a user's unit must not decide how tightly a solver meets the row.
    factors = balancing(np.abs(A).max(axis=1, initial=0.0))
    A, limits = A * factors[:, None], row_limits(rows).scaled(factors)
    independent, implied = _independent_rows(A, limits)
    return A[independent], limits[independent], implied


def row_limits(rows: Sequence[LinearRow | ExpressionRow]) -> Rows:
    """Return the limits of the user's rows, as they are written."""
    return Rows(
        np.array([row.lower for row in rows]),
        np.array([row.upper for row in rows]),
        tuple(Label(row.name, row.per_unit, row.unit) for row in rows),
    )


def _excess_rows(
    problem: AllocationProblem, bounds: Rows, excesses: Sequence[Excess]
) -> tuple[tuple[Sequence[str], Sequence[int], Sequence[float]], Array, Rows]:
    """Return names, sources and centers of the auxiliaries, and the rows over (ratios, auxiliaries) that bound them.

    The rows are r_j - u_j <= center_j for `excesses`, and the same with sum u <= distance / 2 for each distance row.

    Both mixtures sum to 1, so that the excesses sum to half the distance. Where the bounds say which side of its
    center a ratio is on, its excess is r_j - center_j or 0, and needs no auxiliary (with one, every ratio at 0 with
    center 0 would be a vertex with more active rows than variables).
    """
    sources, bounded = problem.model.sources, [row for row in problem.rows if isinstance(row, DistanceRow)]
    references = np.array([[row.center[name] for name in sources] for row in bounded]).reshape(-1, len(sources))
    above = bounds.lower >= references
    # Where both ends lie at or below the center the excess is 0, and the ratio is in no row.
    of_row, of_ratio = np.nonzero(~above & (bounds.upper > references))
    places = zip(of_row.tolist(), of_ratio.tolist(), strict=True)
    auxiliaries = [*excesses, *((f"{bounded[k].name}[{sources[j]}]", j, float(references[k, j])) for k, j in places)]
    names, of_source, centers = zip(*auxiliaries, strict=True) if auxiliaries else ((), (), ())
    # sum of (r_j - center_j) over the ratios above, and of the auxiliaries of the others, <= distance / 2.
    summed = np.append(np.full(len(excesses), -1), of_row) == np.arange(len(bounded))[:, None]
    A = np.block([[np.eye(len(sources))[list(of_source)], -np.eye(len(names))], [above, summed]])
    # r_j - center_j is the excess itself: its constant moves to the right side
    most = [row.upper / 2 for row in bounded] + np.where(above, references, 0.0).sum(axis=1)
    limits = Rows(
        np.full(len(A), -np.inf),
        np.append(centers, most),
        (*(Label(name, internal=True) for name in names), *(Label(row.name, 0.5, row.unit) for row in bounded)),
    )
    return (names, of_source, centers), A, limits


def _independent_rows(A: Array, limits: Rows) -> tuple[list[int], tuple[str, ...]]:
    """Return the rows to keep, and the names of those that the simplex and other equations imply.

    A row with one coefficient for all sources is a constant on the simplex; an equation that is a combination of
    others adds nothing. Solvers take redundant equations badly: Ipopt, for one, counts them.

    Raises
    ------
    EmptyPolytopeError
        Where an implied row contradicts the others.
    """
    equations, rights = np.ones((1, A.shape[1])), np.ones(1)  # the simplex, and the independent equations so far
    independent, implied = [], []
    for k, (low, high) in enumerate(zip(limits.lower.tolist(), limits.upper.tolist(), strict=True)):
        equation = low == high
        # What no equation so far determines of the row is what least squares leave of it.
        along = np.linalg.lstsq(equations.T, A[k], rcond=None)[0]
        rest, constant = np.linalg.norm(A[k] - along @ equations), np.ptp(A[k]) == 0
        if constant or (equation and rest <= DEPENDENT * np.linalg.norm(A[k])):
            # the only value that the row can have
            value = float(A[k, 0]) if constant else float(along @ rights)
            if not low - FEASIBILITY <= value <= high + FEASIBILITY:
                raise EmptyPolytopeError
            implied.append(limits.labels[k].name)
        else:
            independent.append(k)
            if equation:
                equations, rights = np.vstack([equations, A[k]]), np.append(rights, low)
    return independent, tuple(implied)
