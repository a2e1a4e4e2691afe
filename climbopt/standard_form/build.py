"""problem -> StandardForm: the linear part of the constraints, and the rows that keep z in its domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array, vstack

from climbopt.constraints import LinearRow
from climbopt.errors import InputError
from climbopt.model import Indices
from climbopt.polytope import FEASIBILITY, EmptyPolytopeError, Polytope
from climbopt.problem import AllocationProblem
from climbopt.standard_form.base import Side, StandardForm
from climbopt.standard_form.mixture import Affine, MixtureFunctions, Weighted
from climbopt.templates import Array

DEPENDENT = 1e-10
"""A row whose part outside the span of the equations is smaller than this share of it is a combination of them."""
START_ROUNDS = 20
"""Linear programs tried to bring a start into the law's domain."""
LEAST_EFFECTIVE_TOKENS = 1.0
"""z_lower of a row that keeps z in its law's domain, as D z in tokens."""


@dataclass(frozen=True, eq=False)
class _Bounds:
    """Bounds of the ratios and the sides that set them, filled row by row: the tightest wins, the first at a tie."""

    lower: Array
    upper: Array
    lower_sides: list[Side]
    upper_sides: list[Side]

    def tighten(self, j: int, row: LinearRow) -> None:
        """Apply a row with the one coefficient of source j."""
        (coefficient,) = row.coefficients.values()
        low, high = sorted((row.lower / coefficient, row.upper / coefficient))
        side = Side(row.name, row.per_unit / coefficient, row.unit)
        for bound, value, sides, tighter in ((self.lower, low, self.lower_sides, low > self.lower[j]),
                                             (self.upper, high, self.upper_sides, high < self.upper[j])):
            if not np.isfinite(value):
                continue
            if tighter:
                bound[j], sides[j] = value, side
            elif value == bound[j]:
                sides[j] = replace(sides[j], tied=(*sides[j].tied, side.name))


def linear_part(problem: AllocationProblem) -> tuple[Polytope, tuple[Side, ...], tuple[Side, ...], tuple[Side, ...]]:
    """Return the polytope of the ratios, and the sides of its lower bounds, upper bounds and rows.

    The last row is the simplex. An upper bound of 1 or more is left out: the simplex implies it, and keeping it
    would make every vertex degenerate.

    Raises
    ------
    InputError
        Where no mixture meets all of them.
    """
    sources = problem.model.sources
    index = {name: j for j, name in enumerate(sources)}
    n = len(sources)
    bounds = _Bounds(np.zeros(n), np.full(n, np.inf), [Side(f"nonnegative[{name}]") for name in sources],
                     [Side(f"simplex[{name}]") for name in sources])
    rows = []
    for row in problem.rows:
        if len(row.coefficients) == 1:
            bounds.tighten(index[next(iter(row.coefficients))], row)
        else:
            rows.append(row)
    bounds.upper[bounds.upper >= 1] = np.inf
    A = np.zeros((len(rows), n))
    for k, row in enumerate(rows):
        A[k, [index[name] for name in row.coefficients]] = list(row.coefficients.values())
    kept, implied = _independent_rows(A, rows)
    polytope = Polytope(
        bounds.lower, bounds.upper, csr_array(np.vstack([A[kept], np.ones((1, n))])),
        np.array([*(rows[k].lower for k in kept), 1.0]), np.array([*(rows[k].upper for k in kept), 1.0]))
    sides = tuple(Side(rows[k].name, rows[k].per_unit, rows[k].unit) for k in kept)
    return polytope, tuple(bounds.lower_sides), tuple(bounds.upper_sides), (*sides, Side("simplex", tied=implied))


def _independent_rows(A: Array, rows: Sequence[LinearRow]) -> tuple[list[int], tuple[str, ...]]:
    """Return the rows to keep, and the names of those that the simplex and other equations imply.

    A row with one coefficient for all sources is a constant on the simplex; an equation that is a combination of
    others adds nothing. Solvers take redundant equations badly: Ipopt, for one, counts them.

    Raises
    ------
    InputError
        Where an implied row contradicts the others.
    """
    n = A.shape[1]
    basis, rights = np.full((1, n), n**-0.5), np.array([n**-0.5])  # orthonormal rows Q, with Q x = rights
    kept, implied = [], []
    for k, row in enumerate(rows):
        equation = row.lower == row.upper
        along = basis @ A[k]
        rest = A[k] - along @ basis
        size = float(np.linalg.norm(rest))
        constant = np.ptp(A[k]) == 0
        if constant or (equation and size <= DEPENDENT * np.linalg.norm(A[k])):
            value = float(A[k, 0]) if constant else float(along @ rights)
            if not row.lower - FEASIBILITY <= value <= row.upper + FEASIBILITY:
                raise InputError(f"{row.name} contradicts the other constraints: they fix it at {value:.6g}; "
                                 "change or drop it")
            implied.append(row.name)
            continue
        kept.append(k)
        if equation:
            rights = np.append(rights, (row.lower - along @ rights) / size)
            basis = np.vstack([basis, rest / size])
    return kept, tuple(implied)


