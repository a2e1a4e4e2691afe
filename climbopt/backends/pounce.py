"""pounce: Ipopt's algorithm in Rust, a wheel that needs no Ipopt, with exact Jacobians and Hessians."""

from __future__ import annotations

import re
from importlib.metadata import version

import pounce

from climbopt.backends.backend import Evaluator, Options, refused_option, takes_every_form
from climbopt.backends.callbacks import Callbacks, documented_options, interior_settings
from climbopt.foundations.solution import Solution
from climbopt.program import StandardForm

OPTION = re.compile(r"^([a-z]\w+): ", re.M)
"""An option in POUNCE's printed documentation: at the start of a line, before its first words."""
REFUSED = re.compile(r"^option (\w+)=")
"""How POUNCE begins its error on an option."""


class Pounce:
    """POUNCE through its own Problem, which is called like cyipopt's.

    Native settings: as those of `ipopt`; with max_iterations, the second run that POUNCE would begin after the limit
    is switched off. Any option of POUNCE may be set by its own name.
    """

    name = "pounce"
    version = f"POUNCE {version('pounce-solver')}"
    refusal = takes_every_form

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a local minimum, reached from the form's start."""
        callbacks = Callbacks(Evaluator(form, options.time_limit))
        problem = pounce.Problem(**callbacks.arguments)
        # The user's options come last, and win.
        for name, value in {**interior_settings(options, pounce=True), "print_level": 0, **options.native}.items():
            problem.add_option(name, value)
        try:
            x, info = problem.solve(form.start)
        except RuntimeError as error:
            # POUNCE reads its options when it starts; there is no error type for them.
            refused = REFUSED.match(str(error))
            if refused is None or refused[1] not in options.native:
                raise
            raise refused_option(
                refused[1], options.native[refused[1]], "POUNCE", documented_options(pounce.Problem, OPTION)
            ) from None
        return callbacks.interior_solution(self, x, info)
