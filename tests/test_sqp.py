"""newton under nonlinear rows: against other solvers, on hard small problems, and where nothing is feasible."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from conftest import random_model
from random_problems import signed_model
from test_newton import two_basins

from climbopt import BACKENDS, AllocationProblem, Options, Termination
from climbopt.backends import choose, load
from climbopt.backends.backend import Evaluator
from climbopt.backends.newton import Newton
from climbopt.backends.sqp import SequentialQuadratic, _convexified
from climbopt.certification.kkt import flat
from climbopt.certification.local import certify
from climbopt.problem.constraints import Cap, Custom, Floor, LossCeiling
from climbopt.problem.objectives import Minimax, WeightedPowerMean
from climbopt.procedures import joint_form
from climbopt.procedures.direction import equal_benefit_direction
from climbopt.procedures.two_step import magnitude_form
from climbopt.testing import family_problem
from climbopt.testing.hock_schittkowski import PublishedProblem

NEWTON = Newton()
x1, x2, x3 = sp.symbols("x1:4", real=True)
OTHER = "ipopt" if BACKENDS["ipopt"].missing is None else "slsqp"


def constrained(seed):
    """A problem under ceilings, an equation or a product that a random mixture meets, so that some are active."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(2, 9))
    problem = family_problem(m, interaction=("gated", "saturating")[seed % 2], negative=0.3 * (seed % 3 > 0), seed=seed)
    names, inside = problem.model.sources, 0.9 * rng.dirichlet(np.full(m, 1.5)) + 0.1 / m
    losses = [float(loss) for loss in np.ravel(problem.losses(inside))]
    a, b = rng.choice(m, 2, replace=False)
    rows = [
        LossCeiling({names[a]: losses[a]}),
        Custom(f"L[{names[a]}] * L[{names[b]}] <= {losses[a] * losses[b]!r}"),
        Custom(f"L[{names[a]}] == {losses[a]!r}"),
        Custom(f"L[{names[b]}] <= L[{names[a]}] + {losses[b] - losses[a]!r}"),
    ]
    bounds = (Floor({names[b]: 0.5 * inside[b]}), Cap({names[a]: min(1.0, 1.2 * inside[a])}))
    chosen = (rows[seed % 4], *bounds[: seed % 3])
    return replace(problem, constraints=chosen, objective=Minimax() if seed % 5 == 4 else problem.objective)


@pytest.mark.parametrize("seed", range(20))
def test_random_problems_against_another_solver(seed):
    form = joint_form(constrained(seed))
    ours, theirs = (load(name).solve(form, Options()) for name in ("newton", OTHER))
    certificate = certify(form, ours.x, claimed=ours.multipliers)
    assert ours.termination is Termination.SOLVED and certificate.passed
    assert max(residual.value for residual in certificate.residuals.values()) < 1e-9
    assert certify(form, theirs.x).passed
    assert form.functions.at(ours.x).value <= form.functions.at(theirs.x).value + 1e-9


@pytest.mark.parametrize("interaction", ["gated", "saturating"])
def test_multipliers_are_those_that_the_certificate_recovers(interaction):
    problem = family_problem(6, interaction=interaction)
    best = np.ravel(problem.losses(load("newton").solve(joint_form(problem), Options()).x))
    form = joint_form(replace(problem, constraints=(LossCeiling({"en": 0.998 * best[0]}),)))
    solution = NEWTON.solve(form, Options())
    certificate = certify(form, solution.x, claimed=solution.multipliers)
    assert certificate.disagreement < 1e-9 and solution.multipliers.nonlinear[0] > 1e-3


def test_the_default_takes_nonlinear_rows():
    assert choose(joint_form(constrained(1))).name == "newton"


def test_impossible_ceilings_are_infeasible():
    problem = family_problem(4)
    best = [
        float(np.ravel(problem.losses(NEWTON.solve(joint_form(alone), Options()).x))[k])
        for k, name in enumerate(problem.model.sources)
        for alone in [replace(problem, weights={n: float(n == name) for n in problem.model.sources})]
    ]
    form = joint_form(replace(problem, constraints=(LossCeiling(dict(zip(problem.model.sources, best, strict=True))),)))
    solution = NEWTON.solve(form, Options())
    assert solution.termination is Termination.INFEASIBLE and not certify(form, solution.x).passed


