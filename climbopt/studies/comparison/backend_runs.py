"""compare: every backend on every problem and procedure, each in a process of its own, and profiles of their times."""

from __future__ import annotations

import json
import math
import pickle
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climbopt.backends import BACKENDS, Entry, Options
from climbopt.files import ProblemLike
from climbopt.foundations.errors import BackendError, InputError
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.processes import Progress, counted
from climbopt.foundations.view import Reported, View
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures import Procedure, ProcedureLike
from climbopt.procedures.result import resolve
from climbopt.studies.comparison.worker import Task

GRACE = 30.0
"""Seconds beyond its limits that a process may take to start, to import and to certify before it is killed."""
AGREES = 1e-6
"""Relative excess over the best certified objective up to which a certified run counts as a success."""
SHIFT = 0.01
"""Seconds added before the geometric mean and taken off after it, so that the shortest times do not rule it."""
IMPORTABLE = "define laws, constraints, objectives and backends in a module that can be imported"


@dataclass(frozen=True)
class Run:
    """One backend on one problem by one procedure; what is unknown is None.

    Parameters
    ----------
    problem, procedure, backend, backend_version : str
    termination : str
        A Termination's name, or refused, crashed, memory_limit.
    raw_status : str
        The solver's own words, or why it was refused.
    verdict : str or None
        Of the certificate.
    passed : bool
        Whether the certificate passed.
    objective : float or None
        The problem's objective at the repaired point.
    minimised : float or None
        What the procedure itself minimises there (two_step: minus its magnitude).
    max_ratio_difference : float or None
        Largest difference in a ratio from the best certified run of the same problem and procedure.
    residuals : mapping of str to float
        The optimality conditions, recomputed by the certificate.
    multiplier_disagreement : float or None
        Largest scaled difference of the solver's multipliers from the certificate's; None where it gave none.
    multipliers : mapping of str to float
        The certificate's, by name.
    ratios : mapping of str to float or None
    lower_bound, bound : float or None
        Proved by the certificate; and claimed by a global solver.
    seconds, fastest, slowest : float or None
        Wall time inside the backend: median, least and most of the repeats.
    iterations, evaluations : int or None
    """

    problem: str
    procedure: str
    backend: str
    termination: str
    raw_status: str
    backend_version: str | None = None
    verdict: str | None = None
    passed: bool = False
    objective: float | None = None
    minimised: float | None = None
    max_ratio_difference: float | None = None
    residuals: Mapping[str, float] = field(default_factory=dict)
    multiplier_disagreement: float | None = None
    multipliers: Mapping[str, float] = field(default_factory=dict)
    ratios: Mapping[str, float] | None = None
    lower_bound: float | None = None
    bound: float | None = None
    seconds: float | None = None
    fastest: float | None = None
    slowest: float | None = None
    iterations: int | None = None
    evaluations: int | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Reported):
    """Runs of some backends on some problems.

    Parameters
    ----------
    runs : tuple of Run
    time_limit : float
        Seconds, which a failure is charged with in performance profiles.
    """

    runs: tuple[Run, ...]
    time_limit: float

    @property
    def groups(self) -> dict[tuple[str, str], list[Run]]:
        """The runs by problem and procedure."""
        result: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            result.setdefault((run.problem, run.procedure), []).append(run)
        return result

    @property
    def certified(self) -> bool:
        """Whether every problem and procedure has a certified answer."""
        return all(any(run.passed for run in runs) for runs in self.groups.values())

    def success(self, run: Run) -> bool:
        """Whether a run is certified and as good as the best certified one of its problem and procedure."""
        best = best_of(self.groups[run.problem, run.procedure])
        if best is None or not run.passed or run.minimised is None or best.minimised is None:
            return False
        return run.minimised - best.minimised <= AGREES * max(1.0, abs(best.minimised))

    def view(self) -> View:
        """Return how many runs are certified; the table has a row for each run."""
        heads = ("problem", "procedure", "backend", "objective", "max_ratio_difference", "seconds", "verdict", "passed")
        facts = [
            f"{run.problem}, {run.procedure}, {run.backend}: {run.verdict or run.termination}, {run.seconds or 0:.3g} s"
            for run in self.runs
        ]
        return View(
            f"comparison: {sum(run.passed for run in self.runs)} of {len(self.runs)} runs certified",
            facts,
            lambda: {head: [getattr(run, head) for run in self.runs] for head in heads},
        )


