"""joint: the ratios that minimise the objective itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.sparse import diags_array

from climbopt.backends import Options, choose
from climbopt.model.expressions import Kind
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures.procedure import Answer, Procedure
from climbopt.program import Auxiliaries, Label, Layout, MixtureFunctions, Rows, StandardForm, Table, mixture_form

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
    targets = goal.counted or problem.model.targets[:1]  # an f of ratios alone has a form with one unused target
    chosen = [problem.model.targets.index(name) for name in targets]
    k = len(chosen)

    def part(kind: Kind, indices: Sequence[int] | slice, size: int) -> Array:
        return goal.linear[kind][indices] if kind in goal.linear else np.zeros(size)

    if goal.references is None:
        curved = {} if goal.curved is None else {0: Layout(problem.model.sources, targets).place(goal.curved)}
        on_x, on_z, on_loss = part("r", slice(None), n), part("z", chosen, k), part("L", chosen, k)
        table = Table.build(n, k, x=on_x, z=on_z, loss=on_loss, constant=goal.constant, curved=curved)
        return mixture_form(problem, targets, table)

    def largest(functions: MixtureFunctions, x: Array) -> Array:
        return np.array([functions.at(x).rows[:k].max()])

    on_t = np.append(np.zeros(n), 1.0)  # epigraph form over x = (r, t): f = t, rows L_i / reference_i - t <= 0
    labels = tuple(Label(f"largest[{name}]", unit=goal.unit) for name in targets)
    form = mixture_form(
        problem,
        targets,
        Table.build(n + 1, k, x=on_t)
        + Table.build(n + 1, k, k, x=-np.tile(on_t, (k, 1)), loss=diags_array(1.0 / goal.references[chosen])),
        Rows(np.full(k, -np.inf), np.zeros(k), labels),
        Auxiliaries(("t",), largest),
    )
    start = form.complete(form.start[:n])
    return form.from_start(np.append(start[:-1], LARGEST_ROOM * start[-1]))