HARD = {
    # Waechter and Biegler, Mathematical Programming 88 (2000): line searches without second thoughts fail from here
    "infeasible linearisation": PublishedProblem(
        "WB",
        x1,
        (-2, 3, 1),
        (1, 0, sp.Rational(1, 2)),
        1,
        {2: (0, np.inf), 3: (0, np.inf)},
        ((0, x1**2 - x2 - 1, 0), (0, x1 - x3 - sp.Rational(1, 2), 0)),
        {"x2": -sp.Rational(1, 2), "c1": -sp.Rational(1, 2), "c2": 0},
    ),
    # Powell's example of the Maratos effect (Nocedal and Wright, example 15.4): every full step raises f and |c|
    "Maratos": PublishedProblem(
        "Maratos",
        2 * (x1**2 + x2**2 - 1) - x1,
        (sp.cos(sp.Rational(1, 10)), sp.sin(sp.Rational(1, 10))),
        (1, 0),
        -1,
        constraints=((0, x1**2 + x2**2 - 1, 0),),
        multipliers={"c1": -sp.Rational(3, 2)},
    ),
    "linear f, no curvature at the start": PublishedProblem(
        "linear",
        -x1 - x2,
        (sp.Rational(1, 10), 0),
        (1 / sp.sqrt(2), 1 / sp.sqrt(2)),
        -sp.sqrt(2),
        constraints=((-np.inf, x1**2 + x2**2, 1),),
        multipliers={"c1": 1 / sp.sqrt(2)},
    ),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_small_problems(name):
    problem = HARD[name]
    solution = NEWTON.solve(problem.form, Options())
    assert solution.termination is Termination.SOLVED
    np.testing.assert_allclose(solution.x, problem.minimisers[0], atol=1e-8)
    assert certify(problem.form, solution.x, claimed=solution.multipliers).passed
    for multiplier in solution.multipliers.nonlinear:
        assert multiplier == pytest.approx(float(problem.multipliers["c1"]), abs=1e-7)


def test_the_second_order_correction_keeps_full_steps(monkeypatch):
    form = HARD["Maratos"].form
    assert NEWTON.solve(form, Options()).iterations <= 6
    mended = SequentialQuadratic._mended

    def without_correction(self, x, at, trial, length, active):
        return None if length == 1.0 else mended(self, x, at, trial, length, active)

    monkeypatch.setattr(SequentialQuadratic, "_mended", without_correction)
    assert NEWTON.solve(form, Options()).iterations > 6


def test_a_locally_infeasible_point_is_no_answer():
    """c = x1^2 + 1 has no root: its least value is reached at 0, where no step brings it nearer to 0."""
    form = PublishedProblem("none", x1 + x2, (1, 1), (0, 0), 0, {2: (0, 5)}, ((0, x1**2 + 1, 0),)).form
    solution = NEWTON.solve(form, Options())
    assert solution.termination is Termination.INFEASIBLE and solution.x[0] == pytest.approx(0, abs=1e-3)


def test_ratios_of_0_with_infinite_slopes_are_not_stepped_on():
    model = random_model("additive_power", law="additive", sources=4, seed=1)
    problem = AllocationProblem(model, 2e9, 1e9, weights={f"s{j}": 1.0 + j for j in range(4)})
    form = magnitude_form(problem, equal_benefit_direction(problem, 1.0))
    solution = NEWTON.solve(form, Options())
    assert solution.termination is Termination.SOLVED and certify(form, solution.x).passed


def test_an_indefinite_hessian_becomes_positive_on_the_equations_alone():
    rng = np.random.default_rng(0)
    half, row = rng.normal(size=(5, 5)), np.ones((1, 5))
    hessian = half + half.T
    first, _, convex, *_ = _convexified(hessian, 1.0, row)
    basis = np.linalg.svd(row)[2][1:].T
    np.testing.assert_array_equal(first, hessian)
    before, after = (np.linalg.eigvalsh(basis.T @ H @ basis) for H in (hessian, convex))
    assert before[0] < 0 < after[0]
    np.testing.assert_allclose(np.sort(np.abs(before)), after, atol=1e-10)


def test_the_multipliers_of_a_linear_objective_begin_near_stationarity():
    form = joint_form(replace(family_problem(5), objective=Minimax()))
    search = SequentialQuadratic(Evaluator(form), 1e-10)
    begin = search._first_multipliers(form.functions.at(form.start))
    assert begin.sum() == pytest.approx(1.0, abs=0.1) and (begin >= 0).all()  # the weights of the losses
    assert flat(NEWTON.solve(form, Options()).multipliers)[-5:].sum() == pytest.approx(1.0, abs=1e-9)


def test_saddle_points_are_left():
    """min x2 on the circle from its top, where f is stationary and largest; and a start between two basins."""
    top = PublishedProblem("top", x2, (0, 1), (0, -1), -1, constraints=((0, x1**2 + x2**2 - 1, 0),)).form
    solution = NEWTON.solve(top, Options())
    assert solution.termination is Termination.SOLVED
    np.testing.assert_allclose(solution.x, (0, -1), atol=1e-8)
    saddle = joint_form(replace(AllocationProblem(two_basins(), 1e9), constraints=(LossCeiling({"a": 9.0}),)))
    middle = saddle.functions.at(saddle.start)
    assert abs(middle.gradient @ [1.0, -1.0]) < 1e-12
    solution = NEWTON.solve(saddle, Options())
    assert saddle.functions.at(solution.x).value < middle.value - 1e-4 and certify(saddle, solution.x).passed


def test_more_rows_than_directions_at_the_minimum():
    """Two rows meet where the simplex leaves one direction: a model breaks neither, whatever the penalty."""
    problem = AllocationProblem(signed_model("both_curved", 2, None, 180), 10e9)
    rows = (
        Custom("L[s0] <= 2.0702753993809764"),
        Custom("L[s0] <= L[s1] - 0.44277175743894714", name="beside"),
        Custom("r[s0]**2 + r[s1]**2 >= 0.612646864832522", name="squares"),
    )
    form = joint_form(replace(problem, constraints=rows))
    solution = NEWTON.solve(form, Options())
    assert solution.termination is Termination.SOLVED and certify(form, solution.x).passed
    assert solution.x == pytest.approx([0.7373255847, 0.2626744153], abs=1e-8)


@pytest.mark.parametrize(
    "row", ["r[s0] * r[s1] <= 0.2", "r[s0]**2 + r[s1]**2 >= 0.6"], ids=["product below", "squares above"]
)
def test_equal_ratios_are_left_where_slopes_do_not_lessen_a_violation(row):
    """Both rows are stationary at equal ratios, where they are broken most; r_0 r_1 = 0.2 at (1 -+ sqrt(0.2)) / 2."""
    problem = AllocationProblem(signed_model("gated", 2, None, 3), 10e9, constraints=(Custom(row),))
    form = joint_form(problem)
    solution = NEWTON.solve(form, Options())
    assert solution.termination is Termination.SOLVED and certify(form, solution.x).passed
    assert abs(solution.x[0] - 0.5) == pytest.approx(np.sqrt(0.2) / 2, abs=1e-8)


def test_long_steps_along_a_curved_equation():
    """Halved steps are moved back onto the equation; along the segment alone 200 iterations end before the minimum."""
    problem = AllocationProblem(
        signed_model("rising", 4, None, 289),
        10e9,
        constraints=(Custom("L[s1] == 4.7010877052576445"),),
        objective=WeightedPowerMean(power=3.0),
    )
    form = joint_form(problem)
    solution = NEWTON.solve(form, Options(max_iterations=40))
    assert solution.termination is Termination.SOLVED and certify(form, solution.x).passed
    assert form.functions.at(solution.x).value == pytest.approx(1.251848405298638, rel=1e-9)
