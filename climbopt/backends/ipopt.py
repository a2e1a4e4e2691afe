"""ipopt: the interior-point method through cyipopt, with exact Jacobians and Hessians."""

from __future__ import annotations

import re
from collections.abc import Mapping

import cyipopt

from climbopt.backends.backend import Evaluator, Options, OptionValue, set_options, silenced, takes_every_form
from climbopt.backends.callbacks import Callbacks, documented_options, interior_settings
from climbopt.foundations.solution import Solution
from climbopt.program import StandardForm

OPTION = re.compile(r"^([a-z]\w+) +\S", re.M)
"""An option in Ipopt's printed documentation: at the start of a line, before its default."""


class Ipopt:
    """Ipopt through cyipopt.

    Native settings: tol, constr_viol_tol, dual_inf_tol and compl_inf_tol at 1e-7 times the tolerance
    (where a bound is active with multiplier 0, the slack left is about its square root), bound_relax_factor 0
    (Ipopt would move bounds by 1e-8). Any option of Ipopt may be set by its own name.
    """

    name = "ipopt"
    version = f"Ipopt {'.'.join(map(str, cyipopt.IPOPT_VERSION))}, cyipopt {cyipopt.__version__}"
    refusal = takes_every_form

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a local minimum, reached from the form's start."""
        callbacks = Callbacks(Evaluator(form, options.time_limit))
        problem = cyipopt.Problem(**callbacks.arguments)
        # The user's options come last, and win.
        set_native(problem, {**interior_settings(options), "print_level": 0, "sb": "yes", **options.native})
        return callbacks.interior_solution(self, *problem.solve(form.start))


def set_native(problem: cyipopt.Problem, settings: Mapping[str, OptionValue]) -> None:
    """Set options of Ipopt; raises InputError where Ipopt refuses one."""
    with silenced(1):  # Ipopt prints a message on a refused option
        set_options(problem.add_option, settings, "Ipopt", lambda: documented_options(cyipopt.Problem, OPTION))
