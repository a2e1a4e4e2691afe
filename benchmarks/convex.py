"""The exact convex program through CVXPY: what a whole call costs beside Clarabel's own time.

    python benchmarks/convex.py [--sizes 16,64,128] [--repeat 5]

Seconds are medians of whole calls, each on a standard form that CVXPY has not seen: it is written, checked against
CVXPY's rules, made into cones, solved and read back. Behind them are Clarabel's own seconds, as it reports them in
the same calls, the median of the ratios, and the largest difference to newton's ratios. The last column is the whole
call under two custom constraints (on z and on losses, both active), over the one without in the same turn. One call
is made first that is not counted.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from statistics import median
from typing import Any
from unittest import mock

import clarabel
import numpy as np

from climbopt import AllocationProblem, Options
from climbopt.backends import load
from climbopt.problem.constraints import Custom
from climbopt.procedures import joint_form
from climbopt.testing import family_problem


class Timed:
    """Clarabel's solver, which notes the seconds that it reports."""

    original = clarabel.DefaultSolver
    seconds = 0.0

    def __init__(self, *arguments: Any) -> None:
        self._solver = Timed.original(*arguments)

    def solve(self) -> Any:
        """Return Clarabel's solution."""
        solution = self._solver.solve()
        Timed.seconds = solution.solve_time
        return solution


def whole_call(problem: AllocationProblem) -> tuple[float, np.ndarray]:
    """Return the seconds of one call on a form of its own, and the ratios."""
    form, backend = joint_form(problem), load("cvxpy")
    began = time.perf_counter()
    reason = backend.refusal(form)
    assert reason is None, reason
    solution = backend.solve(form, Options())
    return time.perf_counter() - began, solution.x[: form.n_ratios]


def constrained(problem: AllocationProblem, ratios: np.ndarray) -> AllocationProblem:
    """Return the problem with z of one pair of languages raised, and the sum of another pair's losses lowered."""
    model, names = problem.model, problem.model.sources
    response = model.at(problem.total_budget)
    z = response.z(ratios)
    losses = response.losses(z)
    return replace(
        problem,
        constraints=(
            Custom(f"z[{names[0]}] + z[{names[1]}] >= {1.1 * (z[0] + z[1]):.12g}", name="more"),
            Custom(f"L[{names[2]}] + L[{names[3]}] <= {0.99 * (losses[2] + losses[3]):.12g}", name="better"),
        ),
    )


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--sizes", default="16,64,128")
    words.add_argument("--repeat", type=int, default=5)
    given = words.parse_args()
    print(f"{'m':>5} {'whole':>9} {'Clarabel':>9} {'ratio':>6} {'off newton':>11} {'constrained':>12}")
    with mock.patch("clarabel.DefaultSolver", Timed):
        whole_call(family_problem(4))
        for m in map(int, given.sizes.split(",")):
            problem = family_problem(m)
            exact = load("newton").solve(joint_form(problem), Options()).x
            bound = constrained(problem, exact)
            calls, solves, others = [], [], []
            for _ in range(given.repeat):
                seconds, ratios = whole_call(problem)
                calls.append(seconds)
                solves.append(Timed.seconds)
                others.append(whole_call(bound)[0] / seconds)
            ratio = median(whole / own for whole, own in zip(calls, solves, strict=True))
            print(
                f"{m:>5} {median(calls):>9.3f} {median(solves):>9.3f} {ratio:>6.2f} "
                f"{np.abs(ratios - exact).max():>11.1e} {median(others):>11.2f}x",
                flush=True,
            )
    print(f"{load('cvxpy').version}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}")


if __name__ == "__main__":
    main()
