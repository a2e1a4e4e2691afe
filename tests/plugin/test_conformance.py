"""The backend against climbopt's conformance suite, with its declared exclusions."""

import pytest
from climbopt_frank_wolfe import EXCLUSIONS

from climbopt.backends import Options, load
from climbopt.foundations.solution import Termination
from climbopt.testing import CHECKS, exclusion


@pytest.fixture
def backend():
    return load("frank_wolfe")


@pytest.mark.parametrize("check", CHECKS)
def test_conformance(backend, check):
    reason = exclusion(backend, check, EXCLUSIONS)
    if reason is not None:
        pytest.skip(reason)
    CHECKS[check].run(backend)


@pytest.mark.parametrize("check", EXCLUSIONS)
def test_what_is_excluded_is_no_wrong_answer(backend, check):
    solution = backend.solve(CHECKS[check].form(), Options(max_iterations=50))
    assert solution.termination is Termination.ITERATION_LIMIT
