"""The linear part of a problem: its rows as a polytope of the ratios, and of the auxiliaries of distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from climbopt.model.mixture import Indices
from climbopt.model.templates import Array
from climbopt.numerics.polytope import FEASIBILITY, EmptyPolytopeError, Label, Polytope, Rows, balancing
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import DistanceRow, ExpressionRow, LinearRow

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


@dataclass(frozen=True, eq=False)
class _Bounds:
    """Bounds of the ratios with the labels of the rows that set them: the tightest row, at a tie the first."""

    lower: Array
    upper: Array
    lower_labels: list[Label]
    upper_labels: list[Label]


def _tighten(bounds: _Bounds, j: int, row: LinearRow) -> None:
    """Apply a row whose only coefficient is that of source j."""
    (coefficient,) = row.coefficients.values()
    # a negative coefficient swaps the sides
    low, high = sorted((row.lower / coefficient, row.upper / coefficient))
    # A shadow price is per unit of the user's number: d bound / d number = per_unit / coefficient.
    label = Label(row.name, row.per_unit / coefficient, row.unit)
    for bound, value, labels, tighter in (
        (bounds.lower, low, bounds.lower_labels, low > bounds.lower[j]),
        (bounds.upper, high, bounds.upper_labels, high < bounds.upper[j]),
    ):
        if not np.isfinite(value):
            continue
        if tighter:
            bound[j], labels[j] = value, label
        elif value == bound[j]:
            labels[j] = replace(labels[j], tied=(*labels[j].tied, label.name))


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
    bounds, rows, n = _bounds(problem), _rows(problem), len(problem.model.sources)
    excess = _excess_rows(problem, bounds, excesses)
    extra = len(excess.names)
    blocks = [
        np.hstack([rows.A, np.zeros((len(rows.limits), extra))]),
        excess.A,
        # The simplex: the ratios sum to 1, the auxiliaries do not count.
        np.hstack([np.ones((1, n)), np.zeros((1, extra))]),
    ]
    auxiliary = [Label(name, internal=True) for name in excess.names]
    polytope = Polytope(
        Rows(
            np.append(bounds.lower, np.zeros(extra)),
            # The least u is at most 1 - center at every mixture; a finite bound keeps the polytope bounded.
            np.append(bounds.upper, [MOST_EXCESS + max(0.0, -center) for center in excess.centers]),
            (*bounds.lower_labels, *auxiliary),
            (*bounds.upper_labels, *auxiliary),
        ),
        csr_array(np.vstack(blocks)),
        rows.limits + _limits(excess) + Rows(np.ones(1), np.ones(1), (Label("simplex", tied=rows.implied),)),
    )
    return LinearPart(
        polytope,
        tuple(excess.names),
        np.array(excess.sources, dtype=np.intp),
        np.array(excess.centers, dtype=float),
    )


def _bounds(problem: AllocationProblem) -> _Bounds:
    """Return the bounds of the ratios, from rows with one coefficient."""
    sources = problem.model.sources
    n = len(sources)
    bounds = _Bounds(
        np.zeros(n),
        np.full(n, np.inf),
        [Label(f"nonnegative[{name}]") for name in sources],
        [Label(f"simplex[{name}]") for name in sources],
    )
    for row in problem.rows:
        if isinstance(row, LinearRow) and len(row.coefficients) == 1:
            _tighten(bounds, sources.index(next(iter(row.coefficients))), row)
    bounds.upper[bounds.upper >= 1] = np.inf
    return bounds


@dataclass(frozen=True, eq=False)
class _LinearRows:
    """Rows of several ratios, scaled for the solvers, and the names of those that are implied by the others."""

    A: Array
    limits: Rows
    implied: tuple[str, ...]


def _rows(problem: AllocationProblem) -> _LinearRows:
    """Return the rows of several ratios."""
    rows = [row for row in problem.rows if isinstance(row, LinearRow) and len(row.coefficients) > 1]
    index = {name: j for j, name in enumerate(problem.model.sources)}
    A: Array = np.zeros((len(rows), len(index)))
    for k, row in enumerate(rows):
        A[k, [index[name] for name in row.coefficients]] = list(row.coefficients.values())
    # Row by row: a user's unit must not decide how tightly a solver meets the row.
    factors = balancing(np.abs(A).max(axis=1, initial=0.0))
    A, limits = A * factors[:, None], row_limits(rows).scaled(factors)
    independent, implied = _independent_rows(A, limits)
    return _LinearRows(A[independent], limits[independent], implied)


def row_limits(rows: Sequence[LinearRow | ExpressionRow]) -> Rows:
    """Return the limits of the user's rows, as they are written."""
    return Rows(
        np.array([row.lower for row in rows]),
        np.array([row.upper for row in rows]),
        tuple(Label(row.name, row.per_unit, row.unit) for row in rows),
    )


