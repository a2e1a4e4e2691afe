"""Bounds that miss by rounding, and empty sources: what is refused says what is wrong."""

import numpy as np
import pytest
from test_linear_objectives import BUDGET, model

from climbopt import AllocationProblem, Cap, Floor, Group, InputError, StayNear, solve

ROUNDED = "if they were rounded, write more digits or leave room"


@pytest.mark.parametrize(
    ("constraints", "sums", "rounded"),
    [
        ([Cap(dict.fromkeys("abc", 0.333333))], "upper bounds sum to 0.999999, which is 1e-06 less than 1", True),
        ([Floor(a=0.3333334, b=0.3333333, c=0.3333334)], "lower bounds sum to 1.0000001, which is 1e-07 more", True),
        ([Floor(a=0.33333333, b=0.33333334, c=0.33333334)], "lower bounds sum to 1.00000001, which is 1e-08", True),
        ([Floor(a=0.5, b=0.4, c=0.3)], "lower bounds sum to 1.2, which is 0.2 more than 1", False),
        (
            [Cap(a=0.3333333, b=0.3333333), Group(("a", "b"), lower=0.66666667)],
            "sum to 0.6666666, which is 7e-08",
            True,
        ),
    ],
)
def test_a_sum_that_misses_is_shown_apart(constraints, sums, rounded):
    with pytest.raises(InputError) as refusal:
        AllocationProblem(model(3), BUDGET, constraints=constraints)
    assert sums in str(refusal.value) and (ROUNDED in str(refusal.value)) is rounded


@pytest.mark.parametrize(("procedure", "ratios"), [("natural", [0.75, 0.25, 0.0])])
def test_an_empty_source_has_no_share(procedure, ratios):
    result = solve(AllocationProblem(model(3), BUDGET, supply={"a": 3e9, "b": 1e9, "c": 0}), procedure)
    assert list(result.ratios.values()) == pytest.approx(ratios, abs=1e-12)
    assert not result.passed  # the loss of c has no value without data


def test_references_and_supplies_that_are_missing_or_all_empty():
    near = [StayNear(0.1, "natural")]
    problem = AllocationProblem(model(3), BUDGET, supply={"a": 3e9, "b": 1e9, "c": 0}, constraints=near)
    assert np.allclose(list(problem.rows[0].center.values()), [0.75, 0.25, 0.0])
    with pytest.raises(InputError, match=r"needs the supply of c; add it to \[supply\]"):
        AllocationProblem(model(3), BUDGET, supply={"a": 3e9, "b": 1e9}, constraints=near)
    with pytest.raises(InputError, match="every supply in .* is 0; give at least one source tokens"):
        solve(AllocationProblem(model(3), BUDGET, supply=dict.fromkeys("abc", 0)), "natural")
