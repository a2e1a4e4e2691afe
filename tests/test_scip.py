"""scip: the global optimum, and a dual bound below every other backend's objective."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from conftest import random_model, random_ratios

import climbopt
from climbopt import AllocationProblem, Custom, Floor, LossCeiling, MixtureModel, StayNear, Verdict, load_problem
from climbopt.backends import BACKENDS, Options, load
from climbopt.certification.local import certify, repair
from climbopt.foundations.errors import InputError
from climbopt.foundations.solution import Termination
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.numerics.polytope import Polytope, Rows
from climbopt.problem.objectives import Minimax, WeightedPowerMean
from climbopt.procedures import joint_form
from climbopt.procedures.direction import equal_benefit_direction
from climbopt.procedures.two_step import magnitude_form
from climbopt.testing import CASES, family_problem

if BACKENDS["scip"].missing:
    pytest.skip(BACKENDS["scip"].missing, allow_module_level=True)

import pyscipopt  # noqa: E402

from climbopt.backends import scip  # noqa: E402

LOCAL = [name for name in ("newton", "ipopt", "slsqp", "pyomo") if BACKENDS[name].missing is None]
ROUNDING = 1e-8
"""What a bound may be off by: it holds up to SCIP's feasibility tolerance."""


def answer(form, **options):
    """Return SCIP's solution with its repaired point and certificate."""
    solution = load("scip").solve(form, Options(time_limit=60.0, **options))
    x = repair(form, solution.x)
    return solution, x, certify(form, x, claimed=solution.multipliers)


@pytest.mark.parametrize("law", ["power", "power_nd"])
@pytest.mark.parametrize("interaction", ["none", "linear", "saturating", "gated"])
def test_the_expressions_are_the_templates(law, interaction):
    """With every ratio fixed, what SCIP minimises is f itself, real exponents included."""
    model = random_model(interaction, law=law, sources=3)
    problem = AllocationProblem(model, 8e9, params=1e9 if law == "power_nd" else None, history={"s0": 2e9})
    form, ratios = joint_form(problem), random_ratios(3, seed=1)
    box = form.polytope
    fixed = replace(form, polytope=Polytope(Rows(ratios, ratios, box.bounds.labels), box.A, box.rows))
    solution = load("scip").solve(fixed, Options())
    assert solution.termination is Termination.SOLVED
    assert solution.bound == pytest.approx(form.functions.at(ratios).value, abs=1e-8)


@pytest.mark.parametrize("name", ["equal_beta", "known_floor", "one_source", "synthetic16", "libreoffice6"])
def test_agrees_with_newton(name):
    form = joint_form(load_problem(name))
    solution, x, certificate = answer(form)
    best = repair(form, load("newton").solve(form, Options()).x)
    assert solution.termination is Termination.SOLVED and certificate.passed
    assert solution.multipliers is None and certificate.disagreement is None
    np.testing.assert_allclose(x, best, atol=1e-7, rtol=0)
    value = form.functions.at(best).value
    assert form.functions.at(x).value == pytest.approx(value, abs=1e-9)
    assert value - 1e-6 * value - ROUNDING <= solution.bound <= value + ROUNDING


PROBLEM = family_problem(4)
FORMS = {
    "signed 4": lambda: joint_form(family_problem(4, negative=0.3)),
    "signed 5": lambda: joint_form(family_problem(5, negative=0.3)),
    "signed 6": lambda: joint_form(family_problem(6, negative=0.3)),
    "gated 4": lambda: joint_form(family_problem(4, interaction="gated", negative=0.3)),
    "linear 5": lambda: joint_form(family_problem(5, interaction="linear", negative=0.3)),
    "floor": lambda: joint_form(replace(PROBLEM, constraints=(Floor({"sv": 0.2}),))),
    "stay_near": lambda: joint_form(replace(PROBLEM, constraints=(StayNear(0.1, "uniform"),))),
    "loss_ceiling": lambda: joint_form(
        replace(PROBLEM, constraints=(LossCeiling(excess=0.001, reference="uniform", targets=("sv",)),))
    ),
    "custom": lambda: joint_form(
        replace(PROBLEM, constraints=(Custom("z[en] * z[de] >= 0.52"), Custom("L[nl] <= L[sv] + 0.7", name="parity")))
    ),
    "minimax": lambda: joint_form(replace(PROBLEM, objective=Minimax())),
    "power mean": lambda: joint_form(replace(PROBLEM, objective=WeightedPowerMean(power=4.0))),
    "step 2": lambda: magnitude_form(PROBLEM, equal_benefit_direction(PROBLEM, 1.0)),
}


@pytest.mark.parametrize("name", FORMS)
def test_bound_is_below_every_objective(name):
    """And its own point is no worse than any, and certified."""
    form = FORMS[name]()
    solution, x, certificate = answer(form)
    assert solution.termination is Termination.SOLVED and certificate.passed, certificate.residuals
    value = form.functions.at(x).value
    assert solution.bound <= value + ROUNDING
    taken = [load(other) for other in LOCAL if load(other).refusal(form) is None]
    assert taken
    for other in taken:
        objective = form.functions.at(repair(form, other.solve(form, Options()).x)).value
        assert solution.bound <= objective + ROUNDING and value <= objective + ROUNDING


