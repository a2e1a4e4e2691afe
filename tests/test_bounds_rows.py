"""Global bounds with nonlinear rows: loss ceilings, the second step of two_step, minimax; and what breaks them."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bounds import grid_minimum
from test_relaxation import points, signed_model, value

from climbopt import load_problem
from climbopt.backends import BACKENDS, Options, load
from climbopt.certification.bounds import Box, NoRelaxationError, enclose, oracle, rows
from climbopt.certification.bounds.branch_and_bound import RESTS_ON_ROWS
from climbopt.certification.bounds.envelopes import envelopes
from climbopt.certification.bounds.incumbents import Incumbent, judged, multistart
from climbopt.certification.bounds.lagrangian import lagrangian
from climbopt.certification.bounds.node import BoxExamination, Node
from climbopt.certification.bounds.oracle import boxed
from climbopt.certification.bounds.relaxable import relaxable
from climbopt.certification.bounds.rows import Relaxed, root_box
from climbopt.certification.bounds.tighten import by_programs, by_rows
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Custom, LossCeiling
from climbopt.problem.objectives import Minimax
from climbopt.procedures import joint_form
from climbopt.procedures.direction import equal_benefit_direction
from climbopt.procedures.two_step import magnitude_form
from climbopt.testing import family_problem

KINDS = ("ceiling", "second step", "minimax")


def second_step(problem):
    """Return step 2 of a problem."""
    return magnitude_form(problem, equal_benefit_direction(problem, 1.0))


def under_a_ceiling(problem, share=0.3):
    """Return the joint problem whose worst loss must fall by a share of what 30 % more of its language gives."""
    free = joint_form(problem)
    best = multistart(free, lambda: False).x
    losses = free.functions.at(best).losses
    worst = int(np.argmax(losses))
    moved = 0.7 * best[: free.n_ratios]
    moved[problem.model.own_source[worst]] += 0.3
    most = losses[worst] - free.functions.at(free.complete(moved)).losses[worst]
    ceiling = LossCeiling({problem.model.targets[worst]: float(losses[worst] - share * most)})
    return joint_form(replace(problem, constraints=(*problem.constraints, ceiling)))


def form_of(kind, model):
    """Return a problem with nonlinear rows of one of the kinds."""
    problem = AllocationProblem(model, 10e9)
    if kind == "minimax":
        return joint_form(replace(problem, objective=Minimax()))
    return second_step(problem) if kind == "second step" else under_a_ceiling(problem)


def check_contains_the_grid(form, found):
    """Assert that the enclosure's upper end is reached and no point of a fine grid lies below its lower one."""
    assert found.lower <= found.upper
    assert judged(form, found.x).value == pytest.approx(found.upper, rel=1e-14)
    assert found.lower <= grid_minimum(form) + 1e-12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["linear", "saturating", "gated", "both_curved"])
def test_no_feasible_mixture_of_a_grid_is_below_the_bound(kind, name):
    for seed in range(2):
        form = form_of(kind, signed_model(name, 3, seed=seed, scale=1.5))
        found = enclose(form, time_limit=20.0)
        assert found.rests_on == RESTS_ON_ROWS
        assert found.stopped == "gap" and found.relative_gap <= 1e-6
        check_contains_the_grid(form, found)


@settings(max_examples=15)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(("linear", "saturating", "gated", "wavy")),
    st.integers(2, 4),
    st.integers(0, 10**6),
    st.floats(0.1, 2.0),
)
def test_no_random_problem_with_rows_has_a_point_below_its_bound(kind, name, sources, seed, scale):
    form = form_of(kind, signed_model(name, sources, seed=seed, scale=scale))
    found = enclose(form, gap=1e-5, time_limit=3.0)
    check_contains_the_grid(form, found)


