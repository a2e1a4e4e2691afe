"""Proofs of lower bounds: planes are below what they bound, and what is broken proves nothing."""

import math
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from conftest import random_model
from test_optimum import simplex_grid
from test_relaxation import USERS, a, signed_model

from climbopt import Verdict, certify_ratios, load_problem, solve
from climbopt.certification.bounds.relaxable import Box, relaxable
from climbopt.certification.bounds.terms import terms
from climbopt.certification.kkt import recover
from climbopt.model.laws import LAWS
from climbopt.model.symbols import Parameter, r_j
from climbopt.model.templates import Template, derive
from climbopt.numerics.intervals import Interval
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Floor, Group, LossCeiling
from climbopt.problem.objectives import Minimax
from climbopt.procedures import joint_form
from climbopt.procedures.optimum import Effort, certify_globally
from climbopt.testing import family_problem

flint = pytest.importorskip("flint", reason="python-flint is not installed (extra rigorous)")
from test_enclosure import exact_objective, solved  # noqa: E402

from climbopt.certification.bounds import balls, cuts, ground, guide, planes, proof  # noqa: E402
from climbopt.certification.bounds.declared import declared, exact, sums  # noqa: E402
from climbopt.certification.bounds.enclosure import exactly_feasible, prove  # noqa: E402
from climbopt.certification.bounds.ground import Curved, Ground  # noqa: E402


def made(interaction, seed=0, m=4, **fields):
    """Return a form, its objective with exact numbers, and a random box with points in it that meet the rows."""
    problem = AllocationProblem(signed_model(interaction, m, scale=2.0, seed=seed), 10e9, **fields)
    form, rng = joint_form(problem), np.random.default_rng(seed)
    points = rng.dirichlet(np.ones(m), 600) @ (0.7 * np.eye(m) + 0.3 / m)
    points = points[np.abs(points - points[0]).max(axis=1) < 0.25]
    mu = np.zeros(form.functions.n_rows)
    return form, declared(relaxable(form), mu), Box(points.min(axis=0), points.max(axis=0)), points


def excess(form, plane, points):
    """Return the largest amount by which a plane is above the objective at points."""
    values = np.array([form.functions.at(x).value for x in points])
    return float(np.nanmax(plane.constant.lower + points @ plane.slopes.lower - values))


def envelope(form, numbers, box, points):
    """Return the plane of envelopes that are taken at arbitrary places."""
    q = np.abs(form.functions.response.z(form.functions.cumulative(points[1])))
    return planes.by_envelopes(numbers, box, points[0], q, points[-1])


def curved(numbers, box, x):
    """Return the convex function of a box that the proof would take."""
    return guide.chosen(Ground(numbers, box, x))


@pytest.mark.parametrize("fields", [{}, {"history": {"s0": 2e9, "s2": 1e9}}], ids=["fresh", "continued"])
@pytest.mark.parametrize("seed", [0, 2])
@pytest.mark.parametrize("interaction", ["saturating", "gated", "linear"])
def test_planes_are_below_wherever_they_are_taken(interaction, seed, fields):
    form, numbers, box, points = made(interaction, seed, **fields)
    with balls.in_balls():
        assert excess(form, envelope(form, numbers, box, points), points) <= 1e-12
        found = curved(numbers, box, points[0])
        assert found is None or found.inverse is None or excess(form, found.plane(points[-1]), points) <= 1e-12


@pytest.mark.parametrize("broken", ["range", "chord", "plane"])
def test_a_broken_envelope_is_above(broken, monkeypatch):
    form, numbers, box, points = made("gated", 1)
    line, ranged, mccormick = planes._line, planes._range, planes._mccormick

    def narrowed(jets):
        found = ranged(jets)
        width = found.upper - found.lower
        return Interval(found.lower + 0.45 * width, found.upper - 0.45 * width)

    def turned(*arguments):
        slope, constant = line(*arguments)
        return -slope, constant

    def swapped(k, *arguments):
        on_g, on_h, constant = mccormick(-k, *arguments)
        return -on_g, -on_h, -constant

    name, function = {"range": ("_range", narrowed), "chord": ("_line", turned), "plane": ("_mccormick", swapped)}[
        broken
    ]
    with balls.in_balls():
        assert excess(form, envelope(form, numbers, box, points), points) <= 1e-12
        monkeypatch.setattr(planes, name, function)
        assert excess(form, envelope(form, numbers, box, points), points) > 1e-6


