"""examine: the certificate of any nonlinear program's answer, from its functions and the point alone.

min f(x)   s.t.  lower <= x <= upper,  lower <= A x <= upper,  lower <= c(x) <= upper
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint
from scipy.sparse import csr_array

from climbopt.certification.kkt import Condition, LimitsAt, Residual, residuals
from climbopt.certification.local import TOLERANCE, Certificate, certify
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.solution import Multipliers
from climbopt.model.templates import Array
from climbopt.numerics.polytope import Label, Polytope, Rows
from climbopt.program import StandardForm

Constraint: TypeAlias = Bounds | LinearConstraint | NonlinearConstraint
"""Limits in scipy's types; a NonlinearConstraint has callables for jac(x), (k, n), and hess(x, v), (n, n)."""


@dataclass(frozen=True, eq=False)
class Examination:
    """What is true of an answer, and of the multipliers that came with it.

    Parameters
    ----------
    certificate : Certificate
        Of the point, with multipliers recovered from the functions there; limits are named ``rows[k][i]``, row i of
        constraint k, and ``bound[i]``.
    claimed : mapping of condition to Residual
        The four conditions with the multipliers that came with the point; empty where none did.
    """

    certificate: Certificate
    claimed: Mapping[Condition, Residual]

    @property
    def passed(self) -> bool:
        """Whether the point, and the multipliers that came with it, meet every condition within the tolerance."""
        return self.certificate.passed and all(
            residual.value <= self.certificate.tolerance for residual in self.claimed.values()
        )


@check_arguments
def examine(
    f: Callable[[Array], float],
    gradient: Callable[[Array], Array],
    hessian: Callable[[Array], Array],
    rows: Sequence[Constraint],
    x: Array,
    multipliers: Sequence[Array] | None = None,
    *,
    tolerance: float = TOLERANCE,
) -> Examination:
    """Return the examination of a point as a minimum of f under constraints; no claim of a solver is used.

    Feasibility, the conditions of Karush, Kuhn and Tucker, LICQ and the curvature along the active rows. Convexity of f
    is not examined, so that no more than a strict local minimum is claimed.

    Parameters
    ----------
    f, gradient, hessian : callable
        Of x, (n,): a number, (n,) and (n, n).
    rows : sequence of scipy.optimize.Bounds, LinearConstraint and NonlinearConstraint
        At most one of them Bounds. `keep_feasible` is not read.
    x : array_like, (n,)
        The answer, judged as it is.
    multipliers : sequence of array_like, optional
        One array per constraint, with grad f + the sum of multiplier times grad row = 0: a multiplier is >= 0 where the
        upper limit is active and <= 0 where the lower one is.
    tolerance : float
        For the scaled residuals.

    Raises
    ------
    InputError
        Where shapes do not fit, or a NonlinearConstraint lacks its derivatives.

    Examples
    --------
    The nearest point to the origin with x y >= 4: the gradients (2, 2) of f and (2, 2) of the row agree at (2, 2).

    >>> import numpy as np
    >>> from scipy.optimize import NonlinearConstraint
    >>> swap = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> product = NonlinearConstraint(np.prod, 4, np.inf, jac=lambda x: x[::-1], hess=lambda x, v: v[0] * swap)
    >>> problem = (lambda x: x @ x / 2, lambda x: x, lambda x: np.eye(2), [product])
    >>> certificate = examine(*problem, np.array([2.0, 2.0])).certificate
    >>> certificate.verdict.value, round(certificate.multipliers["rows[0][0]"].multiplier, 9)
    ('strict local minimum', -1.0)
    >>> examine(*problem, np.array([2.0, 1.9])).certificate.verdict.value
    'infeasible'
    """
    point = _numbers(x, None, "x")
    program = _Program(f, gradient, hessian, tuple(rows), point)
    form = program.form
    certificate = certify(form, point, tolerance=tolerance)
    # Without multipliers in the certificate the functions have no value at the point, and nothing can be compared.
    if multipliers is None or not certificate.multipliers:
        return Examination(certificate, {})
    return Examination(certificate, residuals(LimitsAt(form, point), program.ordered(multipliers)))


