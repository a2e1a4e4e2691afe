"""slsqp: scipy's sequential least-squares quadratic programming; gradients only."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.optimize import Bounds, OptimizeResult, minimize

from climbopt.backends.base import Evaluator, Options, TimeUpError
from climbopt.solution import Multipliers, Solution, Termination
from climbopt.standard_form import ACTIVE, StandardForm
from climbopt.templates import Array

NATIVE = {"ftol": 1e-16, "maxiter": 1000}
KNOWN: dict[str, type] = {"ftol": float, "maxiter": int}
STATUS = {
    0: Termination.SOLVED, 2: Termination.FAILED, 3: Termination.STALLED, 4: Termination.INFEASIBLE,
    5: Termination.STALLED, 6: Termination.STALLED, 7: Termination.STALLED, 8: Termination.STALLED,
    9: Termination.ITERATION_LIMIT,
}
"""SLSQP's exit modes by number."""


@dataclass(frozen=True)
class Slsqp:
    """scipy.optimize.minimize(method="SLSQP").

    Native settings: ftol 1e-16, whatever the tolerance. SLSQP reports no multipliers of bounds: those are what its
    own multipliers of the rows leave of the gradient at active bounds.
    """

    name: ClassVar[str] = "slsqp"

    @property
    def version(self) -> str:
        """Version of scipy."""
        return f"scipy {scipy.__version__}"

    def refusal(self, form: StandardForm) -> str | None:
        """SLSQP takes every standard form."""
        return None

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a local minimum, reached from the form's start."""
        native = {**NATIVE, **options.checked_native(KNOWN, self.name)}
        if options.max_iterations is not None:
            native["maxiter"] = options.max_iterations
        evaluator = Evaluator(form, options.time_limit)
        rows = _Rows(form, evaluator)
        polytope = form.polytope
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # scipy's remarks on its own steps; the point is judged afterwards
                result = minimize(
                    lambda x: evaluator.at(x).value, form.start, method="SLSQP", jac=lambda x: evaluator.at(x).gradient,
                    bounds=Bounds(polytope.x_lower, polytope.x_upper), constraints=rows.constraints(), options=native)
        except TimeUpError:
            return evaluator.solution(self, evaluator.last_x, None, Termination.TIME_LIMIT, "time limit", None)
        status = STATUS.get(int(result.status), Termination.FAILED)
        if not np.isfinite(result.fun):
            status = Termination.LEFT_DOMAIN
        multipliers = rows.multipliers(result) if np.isfinite(result.x).all() and np.isfinite(result.fun) else None
        return evaluator.solution(self, result.x, multipliers, status, str(result.message), int(result.nit))


class _Rows:
    """The rows as SLSQP takes them, equations as g(x) = 0 and one-sided g(x) >= 0, and the way back."""

    def __init__(self, form: StandardForm, evaluator: Evaluator) -> None:
        self._form, self._evaluator = form, evaluator
        self._lower = np.append(form.polytope.a_lower, form.c_lower)
        self._upper = np.append(form.polytope.a_upper, form.c_upper)
        equal = self._lower == self._upper
        self._sets: list[tuple[str, NDArray[np.intp], float, Array]] = [
            (kind, chosen, sign, bound[chosen]) for kind, chosen, sign, bound in (
                ("eq", np.flatnonzero(equal), 1.0, self._lower),
                ("ineq", np.flatnonzero(~equal & np.isfinite(self._lower)), 1.0, self._lower),
                ("ineq", np.flatnonzero(~equal & np.isfinite(self._upper)), -1.0, self._upper),
            ) if chosen.size
        ]

    def _values(self, x: Array) -> Array:
        return np.append(self._form.polytope.A @ x, self._evaluator.at(x).rows)

    def _jacobian(self, x: Array) -> Array:
        return np.vstack([self._form.polytope.dense, self._evaluator.at(x).jacobian])

    def constraints(self) -> list[dict[str, Any]]:
        """Return scipy's constraint dictionaries."""
        return [
            {"type": kind,
             "fun": lambda x, i=chosen, s=sign, b=bound: s * (self._values(x)[i] - b),
             "jac": lambda x, i=chosen, s=sign: s * self._jacobian(x)[i]}
            for kind, chosen, sign, bound in self._sets
        ]

    def multipliers(self, result: OptimizeResult) -> Multipliers:
        """Return scipy's multipliers, for which grad f = sum of multiplier times grad g, in our convention."""
        values = np.zeros(self._lower.size)
        start = 0
        for _, chosen, sign, _ in self._sets:
            values[chosen] -= sign * np.asarray(result.multipliers)[start:start + chosen.size]
            start += chosen.size
        polytope, x = self._form.polytope, result.x
        left = self._evaluator.at(x).gradient + self._jacobian(x).T @ values
        active = (x - polytope.x_lower <= ACTIVE) | (polytope.x_upper - x <= ACTIVE)
        n_rows = polytope.A.shape[0]
        return Multipliers(np.where(active, -left, 0.0), values[:n_rows], values[n_rows:])
