"""Global enclosures: they hold what a grid and many local solves find, and stop as they are told."""

import time
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from conftest import PROBLEMS, random_model
from hypothesis import given, settings
from hypothesis import strategies as st
from test_relaxation import FORMS, SETTINGS, points, signed_model, the_problem, value

from climbopt import load_problem
from climbopt.backends import BACKENDS, Options, choose, load
from climbopt.certification.bounds import Box, Enclosure, NoRelaxationError, branch_and_bound, enclose
from climbopt.certification.bounds.branch_and_bound import RESTS_ON, RESTS_ON_ROWS
from climbopt.certification.bounds.incumbents import Incumbent, balanced_or_signed, judged, multistart
from climbopt.certification.bounds.lagrangian import lagrangian
from climbopt.certification.bounds.node import BoxExamination, Node
from climbopt.certification.bounds.relaxable import relaxable
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Custom, LossCeiling
from climbopt.problem.objectives import CustomObjective, Minimax
from climbopt.procedures import joint_form
from climbopt.testing import family_problem

GRID = {1: 1, 2: 400, 3: 40, 4: 16}
"""Steps of a grid on the simplex, by the number of sources."""


def grid_minimum(form):
    """Return the least objective on a grid of the simplex, of what is feasible."""
    n, steps = form.n_ratios, GRID[form.n_ratios]
    best = np.inf
    for first in product(range(steps + 1), repeat=n - 1):
        if sum(first) <= steps:
            ratios = np.array([*first, steps - sum(first)]) / steps
            x = form.complete(ratios)
            if form.polytope.violation(x) <= 1e-9:
                at = form.functions.at(x)
                held = (at.rows >= form.nonlinear.lower - 1e-12).all() and (
                    at.rows <= form.nonlinear.upper + 1e-12
                ).all()
                if np.isfinite(at.value) and held:
                    best = min(best, at.value)
    return best


def local_minimum(form, starts):
    """Return the least objective of local solves by newton from random starts."""
    rng, backend, best = np.random.default_rng(1), choose(form), np.inf
    box = Box(form.polytope.bounds.lower, np.minimum(form.polytope.bounds.upper, 1.0))
    for start in points(form, box, rng, starts):
        solution = backend.solve(form.from_start(start), Options())
        if solution.x is not None and form.polytope.violation(solution.x) <= 1e-9:
            found = form.functions.at(solution.x)
            if (found.rows >= form.nonlinear.lower - 1e-9).all():
                best = min(best, found.value)
    return best


def check_holds(form, found: Enclosure, starts):
    """Assert that nothing better than the lower bound is found, and that the point is what it says."""
    rounding = 1e-13 * abs(found.upper)
    assert found.lower <= found.upper
    assert form.polytope.violation(found.x) <= 1e-9
    assert form.functions.at(found.x).value == pytest.approx(found.upper, rel=1e-14)
    assert found.lower <= grid_minimum(form) + rounding
    assert found.lower <= local_minimum(form, starts) + rounding


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("setting", ["plain", "group", "history"])
def test_nothing_is_found_below_the_bound(form, setting):
    for seed in range(2):
        made = joint_form(the_problem(form, setting, seed, 3))
        found = enclose(made, gap=1e-6, time_limit=20.0)
        assert found.stopped == "gap"
        assert found.relative_gap <= 1e-6
        check_holds(made, found, 200 if seed == 0 else 20)


@settings(max_examples=15)
@given(
    st.sampled_from(("linear", "saturating", "gated", "both_curved", "wavy")),
    st.integers(2, 4),
    st.integers(0, 10**6),
    st.floats(0.1, 2.0),
    st.sampled_from([*SETTINGS]),
)
def test_no_random_problem_has_a_point_below_its_bound(form, sources, seed, scale, setting):
    made = joint_form(the_problem(form, setting, seed, sources, scale))
    found = enclose(made, gap=1e-5, time_limit=3.0)
    if found.x is not None:
        check_holds(made, found, 10)


def test_a_model_whose_z_may_vanish():
    model = signed_model("gated", 3, seed=2)
    model = replace(model, parameters={**model.parameters, "b": np.where(np.eye(3) > 0, 0.0, -2.0)})
    made = joint_form(AllocationProblem(model, 10e9))
    assert any(label.domain for label in made.nonlinear.labels)
    found = enclose(made, gap=1e-5, time_limit=20.0)
    check_holds(made, found, 20)
    assert found.relative_gap <= 1e-5


