"""cvxpy_dnlp: CVXPY's disciplined nonlinear programming, with its own derivatives, through Ipopt."""

from __future__ import annotations

import time
import warnings
from typing import Any

import cvxpy as cp
import cyipopt
import numpy as np

from climbopt.backends.backend import Evaluator, Options
from climbopt.backends.callbacks import TOLERANCES, TRIVIAL
from climbopt.backends.cvxpy_model import LEAST_NATIVE, NATIVE_SHARE, STATUS, taken, written
from climbopt.backends.ipopt import set_native
from climbopt.foundations.solution import Solution, Termination
from climbopt.program import StandardForm


class CvxpyDnlp:
    """Any smooth mixture problem through CVXPY's own differentiation and Ipopt.

    z and L are separate variables, tied to the ratios by equations. On this path CVXPY returns neither dual values nor
    iterations, and no point where Ipopt failed. Native settings: tol, constr_viol_tol, dual_inf_tol and
    compl_inf_tol at `NATIVE_SHARE` times the tolerance, no less than `LEAST_NATIVE`. Ipopt measures the time limit in
    processor time, and CVXPY's own preparations are not interrupted. Any option of Ipopt may be set by its own name.
    """

    name = "cvxpy_dnlp"
    version = f"cvxpy {cp.__version__}, Ipopt {'.'.join(map(str, cyipopt.IPOPT_VERSION))}"

    def refusal(self, form: StandardForm) -> str | None:
        """CVXPY must be able to read the functions, and know that they are smooth."""
        program = written(form, named=True)
        if isinstance(program, str):
            return f"cvxpy_dnlp takes mixtures that can be written in CVXPY, and here {program}; use ipopt"
        return None if program.problem.is_dnlp() else "cvxpy_dnlp takes only what CVXPY knows to be smooth; use ipopt"

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a local minimum, reached from the form's start."""
        settings = _settings(options)
        program = taken(self, form, named=True)
        evaluator = Evaluator(form, options.time_limit, program.seconds)
        problem, x = program.problem, program.quantities.x
        if not program.start_at(form.start):
            return evaluator.solution(
                self, None, None, Termination.LEFT_DOMAIN, "the start is outside the law's domain"
            )
        if options.time_limit is not None:
            settings["max_cpu_time"] = left = evaluator.left
            if left <= 0:
                return evaluator.solution(self, None, None, Termination.TIME_LIMIT, "time limit")
        began = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # warnings on statuses, which are read below
                problem.solve(nlp=True, solver=cp.IPOPT, **settings)
        except cp.SolverError as error:
            return evaluator.solution(self, None, None, Termination.FAILED, str(error))
        # CVXPY maps Ipopt's iteration and time limits to one status, user_limit.
        time_is_up = time.process_time() - began >= settings.get("max_cpu_time", np.inf)
        status = STATUS.get(problem.status, Termination.FAILED)
        status = Termination.TIME_LIMIT if problem.status == "user_limit" and time_is_up else status
        return evaluator.solution(self, None if x.value is None else np.array(x.value), None, status, problem.status)


def _settings(options: Options) -> dict[str, Any]:
    """Return Ipopt's settings; raises InputError for an option that Ipopt refuses."""
    # Refused here with the option's name, which CVXPY omits.
    set_native(cyipopt.Problem(n=1, m=0, problem_obj=TRIVIAL), options.native)
    tolerances = dict.fromkeys(TOLERANCES, max(options.tolerance * NATIVE_SHARE, LEAST_NATIVE))
    return {**tolerances, "print_level": 0, "sb": "yes", **options.iterations_as("max_iter"), **options.native}
