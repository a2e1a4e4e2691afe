"""Each backend in the registry on each case of the suite; what a backend refuses, it must explain."""

import pytest

from climbopt.backends import BACKENDS, load
from climbopt.procedures import joint_form
from climbopt.testing import (
    CASES,
    check_bad_option,
    check_case,
    check_limits,
    check_not_a_number,
    family_problem,
)

EXCLUDED = {
    ("cvxpy", "weakly active floor"): "Clarabel leaves a bound whose multiplier is 0 about 1e-7 away, which is as far "
                                      "as its exponential cones get; with solver=SCS the case passes (test_cvxpy.py)",
}
"""Cases that a backend takes and does not answer to the suite's tolerance, each with the reason."""


@pytest.fixture(params=list(BACKENDS))
def backend(request):
    entry = BACKENDS[request.param]
    if entry.missing:
        pytest.skip(entry.missing)
    return load(request.param)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(backend, case):
    reason = backend.refusal(case.form())
    if reason is not None:
        assert backend.name in reason
        pytest.skip(reason)
    if (backend.name, case.name) in EXCLUDED:
        pytest.skip(EXCLUDED[backend.name, case.name])
    check_case(backend, case)


def test_limits(backend):
    check_limits(backend, joint_form(family_problem(12, seed=3)))


def test_bad_option(backend):
    check_bad_option(backend, joint_form(family_problem(4)))


def test_not_a_number(backend):
    check_not_a_number(backend, joint_form(family_problem(4)))
