"""The process of one run: reads what to solve from standard input, writes the outcome to standard output.

Whatever a solver prints goes to standard error, so that standard output holds an empty line once the process has
started, and then the answer as JSON.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from climbopt.backends import BACKENDS, Entry, Options, load
from climbopt.foundations.errors import BackendError, InputError
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures import Procedure
from climbopt.procedures.result import Result, answered


@dataclass(frozen=True)
class Task:
    """The task of one process.

    Parameters
    ----------
    problem : AllocationProblem
    procedure : Procedure
    backend : Entry
    options : Options
    repeat : int
        Solves to time.
    memory : int
        Bytes of address space allowed.
    """

    problem: AllocationProblem
    procedure: Procedure
    backend: Entry
    options: Options
    repeat: int
    memory: int


def perform(task: Task) -> dict[str, Any]:
    """Return the outcome of a task as JSON values: refused, or the certified answer and the seconds of each solve."""
    began, name = time.perf_counter(), task.backend.name
    try:
        # A backend that was registered in the parent process is unknown here.
        if name not in BACKENDS:
            BACKENDS.register(task.backend)
        version = load(name).version
        results: list[Result] = []
        for _ in range(task.repeat):
            results.append(answered(task.problem, task.procedure, name, task.options))
            # Repeats are for timing: none begins once the time of one solve is spent.
            if time.perf_counter() - began > (task.options.time_limit or float("inf")):
                break
    except (BackendError, InputError) as error:
        return {"termination": "refused", "raw_status": str(error)}
    seconds = [0.0 if result.solution is None else result.solution.seconds for result in results]
    return {
        "backend_version": version,
        "seconds": median(seconds),
        "fastest": min(seconds),
        "slowest": max(seconds),
        **_outcome(results[-1]),
    }


def _outcome(result: Result) -> dict[str, Any]:
    """Return what a result says, without its problem."""
    solution, answer = result.solution, result.allocation
    certificate = None if answer is None else answer.certificate
    return {
        "objective": None if answer is None else result.objective,
        "ratios": None if answer is None else dict(result.ratios),
        "minimised": None if certificate is None else certificate.upper_bound,
        "residuals": {}
        if certificate is None
        else {key: residual.value for key, residual in certificate.residuals.items()},
        "multiplier_disagreement": None if certificate is None else certificate.disagreement,
        "multipliers": {}
        if certificate is None
        else {name: limit.multiplier for name, limit in certificate.multipliers.items()},
        "verdict": None if certificate is None else certificate.verdict.value,
        "passed": result.passed,
        "lower_bound": None if certificate is None else certificate.lower_bound,
        "bound": None if solution is None else solution.bound,
        "termination": "solved" if solution is None else solution.termination.name.lower(),
        "raw_status": "closed form" if solution is None else solution.raw_status,
        "iterations": None if solution is None else solution.iterations,
        "evaluations": None if solution is None else solution.evaluations,
    }


def _limited(memory: int) -> int:
    """Limit the address space of this process, to what its parents left of it where that is less; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = min([memory, *(bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    return limit


def main() -> None:
    """Perform the task on standard input."""
    # The answer has a descriptor of its own; whatever else writes to standard output goes to standard error.
    answer = os.dup(1)
    os.dup2(2, 1)
    task: Task = pickle.load(sys.stdin.buffer)  # written by the parent process, never from a file
    limit = _limited(task.memory)
    os.write(answer, b"\n")
    try:
        outcome = perform(task)
    except MemoryError:
        outcome = {"termination": "memory_limit", "raw_status": f"more than {limit / 1e9:.3g} GB"}
    except Exception as error:  # a fault of the package or of a plugin's constraint is its row's outcome
        outcome = {"termination": "failed", "raw_status": f"{type(error).__name__}: {error}"}
    with os.fdopen(answer, "w") as stream:
        json.dump(outcome, stream)


if __name__ == "__main__":
    main()
