"""Objectives of ratios alone, and with next to no curvature: linear programs, against HiGHS and by hand."""

import numpy as np
import pytest
from scipy.optimize import linprog

from climbopt import (
    AllocationProblem,
    Cap,
    Custom,
    CustomObjective,
    Floor,
    MixtureModel,
    Options,
    Supply,
    Verdict,
    solve,
)
from climbopt.backends import BACKENDS
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS

AVAILABLE = [name for name, entry in BACKENDS.items() if entry.missing is None]
BUDGET = 1e9


def model(m):
    """L_i = 1 + B_i / r_i."""
    names = tuple("abcdefghijkl"[:m])
    values = {"E": np.ones(m), "B": np.linspace(4.0, 0.5, m), "beta": np.ones(m)}
    return MixtureModel(LAWS["power"], INTERACTIONS["none"], names, names, values, token_unit=BUDGET)


def problem(expression, *constraints, m=3, **more):
    return AllocationProblem(model(m), BUDGET, constraints=constraints, objective=CustomObjective(expression), **more)


@pytest.mark.parametrize("backend", AVAILABLE)
def test_a_linear_program_with_one_vertex(backend):
    """The cheapest source takes what the floors leave; prices are the differences in cost."""
    asked = problem("3*r[a] + 2*r[b] + r[c]", Floor({"a": 0.2, "b": 0.3}))
    result = solve(asked, backend=backend)
    assert result.passed and result.certificate.verdict is Verdict.GLOBAL
    assert list(result.ratios.values()) == pytest.approx([0.2, 0.3, 0.5], abs=1e-6)
    assert result.objective == pytest.approx(1.7, abs=1e-6)
    prices = {name: row.shadow_price for name, row in result.certificate.multipliers.items()}
    assert (prices["floor[a]"], prices["floor[b]"]) == pytest.approx((2.0, 1.0), abs=1e-4)


@pytest.mark.parametrize("backend", [name for name in AVAILABLE if name != "newton"])
def test_a_linear_objective_under_a_nonlinear_row(backend):
    """L_a <= 12 is r_a >= 4 / 11."""
    result = solve(problem("3*r[a] + 2*r[b] + r[c]", Floor({"b": 0.3}), Custom("L[a] <= 12")), backend=backend)
    assert result.passed and result.certificate.verdict is Verdict.GLOBAL
    assert list(result.ratios.values()) == pytest.approx([4 / 11, 0.3, 0.7 - 4 / 11], abs=1e-5)


@pytest.mark.parametrize("backend", AVAILABLE)
def test_a_constant_objective(backend):
    result = solve(problem("r[a] + r[b] + r[c]"), backend=backend)
    assert result.passed and result.objective == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("weight", [1e-3, 1e-6, 1e-9, 1e-12, 1e-15])
def test_objectives_that_are_nearly_linear(weight):
    """df/dr_a = 2 - 1 - 400 weight > 0 at the floor of a, whatever the small weight."""
    floors = Floor(dict.fromkeys("abc", 0.1))
    result = solve(problem(f"2*r[a] + r[b] + r[c] + {weight!r} * L[a]", floors))
    assert result.passed and result.certificate.verdict is Verdict.GLOBAL
    assert result.ratios["a"] == pytest.approx(0.1, abs=1e-12)
    assert result.objective == pytest.approx(1.1 + 41 * weight, abs=1e-12)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("weight", [0.0, 1e-12])
def test_random_linear_programs_against_highs(seed, weight):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(2, 13))
    names = model(m).sources
    cost = rng.integers(-3, 4, m).astype(float) if seed % 2 else rng.normal(size=m) * 10.0 ** rng.integers(-2, 6)
    lower = rng.uniform(0, 0.5 / m, m)
    upper = np.minimum(1.0, lower + rng.uniform(0.5 / m, 1.0, m)) if seed % 3 else np.ones(m)
    upper = upper if upper.sum() > 1.05 else np.ones(m)
    inside = lower + (1 - lower.sum()) * (upper - lower) / (upper - lower).sum()
    A = rng.normal(size=(2, m))
    limit = A @ inside + 0.05

    def text(coefficients):
        return " + ".join(f"({c:.17g})*r[{name}]" for c, name in zip(coefficients, names, strict=True))

    rows = [Custom(f"{text(A[k])} <= {limit[k]:.17g}", name=f"row{k}") for k in range(2)] if m > 3 else []
    supply = dict(zip(names, upper * BUDGET, strict=True))
    curved = f" + {weight!r}*L[a]" if weight else ""
    asked = problem(
        text(cost) + curved, Floor(dict(zip(names, lower, strict=True))), Supply(1.0), *rows, m=m, supply=supply
    )
    result = solve(asked, options=Options(tolerance=1e-8))
    known = linprog(
        cost,
        A_ub=A if rows else None,
        b_ub=limit if rows else None,
        A_eq=np.ones((1, m)),
        b_eq=[1.0],
        bounds=list(zip(lower, upper, strict=True)),
    )
    assert result.passed and result.certificate.verdict is Verdict.GLOBAL
    assert result.solution.backend == "newton"
    assert result.objective == pytest.approx(known.fun, abs=1e-8 * max(1.0, np.abs(cost).max()) + 1e3 * weight)


def test_a_tie_is_named(capsys):
    from climbopt.cli.streams import console
    from climbopt.reports.results import print_result

    print_result(solve(problem("2*r[a] + r[b] + r[c]", Cap({"b": 0.7}))), console())
    assert "a tie: other mixtures may be as good" in " ".join(capsys.readouterr().out.split())