def test_a_broken_certificate_of_curvature_proves_nothing(monkeypatch):
    form, numbers, box, points = made("gated", 1)
    with balls.in_balls():
        wide = curved(numbers, box, points[0])
        small = Box(points[0] - 0.02, points[0] + 0.02)
        near = curved(numbers, small, points[0])
        assert wide.shift.any() and wide.inverse is not None and near.weights.any() and near.inverse is not None
        assert Curved(wide.ground, wide.weights, np.zeros(4)).inverse is None  # a dropped shift
        assert Curved(wide.ground, wide.weights, -wide.shift).inverse is None
        assert Curved(near.ground, near.weights * (1 + 1e-9), near.shift).inverse is None  # a raised weight
        assert Curved(near.ground, -near.weights, near.shift + 100.0).inverse is None
        assert Curved(wide.ground, near.weights, near.shift).inverse is None  # made for a smaller box
        monkeypatch.setattr(planes, "in_domain", lambda *_: False)
        monkeypatch.setattr("climbopt.certification.bounds.ground.in_domain", lambda *_: False)
        assert Curved(near.ground, near.weights, near.shift).inverse is None
        assert envelope(form, numbers, box, points) is None


def test_curvature_is_at_least_what_is_claimed():
    for interaction in ("gated", "saturating"):
        _, numbers, box, points = made(interaction, 2)
        response, weights = numbers.problem.response, np.full((4, 1), 0.7)
        with balls.in_balls():
            ground = Ground(numbers, box, points[0])
            least = ground.least_hessian(weights)
            u = np.asarray(numbers.z_part.lower + ground.law[1].lower)[:, 0]
        off = np.eye(4)[:, 1:] - np.eye(4)[:, :1]  # directions that sum to 0
        for x in points[:60]:
            z, jacobian = response.z_and_jacobian(x)
            hessian = response.hessian(x, u + 0.7 * (z - ground.point[:, 0])) + 0.7 * jacobian.T @ jacobian
            assert np.linalg.eigvalsh(off.T @ (hessian - least) @ off).min() >= -1e-9


def test_definiteness_is_not_guessed():
    balled = [[flint.arb(one) for one in row] for row in ((2.0, 1.0), (1.0, 1.0))]
    np.testing.assert_allclose(balls.inverse_if_definite(balled), [1.0, 2.0], rtol=1e-12)
    for matrix in (((1.0, 1.0), (1.0, 1.0)), ((1.0, 2.0), (2.0, 1.0)), ((0.0, 0.0), (0.0, 1.0)), ((-1.0,),)):
        assert balls.inverse_if_definite([[flint.arb(one) for one in row] for row in matrix]) is None


def test_functions_are_bounded_by_balls():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(scale=20, size=30), [0.0, 1.0, 800.0, -800.0]])
    with balls.in_balls():
        for function, ball in ((np.exp, flint.arb.exp), (np.tanh, flint.arb.tanh)):
            box = function(exact(x))
            assert (box.lower <= box.upper).all()
            for low, at, high in zip(box.lower, x, box.upper, strict=True):
                assert flint.arb(low) <= ball(flint.arb(at)) or low == 0.0
                assert ball(flint.arb(at)) <= flint.arb(high)
        power = exact(np.abs(x)) ** exact(np.full(x.size, -0.3))
        assert power.upper[30] == math.inf and power.lower[31] <= 1.0 <= power.upper[31]
        assert np.log(Interval.of(0.0, 2.0)).lower == -math.inf
    plain = np.exp(exact(x))
    with balls.in_balls():
        assert (np.exp(exact(x)).lower >= plain.lower).all() and (np.exp(exact(x)).upper <= plain.upper).all()


