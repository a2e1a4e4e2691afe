"""The answer of a backend: why it stopped, the point, and its multipliers in climbopt's sign convention."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from climbopt.foundations.view import View, Viewed

Array = NDArray[np.float64]


class Termination(Enum):
    """Why a backend stopped; the quality of its point is judged by the certificate alone."""

    SOLVED = "the solver's own tests for a solution hold"
    ALMOST_SOLVED = "the solver stopped at looser tests than asked; tighten its options or try another backend"
    STALLED = "no further progress was possible; try another start or another backend"
    ITERATION_LIMIT = "the iteration limit was reached; raise max_iterations"
    TIME_LIMIT = "the time limit was reached; raise time_limit"
    MEMORY_LIMIT = "there was not enough memory; raise the memory limit or take a smaller problem"
    INFEASIBLE = "the solver found no feasible point; check the constraints"
    UNBOUNDED = "the solver claims that the objective has no lower bound; check the model"
    LEFT_DOMAIN = "no start or step inside the law's domain (z > 0); check that every weighted target can get data"
    NOT_A_NUMBER = "a function or derivative was not a number; check the parameters"
    INTERRUPTED = "the solve was interrupted"
    FAILED = "the solver failed for a reason of its own; read raw_status"

    @property
    def settled(self) -> bool:
        """Whether the solver stopped at a point that it could not improve; the certificate judges the point."""
        return self in (Termination.SOLVED, Termination.ALMOST_SOLVED, Termination.STALLED)


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Multipliers of a standard form: grad f + A' rows + Jc' nonlinear + bounds = 0.

    A multiplier is >= 0 where the upper side is active and <= 0 where the lower side is.

    Parameters
    ----------
    bounds : ndarray, (n,)
    rows : ndarray, one per row of A
    nonlinear : ndarray, one per entry of c
    """

    bounds: Array
    rows: Array
    nonlinear: Array


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Viewed):
    """A backend's answer.

    Parameters
    ----------
    x : ndarray, (n,), or None
        The last point, if there is one.
    multipliers : Multipliers or None
        None where the solver returns no multipliers.
    termination : Termination
    raw_status : str
        The solver's own words.
    backend, backend_version : str
    iterations, evaluations : int or None
        None where unknown.
    seconds : float
        Wall time inside the backend.
    bound : float, optional
        The solver's own lower bound of f: unverified, and not used by any certificate. None where it reports no bound.
    """

    x: Array | None
    multipliers: Multipliers | None
    termination: Termination
    raw_status: str
    backend: str
    backend_version: str
    iterations: int | None
    evaluations: int | None
    seconds: float
    bound: float | None = None

    def view(self) -> View:
        """Return why the solver stopped, and its effort."""
        counts = [
            f"{n} {what}" for n, what in ((self.iterations, "iterations"), (self.evaluations, "evaluations")) if n
        ]
        point = "no point" if self.x is None else f"a point of {self.x.size} variables"
        return View(
            f"{self.backend} {self.backend_version}: {self.termination.name.lower()}, {point}",
            [self.raw_status, ", ".join([*counts, f"{self.seconds:.3g} s"])],
        )
