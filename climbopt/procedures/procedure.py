"""What a procedure returns, and what procedures share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.sparse import diags_array

from climbopt.backends import Options
from climbopt.foundations.solution import Solution
from climbopt.model.expressions import Kind
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.program import Affine, Combination, Label, MixtureFunctions, Rows, StandardForm, mixture_form

LARGEST_ROOM = 1.1
"""The cold start's t for the largest loss, as a multiple of the least that the starting ratios allow."""


@dataclass(frozen=True)
class SlackRow:
    """A target that gets more effective data than its share of the direction, and why.

    Parameters
    ----------
    target : str
    excess : float
        z / (t p) - 1.
    reason : str
        A sentence.
    """

    target: str
    excess: float
    reason: str


@dataclass(frozen=True, eq=False)
class TwoStep:
    """What the two steps found beside the ratios.

    Parameters
    ----------
    targets : tuple of str
        Those with a positive weight.
    direction : ndarray, (n_targets,)
        p: shares of effective data at which marginal benefits are equal; sums to 1.
    residual : float
        Largest relative difference between those marginal benefits.
    magnitude : float
        t: z >= t p.
    slack : tuple of SlackRow
    unique : bool
        Whether the ratios that reach t are shown to be the only ones, or the least weighted loss among them was found.
    iterations : int or None
        Magnitudes tried by `iterate`; None without it.
    """

    targets: tuple[str, ...]
    direction: Array
    residual: float
    magnitude: float
    slack: tuple[SlackRow, ...]
    unique: bool
    iterations: int | None


@dataclass(frozen=True, eq=False)
class Answer:
    """Ratios, and the problem whose conditions they should meet.

    Parameters
    ----------
    ratios : ndarray, (S,), or None
        None where the backend gave no point.
    form : StandardForm
        What was solved, or for a baseline the joint problem.
    x : ndarray, (n,), or None
        The ratios with the form's auxiliaries.
    solution : Solution or None
        The backend's answer; None for closed forms.
    two_step : TwoStep or None
    """

    ratios: Array | None
    form: StandardForm
    x: Array | None
    solution: Solution | None
    two_step: TwoStep | None = None


class ProcedureFunction(Protocol):
    """A way from a problem to ratios."""

    def __call__(self, problem: AllocationProblem, backend: str | None, options: Options) -> Answer:
        """Return the answer; `backend` None chooses the first available one that takes the form."""
        ...


def joint_form(problem: AllocationProblem) -> StandardForm:
    """Return min f(r) over the problem's mixtures; targets that f does not depend on are left out.

    The largest of several losses is min t with L_i / reference_i <= t.
    """
    goal, n = problem.goal, len(problem.model.sources)
    chosen = [problem.model.targets.index(name) for name in goal.counted]
    k = len(chosen)

    def part(kind: Kind, indices: Sequence[int] | slice, size: int) -> Array:
        return goal.linear[kind][indices] if kind in goal.linear else np.zeros(size)

    if goal.references is None:
        objective = Combination(part("r", slice(None), n), part("z", chosen, k), part("L", chosen, k), goal.constant)
        return mixture_form(problem, goal.counted, objective, goal.curved)
    shares = 1.0 / goal.references[chosen]

    def largest(functions: MixtureFunctions, x: Array) -> Array:
        return np.array([functions.at(x).rows[:k].max()])

    form = mixture_form(
        problem,
        goal.counted,
        Combination(np.append(np.zeros(n), 1.0), np.zeros(k), np.zeros(k)),
        constraints=Affine.build(
            n + 1, k, k, x=np.column_stack([np.zeros((k, n)), -np.ones(k)]), loss=diags_array(shares)
        ),
        limits=Rows(
            np.full(k, -np.inf),
            np.zeros(k),
            tuple(Label(f"largest[{name}]", unit=goal.unit) for name in goal.counted),
        ),
        auxiliaries=("t",),
        best=largest,
    )
    start = form.complete(form.start[:n])
    return form.from_start(np.append(start[:-1], LARGEST_ROOM * start[-1]))