@dataclass(frozen=True, eq=False)
class _Program:
    """A nonlinear program in scipy's types and the point to examine; serves as the functions f and c of its form."""

    f: Callable[[Array], float]
    gradient: Callable[[Array], Array]
    hessian: Callable[[Array], Array]
    constraints: tuple[Constraint, ...]
    point: Array

    def __post_init__(self) -> None:
        for k, constraint in enumerate(self.constraints):
            curved = isinstance(constraint, NonlinearConstraint)
            if curved and not (callable(constraint.jac) and callable(constraint.hess)):
                raise InputError(f"rows[{k}] has no functions jac(x) and hess(x, v); give both, exact ones")
        if len(self._of(Bounds)) > 1:
            raise InputError("rows have more than one Bounds; give one, with the tighter of their limits")

    def _of(self, kind: type) -> list[int]:
        """Return the positions of the constraints of a type."""
        return [k for k, constraint in enumerate(self.constraints) if isinstance(constraint, kind)]

    def _matrix(self, k: int) -> Array:
        """Return the matrix of a linear constraint, (rows, n)."""
        A = np.atleast_2d(_dense(self.constraints[k].A))
        return _numbers(A, (len(A), self.point.size), f"A of rows[{k}]")

    @cached_property
    def _sizes(self) -> list[int]:
        """How many rows each constraint has."""
        return [
            self.point.size
            if isinstance(constraint, Bounds)
            else len(
                self._matrix(k) if isinstance(constraint, LinearConstraint) else np.ravel(constraint.fun(self.point))
            )
            for k, constraint in enumerate(self.constraints)
        ]

    def _limits(self, k: int) -> Rows:
        """Return the limits of a constraint by name."""
        constraint, size = self.constraints[k], self._sizes[k]
        limits = []
        for values, what in ((constraint.lb, "lower"), (constraint.ub, "upper")):
            if np.size(values) not in (1, size) or np.isnan(values).any():
                raise InputError(f"rows[{k}] has {np.size(values)} {what} limits for {size} rows; each is a number")
            limits.append(np.broadcast_to(np.ravel(values), size))
        # Scalars in scipy's types hold for every row.
        names = "bound[{}]" if isinstance(constraint, Bounds) else f"rows[{k}][{{}}]"
        return Rows(limits[0], limits[1], tuple(Label(names.format(i), unit="its own") for i in range(size)))

    @cached_property
    def form(self) -> StandardForm:
        """The program in standard form."""
        n = self.point.size
        # The examined program has no ratios of its own: every variable counts as one.
        free = Rows.free([Label(f"bound[{i}]", unit="its own") for i in range(n)])
        bounds = [self._limits(k) for k in self._of(Bounds)]
        linear, nonlinear = self._of(LinearConstraint), self._of(NonlinearConstraint)
        A = csr_array(np.vstack([np.zeros((0, n)), *map(self._matrix, linear)]))
        polytope = Polytope(bounds[0] if bounds else free, A, sum(map(self._limits, linear), Rows.free(())))
        names = tuple(f"x[{i}]" for i in range(n))
        return StandardForm(names, polytope, self, sum(map(self._limits, nonlinear), Rows.free(())), n, np.zeros(n))

    def ordered(self, multipliers: Sequence[Array]) -> Multipliers:
        """Return multipliers, one array per constraint, in the order of the standard form."""
        if len(multipliers) != len(self.constraints):
            raise InputError(f"there are {len(multipliers)} arrays of multipliers for {len(self.constraints)} rows")
        each = [_numbers(m, (self._sizes[k],), f"multipliers[{k}]") for k, m in enumerate(multipliers)]

        def of(kind: type) -> Array:
            return np.concatenate([np.zeros(0), *(each[k] for k in self._of(kind))])

        # Without Bounds the variables are free, and have no multipliers.
        bounds = of(Bounds) if self._of(Bounds) else np.zeros(self.point.size)
        return Multipliers(bounds, of(LinearConstraint), of(NonlinearConstraint))

    @property
    def n_rows(self) -> int:
        """Number of entries of c."""
        return sum(self._sizes[k] for k in self._of(NonlinearConstraint))

    def at(self, x: Array) -> _FunctionsAt:
        """Return the functions at x."""
        return _FunctionsAt(self, [self.constraints[k] for k in self._of(NonlinearConstraint)], x)

    def convex(self, polytope: Polytope, multipliers: Array) -> bool:
        """Return False: nothing is known of functions that are code."""
        return False


@dataclass(frozen=True, eq=False)
class _FunctionsAt:
    """The functions of a program at one x."""

    program: _Program
    nonlinear: Sequence[NonlinearConstraint]
    x: Array

    @cached_property
    def value(self) -> float:
        """f(x)."""
        return float(self.program.f(self.x))

    @cached_property
    def gradient(self) -> Array:
        """Gradient of f, (n,)."""
        return _numbers(self.program.gradient(self.x), self.x.shape, "the gradient")

    @cached_property
    def rows(self) -> Array:
        """c(x), (k,)."""
        return np.concatenate([np.zeros(0), *(np.ravel(c.fun(self.x)) for c in self.nonlinear)])

    @cached_property
    def jacobian(self) -> Array:
        """Jacobian of c, (k, n)."""
        parts = [np.atleast_2d(_dense(c.jac(self.x))) for c in self.nonlinear]
        return _numbers(np.vstack([np.zeros((0, self.x.size)), *parts]), (self.rows.size, self.x.size), "the Jacobian")

    def hessian(self, weight: float, multipliers: Array) -> Array:
        """Return weight * Hess f + sum_i multipliers_i Hess c_i, (n, n)."""
        square = (self.x.size, self.x.size)
        # scipy's hess(x, v) is already the sum of v_i Hess c_i of one constraint.
        total = weight * _numbers(_dense(self.program.hessian(self.x)), square, "the Hessian")
        parts = np.split(multipliers, np.cumsum([np.size(c.fun(self.x)) for c in self.nonlinear], dtype=int))
        for constraint, part in zip(self.nonlinear, parts, strict=False):
            total = total + _numbers(_dense(constraint.hess(self.x, part)), square, "a Hessian of rows")
        # Eigenvalues are taken of symmetric matrices; a user's Hessian may be off by rounding.
        return 0.5 * (total + total.T)


def _dense(matrix: Any) -> Array:
    """Return a matrix, sparse or not, as an array."""
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=float)


def _numbers(values: Any, shape: tuple[int, ...] | None, what: str) -> Array:
    """Return an array of floats of a shape; of one dimension where None."""
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{what} is a {type(values).__name__}; give an array of numbers") from None
    if (array.ndim != 1 or not array.size) if shape is None else array.shape != shape:
        raise InputError(f"{what} has the shape {array.shape}; it must be {'(n,)' if shape is None else shape}")
    return array
