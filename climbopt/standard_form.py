"""StandardForm: what every backend takes, always a minimisation.

    min f(x)   s.t.  x_lower <= x <= x_upper,  a_lower <= A x <= a_upper,  c_lower <= c(x) <= c_upper

x is the ratios r, or r with auxiliaries behind it. f and c are affine in (x, z(r), L(z(r))), so that one Jacobian
of z and one weighted sum of Hessians give every derivative; algebraic backends read the same coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.sparse import csr_array, vstack

from climbopt.constraints import LinearRow
from climbopt.errors import InputError
from climbopt.model import Indices, Response
from climbopt.polytope import EmptyPolytopeError, Polytope
from climbopt.problem import AllocationProblem
from climbopt.proofs import Proofs
from climbopt.templates import Array

LEAST_EFFECTIVE_TOKENS = 1.0
"""z_lower of a row that keeps z in its law's domain, as D z in tokens."""


@dataclass(frozen=True)
class Side:
    """The name of one bound or row, and the user's number behind it.

    Parameters
    ----------
    name : str
        ``constraint[language]``.
    per_unit : float
        d bound / d (the user's number).
    unit : str
        The user's unit.
    tied : tuple of str
        Other constraints that set the same bound to the same value; this one has the multiplier.
    """

    name: str
    per_unit: float = 1.0
    unit: str = "ratio"
    tied: tuple[str, ...] = ()


class Evaluation(Protocol):
    """Functions and derivatives of a standard form at one x; computed when asked for."""

    @property
    def value(self) -> float:
        """f(x); NaN outside the domain."""
        ...

    @property
    def gradient(self) -> Array:
        """Gradient of f, (n,)."""
        ...

    @property
    def rows(self) -> Array:
        """c(x), (k,)."""
        ...

    @property
    def jacobian(self) -> Array:
        """Jacobian of c, (k, n)."""
        ...

    def hessian(self, weight: float, multipliers: Array) -> Array:
        """Return weight * Hess f + sum_i multipliers_i Hess c_i, (n, n), symmetric."""
        ...


class Functions(Protocol):
    """The nonlinear functions f and c of a standard form."""

    @property
    def n_rows(self) -> int:
        """Number of entries of c."""
        ...

    def at(self, x: Array) -> Evaluation:
        """Return their evaluation at x, (n,)."""
        ...

    def convex(self, polytope: Polytope, multipliers: Array) -> bool:
        """Return whether f + multipliers'c is proved convex on a polytope."""
        ...


@dataclass(frozen=True, eq=False)
class Weighted:
    """One function: x_part'x + z_part'z + loss_part'L.

    Parameters
    ----------
    x_part, z_part, loss_part : ndarray, (n,), (T,), (T,)
    """

    x_part: Array
    z_part: Array
    loss_part: Array


@dataclass(frozen=True, eq=False)
class Affine:
    """k functions: x_part x + z_part z + loss_part L + constant.

    Parameters
    ----------
    x_part, z_part, loss_part : scipy.sparse.csr_array, (k, n), (k, T), (k, T)
    constant : ndarray, (k,)
    """

    x_part: csr_array
    z_part: csr_array
    loss_part: csr_array
    constant: Array

    @classmethod
    def build(cls, n: int, n_targets: int, k: int, *, x: object = None, z: object = None, loss: object = None,
              constant: Array | None = None) -> Affine:
        """Return k functions of n variables and n_targets targets; parts left out are 0."""
        shapes = ((x, n), (z, n_targets), (loss, n_targets))
        parts = [csr_array((k, width)) if part is None else csr_array(part) for part, width in shapes]
        return cls(*parts, np.zeros(k) if constant is None else constant)

    @property
    def uses_loss(self) -> bool:
        """Whether any of the functions depends on a loss."""
        return bool(self.loss_part.nnz)


@dataclass(frozen=True, eq=False)
class MixtureFunctions:
    """f and c of a mixture problem: affine in x, z and L, with z evaluated at offset + scale r.

    Parameters
    ----------
    response : Response
        The model at the cumulative budget, with the targets that f and c depend on.
    offset : ndarray, (S,)
    scale : float
        Cumulative ratios are offset + scale r.
    objective : Weighted
    constraints : Affine
        Functions of the n variables, of which the first S are r.
    """

    response: Response
    offset: Array
    scale: float
    objective: Weighted
    constraints: Affine

    @property
    def n_rows(self) -> int:
        """Number of entries of c."""
        return len(self.constraints.constant)

    def at(self, x: Array) -> MixtureEvaluation:
        """Return the evaluation at x."""
        return MixtureEvaluation(self, np.asarray(x, dtype=float))

    def proofs(self, polytope: Polytope) -> Proofs:
        """Return what can be proved of the model over the box of a polytope."""
        ratios = self.offset.size
        return Proofs(self.response, self.offset + self.scale * polytope.x_lower[:ratios],
                      self.offset + self.scale * polytope.x_upper[:ratios])

    def convex(self, polytope: Polytope, multipliers: Array) -> bool:
        """Return whether f + multipliers'c is proved convex: losses and z enter with signs that keep them so."""
        f, c = self.objective, self.constraints
        on_loss = f.loss_part + (c.loss_part.T @ multipliers if self.n_rows else 0.0)
        on_z = f.z_part + (c.z_part.T @ multipliers if self.n_rows else 0.0)
        proofs = self.proofs(polytope)
        losses = not on_loss.any() or (bool((on_loss >= 0).all()) and proofs.losses_convex)
        return losses and (not on_z.any() or proofs.z_affine or (bool((on_z <= 0).all()) and proofs.z_concave))


