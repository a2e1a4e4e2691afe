"""trust_constr: scipy's trust-region interior-point method, with exact Hessians and sparse constraint matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy
from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint, OptimizeResult, minimize
from scipy.sparse import csr_array

from climbopt.backends.base import Evaluator, Options, TimeUpError
from climbopt.solution import Multipliers, Solution, Termination
from climbopt.standard_form import StandardForm
from climbopt.templates import Array

NATIVE = {"gtol": 1e-12, "xtol": 1e-14, "barrier_tol": 1e-14, "maxiter": 3000}
"""At scipy's own defaults it stops at gaps of about 1e-6; these reach 1e-9 in r at a regular optimum."""
KNOWN: dict[str, type] = {
    "gtol": float, "xtol": float, "barrier_tol": float, "maxiter": int, "initial_constr_penalty": float,
    "initial_tr_radius": float, "initial_barrier_parameter": float, "initial_barrier_tolerance": float,
    "factorization_method": str,
}
STATUS = {0: Termination.ITERATION_LIMIT, 1: Termination.SOLVED, 2: Termination.SOLVED, 3: Termination.TIME_LIMIT,
          4: Termination.STALLED}


@dataclass(frozen=True)
class TrustConstr:
    """scipy.optimize.minimize(method="trust-constr").

    Native settings: `NATIVE`, whatever the tolerance; its own stopping tests do not scale with it.
    """

    name: ClassVar[str] = "trust_constr"

    @property
    def version(self) -> str:
        """Version of scipy."""
        return f"scipy {scipy.__version__}"

    def refusal(self, form: StandardForm) -> str | None:
        """trust-constr takes every standard form."""
        return None

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a local minimum, reached from the form's start."""
        native = {**NATIVE, **options.checked_native(KNOWN, self.name)}
        if options.max_iterations is not None:
            native["maxiter"] = options.max_iterations
        evaluator = Evaluator(form, options.time_limit)
        polytope, no_rows = form.polytope, np.zeros(form.functions.n_rows)
        constraints = [LinearConstraint(polytope.A, polytope.a_lower, polytope.a_upper, keep_feasible=True)]
        if form.functions.n_rows:
            constraints.append(NonlinearConstraint(
                lambda x: evaluator.at(x).rows, form.c_lower, form.c_upper,
                jac=lambda x: csr_array(evaluator.at(x).jacobian),
                hess=lambda x, v: evaluator.at(x).hessian(0.0, v)))
        try:
            result = minimize(
                lambda x: evaluator.at(x).value, form.start, method="trust-constr",
                jac=lambda x: evaluator.at(x).gradient, hess=lambda x: evaluator.at(x).hessian(1.0, no_rows),
                bounds=Bounds(polytope.x_lower, polytope.x_upper, keep_feasible=True), constraints=constraints,
                options={**native, "sparse_jacobian": True},
                callback=lambda x, state: evaluator.time_is_up)
        except TimeUpError:
            return evaluator.solution(self, evaluator.last_x, None, Termination.TIME_LIMIT, "time limit", None)
        except ValueError as error:  # scipy refuses matrices that are not finite
            if not evaluator.seen_nan:
                raise
            return evaluator.solution(self, None, None, Termination.NOT_A_NUMBER, str(error), None)
        status = STATUS.get(int(result.status), Termination.FAILED)
        return evaluator.solution(self, result.x, _multipliers(result, form), status, str(result.message),
                                  int(result.nit))


def _multipliers(result: OptimizeResult, form: StandardForm) -> Multipliers:
    """Return scipy's multipliers: one array a constraint object, in the order given, bounds last; same signs."""
    values = [np.asarray(v, dtype=float) for v in result.v]
    nonlinear: Array = values[1] if form.functions.n_rows else np.zeros(0)
    return Multipliers(bounds=values[-1], rows=values[0], nonlinear=nonlinear)
