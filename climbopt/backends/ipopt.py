"""ipopt: the interior-point method through cyipopt, with exact Jacobians and Hessians."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import cyipopt
import numpy as np
from numpy.typing import NDArray

from climbopt.backends.backend import Evaluator, Options, OptionValue, TimeUpError, completed, refused_option, silenced
from climbopt.foundations.solution import Multipliers, Solution, Termination
from climbopt.model.templates import Array
from climbopt.program import Evaluation, StandardForm

NATIVE_SHARE = 1e-7
"""Ipopt's tol (scaled) and its absolute tolerances, as a share of the certificate's."""
LEAST_NATIVE = 1e-13
"""Smallest tolerance that Ipopt reaches in double precision."""
INFINITE = 2e19
"""Bounds of at least this size are infinite to Ipopt."""

OPTION = re.compile(r"^([a-z]\w+) +\S", re.M)
"""An option in Ipopt's printed documentation: at the start of a line, before its default."""

STATUS = {
    0: Termination.SOLVED,
    1: Termination.ALMOST_SOLVED,
    2: Termination.INFEASIBLE,
    3: Termination.STALLED,
    4: Termination.UNBOUNDED,
    5: Termination.INTERRUPTED,
    6: Termination.SOLVED,
    -1: Termination.ITERATION_LIMIT,
    -2: Termination.FAILED,
    -3: Termination.NOT_A_NUMBER,
    -4: Termination.TIME_LIMIT,
    -5: Termination.TIME_LIMIT,
    -10: Termination.FAILED,
    -11: Termination.FAILED,
    -12: Termination.FAILED,
    -13: Termination.NOT_A_NUMBER,
    -100: Termination.FAILED,
    -101: Termination.FAILED,
    -102: Termination.FAILED,
    -199: Termination.FAILED,
}
"""Ipopt's ApplicationReturnStatus by number."""


@dataclass(frozen=True)
class Ipopt:
    """Ipopt through cyipopt.

    Native settings: tol, constr_viol_tol, dual_inf_tol and compl_inf_tol at `NATIVE_SHARE` times the tolerance
    (where a bound is active with multiplier 0, the slack left is about its square root), bound_relax_factor 0
    (Ipopt would move bounds by 1e-8). Any option of Ipopt may be set by its own name.
    """

    name: ClassVar[str] = "ipopt"

    @property
    def version(self) -> str:
        """Version of Ipopt itself, then of cyipopt."""
        return f"Ipopt {'.'.join(map(str, cyipopt.IPOPT_VERSION))}, cyipopt {cyipopt.__version__}"

    def refusal(self, form: StandardForm) -> str | None:
        """Ipopt takes every standard form."""
        return None

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a local minimum, reached from the form's start."""
        evaluator = Evaluator(form, options.time_limit)
        callbacks = _Callbacks(evaluator)
        polytope = form.polytope
        problem = cyipopt.Problem(
            n=form.n,
            m=polytope.A.shape[0] + form.functions.n_rows,
            problem_obj=callbacks,
            lb=_finite(polytope.bounds.lower),
            ub=_finite(polytope.bounds.upper),
            cl=_finite(np.append(polytope.rows.lower, form.nonlinear.lower)),
            cu=_finite(np.append(polytope.rows.upper, form.nonlinear.upper)),
        )
        # Far below the certificate's tolerance: at a weakly active bound the slack left is about the root of tol.
        native = max(options.tolerance * NATIVE_SHARE, LEAST_NATIVE)
        settings: dict[str, OptionValue] = {
            "tol": native,
            "constr_viol_tol": native,
            "dual_inf_tol": native,
            "compl_inf_tol": native,
            "bound_relax_factor": 0.0,
            "print_level": 0,
            "sb": "yes",
            "nlp_scaling_method": "none",
        }
        if options.max_iterations is not None:
            settings["max_iter"] = options.max_iterations
        # The user's options come last, and win.
        for name, value in {**settings, **options.native}.items():
            set_option(problem, name, value)
        x, info = problem.solve(form.start)
        status = Termination.TIME_LIMIT if callbacks.out_of_time else STATUS.get(info["status"], Termination.FAILED)
        multipliers = _multipliers(form, x, info)
        message = info["status_msg"]
        raw = message.decode() if isinstance(message, bytes) else str(message)
        return evaluator.solution(self, x, multipliers, status, raw, callbacks.iterations)


