"""Performance profiles over problems, and means of times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climbopt.studies.comparison.backend_runs import Comparison, Run

SHIFT = 0.01
"""Seconds added before the geometric mean and taken off after it, so that the shortest times do not rule it."""


@dataclass(frozen=True, eq=False)
class Profile:
    """One backend's times against the fastest on each problem.

    Parameters
    ----------
    backend : str
    factors : ndarray, (n_problems,)
        Its time over the least time of any backend, sorted; infinite where it failed: a failure is charged the time
        limit in `mean_seconds` and never counted as solved.
    successes, attempts : int
        Certified runs as good as the best, of those that the backend did not refuse.
    mean_seconds : float
        Shifted geometric mean, failures charged the time limit.
    """

    backend: str
    factors: NDArray[np.float64]
    successes: int
    attempts: int
    mean_seconds: float

    def share_within(self, factor: float) -> float:
        """Return the share of problems solved within `factor` times the fastest time."""
        return float((self.factors <= factor).mean()) if self.factors.size else 0.0


def profiles(comparison: Comparison) -> list[Profile]:
    """Return each backend's performance profile, the best first.

    Source: Dolan and Moré, "Benchmarking optimization software with performance profiles", Math. Program. 91, 2002.
    Problems that no backend solved are left out; a refusal counts as not solved.
    """
    # Without any success there is no fastest time to compare with.
    groups = [runs for runs in comparison.groups.values() if any(comparison.success(run) for run in runs)]
    names = list(dict.fromkeys(run.backend for run in comparison.runs))
    result = []
    for name in names:
        factors, charged, successes, attempts = [], [], 0, 0
        for runs in groups:
            fastest = min(_seconds(run) for run in runs if comparison.success(run))
            # Of one problem and procedure a backend has one run.
            its_runs = [run for run in runs if run.backend == name]
            solved = bool(its_runs) and comparison.success(its_runs[0])
            attempts += bool(its_runs) and its_runs[0].termination != "refused"
            successes += solved
            # A failure has an infinite factor: it is within no factor of the fastest time.
            factors.append(_seconds(its_runs[0]) / fastest if solved else np.inf)
            charged.append(_seconds(its_runs[0]) if solved else comparison.time_limit)
        result.append(
            Profile(
                name,
                np.sort(np.array(factors)),
                successes,
                attempts,
                shifted_geometric_mean(np.array(charged)) if charged else np.nan,
            )
        )
    return sorted(result, key=lambda profile: (-profile.successes, profile.mean_seconds))


def _seconds(run: Run) -> float:
    """Return a run's time, kept away from 0."""
    return max(run.seconds or 0.0, 1e-6)


def shifted_geometric_mean(seconds: NDArray[np.float64], shift: float = SHIFT) -> float:
    """Return exp(mean(log(seconds + shift))) - shift.

    Examples
    --------
    >>> round(shifted_geometric_mean(np.array([1.0, 100.0]), shift=0.0), 6)
    10.0
    """
    return float(np.exp(np.log(seconds + shift).mean()) - shift)