def test_zero_shot_targets():
    made = joint_form(the_problem("gated", "zero_shot", 0, 3))
    found = enclose(made, time_limit=20.0)
    check_holds(made, found, 20)
    assert found.relative_gap <= 1e-6


@pytest.mark.parametrize("m", [10, 32])
def test_signed_families_are_closed(m):
    found = enclose(joint_form(family_problem(m, negative=0.3)), time_limit=60.0)
    assert found.relative_gap <= 1e-6
    assert found.stopped == "gap"
    assert found.rests_on == RESTS_ON


def test_the_shipped_gated_problem_is_closed_and_its_proof_covers_random_mixtures():
    made = joint_form(load_problem("libreoffice6"))
    found = enclose(made, time_limit=60.0)
    assert found.relative_gap <= 1e-6
    box = Box(made.polytope.bounds.lower, np.minimum(made.polytope.bounds.upper, 1.0))
    for x in points(made, box, np.random.default_rng(0), 300):
        assert made.functions.at(x).value >= found.lower


def test_no_gap_below_rounding_is_claimed():
    found = enclose(joint_form(family_problem(4)))
    assert 0 < found.gap <= 1e-10


def test_convex_nonlinear_rows_by_their_multipliers():
    free = joint_form(AllocationProblem(random_model("saturating", sources=3, seed=1), 10e9))
    best = choose(free).solve(free, Options()).x
    ceiling = float(free.functions.at(best).losses[0]) - 0.02
    made = joint_form(
        AllocationProblem(
            random_model("saturating", sources=3, seed=1), 10e9, constraints=(LossCeiling({"s0": ceiling}),)
        )
    )
    found = enclose(made, gap=1e-5, time_limit=20.0)
    assert found.rests_on == RESTS_ON_ROWS
    assert found.multipliers[0] > 0
    assert found.lower > free.functions.at(best).value  # more than what holds without the row
    assert found.relative_gap <= 1e-5
    assert found.lower <= grid_minimum(made)


def test_rows_that_are_not_convex_are_bounded_soundly():
    model = signed_model("gated", 3, seed=6)
    made = joint_form(
        AllocationProblem(model, 10e9, constraints=(Custom("z[s1] >= 0.45"), Custom("L[s2] <= 3.2", name="other")))
    )
    found = enclose(made, gap=1e-4, time_limit=2.0)
    assert found.lower <= grid_minimum(made) + 1e-12


def test_minimax_is_bounded_through_its_auxiliary():
    problem = AllocationProblem(signed_model("gated", 3, seed=1), 10e9, objective=Minimax())
    made = joint_form(problem)
    found = enclose(made, gap=1e-4, time_limit=10.0)
    mu = balanced_or_signed(made, found.x, found.multipliers)
    assert mu[:3].sum() == pytest.approx(1.0)
    assert found.lower <= grid_minimum(made) + 1e-12
    assert np.isfinite(found.lower)


def test_a_given_incumbent_counts_and_a_worse_one_does_not_harm():
    made = joint_form(the_problem("gated", "plain", 1, 3))
    plain = enclose(made)
    for x in (plain.x, np.array([0.2, 0.3, 0.5]), np.array([5.0, 5.0, 5.0])):
        found = enclose(made, incumbent=x)
        assert found.upper <= plain.upper + 1e-9
        assert found.lower <= plain.upper


def test_points_that_are_not_feasible_have_no_value():
    made = joint_form(AllocationProblem(signed_model("linear", 3), 10e9, constraints=(LossCeiling({"s0": 1e-3}),)))
    assert judged(made, made.start).x is None
    assert multistart(made, lambda: False).value == np.inf


def test_without_any_feasible_point_the_upper_bound_is_infinite():
    made = joint_form(AllocationProblem(signed_model("linear", 2), 10e9, constraints=(LossCeiling({"s0": 1e-3}),)))
    found = enclose(made, time_limit=1.0)
    assert found.x is None
    assert found.upper == np.inf
    assert found.relative_gap is None


def test_an_interrupted_local_solve_loses_no_box(monkeypatch):
    made, calls = joint_form(replace(load_problem("libreoffice6"), constraints=())), []

    def interrupted(search, x):
        calls.append(x)
        if len(calls) > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(branch_and_bound._BoxSearch, "_offer", interrupted)
    found = enclose(made, gap=1e-9)
    assert found.stopped == "interrupted" and found.nodes == 2
    assert found.lower < found.upper * (1 - 1e-6)  # the boxes that were not filed yet are open