@check_arguments
def compare(
    problems: ProblemLike | Sequence[ProblemLike],
    *,
    backends: str | Sequence[str] | None = None,
    procedures: ProcedureLike | Sequence[ProcedureLike] | None = None,
    repeat: int = 1,
    time_limit: float = 60.0,
    memory_limit: float = 8e9,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Return every backend's run on every problem and procedure; nothing that a backend does ends the comparison.

    Parameters
    ----------
    problems : AllocationProblem, path or name, or a sequence of these
    backends : str or sequence of str, optional
        Names; all available backends by default.
    procedures : Procedure or str, or a sequence of these, optional
        Applied to every problem; by default the procedure of its file, and joint for an AllocationProblem.
    repeat : int
        Solves to time.
    time_limit : float
        Seconds for one solve.
    memory_limit : float
        Bytes of address space for one run.
    options : Options, optional
        For all backends; native options are ignored.
    progress : callable, optional
        Called with the numbers of finished and of all runs.

    Raises
    ------
    InputError, BackendError
        For an unknown or unavailable name, or where no process can be started, or the problem cannot be sent to it.

    Examples
    --------
    >>> import climbopt
    >>> climbopt.compare("equal_beta", backends="newton").certified
    True
    """
    for name, value in (("repeat", repeat), ("time_limit", time_limit), ("memory_limit", memory_limit)):
        if not 0 < value < math.inf:
            raise InputError(f"{name} is {value:g}; it must be a positive number")
    memory = int(min(memory_limit, sys.maxsize))
    chosen = _available(backends)
    requested = _several(procedures, (str, Procedure, type)) or [None]
    # Each problem with each procedure: what is not named is that of the problem's file.
    each = _several(problems, (str, PathLike, AllocationProblem))
    cases = [resolve(*case) for case in product(each, requested)]
    options = replace(options or Options(), native={}, time_limit=time_limit)
    tasks = [Task(*case, backend, options, repeat, memory) for case, backend in product(cases, chosen)]
    runs = [_run(task, time_limit) for task in counted(tasks, progress)]
    return Comparison(tuple(replace(run, max_ratio_difference=_difference(run, runs)) for run in runs), time_limit)


def _several(value: Any, single: tuple[type, ...]) -> list[Any]:
    """Return a single value or a sequence as a list; an empty list for None."""
    return (
        [] if value is None else [value] if isinstance(value, single) or not isinstance(value, Iterable) else [*value]
    )


def _available(names: str | Sequence[str] | None) -> list[Entry]:
    """Return the backends to run; a name that is unknown or not available is refused."""
    if names is None:
        return [entry for entry in BACKENDS.values() if entry.missing is None]
    chosen = [BACKENDS[name] for name in dict.fromkeys(_several(names, (str,)))]
    for entry in chosen:
        if entry.missing:
            raise BackendError(f"backend '{entry.name}' is not available: {entry.missing}")
    return chosen


def _run(task: Task, time_limit: float) -> Run:
    """Return the outcome of a task, run in a separate process."""
    who = (task.problem.name, task.procedure.name, task.backend.name)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "climbopt.studies.comparison.worker"],
            input=_pickled(task),
            capture_output=True,
            # Each repeat has the limit of one solve; imports and the certificate have the rest.
            timeout=time_limit * (task.repeat + 1) + GRACE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Run(*who, "time_limit", f"killed: it did not stop within {GRACE:g} s of its time limit")
    except OSError as error:
        raise InputError(_cannot_start(str(error))) from error
    # The worker writes a line before it begins to solve: without it the process did not start.
    if not done.stdout:
        raise InputError(_cannot_start(_last_words(done)))
    try:
        outcome: dict[str, Any] = json.loads(done.stdout)
    # It began and gave no answer: the backend ended the process.
    except json.JSONDecodeError:
        return Run(*who, "crashed", _last_words(done))
    # NaN is what is not known.
    known: dict[str, Any] = {key: None if value != value else value for key, value in outcome.items()}
    return Run(*who, **known)


def _pickled(task: Task) -> bytes:
    """Return a task as bytes for another process."""
    try:
        return pickle.dumps(task)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(
            f"problem '{task.problem.name}' and backend '{task.backend.name}' cannot be sent to another process "
            f"({error}); {IMPORTABLE}"
        ) from None


def _cannot_start(words: str) -> str:
    """Return why the process of a run did not begin."""
    # An address space too small for the imports is the usual reason.
    limits = [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY]
    advice = f"raise its limit of {min(limits) / 1e9:.3g} GB of address space (ulimit -v)" if limits else IMPORTABLE
    return f"compare solves in processes of their own, and the first could not begin: {words}; {advice}"


def _last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return how a process without an answer ended."""
    if done.returncode < 0:
        return f"ended by {signal.Signals(-done.returncode).name}"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return f"exit code {done.returncode}: {lines[-1] if lines else 'no message'}"


def best_of(runs: Sequence[Run]) -> Run | None:
    """Return the certified run with the least of what its procedure minimises; at a tie the first."""
    # What is minimised decides: two_step minimises minus its magnitude, and not the loss.
    certified = [run for run in runs if run.passed and run.minimised is not None]
    return min(certified, key=lambda run: run.minimised or 0.0) if certified else None


def _difference(run: Run, runs: Sequence[Run]) -> float | None:
    """Return the largest difference in a ratio from the best of the runs of its problem and procedure."""
    best = best_of([other for other in runs if (other.problem, other.procedure) == (run.problem, run.procedure)])
    if best is None or best.ratios is None or run.ratios is None:
        return None
    return max(abs(run.ratios[name] - ratio) for name, ratio in best.ratios.items())


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
