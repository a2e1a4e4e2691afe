"""Published solutions, each verified from its declaration alone: feasible, of the printed value, and a KKT point."""

import numpy as np
import pytest
import sympy as sp

from climbopt.certification.local import certify
from climbopt.testing import HOCK_SCHITTKOWSKI

DIGITS = 40
BY_NAME = {problem.name: problem for problem in HOCK_SCHITTKOWSKI}
IN_DIGITS = [problem for problem in HOCK_SCHITTKOWSKI if problem.printed]
each_problem = pytest.mark.parametrize("problem", HOCK_SCHITTKOWSKI, ids=lambda problem: problem.name)


def limits(problem):
    """Return every limit by name as (lower, expression, upper)."""
    x = problem.variables
    return {f"x{i}": (low, x[i - 1], high) for i, (low, high) in problem.bounds.items()} | {
        f"c{i}": limit for i, limit in enumerate(problem.constraints, start=1)
    }


def multipliers(problem):
    """Return the Lagrangian, with symbols for the multipliers that are not 0, and those by name."""
    symbols = {name: sp.Symbol(f"m_{name}") for name in problem.multipliers}
    rows = limits(problem)
    return problem.objective + sum(symbol * rows[name][1] for name, symbol in symbols.items()), symbols


def rounding(problem, solution):
    """Return what a condition may leave: nothing but the working precision, where the solution is in closed form."""
    return 1e-13 if any(isinstance(value, float) for value in solution) else 1e-35


@each_problem
def test_the_kkt_conditions_hold_at_every_published_solution(problem):
    lagrangian, symbols = multipliers(problem)
    for solution in (problem.solution, *problem.others):
        tolerance = rounding(problem, solution)
        point = dict(zip(problem.variables, solution, strict=True))
        point |= {symbol: problem.multipliers[name] for name, symbol in symbols.items()}
        for variable in problem.variables:
            assert abs(sp.N(lagrangian.diff(variable).subs(point), DIGITS)) < tolerance
        for name, (lower, expression, upper) in limits(problem).items():
            value = sp.N(expression.subs(point), DIGITS)
            assert lower - tolerance <= value <= upper + tolerance, name
            multiplier = problem.multipliers.get(name, 0)
            if lower != upper and multiplier != 0:
                assert abs(value - (upper if multiplier > 0 else lower)) < tolerance, name


@each_problem
def test_the_minimum_is_the_published_one(problem):
    for solution in (problem.solution, *problem.others):
        value = sp.N(problem.objective.subs(dict(zip(problem.variables, solution, strict=True))), DIGITS)
        if isinstance(problem.value, str):  # the collection cuts some, and rounds others
            last = sp.Rational(1, 10 ** len(problem.value.partition(".")[2]))
            assert abs(value - sp.Rational(problem.value)) < last
        else:
            assert abs(sp.N(value - problem.value, DIGITS)) < 1e-35


@pytest.mark.parametrize("problem", IN_DIGITS, ids=lambda problem: problem.name)
def test_printed_digits_continue_to_the_solution(problem):
    """Newton's method from the printed digits on the KKT equations of the active limits, in 40 digits."""
    lagrangian, symbols = multipliers(problem)
    printed = [sp.Float(digits, DIGITS) for digits in problem.printed]
    unknown = [*problem.variables, *symbols.values()]
    active = []
    for name in symbols:
        lower, expression, upper = limits(problem)[name]
        active.append(expression - (upper if problem.multipliers[name] > 0 else lower))
    root = sp.nsolve(
        [*(lagrangian.diff(one) for one in problem.variables), *active],
        unknown,
        [*printed, *(sp.N(value, DIGITS) for value in problem.multipliers.values())],
        prec=DIGITS,
    )
    n = len(printed)
    np.testing.assert_allclose(np.array(root[:n], dtype=float), problem.minimisers[0], rtol=1e-15)
    np.testing.assert_allclose(
        np.array(root[n:], dtype=float), [float(v) for v in problem.multipliers.values()], rtol=1e-14
    )
    np.testing.assert_allclose(np.array(printed, dtype=float), problem.minimisers[0], rtol=2e-7)


@each_problem
def test_solutions_are_regular_and_certified(problem):
    """Independent active rows, no multiplier of 0 on any, positive curvature along them: one point, one answer."""
    for x in problem.minimisers:
        certificate = certify(problem.form, x, tolerance=1e-12)
        assert certificate.passed, certificate.residuals
        assert certificate.licq and not certificate.weakly_active
        assert certificate.second_order is None or certificate.second_order > 1e-3
        for name, named in certificate.multipliers.items():
            assert named.multiplier == pytest.approx(float(problem.multipliers.get(name, 0.0)), abs=1e-12)


@each_problem
def test_linear_constraints_are_rows_and_starts_are_inside(problem):
    form = problem.form
    degrees = [
        sp.Poly(sp.N(part), *problem.variables).total_degree() if part.is_polynomial() else 9
        for _, part, _ in problem.constraints
    ]
    assert [side.name for side in form.polytope.rows.labels] == [f"c{i}" for i, d in enumerate(degrees, 1) if d == 1]
    assert [side.name for side in form.nonlinear.labels] == [f"c{i}" for i, d in enumerate(degrees, 1) if d > 1]
    activity, polytope = form.polytope.A @ form.start, form.polytope
    assert polytope.violation(form.start) < 1e-12
    assert ((form.start > polytope.bounds.lower) & (form.start < polytope.bounds.upper)).all()
    assert (polytope.equation | (activity > polytope.rows.lower) & (activity < polytope.rows.upper)).all()
    published = np.array([float(one) for one in problem.start])
    if polytope.violation(published) == 0:
        assert np.abs(form.start - published).max() <= 0.01 + 1e-15


def test_the_spread():
    """Bounds alone, linear and nonlinear equations and inequalities, proved convex and not, several solutions."""
    forms = [problem.form for problem in HOCK_SCHITTKOWSKI]
    assert 15 <= len(forms) <= 18 and len(BY_NAME) == len(forms)
    assert sum(not form.polytope.rows.labels and not form.nonlinear.labels for form in forms) >= 2
    equations = [form.polytope.equation for form in forms]
    assert any(kind.any() for kind in equations) and any((~kind).any() for kind in equations)
    nonlinear = [form.nonlinear.lower == form.nonlinear.upper for form in forms]
    assert any(kind.any() for kind in nonlinear) and any((~kind).any() for kind in nonlinear)
    assert sum(not form.has_nonlinear_rows for form in forms) >= 7
    assert any(len(problem.minimisers) > 1 for problem in HOCK_SCHITTKOWSKI)
    convex = {
        problem.name
        for problem in HOCK_SCHITTKOWSKI
        if problem.form.functions.convex(
            problem.form.polytope,
            np.array([float(problem.multipliers.get(side.name, 0.0)) for side in problem.form.nonlinear.labels]),
        )
    }
    assert convex == {"HS12", "HS14", "HS21", "HS22", "HS35", "HS43", "HS52", "HS76", "HS113"}


@pytest.mark.parametrize("name", ["HS21", "HS35", "HS76"])
def test_bounded_convex_ones_are_proved_global(name):
    problem = BY_NAME[name]
    certificate = certify(problem.form, problem.minimisers[0])
    assert certificate.verdict.value == "global within gap" and certificate.gap < 1e-11


@each_problem
def test_a_wrong_point_or_value_is_noticed(problem):
    """A feasible step away from the solution leaves the certificate failing, unless it is the solution again."""
    x = problem.minimisers[0]
    away = x + 0.01 * (problem.form.start - x)
    assert not certify(problem.form, away).passed
