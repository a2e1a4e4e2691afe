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
    fastest = np.array([min(_seconds(comparison, run) for run in runs) for runs in groups])
    result = []
    for name in dict.fromkeys(run.backend for run in comparison.runs):
        # Of one problem and procedure a backend has one run, or none.
        its_runs = [next((run for run in runs if run.backend == name), None) for runs in groups]
        seconds = np.array([np.inf if run is None else _seconds(comparison, run) for run in its_runs])
        solved = np.isfinite(seconds)
        result.append(
            Profile(
                name,
                np.sort(seconds / fastest),
                int(solved.sum()),
                sum(run is not None and run.termination != "refused" for run in its_runs),
                shifted_geometric_mean(np.where(solved, seconds, comparison.time_limit)) if groups else np.nan,
            )
        )
    return sorted(result, key=lambda profile: (-profile.successes, profile.mean_seconds))


def _seconds(comparison: Comparison, run: Run) -> float:
    """Return a run's time, kept away from 0; infinite for a failure, which is within no factor of the fastest."""
    return max(run.seconds or 0.0, 1e-6) if comparison.success(run) else np.inf


def shifted_geometric_mean(seconds: NDArray[np.float64], shift: float = SHIFT) -> float:
    """Return exp(mean(log(seconds + shift))) - shift.

    Examples
    --------
    >>> round(shifted_geometric_mean(np.array([1.0, 100.0]), shift=0.0), 6)
    10.0
    """
    return float(np.exp(np.log(seconds + shift).mean()) - shift)
