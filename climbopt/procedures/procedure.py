"""The contract of a procedure, what it returns, and joint, which minimises the objective itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from climbopt.backends import Options, choose
from climbopt.foundations.solution import Array, Solution
from climbopt.problem.allocation import AllocationProblem
from climbopt.program import StandardForm, joint_form


class Procedure(ABC):
    """A method that computes ratios for a problem; its options, all with defaults, are a frozen dataclass's fields.

    Attributes
    ----------
    name : str
        As in problem files and on the command line.
    optimises : bool
        Whether the ratios are the optimum of a standard form, so that a certificate requires optimality and not only
        feasibility.
    """

    name: ClassVar[str]
    optimises: ClassVar[bool] = True

    @abstractmethod
    def answer(self, problem: AllocationProblem, backend: str | None, options: Options) -> Answer:
        """Return ratios for a problem; by default the backend is the first available one that accepts the form."""


@dataclass(frozen=True)
class SlackRow:
    """A target with more effective data than its share of the direction, and the reason.

    Parameters
    ----------
    target : str
    excess : float
        z / own(t p) - 1.
    reason : str
        A sentence.
    """

    target: str
    excess: float
    reason: str


@dataclass(frozen=True, eq=False)
class Steps:
    """The intermediate results of two_step.

    Parameters
    ----------
    targets : tuple of str
        Those with a positive weight.
    direction : ndarray, (n_targets,)
        p: shares of effective data at which marginal benefits are equal; sums to 1.
    residual : float
        Largest relative difference between those marginal benefits.
    magnitude : float
        t: z >= own(t p).
    slack : tuple of SlackRow
    unique : bool
        Whether the ratios are proved to be the only ones that reach t, or to have the least weighted loss among these.
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
    """A point, and the problem whose optimality conditions apply to it.

    Parameters
    ----------
    form : StandardForm
        The problem solved; for a baseline, the joint problem.
    x : ndarray, (n,), or None
        The ratios with the form's auxiliaries; None where the backend gave no point.
    solution : Solution or None
        The backend's answer; None for closed forms.
    steps : Steps or None
        Of two_step.
    """

    form: StandardForm
    x: Array | None
    solution: Solution | None
    steps: Steps | None = None


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
