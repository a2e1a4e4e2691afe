"""Each backend in the registry on each check of the suite and each published problem; a refusal explains itself."""

import pytest

from climbopt.backends import BACKENDS, load
from climbopt.foundations.errors import InputError
from climbopt.testing import CHECKS, HOCK_SCHITTKOWSKI, Accuracy, check_problem, exclusion

EXCLUDED: dict[str, dict[str, str]] = {
    "cvxpy": {
        "weakly active floor": "Clarabel leaves a bound whose multiplier is 0 about 1e-7 away, which is as far as its "
        "exponential cones get; with solver=SCS the case passes (test_cvxpy.py)",
    },
    "scip": {
        "loss equation": "SCIP's presolving calls 0.04 / z == 1 infeasible at numerics/feastol 1e-9; it solves it "
        "with presolving/maxrounds=0 or numerics/feastol=1e-8",
    },
}
"""Checks that a backend takes and fails, by backend and check, each with the reason."""
UNPUBLISHED: dict[str, dict[str, str]] = {
    "scip": {"HS1": "its variables have no bounds, so that SCIP finds the optimum, but no dual bound within a minute"},
}
"""Published problems that a backend takes and fails, by backend and problem, each with the reason."""
ACCURACY: dict[str, Accuracy] = {}
"""Backends that are held to less than the others on published problems."""


@pytest.fixture(params=list(BACKENDS))
def backend(request):
    entry = BACKENDS[request.param]
    if entry.missing:
        pytest.skip(entry.missing)
    return load(request.param)


@pytest.mark.parametrize("check", CHECKS)
def test_conformance(backend, check):
    reason = exclusion(backend, check, EXCLUDED.get(backend.name, {}))
    if reason is not None:
        pytest.skip(reason)
    CHECKS[check].run(backend)


@pytest.mark.parametrize("problem", HOCK_SCHITTKOWSKI, ids=lambda problem: problem.name)
def test_published_problem(backend, problem):
    reason = backend.refusal(problem.form) or UNPUBLISHED.get(backend.name, {}).get(problem.name)
    if reason is not None:
        pytest.skip(reason)
    check_problem(backend, problem, ACCURACY.get(backend.name, Accuracy()))


def test_what_is_excluded_exists():
    assert {*EXCLUDED, *UNPUBLISHED, *ACCURACY} <= set(BACKENDS)
    for problems in UNPUBLISHED.values():
        assert set(problems) <= {one.name for one in HOCK_SCHITTKOWSKI} and all(problems.values())


def test_exclusions_have_reasons():
    cvxpy = load("cvxpy")
    assert exclusion(cvxpy, "floor", {"floor": "it is tired"}) == "it is tired"
    assert exclusion(cvxpy, "cap", {"floor": "it is tired"}) is None
    assert "cvxpy" in exclusion(cvxpy, "loss equation")
    with pytest.raises(InputError, match="no reason"):
        exclusion(cvxpy, "floor", {"floor": " "})
    with pytest.raises(InputError, match="did you mean 'floor'"):
        exclusion(cvxpy, "floor", {"flor": "it is tired"})