def rivals(beta):
    """Two languages that each spoil the other: mixing them is a local minimum, leaving one out the global one."""
    names = ("a", "b")
    return AllocationProblem(
        MixtureModel(
            LAWS["power"],
            INTERACTIONS["gated"],
            names,
            names,
            {
                "E": np.ones(2),
                "B": np.array([4.0, 3.6]),
                "beta": np.full(2, beta),
                "eta": np.full(2, 10.0),
                "b": np.array([[0, -0.9], [-0.9, 0]]),
                "k": np.zeros((2, 2)),
                "h": np.full(2, 0.2),
                "l": np.zeros((2, 2)),
            },
            1e9,
        ),
        1e9,
    )


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_finds_the_global_minimum_where_others_stay(beta):
    """Also where 1/z has its pole on the way, past which SCIP knows f and the law does not."""
    problem = rivals(beta)
    form = joint_form(problem)
    solution, x, certificate = answer(form)
    ends = [problem.value(np.array(end)) for end in ((1.0, 0.0), (0.0, 1.0))]
    grid = [problem.value(np.array([share, 1 - share])) for share in np.linspace(0, 1, 2001)]
    assert np.nanmin(grid) == min(ends) and np.isnan(grid).any()
    np.testing.assert_allclose(x, (1.0, 0.0), atol=1e-9)
    assert solution.termination is Termination.SOLVED and certificate.passed
    assert solution.bound == pytest.approx(min(ends), rel=2e-6) and solution.bound <= min(ends) + ROUNDING
    stuck = load("newton").solve(form, Options()).x
    assert form.functions.at(stuck).value > min(ends) + 0.1
    assert certificate.verdict is not Verdict.GLOBAL  # the bound is SCIP's word; nothing is proved here


def test_every_status_has_a_meaning():
    known = {name.lower() for name in dir(pyscipopt.scip.PY_SCIP_STATUS) if name.isupper()}
    assert known <= set(scip.STATUS)


@pytest.mark.parametrize(
    ("form", "termination"),
    [
        (lambda: joint_form(replace(PROBLEM, constraints=(LossCeiling({"en": 1.2}),))), Termination.INFEASIBLE),
        (lambda: joint_form(family_problem(8, negative=0.3)), Termination.ITERATION_LIMIT),
    ],
)
def test_unsolved(form, termination):
    solution = load("scip").solve(form(), Options(max_iterations=20))
    assert solution.termination is termination
    if termination is Termination.INFEASIBLE:
        assert solution.x is None and solution.bound is None
    else:
        assert solution.iterations == 20 and solution.bound < form().functions.at(solution.x).value - 1e-7


def test_time_limit_before_it_begins():
    solution = load("scip").solve(joint_form(PROBLEM), Options(time_limit=1e-9))
    assert solution.termination is Termination.TIME_LIMIT and solution.x is None and solution.bound is None


def test_a_failure_is_a_status(monkeypatch):
    class Failing(pyscipopt.Model):
        def optimize(self):
            raise Exception("SCIP: error in LP solver!")

    monkeypatch.setattr(pyscipopt, "Model", Failing)
    solution = load("scip").solve(joint_form(PROBLEM), Options())
    assert solution.termination is Termination.FAILED and solution.x is None and "LP solver" in solution.raw_status


def test_a_point_outside_the_domain_is_no_solution(monkeypatch):
    form = joint_form(rivals(1.0))
    outside = form.functions.at(np.array([0.05, 0.95]))
    assert np.isnan(outside.value)
    fixed = replace(
        form,
        polytope=replace(
            form.polytope, bounds=form.polytope.bounds.within(np.array([0.05, 0.95]), np.array([0.05, 0.95]))
        ),
    )
    assert load("scip").solve(fixed, Options()).termination is Termination.INFEASIBLE
    monkeypatch.setattr(scip, "_kept_positive", lambda model, least, expression, name: expression)
    loose = replace(fixed, nonlinear=replace(fixed.nonlinear, lower=np.full(2, -np.inf)))
    assert load("scip").solve(loose, Options()).termination is Termination.LEFT_DOMAIN


@pytest.mark.parametrize(
    ("native", "match"),
    [
        ({"limits/gab": 0.1}, "did you mean 'limits/gap'"),
        ({"limits/gap": -1.0}, "limits/gap=-1.0"),
        ({"limits/gap": "small"}, "limits/gap='small'"),
    ],
)
def test_refused_options(native, match):
    with pytest.raises(InputError, match=match):
        load("scip").solve(joint_form(PROBLEM), Options(native=native))


def test_native_options_arrive():
    solution = load("scip").solve(joint_form(PROBLEM), Options(native={"limits/solutions": 1}))
    assert solution.termination is Termination.INTERRUPTED and solution.raw_status == "sollimit"


def test_other_functions():
    """sin, cos and tanh are written out, erf is refused."""
    r = climbopt.r
    relation = sp.tanh(2 * r["en"]) + sp.sin(r["de"]) * sp.cos(r["de"]) <= 0.7
    solution, x, certificate = answer(joint_form(replace(PROBLEM, constraints=(Custom(relation),))))
    assert solution.termination is Termination.SOLVED and certificate.passed
    assert certificate.multipliers["custom"].multiplier > 1e-3
    form = joint_form(replace(PROBLEM, constraints=(Custom(sp.erf(r["en"]) <= 0.9),)))
    assert load("scip").refusal(form).startswith("scip branches on expressions, and its functions cannot be written")


def test_prints_nothing(capfd):
    form = CASES[1].form()
    load("scip").solve(form, Options())
    with pytest.raises(InputError):
        load("scip").solve(form, Options(native={"limits/gap": -1.0}))
    out = capfd.readouterr()
    assert out.out == out.err == ""


def test_the_word_reaches_the_report():
    from climbopt.reports.results import result_json

    result = climbopt.solve(load_problem("equal_beta"), backend="scip")
    assert result_json(result)["bound"] == result.solution.bound <= result.objective + ROUNDING
    assert result_json(climbopt.solve(load_problem("equal_beta")))["bound"] is None