def set_option(problem: cyipopt.Problem, name: str, value: OptionValue) -> None:
    """Set an option of Ipopt; raises InputError where Ipopt refuses it."""
    try:
        with silenced(1):  # Ipopt prints a message on a refused option
            problem.add_option(name, value)
    except TypeError:
        raise refused_option(name, value, "Ipopt", option_names()) from None


@lru_cache(maxsize=1)
def option_names() -> frozenset[str]:
    """Return the names of Ipopt's options, read from the documentation that it prints."""
    problem = cyipopt.Problem(n=1, m=0, problem_obj=Unsolved())
    problem.add_option("print_options_documentation", "yes")
    problem.add_option("max_iter", 0)
    with tempfile.TemporaryFile() as file:
        with silenced(1, file.fileno()):
            problem.solve(np.zeros(1))
        file.seek(0)
        return frozenset(OPTION.findall(file.read().decode(errors="replace")))


class Unsolved:
    """A problem of one variable for cyipopt, which checks and documents options only for a problem."""

    def objective(self, x: Array) -> float:
        """Return 0."""
        return 0.0

    def gradient(self, x: Array) -> Array:
        """Return 0 for each variable."""
        return np.zeros_like(x)

    def hessianstructure(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return no entries."""
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)

    def hessian(self, x: Array, multipliers: Array, weight: float) -> Array:
        """Return no entries."""
        return np.zeros(0)


def _multipliers(form: StandardForm, x: Array, info: Mapping[str, Array]) -> Multipliers:
    """Return Ipopt's multipliers, whose signs agree with climbopt's convention."""
    n_rows = form.polytope.A.shape[0]
    return completed(
        form, x, Multipliers(info["mult_x_U"] - info["mult_x_L"], info["mult_g"][:n_rows], info["mult_g"][n_rows:])
    )


def _finite(bound: Array) -> Array:
    """Return a bound with infinities in Ipopt's form."""
    return np.clip(bound, -INFINITE, INFINITE)


class _Callbacks:
    """The callbacks of cyipopt, under cyipopt's names."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._form = evaluator.form
        self._linear = self._form.polytope.A.tocoo()
        # Ipopt reads the lower triangle of the symmetric Hessian
        self._lower_triangle = np.tril_indices(self._form.n)
        self.iterations: int | None = None
        self.out_of_time = False

    def _at(self, x: Array) -> Evaluation:
        """Return the evaluation at x; outside the domain, and past the time limit, the error that Ipopt handles."""
        try:
            evaluation = self._evaluator.at(x)
        except TimeUpError:
            self.out_of_time = True
            raise cyipopt.CyIpoptEvaluationError from None
        if np.isnan(evaluation.value):
            raise cyipopt.CyIpoptEvaluationError
        return evaluation

    def objective(self, x: Array) -> float:
        return self._at(x).value

    def gradient(self, x: Array) -> Array:
        return self._at(x).gradient

    def constraints(self, x: Array) -> Array:
        return np.append(self._form.polytope.A @ x, self._at(x).rows)

    def jacobianstructure(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        n_rows, n = self._form.functions.n_rows, self._form.n
        # Linear rows first, sparse; then c, dense, row by row.
        rows = np.repeat(np.arange(n_rows), n) + self._linear.shape[0]
        return np.append(self._linear.row, rows), np.append(self._linear.col, np.tile(np.arange(n), n_rows))

    def jacobian(self, x: Array) -> Array:
        return np.append(self._linear.data, self._at(x).jacobian.ravel())

    def hessianstructure(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return self._lower_triangle

    def hessian(self, x: Array, multipliers: Array, weight: float) -> Array:
        # linear rows have no curvature: only multipliers of c enter
        hessian = self._at(x).hessian(weight, multipliers[self._linear.shape[0] :])
        return hessian[self._lower_triangle]

    def intermediate(self, alg_mod: int, iter_count: int, *progress: float) -> bool:
        self.iterations = iter_count
        # False stops Ipopt, also where evaluations are cheap and its own steps are slow
        self.out_of_time = self.out_of_time or self._evaluator.time_is_up
        return not self.out_of_time
