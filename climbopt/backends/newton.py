"""newton: active-set Newton under linear rows, sequential quadratic programming under nonlinear ones.

Both are dense, with exact Hessians; their steps are in newton_steps.py and sqp.py.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from climbopt.backends.backend import Evaluator, Options, TimeUpError, checked_native, takes_every_form
from climbopt.backends.newton_steps import NewtonSteps, violations
from climbopt.backends.sqp import SequentialQuadratic
from climbopt.foundations.solution import Multipliers, Solution, Termination
from climbopt.program import StandardForm

RESIDUAL_SHARE = 1e-4
"""Stationarity is driven to this share of the certificate's tolerance."""
DEFAULT_ITERATIONS = 200
FEASIBLE = 1e-9
"""Violation of a row, in its own unit, that counts as rounding."""


class Newton:
    """climbopt's own solver; the default where all rows are linear.

    Native settings: stops at a scaled stationarity of `RESIDUAL_SHARE` times the tolerance; no native options.
    """

    name = "newton"
    version = f"climbopt {version('climbopt')}"
    refusal = takes_every_form

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a local minimum, reached from the form's start."""
        checked_native(options, {}, self.name)
        evaluator = Evaluator(form, options.time_limit)
        # Rows that only keep z in its domain are checked at the end.
        search = (SequentialQuadratic if form.has_nonlinear_rows else NewtonSteps)(
            evaluator, options.tolerance * RESIDUAL_SHARE
        )
        x, face, termination, done = form.start, None, None, 0
        try:
            if np.isnan(evaluator.at(x).value):
                return evaluator.solution(self, None, None, Termination.LEFT_DOMAIN, "the start is outside", 0)
            while termination is None and done < (options.max_iterations or DEFAULT_ITERATIONS):
                done += 1
                x, face, termination = search.step(x, face)
        except TimeUpError:
            termination = Termination.TIME_LIMIT
        if termination is Termination.SOLVED and len(form.nonlinear):
            # The search only requires finite losses.
            broken = violations(form.nonlinear, form.functions.at(x).rows).max()
            termination = Termination.LEFT_DOMAIN if broken > FEASIBLE else termination
        termination = termination or Termination.ITERATION_LIMIT
        multipliers, n_linear = None, len(form.polytope.rows)
        if face is not None:
            # the search without rows of c has no multipliers of them
            on_c = np.append(face.rows[n_linear:], np.zeros(len(form.nonlinear)))[: len(form.nonlinear)]
            multipliers = Multipliers(face.bounds, face.rows[:n_linear], on_c)
        return evaluator.solution(self, x, multipliers, termination, termination.name.lower(), done)
