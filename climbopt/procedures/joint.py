"""joint: the ratios that minimise the objective itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from climbopt.backends import Options, choose
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures.procedure import Answer, Procedure
from climbopt.program import Auxiliaries, Label, MixtureFunctions, Rows, StandardForm, Table, mixture_form

LARGEST_ROOM = 1.1
"""The cold start's t for the largest loss, as a multiple of the least t that is feasible at the starting ratios."""


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


def joint_form(problem: AllocationProblem) -> StandardForm:
    """Return min f(r) over the problem's mixtures; targets that f does not depend on are omitted.

    The largest of several losses is min t with L_i / reference_i <= t.
    """
    goal, n = problem.goal, len(problem.model.sources)
    if not goal.largest:
        return mixture_form(problem, goal.targets, goal.table)
    k = len(goal.table)

    def largest(functions: MixtureFunctions, x: Array) -> Array:
        return np.array([functions.at(x).rows[:k].max()])

    on_t = np.append(np.zeros(n), 1.0)  # epigraph form over x = (r, t): f = t, rows L_i / reference_i - t <= 0
    labels = tuple(Label(f"largest[{name}]", unit=goal.unit) for name in goal.targets)
    form = mixture_form(
        problem,
        goal.targets,
        Table.build(n + 1, k, x=on_t) + Table.build(n + 1, k, k, x=-np.tile(on_t, (k, 1)), loss=goal.table.parts.loss),
        Rows(np.full(k, -np.inf), np.zeros(k), labels),
        Auxiliaries(("t",), largest),
    )
    # t strictly above every loss, so that interior-point methods start inside the rows.
    start = form.complete(form.start[:n])
    return form.from_start(np.append(start[:-1], LARGEST_ROOM * start[-1]))
