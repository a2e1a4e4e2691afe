"""joint: the ratios that minimise the objective itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from climbopt.backends import Options, choose
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures.procedure import Answer, Procedure
from climbopt.program import joint_form


@dataclass(frozen=True)
class Joint(Procedure):
    """The ratios that minimise the problem's objective over its mixtures.

    Examples
    --------
    >>> import climbopt
    >>> climbopt.solve("equal_beta", climbopt.Joint()).passed
    True
    """

    name: ClassVar[str] = "joint"

    def answer(self, problem: AllocationProblem, backend: str | None, options: Options) -> Answer:
        """Return a minimum of the problem's objective over its mixtures."""
        form = joint_form(problem)
        solution = choose(form, backend).solve(form, options)
        return Answer(form, solution.x, solution)
