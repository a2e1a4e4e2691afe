"""A standard form under the names that cyipopt calls, and what Ipopt and its port POUNCE have in common."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climbopt.backends.backend import Backend, Evaluator, Options, OptionValue, TimeUpError, completed, silenced
from climbopt.foundations.solution import Array, Multipliers, Solution, Termination
from climbopt.program import Evaluation

Indices = NDArray[np.intp]

NATIVE_SHARE = 1e-7
"""tol (scaled) and the absolute tolerances, as a share of the certificate's."""
LEAST_NATIVE = 1e-13
"""Smallest tolerance that is reached in double precision."""
TOLERANCES = ("tol", "constr_viol_tol", "dual_inf_tol", "compl_inf_tol")
INFINITE = 2e19
"""Bounds of at least this size are infinite."""

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


def interior_settings(options: Options, *, pounce: bool = False) -> dict[str, OptionValue]:
    """Return the native settings for the options common to all backends, without the time limit.

    The tolerances lie far below the certificate's: at a weakly active bound the slack left is about the root of tol.
    POUNCE is kept from a second run of the same length after its iteration limit.
    """
    return {
        **dict.fromkeys(TOLERANCES, max(options.tolerance * NATIVE_SHARE, LEAST_NATIVE)),
        "bound_relax_factor": 0.0,
        "nlp_scaling_method": "none",
        **options.iterations_as("max_iter"),
        **(
            {"mu_strategy_fallback": "no", "feral_increase_quality_retry": "no"}
            if pounce and options.max_iterations is not None
            else {}
        ),
    }


class Callbacks:
    """The functions of a standard form: its linear rows, then c; not a number outside the domain, never an exception.

    Past the time limit everything is not a number, and `intermediate` asks for the end.

    Parameters
    ----------
    evaluator : Evaluator
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._form = evaluator.form
        self._linear = self._form.polytope.A.tocoo()
        # the lower triangle of the symmetric Hessian
        self._triangle = np.tril_indices(self._form.n)
        self.iterations: int | None = None
        self.out_of_time = False

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of cyipopt's Problem, and of others that are called like it."""
        # Limits are those of x, then of A x, then of c(x), in the order of `constraints`.
        limits, n = self._form.limits, self._form.n
        lower, upper = (np.clip(ends, -INFINITE, INFINITE) for ends in (limits.lower, limits.upper))
        ends = {"lb": lower[:n], "ub": upper[:n], "cl": lower[n:], "cu": upper[n:]}
        return {"n": n, "m": lower.size - n, "problem_obj": self, **ends}

    def _read(self, x: Array, size: int, part: Callable[[Evaluation], Array]) -> Array:
        """Return a part of the evaluation at x, (size,)."""
        try:
            evaluation = self._evaluator.at(x)
        except TimeUpError:
            self.out_of_time = True
            return np.full(size, np.nan)
        return np.full(size, np.nan) if np.isnan(evaluation.value) else part(evaluation)

    def objective(self, x: Array) -> float:
        """Return f(x)."""
        return float(self._read(x, 1, lambda at: np.array([at.value]))[0])

    def gradient(self, x: Array) -> Array:
        """Return the gradient of f, (n,)."""
        return self._read(x, self._form.n, lambda at: at.gradient)

    def constraints(self, x: Array) -> Array:
        """Return A x, then c(x)."""
        return np.append(self._form.polytope.A @ x, self._read(x, self._form.functions.n_rows, lambda at: at.rows))

    def jacobianstructure(self) -> tuple[Indices, Indices]:
        """Return rows and columns of the Jacobian's entries: A, sparse, then the slopes of c row by row."""
        n_rows, n = self._form.functions.n_rows, self._form.n
        rows = np.repeat(np.arange(n_rows), n) + self._linear.shape[0]
        return np.append(self._linear.row, rows), np.append(self._linear.col, np.tile(np.arange(n), n_rows))

    def jacobian(self, x: Array) -> Array:
        """Return the Jacobian's entries."""
        slopes = self._read(x, self._form.functions.n_rows * self._form.n, lambda at: at.jacobian.ravel())
        return np.append(self._linear.data, slopes)

    def hessianstructure(self) -> tuple[Indices, Indices]:
        """Return rows and columns of the lower triangle."""
        return self._triangle

    def hessian(self, x: Array, multipliers: Array, weight: float) -> Array:
        """Return the lower triangle of the Lagrangian's Hessian; linear rows have no curvature."""
        on_c = np.array(multipliers[self._linear.shape[0] :])
        return self._read(x, self._triangle[0].size, lambda at: at.hessian(weight, on_c)[self._triangle])

    def intermediate(self, alg_mod: int, iter_count: int, *progress: float) -> bool:
        """Note the iteration; False, which ends the solve, past the time limit."""
        self.iterations = iter_count
        # also where evaluations are cheap and the solver's own steps are slow
        self.out_of_time = self.out_of_time or self._evaluator.left < 0
        return not self.out_of_time

    def solution(
        self, backend: Backend, x: Array, on_bounds: Array, on_rows: Array, termination: Termination, words: str
    ) -> Solution:
        """Return the Solution of a finished solve, with multipliers of the bounds and of the `constraints`."""
        claimed = completed(self._form, x, Multipliers(on_bounds, *np.split(on_rows, [self._linear.shape[0]])))
        termination = Termination.TIME_LIMIT if self.out_of_time else termination
        return self._evaluator.solution(backend, x, claimed, termination, words, self.iterations)

    def interior_solution(self, backend: Backend, x: Array, info: Mapping[str, Any]) -> Solution:
        """Return the Solution of what cyipopt's `solve` returns; its multipliers have climbopt's signs."""
        message, status = info["status_msg"], STATUS.get(info["status"], Termination.FAILED)
        words = message.decode() if isinstance(message, bytes) else str(message)
        return self.solution(backend, x, info["mult_x_U"] - info["mult_x_L"], info["mult_g"], status, words)


TRIVIAL = SimpleNamespace(
    objective=lambda x: 0.0,
    gradient=np.zeros_like,
    hessianstructure=lambda: (np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)),
    hessian=lambda x, multipliers, weight: np.zeros(0),
)
"""The functions of a problem of one variable: options are checked and documented only for a problem."""


@lru_cache
def documented_options(kind: Any, pattern: re.Pattern[str]) -> frozenset[str]:
    """Return the names of a solver's options, read from the documentation that it prints.

    Parameters
    ----------
    kind : type
        cyipopt.Problem or alike.
    pattern : re.Pattern
        Its first group is a name.
    """
    problem = kind(n=1, m=0, problem_obj=TRIVIAL)
    problem.add_option("print_options_documentation", "yes")
    problem.add_option("max_iter", 0)
    with tempfile.TemporaryFile() as file:
        with silenced(1, file.fileno()):
            problem.solve(np.zeros(1))
        file.seek(0)
        return frozenset(pattern.findall(file.read().decode(errors="replace")))