@dataclass(frozen=True, eq=False)
class MixtureEvaluation:
    """The functions of a mixture problem at one x; each part is computed once, when asked for."""

    functions: MixtureFunctions
    x: Array

    @cached_property
    def cumulative(self) -> Array:
        """Ratios of history and run together, (S,)."""
        functions = self.functions
        return np.asarray(functions.offset + functions.scale * self.x[: functions.offset.size])

    @cached_property
    def z(self) -> Array:
        """z of each target, (T,)."""
        return self.functions.response.z(self.cumulative)

    @cached_property
    def losses(self) -> Array:
        """Loss of each target, (T,)."""
        return self.functions.response.losses(self.z)

    @cached_property
    def slopes(self) -> Array:
        """dL/dz of each target, (T,)."""
        return self.functions.response.losses_and_slopes(self.z)[1]

    @cached_property
    def z_jacobian(self) -> Array:
        """dz/dr, (T, S)."""
        return self.functions.scale * self.functions.response.z_and_jacobian(self.cumulative)[1]

    @cached_property
    def value(self) -> float:
        """f(x); NaN outside the domain."""
        f = self.functions.objective
        on_losses = f.loss_part @ self.losses if f.loss_part.any() else 0.0
        return float(f.x_part @ self.x + f.z_part @ self.z + on_losses)

    @cached_property
    def gradient(self) -> Array:
        """Gradient of f, (n,)."""
        f = self.functions.objective
        by_z = f.z_part + f.loss_part * self.slopes if f.loss_part.any() else f.z_part
        gradient = f.x_part.copy()
        gradient[: self.functions.offset.size] += by_z @ self.z_jacobian
        return gradient

    @cached_property
    def rows(self) -> Array:
        """c(x), (k,)."""
        c = self.functions.constraints
        result: Array = c.x_part @ self.x + c.z_part @ self.z + c.constant
        return result + c.loss_part @ self.losses if c.uses_loss else result

    @cached_property
    def jacobian(self) -> Array:
        """Jacobian of c, (k, n): x_part + (z_part + loss_part diag(L_z)) J."""
        c = self.functions.constraints
        by_z = c.z_part + c.loss_part.multiply(self.slopes[None, :]) if c.uses_loss else c.z_part
        result = np.asarray(c.x_part.toarray(), dtype=float)
        if by_z.nnz:
            result[:, : self.functions.offset.size] += csr_array(by_z) @ self.z_jacobian
        return result

    def hessian(self, weight: float, multipliers: Array) -> Array:
        """Return weight * Hess f + sum_i multipliers_i Hess c_i: J' diag(q) J + sum_i u_i Hess z_i, on r.

        q = (weights of the losses) L_zz and u = (weights of z) + (weights of the losses) L_z.
        """
        functions, f, c = self.functions, self.functions.objective, self.functions.constraints
        on_loss, u = weight * f.loss_part, weight * f.z_part
        if functions.n_rows:
            on_loss, u = on_loss + c.loss_part.T @ multipliers, u + c.z_part.T @ multipliers
        ratios = functions.offset.size
        hessian = np.zeros((self.x.size, self.x.size))
        block = hessian[:ratios, :ratios]
        if on_loss.any():
            u = u + np.where(on_loss != 0, on_loss * self.slopes, 0.0)
            q = np.where(on_loss != 0, on_loss * functions.response.loss_curvatures(self.z), 0.0)
            block += (self.z_jacobian.T * q) @ self.z_jacobian
        if u.any():
            block += functions.scale**2 * functions.response.hessian(self.cumulative, u)
        return hessian


@dataclass(frozen=True, eq=False)
class StandardForm:
    """min f(x) over a polytope with nonlinear rows; names lead back to the user's constraints.

    Parameters
    ----------
    variables : tuple of str
        Names of x, (n,); the first `n_ratios` are the sources.
    polytope : Polytope
        Bounds and linear rows.
    functions : Functions
        f and c.
    c_lower, c_upper : ndarray, (k,)
    lower_sides, upper_sides : tuple of Side
        One a variable; for infinite bounds they name nothing.
    row_sides, c_sides : tuple of Side
        One a row of A, and one an entry of c.
    n_ratios : int
        How many of x are ratios.
    domain_rows : tuple of bool
        Which entries of c only keep z in its law's domain.
    start : ndarray, (n,)
        Where a cold solve begins: inside every bound that can be strict.
    """

    variables: tuple[str, ...]
    polytope: Polytope
    functions: Functions
    c_lower: Array
    c_upper: Array
    lower_sides: tuple[Side, ...]
    upper_sides: tuple[Side, ...]
    row_sides: tuple[Side, ...]
    c_sides: tuple[Side, ...]
    n_ratios: int
    domain_rows: tuple[bool, ...]
    start: Array

    @property
    def n(self) -> int:
        """Number of variables."""
        return len(self.variables)

    @cached_property
    def has_nonlinear_rows(self) -> bool:
        """Whether c has rows beside those that keep z in its domain."""
        return not all(self.domain_rows)

    def from_start(self, start: Array) -> StandardForm:
        """Return the form with another start."""
        return replace(self, start=np.asarray(start, dtype=float))


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
    A = np.zeros((len(rows) + 1, n))
    for k, row in enumerate(rows):
        A[k, [index[name] for name in row.coefficients]] = list(row.coefficients.values())
    A[-1] = 1.0
    polytope = Polytope(bounds.lower, bounds.upper, csr_array(A), np.array([*(row.lower for row in rows), 1.0]),
                        np.array([*(row.upper for row in rows), 1.0]))
    sides = tuple(Side(row.name, row.per_unit, row.unit) for row in rows)
    return polytope, tuple(bounds.lower_sides), tuple(bounds.upper_sides), (*sides, Side("simplex"))


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
        c_sides=(*sides, *(Side(f"domain[{targets[i]}]", unit="effective ratio") for i in domain)),
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
