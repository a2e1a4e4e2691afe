"""joint: the ratios that minimise the objective itself."""

from __future__ import annotations

from climbopt.backends import Options, choose
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures.procedure import Answer, joint_form


def joint(problem: AllocationProblem, backend: str | None, options: Options) -> Answer:
    """Return a minimum of the problem's objective over its mixtures."""
    form = joint_form(problem)
    solution = choose(form, backend).solve(form, options)
    ratios = None if solution.x is None else solution.x[: form.n_ratios]
    return Answer(ratios, form, solution.x, solution)
