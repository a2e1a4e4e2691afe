"""SymbolicFunctions: derivatives against differences, convexity claimed only where it holds, other systems."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp

from climbopt.program import Algebraic
from climbopt.testing import HOCK_SCHITTKOWSKI, SymbolicFunctions

STEP = 1e-6
PLAIN = SimpleNamespace(
    functions={"exp": math.exp, "log": math.log, "sqrt": math.sqrt}, define=lambda expression, name: expression
)
a, b = sp.symbols("a b")


def differences(function, x):
    """Return central differences of a vector function by x, (k, n)."""
    steps = STEP * np.maximum(1.0, np.abs(x)) * np.eye(x.size)
    return np.array(
        [(np.atleast_1d(function(x + step)) - np.atleast_1d(function(x - step))) / (2 * step.max()) for step in steps]
    ).T


@pytest.mark.parametrize("problem", HOCK_SCHITTKOWSKI, ids=lambda problem: problem.name)
def test_derivatives_against_central_differences(problem):
    functions, rng = problem.form.functions, np.random.default_rng(0)
    multipliers = rng.normal(size=functions.n_rows)
    for x in (problem.form.start, problem.minimisers[0] + rng.normal(scale=0.3, size=problem.form.n)):
        here = functions.at(x)

        def slope(y):
            at = functions.at(y)
            return 0.7 * at.gradient + at.jacobian.T @ multipliers

        for exact, approximate in (
            (here.gradient[None, :], differences(lambda y: functions.at(y).value, x)),
            (here.jacobian, differences(lambda y: functions.at(y).rows, x).reshape(-1, x.size)),
            (here.hessian(0.7, multipliers), differences(slope, x)),
        ):
            assert exact.shape == approximate.shape
            scale = max(1.0, np.abs(exact).max(initial=0.0))
            np.testing.assert_allclose(approximate / scale, exact / scale, atol=1e-7)


@pytest.mark.parametrize("problem", HOCK_SCHITTKOWSKI, ids=lambda problem: problem.name)
def test_written_out_in_another_system_they_are_the_same(problem):
    functions = problem.form.functions
    assert isinstance(functions, Algebraic)
    for x in (problem.form.start, problem.minimisers[-1] + 0.1):
        f, c = functions.build(x.tolist(), PLAIN)
        here = functions.at(x)
        np.testing.assert_allclose([f, *c], [here.value, *here.rows], rtol=1e-14, atol=1e-13)


def test_outside_the_domain_is_not_a_number():
    here = SymbolicFunctions((a,), sp.log(a), (sp.sqrt(a),)).at(np.array([-1.0]))
    assert np.isnan(here.value) and np.isnan(here.rows).all()


@pytest.mark.parametrize(
    ("objective", "row", "multiplier", "convex"),
    [
        (a**2 + b**2, a, 1.0, True),
        (a**2 + 2 * a * b + b**2, a, 1.0, True),  # semidefinite
        (a**2 + 2.000001 * a * b + b**2, a, 1.0, False),
        (a * b, a**2 + b**2, 0.5, True),
        (a * b, a**2 + b**2, 0.499999, False),
        (a**2, b**2, -1.0, False),
        (3 * a - b, a * b, 0.0, True),
        (sp.exp(a), b, 1.0, False),  # convex, but not proved
    ],
)
def test_convexity_is_claimed_only_where_it_is_proved(objective, row, multiplier, convex):
    functions = SymbolicFunctions((a, b), objective, (row,))
    assert functions.convex(None, np.array([multiplier])) is convex
