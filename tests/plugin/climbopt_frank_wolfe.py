"""frank_wolfe: steps towards the best vertex, as a backend that another package adds to climbopt.

Source: M. Frank and P. Wolfe, "An algorithm for quadratic programming", Naval Research Logistics Quarterly 3 (1956),
95-110. Where the optimum lies on a face of the polytope its steps zigzag, and the gap falls as 1/k: J. Guelat and
P. Marcotte, "Some comments on Wolfe's 'away step'", Mathematical Programming 35 (1986), 110-119.
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import ClassVar

import numpy as np
from scipy.optimize import brentq

from climbopt.backends.backend import Evaluator, Options, TimeUpError, checked_native
from climbopt.foundations.solution import Solution, Termination
from climbopt.model.templates import Array
from climbopt.program import StandardForm

GAP_SHARE = 1e-7
"""Gap of the linearised problem at which it stops, as a share of the tolerance."""
LEAST_STEP = 1e-12
DEFAULT_ITERATIONS = 1000

EXCLUSIONS = dict.fromkeys(
    ("weight 0", "floor", "cap", "supply", "group", "group from below", "weakly active floor"),
    "the optimum lies on a face of the polytope, where the steps zigzag and 1000 of them leave r 6e-5 to 4e-3 off",
)
"""Checks of climbopt's conformance suite that this backend does not pass, and why."""


@dataclass(frozen=True)
class FrankWolfe:
    """The method of Frank and Wolfe with an exact line search; first derivatives only, no options, no multipliers."""

    name: ClassVar[str] = "frank_wolfe"

    @property
    def version(self) -> str:
        """Version of this package."""
        return f"climbopt-frank-wolfe {version('climbopt-frank-wolfe')}"

    def refusal(self, form: StandardForm) -> str | None:
        """Refuse nonlinear rows, which have no vertices."""
        return "frank_wolfe takes bounds and linear rows only" if form.has_nonlinear_rows else None

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a point whose gap is small, reached from the form's start."""
        checked_native(options, {}, self.name)
        evaluator, x, done = Evaluator(form, options.time_limit), form.start, 0
        try:
            if not np.isfinite(evaluator.at(x).value):
                return evaluator.solution(self, None, None, Termination.LEFT_DOMAIN, "the start is outside", 0)
            while True:
                gradient = evaluator.at(x).gradient
                least, vertex = form.polytope.linear_minimum(gradient)
                gap = float(gradient @ x - least)
                if gap <= GAP_SHARE * options.tolerance:
                    return evaluator.solution(self, x, None, Termination.SOLVED, f"gap {gap:.1e}", done)
                if done == (options.max_iterations or DEFAULT_ITERATIONS):
                    return evaluator.solution(self, x, None, Termination.ITERATION_LIMIT, f"gap {gap:.1e}", done)
                length = _best_length(evaluator, x, vertex - x)
                if length is None:
                    return evaluator.solution(self, x, None, Termination.STALLED, f"gap {gap:.1e}", done)
                x, done = x + length * (vertex - x), done + 1
        except TimeUpError:
            return evaluator.solution(self, evaluator.last_x, None, Termination.TIME_LIMIT, "time limit", done)


def _best_length(evaluator: Evaluator, x: Array, direction: Array) -> float | None:
    """Return where f stops falling on the way to x + direction; None where it is no number on all of the way."""

    def slope(length: float) -> float:
        return float(evaluator.at(x + length * direction).gradient @ direction)

    longest = 1.0
    while not np.isfinite(slope(longest)):  # at or past the edge of the law's domain
        longest /= 2
        if longest < LEAST_STEP:
            return None
    return longest if slope(longest) <= 0 else float(brentq(slope, 0.0, longest, xtol=1e-15))
