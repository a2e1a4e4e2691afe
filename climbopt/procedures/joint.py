"""joint: the ratios that minimise the weighted loss itself."""

from __future__ import annotations

from climbopt.backends import Options, choose
from climbopt.problem import AllocationProblem
from climbopt.procedures.base import Answer, joint_form


def joint(problem: AllocationProblem, backend: str | None, options: Options) -> Answer:
    """Return a minimum of sum_i w_i L_i(r, D) over the problem's mixtures."""
    form = joint_form(problem)
    solution = choose(form, backend).solve(form, options)
    return Answer(solution.x, form, solution.x, solution)
