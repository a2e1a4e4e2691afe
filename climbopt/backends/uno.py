"""uno: Uno's filter method of sequential quadratic programming, through unopy, with exact Jacobians and Hessians."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import unopy

from climbopt.backends.backend import Evaluator, Options, OptionValue, set_options, takes_every_form
from climbopt.backends.callbacks import Callbacks
from climbopt.foundations.solution import Array, Solution, Termination
from climbopt.program import StandardForm

PRESET = "filtersqp"
NATIVE_SHARE = 1e-5
"""Uno's primal and dual tolerances as a share of the certificate's."""
LEAST_NATIVE = 1e-12
"""Smallest tolerance that it reaches in double precision."""

STATUS = {
    "ITERATION_LIMIT": Termination.ITERATION_LIMIT,
    "TIME_LIMIT": Termination.TIME_LIMIT,
    "EVALUATION_ERROR": Termination.NOT_A_NUMBER,
    "ALGORITHMIC_ERROR": Termination.FAILED,
    "USER_TERMINATION": Termination.INTERRUPTED,
    "USER_INTERRUPTION": Termination.INTERRUPTED,
}
"""Uno's optimisation statuses but SUCCESS, by name."""
POINT_STATUS = {
    "FEASIBLE_KKT_POINT": Termination.SOLVED,
    "FEASIBLE_FJ_POINT": Termination.ALMOST_SOLVED,
    "FEASIBLE_SMALL_STEP": Termination.STALLED,
    "INFEASIBLE_STATIONARY_POINT": Termination.INFEASIBLE,
    "INFEASIBLE_SMALL_STEP": Termination.INFEASIBLE,
    "UNBOUNDED_OBJECTIVE": Termination.UNBOUNDED,
    "DIVERGING_ITERATE": Termination.UNBOUNDED,
}
"""Uno's statuses of a point, by name, where it stopped by itself."""

OPTION_NAMES = (
    "primal_tolerance",
    "dual_tolerance",
    "max_iterations",
    "time_limit",
    "logger",
    "print_solution",
    "residual_norm",
    "progress_norm",
    "residual_scaling_threshold",
    "unbounded_objective_threshold",
    "use_function_scaling",
    "function_scaling_threshold",
    "inequality_handling_method",
    "globalization_mechanism",
    "globalization_strategy",
    "hessian_model",
    "inertia_correction_strategy",
    "armijo_decrease_fraction",
    "filter_beta",
    "filter_gamma",
    "TR_radius",
    "TR_min_radius",
    "LS_backtracking_ratio",
    "SOC_max_iterations",
    "QP_solver",
    "linear_solver",
)
"""Options that are proposed for a name which Uno does not know; it lists none itself."""


class Uno:
    """Uno through unopy, with its preset `PRESET` and the active-set solver BQPD for its quadratic programs.

    Native settings: primal_tolerance and dual_tolerance at `NATIVE_SHARE` times the tolerance, no less than
    `LEAST_NATIVE`. Any option of Uno may be set by its own name.
    """

    name = "uno"
    version = f"Uno {unopy.current_uno_version()}, unopy {version('unopy')}"
    refusal = takes_every_form

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a local minimum, reached from the form's start."""
        callbacks, solver = Callbacks(Evaluator(form, options.time_limit)), unopy.UnoSolver()
        solver.set_preset(PRESET)
        settings: dict[str, OptionValue] = {
            **dict.fromkeys(
                ("primal_tolerance", "dual_tolerance"), max(options.tolerance * NATIVE_SHARE, LEAST_NATIVE)
            ),
            "logger": "SILENT",
            **options.iterations_as("max_iterations"),
            **options.native,  # the user's options come last, and win
        }
        set_options(solver.set_option, settings, "Uno", lambda: OPTION_NAMES)
        # Uno's own limit is not one of wall time.
        solver.set_termination_callback(lambda *_: not callbacks.intermediate(0, 0))
        result = solver.optimize(_model(form, callbacks))
        # Uno says apart why it stopped and what the point is; the latter counts only where it stopped by itself.
        why, what = result.optimization_status.name, result.solution_status.name
        status = POINT_STATUS.get(what, Termination.FAILED) if why == "SUCCESS" else STATUS[why]
        callbacks.iterations = int(result.number_iterations)
        return callbacks.solution(
            self,
            np.array(result.primal_solution),
            # Those of a bound are <= 0 at its lower side and >= 0 at its upper side.
            np.array(result.lower_bound_dual_solution) + np.array(result.upper_bound_dual_solution),
            np.array(result.constraint_dual_solution),
            status,
            f"{why.lower()}: {what.lower()}".replace("_", " "),
        )


def _model(form: StandardForm, callbacks: Callbacks) -> unopy.Model:
    """Return the form as a model of Uno, whose multipliers enter the Lagrangian as climbopt's do: f + y'c."""
    limits, n = form.limits, form.n
    model = unopy.Model(unopy.PROBLEM_NONLINEAR, n, limits.lower[:n], limits.upper[:n], unopy.ZERO_BASED_INDEXING)
    model.set_lagrangian_sign_convention(unopy.MULTIPLIER_POSITIVE)
    model.set_objective(unopy.MINIMIZE, callbacks.objective, _filling(callbacks.gradient))
    rows, columns = callbacks.jacobianstructure()
    model.set_constraints(
        limits.lower.size - n,
        _filling(callbacks.constraints),
        limits.lower[n:],
        limits.upper[n:],
        rows.size,
        rows,
        columns,
        _filling(callbacks.jacobian),
    )
    rows, columns = callbacks.hessianstructure()
    model.set_lagrangian_hessian(
        rows.size,
        unopy.LOWER_TRIANGLE,
        rows,
        columns,
        _filling(lambda x, weight, multipliers: callbacks.hessian(x, multipliers, weight)),
    )
    model.set_initial_primal_iterate(form.start)
    return model


def _filling(function: Callable[..., Array]) -> Callable[..., None]:
    """Return a callback that writes a function's result into its last argument, as Uno asks."""
    return lambda *arguments: np.copyto(arguments[-1], function(*arguments[:-1]))