def mixture_form(
    problem: AllocationProblem,
    targets: Sequence[str],
    objective: Weighted,
    constraints: Affine,
    limits: tuple[Array, Array],
    sides: Sequence[Side],
    auxiliaries: Sequence[str] = (),
) -> StandardForm:
    """Return a standard form over the ratios of a problem and unbounded auxiliaries.

    Parameters
    ----------
    problem : AllocationProblem
        Gives the model, the linear part, budget and history.
    targets : sequence of str
        The targets that `objective` and `constraints` are written over, in their order.
    objective : Weighted
    constraints : Affine
        Over (ratios, auxiliaries), z and L of `targets`.
    limits : tuple of ndarray, (k,) each
        Lower and upper limits of the constraints.
    sides : sequence of Side
        Names of the constraints.
    auxiliaries : sequence of str
        Names of further variables.
    """
    polytope, lower_sides, upper_sides, row_sides = linear_part(problem)
    try:
        start = polytope.interior_point()
    except EmptyPolytopeError:
        names = ", ".join(constraint.name for constraint in problem.constraints)
        raise InputError(f"no mixture meets {names} at once; widen some of them") from None
    functions = MixtureFunctions(
        problem.model.select(targets).at(problem.total_budget, problem.params),
        problem.cumulative(np.zeros(len(problem.model.sources))), problem.budget / problem.total_budget,
        objective, constraints)
    domain = np.zeros(0, dtype=np.intp)
    if objective.loss_part.any() or constraints.uses_loss:
        domain = np.flatnonzero(~functions.proofs(polytope).z_positive)
        start = _start_in_domain(functions, polytope, start) if domain.size else start
    constraints, limits = _with_domain_rows(constraints, limits, domain, LEAST_EFFECTIVE_TOKENS / problem.total_budget)
    extra = len(auxiliaries)
    free = np.full(extra, np.inf)
    return StandardForm(
        variables=(*problem.model.sources, *auxiliaries),
        polytope=Polytope(
            np.append(polytope.x_lower, -free), np.append(polytope.x_upper, free),
            csr_array(np.hstack([polytope.dense, np.zeros((len(row_sides), extra))])),
            polytope.a_lower, polytope.a_upper),
        functions=replace(functions, constraints=constraints),
        c_lower=limits[0], c_upper=limits[1],
        lower_sides=(*lower_sides, *map(Side, auxiliaries)), upper_sides=(*upper_sides, *map(Side, auxiliaries)),
        row_sides=row_sides,
        c_sides=(*sides, *(Side(f"domain[{targets[i]}]", unit="effective ratio") for i in domain.tolist())),
        n_ratios=len(problem.model.sources),
        domain_rows=(False,) * len(sides) + (True,) * len(domain),
        start=np.append(start, np.zeros(extra)),
    )


def _with_domain_rows(constraints: Affine, limits: tuple[Array, Array], domain: Indices, least: float
                      ) -> tuple[Affine, tuple[Array, Array]]:
    """Return the constraints with rows z_i >= least added for the targets in `domain`."""
    if not len(domain):
        return constraints, limits
    n, n_targets, k = constraints.x_part.shape[1], constraints.z_part.shape[1], len(domain)
    unit = csr_array((np.ones(k), (np.arange(k), domain)), shape=(k, n_targets))
    added = Affine.build(n, n_targets, k, z=unit)
    both = Affine(
        csr_array(vstack([constraints.x_part, added.x_part])), csr_array(vstack([constraints.z_part, added.z_part])),
        csr_array(vstack([constraints.loss_part, added.loss_part])), np.append(constraints.constant, added.constant))
    return both, (np.append(limits[0], np.full(k, least)), np.append(limits[1], np.full(k, np.inf)))


def _start_in_domain(functions: MixtureFunctions, polytope: Polytope, start: Array) -> Array:
    """Return a start at which every z is above 0, where one is found; `start` itself where it is one.

    Maximises min z by linear programs: max s with z(r) + J (y - r) >= s over the polytope's y, half the way taken
    while that is no gain.
    """
    def least(ratios: Array) -> float:
        return float(functions.response.z(functions.offset + functions.scale * ratios).min())

    ratios, best = start, least(start)
    for _ in range(START_ROUNDS):
        if best > 0:
            return ratios
        z, jacobian = functions.response.z_and_jacobian(functions.offset + functions.scale * ratios)
        step = polytope.largest_minimum(z - functions.scale * jacobian @ ratios, functions.scale * jacobian) - ratios
        for length in (0.999, 0.5, 0.25, 0.1):  # short of the vertex itself, which lies on bounds
            value = least(ratios + length * step)
            if value > best:
                ratios, best = ratios + length * step, value
                break
        else:
            break
    return ratios if best > 0 else start
