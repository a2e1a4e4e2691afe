"""trust_constr: scipy's trust-region interior-point method, with exact Hessians and sparse constraint matrices."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy
from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint, OptimizeResult, minimize
from scipy.sparse import csr_array

from climbopt.backends.backend import (
    Evaluator,
    Options,
    OptionValue,
    Standstill,
    TimeUpError,
    checked_native,
    takes_every_form,
)
from climbopt.foundations.solution import Multipliers, Solution, Termination
from climbopt.model.templates import Array
from climbopt.program import StandardForm

NATIVE = {"gtol": 0.0, "xtol": 1e-10, "barrier_tol": 1e-13, "maxiter": 3000}
"""gtol would stop at the current barrier parameter, up to 1e-6 short of a bound; xtol is the stopping test."""
FEASIBLE = 1e-9
"""Constraint violation up to which a point that meets xtol is a solution."""
HANGS_AFTER = 40
"""Iterations without any change of point or trust region after which it is stopped."""
KNOWN: dict[str, type] = {
    "gtol": float,
    "xtol": float,
    "barrier_tol": float,
    "maxiter": int,
    "initial_constr_penalty": float,
    "initial_tr_radius": float,
    "initial_barrier_parameter": float,
    "initial_barrier_tolerance": float,
    "factorization_method": str,
}
STATUS = {
    0: Termination.ITERATION_LIMIT,
    1: Termination.SOLVED,
    2: Termination.SOLVED,
    3: Termination.STALLED,
    4: Termination.STALLED,
}
"""trust-constr's status by number; 3 is a stop by the callback for no progress; the time limit is handled earlier."""


@dataclass(frozen=True)
class TrustConstr:
    """scipy.optimize.minimize(method="trust-constr").

    Native settings: `NATIVE`, whatever the tolerance; its own stopping tests do not scale with it. Bounds are
    strict (`keep_feasible`) where there are no nonlinear rows: without it the method can hang at the start; with it
    and nonlinear rows, iterates can diverge from the equations. Where one setting fails the other is tried.
    """

    name: ClassVar[str] = "trust_constr"
    refusal = takes_every_form

    @property
    def version(self) -> str:
        """Version of scipy."""
        return f"scipy {scipy.__version__}"

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a local minimum, reached from the form's start."""
        native = {**NATIVE, **checked_native(options, KNOWN, self.name), **options.iterations_as("maxiter")}
        evaluator = Evaluator(form, options.time_limit)
        # strict bounds first without nonlinear rows, last with them
        first = not form.functions.n_rows
        try:
            result = _run(form, evaluator, native, strict=first)
            if _status(result) in (Termination.STALLED, Termination.FAILED) and not evaluator.time_is_up:
                result = _run(form, evaluator, native, strict=not first)
        except TimeUpError:
            return evaluator.solution(self, evaluator.last_x, None, Termination.TIME_LIMIT, "time limit", None)
        except ValueError as error:  # scipy refuses matrices that are not finite
            # Only a NaN of the form's own explains the error; any other is passed on.
            if not np.isnan(evaluator.at(form.start if evaluator.last_x is None else evaluator.last_x).value):
                raise
            return evaluator.solution(self, None, None, Termination.NOT_A_NUMBER, str(error), None)
        status = Termination.TIME_LIMIT if evaluator.time_is_up else _status(result)
        return evaluator.solution(
            self, result.x, _multipliers(result, form), status, str(result.message), int(result.nit)
        )


def _run(form: StandardForm, evaluator: Evaluator, native: dict[str, OptionValue], *, strict: bool) -> OptimizeResult:
    """Return scipy's result from the form's start."""
    polytope, no_rows = form.polytope, np.zeros(form.functions.n_rows)
    constraints: list[LinearConstraint | NonlinearConstraint] = []
    if form.polytope.rows.labels:  # scipy fails on an empty matrix
        constraints.append(LinearConstraint(polytope.A, polytope.rows.lower, polytope.rows.upper))
    if form.functions.n_rows:
        constraints.append(
            NonlinearConstraint(
                lambda x: evaluator.at(x).rows,
                form.nonlinear.lower,
                form.nonlinear.upper,
                # Sparse, as the linear rows that scipy stacks it with.
                jac=lambda x: csr_array(evaluator.at(x).jacobian),
                hess=lambda x, v: evaluator.at(x).hessian(0.0, v),
            )
        )
    still = Standstill(HANGS_AFTER)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # warnings on single steps; the point is judged afterwards
        return minimize(
            lambda x: evaluator.at(x).value,
            form.start,
            method="trust-constr",
            jac=lambda x: evaluator.at(x).gradient,
            # scipy adds the Hessians of the rows itself.
            hess=lambda x: evaluator.at(x).hessian(1.0, no_rows),
            bounds=Bounds(polytope.bounds.lower, polytope.bounds.upper, keep_feasible=strict),
            constraints=constraints,
            options={**native, "sparse_jacobian": True},
            callback=lambda x, state: evaluator.time_is_up or still.reached(np.append(x, state.tr_radius)),
        )


def _status(result: OptimizeResult) -> Termination:
    """Return why scipy stopped; its own test of feasibility uses gtol, which is 0 here."""
    status = STATUS.get(int(result.status), Termination.FAILED)
    # A trust region that shrank to xtol at a feasible point is a solution, whatever stopped the run.
    if status is Termination.STALLED and result.constr_violation <= FEASIBLE and result.tr_radius <= NATIVE["xtol"]:
        return Termination.SOLVED
    return status


def _multipliers(result: OptimizeResult, form: StandardForm) -> Multipliers:
    """Return scipy's multipliers, which have climbopt's signs: an array per constraint object in order, bounds last."""
    values = [np.asarray(v, dtype=float) for v in result.v]
    rows: Array = values[0] if form.polytope.rows.labels else np.zeros(0)
    nonlinear: Array = values[-2] if form.functions.n_rows else np.zeros(0)
    return Multipliers(bounds=values[-1], rows=rows, nonlinear=nonlinear)