def test_time_limit_and_interruption_keep_the_bound():
    problem = load_problem("libreoffice6")
    made = joint_form(replace(problem, constraints=()))
    seen = []

    def interrupt(progress):
        seen.append(progress)
        if progress.nodes >= 5:
            raise KeyboardInterrupt

    found = enclose(made, gap=1e-9, progress=interrupt)
    assert found.stopped == "interrupted"
    assert -np.inf < found.lower <= seen[-1].upper
    assert [one.lower for one in seen] == sorted(one.lower for one in seen)
    short = enclose(made, gap=1e-9, time_limit=0.3)
    assert short.stopped == "time"
    assert short.lower <= found.upper


def test_workers_reach_the_same_enclosure():
    made = joint_form(the_problem("gated", "plain", 8, 4, 2.0))
    alone, together = enclose(made), enclose(made, jobs=2)
    assert together.upper == pytest.approx(alone.upper, abs=1e-9)
    assert together.relative_gap <= 1e-6


def test_a_node_with_the_optimum_is_never_lost():
    made = joint_form(the_problem("gated", "plain", 3, 4, 2.0))
    best = enclose(made)
    problem, none = relaxable(made), np.zeros(made.functions.n_rows)
    rng = np.random.default_rng(0)
    for _ in range(30):
        box = Box(np.maximum(best.x - rng.uniform(0, 0.4, 4), 0.0), np.minimum(best.x + rng.uniform(0, 0.4, 4), 1.0))
        node = Node(box, best.x, -np.inf, none)
        worse = Incumbent(best.x, best.upper + 1e-3, none)  # as if only a worse value were known
        left = BoxExamination(problem, worse, 0.0, time.perf_counter() + 20).run(node, 2)
        assert left is not None
        assert (best.x >= left.box.lower - 1e-9).all() and (best.x <= left.box.upper + 1e-9).all()
        assert left.lower <= best.upper


def test_children_cover_their_parent():
    node = Node(
        Box(np.zeros(3), np.array([0.5, 1.0, 0.2])),
        np.array([0.1, 0.9, 0.0]),
        0.0,
        np.zeros(0),
        np.array([1.0, 3.0, 2.0]),
    )
    left, right = node.children()
    np.testing.assert_array_equal(left.box.lower, node.box.lower)
    np.testing.assert_array_equal(right.box.upper, node.box.upper)
    assert left.box.upper[1] == right.box.lower[1] == pytest.approx(0.65)


def test_a_bound_that_is_too_high_is_caught(monkeypatch):
    from climbopt.certification.bounds import oracle

    exact = oracle.linear_bound

    def higher(*arguments):
        found = exact(*arguments)
        return replace(found, lower=found.lower + 1e-3)

    monkeypatch.setattr(oracle, "linear_bound", higher)
    made = joint_form(the_problem("gated", "plain", 0, 3, 2.0))
    form = lagrangian(made, np.zeros(made.functions.n_rows))
    best = choose(made).solve(made, Options()).x
    box = Box(np.maximum(best - 1e-4, 0.0), best + 1e-4)
    node = Node(box, best, -np.inf, np.zeros(made.functions.n_rows))
    left = BoxExamination(relaxable(made), Incumbent(), 0.0, time.perf_counter() + 20).run(node, 0)
    assert left.lower > value(form, best)


def test_what_is_not_relaxed_says_why():
    problem = AllocationProblem(signed_model("linear", 2), 1e9, objective=CustomObjective("L[s0]**2 + L[s1]"))
    with pytest.raises(NoRelaxationError, match="use backend scip"):
        enclose(joint_form(problem))


def test_one_source_has_nothing_to_bound():
    found = enclose(joint_form(load_problem(PROBLEMS / "one_source.toml")))
    assert found.relative_gap <= 1e-9


@pytest.mark.skipif(BACKENDS["scip"].missing is not None, reason="no backend scip here")
@pytest.mark.parametrize("form", ["saturating", "gated"])
def test_bounds_overlap_with_those_of_scip(form):
    made = joint_form(the_problem(form, "plain", 2, 3))
    ours = enclose(made)
    theirs = load("scip").solve(made, Options(time_limit=20.0))
    assert theirs.x is not None
    assert ours.lower <= judged(made, theirs.x).value
