"""A row times a positive number is the same row: one verdict, point and price from every backend."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import climbopt
from climbopt.backends import BACKENDS, load
from climbopt.certification.local import certify
from climbopt.problem.constraints import Custom, Linear
from climbopt.procedures import joint_form
from climbopt.testing import family_problem

PROBLEM = family_problem(4)
FREE = climbopt.solve(PROBLEM)
A, B = PROBLEM.model.sources[:2]
TOKENS = PROBLEM.budget


def at_optimum(expression):
    """Return the value of an expression of one quantity at the optimum without it."""
    i = PROBLEM.model.targets.index(A)
    response = PROBLEM.model.at(PROBLEM.total_budget, PROBLEM.params)
    z = response.z(np.array(list(FREE.ratios.values())))
    return {"z": float(z[i]), "L": float(response.losses(z)[i]), "r": float(FREE.ratios[A])}[expression]


Z, LOSS, RATIO = (at_optimum(kind) for kind in ("z", "L", "r"))
ROWS = {
    "z active": ("z", f"z[{A}]", ">=", 1.05 * Z),
    "z inactive": ("z", f"z[{A}]", ">=", 0.5 * Z),
    "loss active": ("L", f"L[{A}]", "<=", LOSS - 0.002),
    "loss far from active": ("L", f"L[{A}]", "<=", LOSS + 3.0),
    "curved": ("L", f"L[{A}]**2", "<=", (LOSS - 0.002) ** 2),
    "ratios": ("r", f"r[{A}] - 0.5 * r[{B}]", ">=", 1.2 * RATIO),
}


def solved(row, factor, backend=None):
    """Return the result under a row whose both sides are multiplied by a number."""
    _, left, relation, right = ROWS[row]
    text = f"{factor!r} * ({left}) {relation} {factor * right!r}"
    problem = climbopt.AllocationProblem(
        PROBLEM.model, PROBLEM.budget, constraints=(Custom(text, name="row"),), params=PROBLEM.params
    )
    return climbopt.solve(problem, backend=backend)


@pytest.fixture(scope="module")
def plain():
    """Return each row's result where it is written as it is."""
    return {row: solved(row, 1.0) for row in ROWS}


def same(one, other, factor, tolerance=1e-6):
    """Check that two results agree, and that the price is per unit of the number that the row is compared with."""
    assert one.certificate.verdict is other.certificate.verdict and one.passed and other.passed
    np.testing.assert_allclose(list(one.ratios.values()), list(other.ratios.values()), atol=tolerance)
    price, expected = (result.certificate.multipliers["row"].shadow_price for result in (one, other))
    scale = max(1.0, abs(expected))
    assert price * factor / scale == pytest.approx(expected / scale, abs=1e-4)


@settings(deadline=None, max_examples=30)
@given(row=st.sampled_from(sorted(ROWS)), power=st.floats(-9.0, 9.0))
def test_a_row_times_a_number_is_the_same_row(plain, row, power):
    factor = float(f"{10.0**power:.3g}")
    same(solved(row, factor), plain[row], factor)


@pytest.mark.parametrize("factor", [1e-9, 1e9])
@pytest.mark.parametrize("row", ["z active", "loss far from active", "ratios"])
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "scip"])
def test_every_backend_gives_the_same(plain, backend, row, factor):
    problem = climbopt.AllocationProblem(
        PROBLEM.model, PROBLEM.budget, constraints=(Custom(f"{ROWS[row][1]} {ROWS[row][2]} 0.1", name="row"),)
    )
    try:
        refusal = load(backend).refusal(joint_form(problem))
    except climbopt.InputError as error:
        pytest.skip(str(error))
    if refusal is not None:
        pytest.skip(refusal)
    same(solved(row, factor, backend), plain[row], factor, 1e-5)


def test_a_small_row_does_not_pass_with_its_ceiling_broken():
    """Ratios at which L[a] is 0.3 nats above its ceiling are infeasible, however the row is written."""
    worse = {name: (0.01 if name == A else 0.99 / 3) for name in PROBLEM.model.sources}
    response = PROBLEM.model.at(PROBLEM.total_budget, PROBLEM.params)
    value = float(response.losses(response.z(np.array(list(worse.values()))))[PROBLEM.model.targets.index(A)])
    for factor in (1.0, 1e-6):
        row = Custom(f"{factor} * L[{A}] <= {factor * (value - 0.3)!r}", name="row")
        problem = climbopt.AllocationProblem(PROBLEM.model, PROBLEM.budget, constraints=(row,))
        form = joint_form(problem)
        certificate = certify(form, form.complete(np.array(list(worse.values()))))
        assert not certificate.passed and certificate.verdict.value == "infeasible"


def test_rows_in_tokens_and_what_the_labels_say():
    """The solver's row has a gradient near 1; the label leads back to the user's."""
    row = Custom(f"z[{A}] * D >= {1.05 * Z * TOKENS!r}", name="row")
    form = joint_form(climbopt.AllocationProblem(PROBLEM.model, PROBLEM.budget, constraints=(row,)))
    (label,) = form.nonlinear.labels
    gradient = form.functions.at(form.start).jacobian[0]
    assert 0.25 <= np.abs(gradient).max() <= 4.0
    assert np.log2(label.scale) == int(np.log2(label.scale)) and label.scale < 1e-6
    assert form.nonlinear.lower[0] == pytest.approx(1.05 * Z * TOKENS * label.scale, rel=1e-15)


@pytest.mark.parametrize("factor", [1e-8, 1.0, 1e8])
def test_linear_rows(factor):
    """A row of several ratios, with coefficients of any size."""
    row = Linear({A: factor, B: -0.5 * factor}, lower=0.3 * factor, name="row")
    base = Linear({A: 1.0, B: -0.5}, lower=0.3, name="row")
    one, other = (
        climbopt.solve(climbopt.AllocationProblem(PROBLEM.model, PROBLEM.budget, constraints=(part,)))
        for part in (row, base)
    )
    same(one, other, factor)