def test_numbers_of_templates_are_enclosed():
    r = load_problem("libreoffice6").model.templates.own.variables[0]
    template = Template(r / 3 + 0.25, (r,), ())
    with balls.in_balls():
        value, slope = balls.exactly((template.expression, template.first[0]), (r,))(exact(np.array(1.0)))
    assert float(slope.lower) < float(slope.upper)  # a third is no float
    assert Fraction(float(slope.lower)) < Fraction(1, 3) < Fraction(float(slope.upper))
    assert Fraction(float(value.lower)) < Fraction(7, 12) < Fraction(float(value.upper))


def test_sums_over_a_box_with_a_known_total():
    rng = np.random.default_rng(3)
    rows, points = rng.normal(size=(5, 4)), rng.dirichlet(np.ones(4), 500)
    box = exact(rows), Interval(points.min(axis=0), points.max(axis=0)), exact(np.array(1.0))
    found = sums(*box)
    every = points @ rows.T
    assert (found.lower[:, 0] <= every.min(axis=0)).all() and (every.max(axis=0) <= found.upper[:, 0]).all()
    free = sums(*box[:2], None)
    assert (found.upper - found.lower < free.upper - free.lower).all()


def test_cuts_keep_what_they_must():
    rng = np.random.default_rng(5)
    box, slopes = Box(np.zeros(3), np.ones(3)), exact(rng.normal(size=3))
    points = rng.random((500, 3))
    for limit in np.linspace(-1.0, 1.0, 9):
        kept, left = points[points @ slopes.lower <= limit], cuts.cut(box, slopes, exact(np.array(limit)))
        assert left is not None or not len(kept)
        assert left is None or ((kept >= left.lower) & (kept <= left.upper)).all()
    form = joint_form(load_problem("libreoffice6"))
    above = Box(np.full(6, 0.17), np.full(6, 0.3))
    assert cuts.by_rows(above, form.polytope) is None  # six of them sum to more than 1
    within = cuts.by_rows(Box(np.full(6, 0.1), np.full(6, np.inf)), form.polytope)
    assert (within.upper >= 0.5).all() and (within.upper <= 0.5 + 1e-12).all()


@pytest.mark.parametrize("interaction, seed", [("gated", 5), ("gated", 6), ("saturating", 3)])
def test_no_mixture_of_a_grid_is_below_a_proved_bound(interaction, seed):
    problem = family_problem(3, interaction=interaction, negative=0.4, seed=seed)
    problem = replace(problem, constraints=(Floor({problem.model.sources[0]: 0.1}),))
    result = certify_globally(solve(problem), Effort(gap=1e-4, rigor="ball"))
    certificate, grid = result.certificate, simplex_grid(3, 100)
    assert result.passed and certificate.verdict is Verdict.GLOBAL and certificate.bound.search.rigor == "ball"
    best = np.nanmin(problem.value(grid[grid[:, 0] >= 0.1]))
    assert certificate.lower_bound <= best and certificate.upper_bound <= best + 1e-12


def test_the_bound_is_below_exactly_evaluated_objectives():
    problem = AllocationProblem(signed_model("gated", 3, scale=2.0), 10e9)
    result = certify_globally(solve(problem), Effort(gap=1e-4, rigor="ball"))
    assert "planes below the objective" in result.certificate.bound.rests_on
    form, rng = joint_form(problem), np.random.default_rng(1)
    best = form.complete(np.array(list(result.ratios.values())))
    for x in (best, *rng.dirichlet(np.ones(3), 4)):
        assert result.certificate.lower_bound <= exact_objective(problem, prove(form, x).point)


def test_more_than_is_true_is_not_proved():
    form, x = solved(AllocationProblem(signed_model("gated", 3, scale=2.0), 10e9))
    best, mu = form.functions.at(x).value, np.zeros(form.functions.n_rows)
    shown = proof.prove_below(form, mu, x, best + 1e-3, deadline=time.perf_counter() + 0.5)
    assert shown.lower <= best and shown.stopped != "target"


