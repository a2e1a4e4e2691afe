"""Processes that share work."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from climbopt.foundations.errors import InputError

MOST_JOBS = 1024
"""Processes: above what one machine runs at a time."""


def checked_jobs(jobs: int) -> int:
    """Return a number of processes; raises InputError where it is not 1 to `MOST_JOBS`."""
    if isinstance(jobs, bool) or not isinstance(jobs, Integral) or not 1 <= jobs <= MOST_JOBS:
        raise InputError(f"jobs is {jobs!r}; it is a number of processes, 1 to {MOST_JOBS}")
    return int(jobs)


def parallel(jobs: int, **options: Any) -> Any:
    """Return joblib's Parallel for a number of processes, checked."""
    from joblib import Parallel  # here, so that only work in parallel loads joblib

    return Parallel(n_jobs=checked_jobs(jobs), **options)
