"""Processes that share work."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any, TypeVar

from climbopt.foundations.errors import InputError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

Progress = Callable[[int, int], None]
"""Called with the numbers of finished and of all steps."""
MOST_JOBS = 1024
"""Processes: above what one machine runs at a time."""


def checked_jobs(jobs: int) -> int:
    """Return a number of processes; raises InputError where it is not 1 to `MOST_JOBS`."""
    if isinstance(jobs, bool) or not isinstance(jobs, Integral) or not 1 <= jobs <= MOST_JOBS:
        raise InputError(f"jobs is {jobs!r}; it is a number of processes, 1 to {MOST_JOBS}")
    return int(jobs)


def parallel(jobs: int, **options: Any) -> Any:
    """Return joblib's Parallel for a number of processes, checked; Ctrl-C reaches this process alone."""
    # Here, so that only work in parallel loads them.
    from multiprocessing import resource_tracker

    from joblib import Parallel, delayed

    workers = Parallel(n_jobs=checked_jobs(jobs), **options)
    if jobs > 1:
        resource_tracker.ensure_running()  # before Python 3.14 its start lets SIGINT through again
        with _interrupts_wait():  # processes begin with a first task, and inherit the signals that wait
            list(workers(delayed(int)() for _ in range(jobs)))
    return workers


def in_chunks(
    jobs: int,
    function: Callable[[Sequence[Item]], Sequence[Outcome]],
    items: Sequence[Item],
    size: int,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Yield the outcomes of items in their order, from a function of chunks of them; progress counts the items."""
    from joblib import delayed

    chunks = (items[first : first + size] for first in range(0, len(items), size))
    done = 0
    for outcomes in parallel(jobs, return_as="generator")(delayed(function)(chunk) for chunk in chunks):
        done += len(outcomes)
        if progress:
            progress(done, len(items))
        yield from outcomes


def counted(items: Sequence[Item], progress: Progress | None) -> Iterator[Item]:
    """Yield items in order; progress is called after the work on each."""
    for done, item in enumerate(items, 1):
        yield item
        if progress:
            progress(done, len(items))


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Keep SIGINT waiting, here and in the processes that begin meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