def test_it_can_be_stopped_at_any_time():
    form, x = solved(AllocationProblem(signed_model("gated", 4, scale=2.0, seed=1), 10e9))
    best, mu, seen = form.functions.at(x).value, np.zeros(form.functions.n_rows), []

    def stop(lower, boxes, waiting):
        seen.append(lower)
        if len(seen) == 3:
            raise KeyboardInterrupt

    shown = proof.prove_below(form, mu, x, best * (1 - 1e-6), deadline=np.inf, told=stop)
    assert shown.stopped == "interrupted" or len(seen) < 3
    assert seen == sorted(seen) and shown.lower == seen[-1] <= best
    nothing = proof.prove_below(form, mu, x, best, deadline=-np.inf)
    assert nothing.lower == -np.inf and nothing.stopped == "time"


def test_an_interruption_while_boxes_are_filed_loses_none(monkeypatch):
    form, x = solved(AllocationProblem(signed_model("gated", 4, scale=2.0, seed=1), 10e9))
    best, mu, asked = form.functions.at(x).value, np.zeros(form.functions.n_rows), []

    def interrupted(node):
        asked.append(node)
        if len(asked) > 2:
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(proof.Node, "can_be_cut", property(interrupted))
    shown = proof.prove_below(form, mu, x, best + 1e-3, deadline=np.inf)  # no proof of that exists
    assert shown.stopped == "interrupted" and shown.lower <= best


def test_planes_prove_what_multipliers_of_a_convex_problem_do_not():
    uniform = {f"s{j}": 0.25 for j in range(4)}  # one mixture alone keeps all losses there: multipliers are not unique
    problem = AllocationProblem(random_model("linear"), 10e9, constraints=(LossCeiling(excess=0.0, reference=uniform),))
    result = certify_globally(solve(problem), Effort(rigor="ball"))
    assert result.certificate.passed and "planes below" in result.certificate.bound.rests_on
    assert result.certificate.lower_bound <= joint_form(problem).functions.at(np.full(4, 0.25)).value


@pytest.mark.parametrize("low", [-math.inf, 0.0])
def test_a_hessian_without_bounds_is_none(low):
    _, numbers, box, points = made("gated")
    with balls.in_balls():
        ground = Ground(numbers, box, points[0])
        ground.__dict__["law"] = (exact(np.zeros((4, 1))), Interval.of(np.full((4, 1), low), math.inf))
        assert ground.least_hessian(np.zeros((4, 1))) is None


def test_decimal_numbers_of_a_template_are_not_rounded_by_derivatives():
    decimal = Template(0.7 * r_j**2.3, (r_j,), ())
    assert decimal.first[0].coeff(r_j**1.3) != sp.Rational(0.7) * sp.Rational(2.3)  # SymPy rounds it
    assert decimal.exact.first[0].subs(r_j, 1) == sp.Rational(0.7) * sp.Rational(2.3)
    pair = (0.7 + 0.1 * a) * (0.3 * r_j**2.3 - 0.9 * r_j)
    user = replace(USERS["wavy"], pair=pair, parameters=(Parameter(a, "pair"),))
    for term in terms(derive(LAWS["power"], user)):
        assert not (term.coefficient * term.source.expression).atoms(sp.Float)


def test_ratios_that_are_not_best_are_judged_by_their_own_value():
    problem = AllocationProblem(signed_model("gated", 3, scale=2.0), 10e9)
    given = certify_globally(
        certify_ratios(problem, dict.fromkeys(problem.model.sources, 1 / 3)), Effort(gap=1e-3, rigor="ball")
    )
    assert not given.passed and given.certificate.upper_bound == pytest.approx(given.objective, rel=1e-12)
    assert given.better is not None and given.certificate.lower_bound <= solve(problem).objective