@pytest.mark.parametrize("kind", ["ceiling", "minimax"])
def test_a_box_of_one_point_is_bounded_by_its_value(kind):
    form = form_of(kind, signed_model("gated", 3))
    problem, best = relaxable(form), multistart(form, lambda: False)
    node = Node(Box(best.x, best.x), best.x, -np.inf, np.zeros(form.functions.n_rows))
    left = BoxExamination(problem, best.with_multipliers(form), 1e-9, np.inf).run(node, 1)
    assert left is None or left.lower <= best.value


@pytest.mark.parametrize("m", [6, 10])
def test_the_second_step_of_gated_families_is_closed(m):
    found = enclose(second_step(family_problem(m, interaction="gated", negative=0.3)), time_limit=60.0)
    assert found.stopped == "gap" and found.relative_gap <= 1e-6


def test_the_second_step_of_the_shipped_problem_is_closed_and_random_mixtures_are_not_below():
    form = second_step(load_problem("libreoffice6"))
    found = enclose(form, time_limit=60.0)
    assert found.relative_gap <= 1e-6
    box = Box(form.polytope.bounds.lower, np.minimum(form.polytope.bounds.upper, 1.0))
    for x in points(form, box, np.random.default_rng(0), 300):
        assert form.functions.at(form.complete(x[: form.n_ratios])).value >= found.lower


def test_an_active_ceiling_on_gated_families_is_closed():
    form = under_a_ceiling(family_problem(6, interaction="gated", negative=0.3))
    found = enclose(form, time_limit=60.0)
    assert found.relative_gap <= 1e-6
    assert found.multipliers[0] > 0
    assert all(leaf.multipliers.shape == (1,) for leaf in found.leaves)


def feasible_points(form, count):
    """Return random mixtures that meet all rows, their auxiliaries at their best."""
    box = Box(form.polytope.bounds.lower, np.minimum(form.polytope.bounds.upper, 1.0))
    found = []
    for x in points(form, box, np.random.default_rng(0), count):
        x = form.complete(x[: form.n_ratios])
        at = form.functions.at(x)
        if (at.rows >= form.nonlinear.lower - 1e-12).all() and (at.rows <= form.nonlinear.upper + 1e-12).all():
            found.append(x)
    return found


def rows_of_all_kinds():
    """Return a form with rows that are relaxed from one side or neither, and points that meet them."""
    constraints = (
        LossCeiling({"s0": 3.2}),
        Custom("z[s1] <= 1.2", name="most"),
        Custom("L[s2] >= 1", name="least"),
        Custom("z[s1] >= 0.1", name="some"),
        Custom("L[s2] + r[s0] <= 4", name="both"),
        Custom("L[s1]**2 <= 20", name="curved"),
        Custom("L[s0] - L[s1] <= 1", name="difference"),
    )
    form = joint_form(AllocationProblem(signed_model("gated", 4, seed=4), 10e9, constraints=constraints))
    return form, feasible_points(form, 300)


def check_nowhere_above(made, form, cloud):
    """Assert that a Lagrangian is not above the objective at feasible points."""
    assert len(cloud) > 20
    for x in cloud:
        assert value(made, x) <= form.functions.at(x).value + 1e-12


