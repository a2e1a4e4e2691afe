"""What a procedure returns, and what procedures share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from climbopt.backends import Options
from climbopt.problem import AllocationProblem
from climbopt.solution import Solution
from climbopt.standard_form import Affine, StandardForm, Weighted, mixture_form
from climbopt.templates import Array


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
    """Return min sum_i w_i L_i(r) over the problem's mixtures; targets of weight 0 are left out."""
    n, weights = len(problem.model.sources), problem.weight_vector
    counted = weights > 0
    targets = [name for name, keep in zip(problem.model.targets, counted, strict=True) if keep]
    objective = Weighted(np.zeros(n), np.zeros(len(targets)), weights[counted])
    nothing = np.zeros(0)
    return mixture_form(problem, targets, objective, Affine.build(n, len(targets), 0), (nothing, nothing), ())
