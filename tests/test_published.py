"""check_problem itself: it passes a right answer, with or without multipliers, and no wrong one."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from climbopt.backends import load
from climbopt.foundations.solution import Multipliers, Termination
from climbopt.testing import HOCK_SCHITTKOWSKI, Accuracy, check_problem

HS35 = next(problem for problem in HOCK_SCHITTKOWSKI if problem.name == "HS35")
NEWTON = load("newton")


@dataclass(frozen=True)
class Altered:
    """newton with something changed in its solution."""

    change: Any
    name = "newton"
    version = NEWTON.version

    def refusal(self, form):
        return NEWTON.refusal(form)

    def solve(self, form, options):
        solution = NEWTON.solve(form, options)
        return replace(solution, **self.change(solution))


def rows(factor):
    return lambda solution: {
        "multipliers": Multipliers(solution.multipliers.bounds, factor * solution.multipliers.rows, np.zeros(0))
    }


def test_a_right_answer_passes():
    check_problem(Altered(lambda solution: {}), HS35)
    check_problem(Altered(lambda solution: {"multipliers": None}), HS35)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda solution: {"x": solution.x - 3e-5}, "is not"),
        (lambda solution: {"termination": Termination.ITERATION_LIMIT}, "iteration limit"),
        (lambda solution: {"x": None}, "HS35"),
        (rows(1.001), "multipliers"),
        (rows(-1.0), "multipliers"),
        (
            lambda solution: {"multipliers": Multipliers(np.full(3, 2e-4), solution.multipliers.rows, np.zeros(0))},
            "multipliers",
        ),
        (lambda solution: {"raw_status": ""}, None),
    ],
)
def test_a_wrong_one_does_not(change, message):
    with pytest.raises(AssertionError, match=message):
        check_problem(Altered(change), HS35)


def test_less_is_asked_of_a_backend_that_declares_less():
    off = Altered(lambda solution: {"x": solution.x - 3e-5, "multipliers": None})
    check_problem(off, HS35, Accuracy(point=1e-4, value=1e-4, certificate=None))