def test_a_lagrangian_is_below_the_objective_for_any_multipliers_and_one_of_wrong_signs_is_caught():
    form, cloud = rows_of_all_kinds()
    problem, rng = relaxable(form), np.random.default_rng(0)
    for _ in range(30):
        check_nowhere_above(lagrangian(problem, rng.normal(size=form.functions.n_rows)), form, cloud)
    mu = np.eye(form.functions.n_rows)[0]
    right = lagrangian(problem, mu)
    plain = lagrangian(problem, 0 * mu)
    wrong = replace(
        plain,
        **{
            name: 2 * getattr(plain, name) - getattr(right, name)
            for name in ("x_part", "z_part", "loss_part", "constant")
        },
    )
    with pytest.raises(AssertionError):
        check_nowhere_above(wrong, form, cloud)
    assert not lagrangian(problem, -mu).multipliers.any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_raised_bound_is_caught(monkeypatch, kind):
    form = form_of(kind, signed_model("gated", 3, seed=1, scale=1.5))
    best = enclose(form)
    box = Box(best.x - 1e-5, best.x + 1e-5)

    def bound():
        node = Node(by_rows(box, form.polytope), best.x, -np.inf, best.multipliers)
        unknown = Incumbent(best.x, np.inf, best.multipliers)
        return BoxExamination(relaxable(form), unknown, 0.0, time.perf_counter() + 20).run(node, 0).lower

    assert best.upper - 1e-4 <= bound() <= best.upper
    exact = oracle.linear_bound
    monkeypatch.setattr(oracle, "linear_bound", lambda *given_: raised(exact(*given_)))
    with pytest.raises(AssertionError):
        assert best.upper - 1e-4 <= bound() <= best.upper


def raised(minimum):
    """Return a minimum that claims too much."""
    return replace(minimum, lower=minimum.lower + 1e-3)


def check_cuts_keep_better_points(form, cloud):
    """Assert that no feasible point better than most is lost by cuts."""
    problem = relaxable(form)
    values = np.array([form.functions.at(x).value for x in cloud])
    upper = float(np.quantile(values, 0.1))
    better = [x for x, v in zip(cloud, values, strict=True) if v <= upper]
    root = root_box(problem, better[0], upper)
    relaxed = Relaxed(problem, envelopes(problem, root, better[0]).separable)
    inside = boxed(form.polytope, root.lower, root.upper)
    for x in (better[0], relaxed.solution(inside, better[0])[0]):
        cut = relaxed.cut(inside, x, upper)
        box = by_programs(by_rows(root, cut), cut, form.n_ratios)
        for y in better:
            assert (y >= box.lower - 1e-9).all() and (y <= box.upper + 1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_cuts_keep_every_better_point_and_cuts_too_deep_are_caught(monkeypatch, kind):
    form = form_of(kind, signed_model("gated", 3, seed=1, scale=1.5))
    cloud = feasible_points(form, 400)
    check_cuts_keep_better_points(form, cloud)
    monkeypatch.setattr(rows, "WIDER", -0.03)
    with pytest.raises((AssertionError, AttributeError)):  # a box that is found to be empty has no bounds
        check_cuts_keep_better_points(form, cloud)


def test_rows_of_all_kinds_are_bounded_soundly():
    form, cloud = rows_of_all_kinds()
    found = enclose(form, gap=1e-4, time_limit=3.0)
    assert found.lower <= min(form.functions.at(x).value for x in cloud)
    check_contains_the_grid(form, found)


def test_an_auxiliary_is_bounded_by_the_best_known_and_without_one_that_is_said():
    model = signed_model("gated", 3, seed=1)
    form = form_of("second step", model)
    t = multistart(form, lambda: False).x[-1]
    box = root_box(relaxable(form), form.start, -0.9 * t)
    assert 0.9 * t - 1e-6 <= box.lower[-1] <= 0.9 * t
    assert t <= box.upper[-1] <= 5 * t
    hopeless = AllocationProblem(model, 10e9, constraints=(LossCeiling({"s0": 1e-3}),), objective=Minimax())
    with pytest.raises(NoRelaxationError, match="nothing bounds the auxiliary 't'"):
        enclose(joint_form(hopeless))


@pytest.mark.skipif(BACKENDS["scip"].missing is not None, reason="no backend scip here")
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_overlap_with_those_of_scip(kind):
    form = form_of(kind, signed_model("gated", 3, seed=2))
    ours, theirs = enclose(form), load("scip").solve(form, Options(time_limit=20.0))
    assert theirs.x is not None
    assert ours.lower <= judged(form, theirs.x).value + 1e-7 and theirs.bound <= ours.upper + 1e-7
    assert ours.upper <= judged(form, theirs.x).value + 1e-5