@dataclass(eq=False)
class _ExcessRows:
    """Rows over (ratios, u) that bound excesses and distances."""

    names: list[str]
    sources: list[int]
    centers: list[float]
    A: Array
    upper: list[float]
    labels: list[Label]
    entries: list[tuple[int, int, float]]

    def add(self, name: str, j: int, center: float, n: int) -> None:
        """Add u >= r_j - center, for n ratios."""
        self.entries += [(len(self.upper), j, 1.0), (len(self.upper), n + len(self.names), -1.0)]
        self.names.append(name)
        self.sources.append(j)
        self.centers.append(center)
        self.upper.append(center)
        self.labels.append(Label(name, internal=True))


def _limits(rows: _ExcessRows) -> Rows:
    """Return the upper limits and labels of rows of excesses."""
    return Rows(np.full(len(rows.upper), -np.inf), np.array(rows.upper, dtype=float), tuple(rows.labels))


def _excess_rows(problem: AllocationProblem, bounds: _Bounds, excesses: Sequence[Excess]) -> _ExcessRows:
    """Return r_j - u_j <= center_j for `excesses`, and the same with sum u <= distance / 2 for each distance row.

    Both mixtures sum to 1, so that the excesses sum to half the distance. Where the bounds say which side of its
    center a ratio is on, its excess is r_j - center_j or 0, and needs no auxiliary (with one, every ratio at 0 with
    center 0 would be a vertex with more active rows than variables).
    """
    n = len(problem.model.sources)
    excess = _ExcessRows([], [], [], np.zeros((0, n)), [], [], [])
    for name, j, center in excesses:
        excess.add(name, j, center, n)
    for distance in (row for row in problem.rows if isinstance(row, DistanceRow)):
        limit, above, first = distance.upper / 2, [], len(excess.names)
        for j, name in enumerate(problem.model.sources):
            center = distance.center[name]
            if bounds.lower[j] >= center:
                above.append(j)
                # r_j - center_j is the excess itself: its constant moves to the right side
                limit += center
            # Where both ends lie at or below the center the excess is 0, and the ratio is in no row.
            elif bounds.upper[j] > center:
                excess.add(f"{distance.name}[{name}]", j, center, n)
        row = len(excess.upper)
        # sum of (r_j - center_j) over the ratios above, and of the auxiliaries of the others, <= distance / 2.
        excess.entries += [(row, j, 1.0) for j in (*above, *range(n + first, n + len(excess.names)))]
        excess.upper.append(limit)
        excess.labels.append(Label(distance.name, 0.5, distance.unit))
    excess.A = np.zeros((len(excess.upper), n + len(excess.names)))
    for k, j, value in excess.entries:
        excess.A[k, j] = value
    return excess


def _independent_rows(A: Array, limits: Rows) -> tuple[list[int], tuple[str, ...]]:
    """Return the rows to keep, and the names of those that the simplex and other equations imply.

    A row with one coefficient for all sources is a constant on the simplex; an equation that is a combination of
    others adds nothing. Solvers take redundant equations badly: Ipopt, for one, counts them.

    Raises
    ------
    EmptyPolytopeError
        Where an implied row contradicts the others.
    """
    n = A.shape[1]
    basis, rights = np.full((1, n), n**-0.5), np.array([n**-0.5])  # orthonormal rows Q, with Q x = rights
    independent, implied = [], []
    for k, (low, high) in enumerate(zip(limits.lower.tolist(), limits.upper.tolist(), strict=True)):
        equation = low == high
        # Gram-Schmidt against the simplex and the equations so far
        # What is left, `rest`, is the part of the row that no equation so far determines.
        along = basis @ A[k]
        rest = A[k] - along @ basis
        size = float(np.linalg.norm(rest))
        constant = np.ptp(A[k]) == 0
        if constant or (equation and size <= DEPENDENT * np.linalg.norm(A[k])):
            # the only value that the row can have
            value = float(A[k, 0]) if constant else float(along @ rights)
            if not low - FEASIBILITY <= value <= high + FEASIBILITY:
                raise EmptyPolytopeError
            implied.append(limits.labels[k].name)
            continue
        independent.append(k)
        if equation:
            # A x = low, with A = along Q + size q, gives q x = (low - along Q x) / size.
            rights = np.append(rights, (low - along @ rights) / size)
            basis = np.vstack([basis, rest / size])
    return independent, tuple(implied)