def test_nonlinear_rows_through_their_multipliers():
    """A ceiling costs something: half of that is proved, in as many boxes as it takes, however long they take."""
    free = AllocationProblem(signed_model("gated", 3, scale=2.0), 10e9)
    form, x = solved(free)
    ceiling = float(form.functions.at(x).losses[0]) - 0.02
    answer = solve(replace(free, constraints=(LossCeiling({"s0": ceiling}),)))
    held = joint_form(answer.problem)
    best = held.complete(np.array(list(answer.ratios.values())))
    target = 0.5 * (form.functions.at(x).value + answer.objective)
    mu = recover(held, best).nonlinear

    def stop(lower, boxes, waiting):
        if boxes > 200:
            raise KeyboardInterrupt

    shown = proof.prove_below(held, mu, best, target, deadline=np.inf, told=stop)
    assert shown.stopped == "target"
    assert form.functions.at(x).value < target <= shown.lower <= answer.objective


def test_the_least_of_a_plane_on_a_box():
    """0.5 + x - 2 y on [0.25, 0.5]^2 is -0.25 at (0.25, 0.5)."""
    plane = planes.Plane(exact(np.array([1.0, -2.0])), exact(np.array(0.5)))
    least = cuts.least(plane, Box(np.full(2, 0.25), np.full(2, 0.5)))
    assert -0.25 - 1e-12 <= least <= -0.25


def test_squares_of_an_uncertain_jacobian():
    """J = c + e with abs(e) <= t abs(c): along c, the bound is the least that J'J can be, (1 - t)^2 (c'c)^2."""
    t, c = 0.25, np.array([1.0, -1.0])
    radius = t * np.abs(c)
    jacobian = Interval((c - radius)[None, :], (c + radius)[None, :])
    below = ground._of_squares(jacobian, np.ones((1, 1)), np.ones(2))
    exactly = (1 - t) ** 2 * (c @ c) ** 2
    assert c @ below.lower @ c <= exactly + 1e-12
    assert c @ below.upper @ c == pytest.approx(exactly, abs=1e-9)


def test_auxiliaries_are_bounded_by_planes():
    problem = family_problem(3, interaction="gated", negative=0.3, seed=5)
    largest = replace(problem, objective=Minimax(losses=dict.fromkeys(problem.model.targets, 2.0)))
    result, grid = certify_globally(solve(largest), Effort(gap=1e-4, rigor="ball")), simplex_grid(3, 100)
    assert result.passed and result.certificate.bound.search.rigor == "ball"
    assert result.certificate.lower_bound <= np.nanmin(largest.value(grid))
    second = certify_globally(solve(problem, procedure="two_step"), Effort(gap=1e-4, rigor="ball"))
    z = problem.model.at(problem.total_budget).z(grid)
    direction = second.two_step.direction
    assert second.passed and second.certificate.lower_bound <= -np.nanmax((z / direction).min(axis=1))


def test_groups_bound_boxes_too():
    problem = AllocationProblem(
        signed_model("gated", 4, scale=2.0, seed=4), 10e9, constraints=(Group(("s0", "s1"), lower=0.2, upper=0.4),)
    )
    result = certify_globally(solve(problem), Effort(gap=2e-3, rigor="ball"))
    assert result.passed
    grid = simplex_grid(4, 40)
    inside = grid[(grid[:, :2].sum(axis=1) >= 0.2) & (grid[:, :2].sum(axis=1) <= 0.4)]
    assert result.certificate.lower_bound <= np.nanmin(problem.value(inside))
    assert exactly_feasible(joint_form(problem).polytope, np.array(list(result.ratios.values()))) is not None


@pytest.mark.slow
def test_libreoffice6():
    result = certify_globally(solve(load_problem("libreoffice6")), Effort(rigor="ball", time_limit=300.0))
    certificate = result.certificate
    assert result.passed and certificate.verdict is Verdict.GLOBAL and certificate.relative_gap <= 1e-6
    assert certificate.lower_bound <= result.objective <= certificate.upper_bound + 1e-12
