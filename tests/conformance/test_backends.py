"""Each backend in the registry on each check of the suite; what a backend refuses, it must explain."""

import pytest

from climbopt.backends import BACKENDS, load
from climbopt.errors import InputError
from climbopt.testing import CHECKS, exclusion


@pytest.fixture(params=list(BACKENDS))
def backend(request):
    entry = BACKENDS[request.param]
    if entry.missing:
        pytest.skip(entry.missing)
    return load(request.param)


@pytest.mark.parametrize("check", CHECKS)
def test_conformance(backend, check):
    reason = exclusion(backend, check)
    if reason is not None:
        pytest.skip(reason)
    CHECKS[check].run(backend)


def test_exclusions_have_reasons():
    newton = load("newton")
    assert exclusion(newton, "floor", {"floor": "it is tired"}) == "it is tired"
    assert exclusion(newton, "cap", {"floor": "it is tired"}) is None
    assert "newton" in exclusion(newton, "magnitude")
    with pytest.raises(InputError, match="no reason"):
        exclusion(newton, "floor", {"floor": " "})
    with pytest.raises(InputError, match="did you mean 'floor'"):
        exclusion(newton, "floor", {"flor": "it is tired"})
