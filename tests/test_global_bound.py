"""Global enclosures: they hold what a grid and many local solves find, and stop as they are told."""

from dataclasses import replace
from itertools import count, product

import numpy as np
import pytest
from conftest import PROBLEMS, random_model
from random_problems import FORMS, points, repeated, signed_model, the_problem

from climbopt import load_problem, solve
from climbopt.backends import BACKENDS, Options, choose, load
from climbopt.certification.global_bound import Box, Enclosure, NoBoundError, boxes, enclose, search
from climbopt.certification.global_bound.incumbents import judged, multistart
from climbopt.certification.proof.decomposition import Decomposition
from climbopt.model.ensemble import Ensemble
from climbopt.model.uses import USES
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Custom, LossCeiling, StayNear
from climbopt.problem.objectives import CustomObjective, Minimax, WeightedPowerMean
from climbopt.procedures import joint_form, optimum
from climbopt.procedures.direction import equal_benefit_direction
from climbopt.procedures.two_step import magnitude_form
from climbopt.testing import family_problem

GRID = {1: 1, 2: 200, 3: 24, 4: 10}
"""Steps of a grid on the simplex, by the number of sources."""
KINDS = ("ceiling", "second step", "minimax", "power mean")


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


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=[] if form in ("gated", "rising") else pytest.mark.slow) for form in FORMS]
)
def test_nothing_is_found_below_the_bound(form):
    seed = FORMS.index(form)
    made = joint_form(the_problem(form, ("plain", "group", "history")[seed % 3], seed, 3))
    found = enclose(made, gap=1e-6, time_limit=np.inf)
    assert found.stopped == "gap"
    assert found.relative_gap <= 1e-6
    check_holds(made, found, 5)


def test_a_model_whose_z_may_vanish():
    model = signed_model("gated", 3, seed=2)
    model = replace(model, parameters={**model.parameters, "b": np.where(np.eye(3) > 0, 0.0, -2.0)})
    made = joint_form(AllocationProblem(model, 10e9))
    assert any(label.domain for label in made.nonlinear.labels)
    found = enclose(made, gap=1e-5, time_limit=np.inf)
    check_holds(made, found, 5)
    assert found.relative_gap <= 1e-5


@pytest.mark.parametrize("form", ["saturating", "gated"])
def test_repeated_data(form):
    made = joint_form(AllocationProblem(repeated(signed_model(form, 3, seed=4), 0), 10e9))
    found = enclose(made, time_limit=np.inf)
    check_holds(made, found, 5)
    assert found.relative_gap <= 1e-6


def test_an_ensemble_of_several_forms_with_draws():
    def member(seed):
        one, other = signed_model("linear", 3, seed=seed), repeated(signed_model("gated", 3, seed=seed), seed)
        return Ensemble(
            (one, other, replace(other, use=USES["hurting"], parameters={**other.parameters, "H": np.full(3, 9.0)}))
        )

    made = joint_form(AllocationProblem(member(0).with_draws([member(2), member(4)]), 10e9))
    found = enclose(made, gap=1e-5, time_limit=np.inf)
    check_holds(made, found, 5)
    assert found.relative_gap <= 1e-5


def test_the_shipped_ensemble_on_repeated_data_is_closed():
    """Diluted uses, powers of others' data, three forms: parts bend most next to 0, where nodes are dense."""
    made = joint_form(load_problem("scarce6"))
    found = enclose(made, gap=6e-3, time_limit=np.inf)
    assert found.relative_gap <= 6e-3 and found.nodes == 1
    assert found.lower <= local_minimum(made, 3)
    box = Box(made.polytope.bounds.lower, np.minimum(made.polytope.bounds.upper, 1.0))
    for x in points(made, box, np.random.default_rng(0), 200):
        assert made.functions.at(x).value >= found.lower


def test_zero_shot_targets():
    made = joint_form(the_problem("gated", "zero_shot", 0, 3))
    found = enclose(made, time_limit=np.inf)
    check_holds(made, found, 5)
    assert found.relative_gap <= 1e-6


@pytest.mark.parametrize("m", [10, pytest.param(32, marks=pytest.mark.slow)])
def test_signed_families_are_closed(m):
    found = enclose(joint_form(family_problem(m, negative=0.3)), time_limit=np.inf)
    assert found.relative_gap <= 1e-6
    assert found.stopped == "gap"


def test_the_shipped_gated_problem_is_closed_and_its_proof_covers_random_mixtures():
    made = joint_form(load_problem("libreoffice6"))
    found = enclose(made, time_limit=np.inf)
    assert found.relative_gap <= 1e-6
    box = Box(made.polytope.bounds.lower, np.minimum(made.polytope.bounds.upper, 1.0))
    for x in points(made, box, np.random.default_rng(0), 300):
        assert made.functions.at(x).value >= found.lower


def test_no_gap_below_rounding_is_claimed():
    found = enclose(joint_form(family_problem(4)))
    assert 0 < found.relative_gap <= 1e-6


def test_convex_nonlinear_rows_by_their_multipliers():
    free = joint_form(AllocationProblem(random_model("saturating", sources=3, seed=1), 10e9))
    best = choose(free).solve(free, Options()).x
    ceiling = float(free.functions.at(best).losses[0]) - 0.02
    made = joint_form(
        AllocationProblem(
            random_model("saturating", sources=3, seed=1), 10e9, constraints=(LossCeiling({"s0": ceiling}),)
        )
    )
    found = enclose(made, gap=1e-5, time_limit=np.inf)
    assert found.multipliers[0] > 0
    assert found.lower > free.functions.at(best).value  # more than what holds without the row
    assert found.relative_gap <= 1e-5
    assert found.lower <= grid_minimum(made)


def test_rows_that_are_not_convex_are_bounded_soundly():
    model = signed_model("gated", 3, seed=6)
    made = joint_form(
        AllocationProblem(model, 10e9, constraints=(Custom("z[s1] >= 0.45"), Custom("L[s2] <= 3.2", name="other")))
    )
    found = enclose(made, gap=1e-4, time_limit=np.inf)
    assert found.lower <= grid_minimum(made) + 1e-12


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
    found = enclose(made, time_limit=np.inf)
    assert found.x is None
    assert found.upper == np.inf
    assert found.relative_gap is None


@pytest.mark.slow
def test_workers_reach_the_same_enclosure():
    made = joint_form(the_problem("gated", "plain", 8, 4, 2.0))
    alone, together = enclose(made), enclose(made, jobs=2)
    assert together.upper == pytest.approx(alone.upper, abs=1e-9)
    assert together.relative_gap <= 1e-6


def test_what_is_not_relaxed_says_why():
    problem = AllocationProblem(signed_model("linear", 2), 1e9, objective=CustomObjective("L[s0]**2 + L[s1]"))
    with pytest.raises(NoBoundError, match="use backend scip"):
        enclose(joint_form(problem))


def test_one_source_has_nothing_to_bound():
    found = enclose(joint_form(load_problem(PROBLEMS / "one_source.toml")))
    assert found.relative_gap <= 1e-9


def test_the_power_mean_of_an_ensemble_is_bounded():
    member = [signed_model(name, 3, seed=seed) for name, seed in (("linear", 0), ("gated", 1))]
    problem = AllocationProblem(Ensemble(tuple(member)), 10e9, objective=WeightedPowerMean(power=2.0))
    found = enclose(joint_form(problem), time_limit=np.inf)
    assert found.relative_gap <= 1e-6
    check_holds(joint_form(problem), found, 3)


@pytest.mark.skipif(BACKENDS["scip"].missing is not None, reason="no backend scip here")
@pytest.mark.slow
@pytest.mark.parametrize("form", ["saturating", "gated"])
def test_bounds_overlap_with_those_of_scip(form):
    made = joint_form(the_problem(form, "plain", 2, 3))
    ours = enclose(made)
    theirs = load("scip").solve(made, Options(time_limit=600.0))
    assert theirs.x is not None
    assert ours.lower <= judged(made, theirs.x).value


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
    if kind == "power mean":
        return joint_form(replace(problem, objective=WeightedPowerMean(power=3.0)))
    return second_step(problem) if kind == "second step" else under_a_ceiling(problem)


def check_contains_the_grid(form, found):
    """Assert that the enclosure's upper end is reached and no point of a fine grid lies below its lower one."""
    assert found.lower <= found.upper
    assert judged(form, found.x).value == pytest.approx(found.upper, rel=1e-14)
    assert found.lower <= grid_minimum(form) + 1e-12


QUICK = {("ceiling", "linear"), ("minimax", "gated"), ("second step", "both_curved"), ("power mean", "gated")}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(kind, name, marks=[] if (kind, name) in QUICK else pytest.mark.slow)
        for kind in KINDS
        for name in ("linear", "saturating", "gated", "both_curved")
    ],
)
def test_no_feasible_mixture_of_a_grid_is_below_the_bound(kind, name):
    form = form_of(kind, signed_model(name, 3, seed=KINDS.index(kind), scale=1.5))
    found = enclose(form, time_limit=np.inf)
    assert found.stopped == "gap" and found.relative_gap <= 1e-6
    check_contains_the_grid(form, found)


@pytest.mark.parametrize("m", [6, pytest.param(10, marks=pytest.mark.slow)])
def test_the_second_step_of_gated_families_is_closed(m):
    found = enclose(second_step(family_problem(m, interaction="gated", negative=0.3)), time_limit=np.inf)
    assert found.stopped == "gap" and found.relative_gap <= 1e-6


@pytest.mark.slow
def test_the_second_step_of_the_shipped_problem_is_closed_and_random_mixtures_are_not_below():
    form = second_step(load_problem("libreoffice6"))
    found = enclose(form, time_limit=np.inf)
    assert found.relative_gap <= 1e-6
    box = Box(form.polytope.bounds.lower, np.minimum(form.polytope.bounds.upper, 1.0))
    for x in points(form, box, np.random.default_rng(0), 300):
        assert form.functions.at(form.complete(x[: form.n_ratios])).value >= found.lower


def test_an_active_ceiling_on_gated_families_is_closed():
    form = under_a_ceiling(family_problem(6, interaction="gated", negative=0.3))
    found = enclose(form, time_limit=np.inf)
    assert found.relative_gap <= 1e-6
    assert found.multipliers[0] > 0


def test_an_interruption_keeps_every_box(monkeypatch):
    """Whenever it comes, in the local solves too, there is a bound, and it holds."""
    made = joint_form(replace(load_problem("libreoffice6"), constraints=()))
    best = enclose(made, gap=1e-4)

    def interrupted(*_):
        raise KeyboardInterrupt

    found = enclose(made, gap=1e-12, progress=interrupted)
    assert found.stopped == "interrupted" and found.lower <= best.upper
    monkeypatch.setattr(search, "multistart", interrupted)
    found = enclose(made, gap=1e-9)
    assert found.stopped == "interrupted" and -np.inf < found.lower <= best.upper


def once(monkeypatch, module, name):
    """Interrupt the first call of a function, and let the others be."""
    exact, calls = getattr(module, name), count()

    def interrupted(*arguments):
        if next(calls) == 0:
            raise KeyboardInterrupt
        return exact(*arguments)

    monkeypatch.setattr(module, name, interrupted)


def test_an_interruption_of_what_precedes_the_search_leaves_a_bound(monkeypatch):
    made = second_step(family_problem(4, interaction="gated", negative=0.3))
    best = enclose(made)
    for name in ("reciprocal", "root", "optimal"):
        with monkeypatch.context() as patched:
            once(patched, search, name)
            found = enclose(made)
        assert found.stopped == "interrupted" and -np.inf < found.lower <= best.upper


def test_an_interruption_of_the_proof_leaves_the_bound_in_floating_point(monkeypatch):
    pytest.importorskip("flint")
    from climbopt.certification.global_bound import rational

    result = solve(load_problem("libreoffice6"))
    for module, name, rigor in ((optimum, "proved", "float"), (rational, "upper_bound", "ball")):
        with monkeypatch.context() as patched:
            once(patched, module, name)
            certificate = optimum.certify_globally(result, optimum.Effort(rigor="ball")).certificate
        assert certificate.passed and certificate.bound.search.rigor == rigor
        assert (certificate.bound.search.proof is None) == (rigor == "float")


@pytest.mark.parametrize("n", [0, 1, 2, 5, 9])
def test_an_interruption_of_any_evaluation_keeps_those_before(monkeypatch, n):
    """That of the very first is made up for by an evaluation after it."""
    made, exact, calls = joint_form(the_problem("gated", "plain", 3, 4, 2.0)), boxes.evaluate, count()

    def interrupted(*arguments):
        if next(calls) == n:
            raise KeyboardInterrupt
        return exact(*arguments)

    best = enclose(made)
    monkeypatch.setattr(boxes, "evaluate", interrupted)
    found = enclose(made, gap=1e-14)
    assert found.stopped == "interrupted" and -np.inf < found.lower <= best.upper
    assert next(calls) == max(n, 1) + 1


def test_branches_cover_their_box():
    low, high = np.zeros(3), np.array([0.5, 1.0, 0.2])
    below, above = Box(low, high).halves(1, 0.65)
    np.testing.assert_array_equal(below.lower, low)
    np.testing.assert_array_equal(above.upper, high)
    assert below.upper[1] == above.lower[1] == 0.65


def test_a_cut_too_deep_and_a_raised_bound_are_caught(monkeypatch):
    """The optimum of a problem lies in every box that its steps leave; with a wrong sum it does not."""
    form = joint_form(the_problem("gated", "plain", 3, 4, 2.0))
    best = enclose(form, gap=1e-9)

    def lost():
        found = enclose(form, gap=1e-6)
        return found.lower > best.upper + 1e-9

    assert not lost()
    exact = boxes.evaluate

    def raised(*arguments):
        on = exact(*arguments)
        return replace(on, bound=on.bound + 1e-3)

    problem = Decomposition.of(form)
    multipliers = search.optimal(problem, best.x, np.zeros(form.functions.n_rows))
    tight = Box(np.maximum(best.x - 1e-4, 0.0), best.x + 1e-4)
    step = boxes.examined(problem, tight, multipliers, best.upper + 1e-3, 1e-9)
    assert best.upper - 1e-6 <= step.lower <= best.upper
    monkeypatch.setattr(boxes, "evaluate", raised)
    assert boxes.examined(problem, tight, multipliers, best.upper + 1e-2, 1e-9).lower > best.upper


def test_halves_without_a_point_are_bounded():
    """Cut far enough, a box has no point of the polytope, and local searches have nowhere to begin."""
    constraints = (
        StayNear(0.23453832046141032, "uniform"),
        Custom("L[s0] == 1.6939986343365183"),
        Custom("r[s0] <= 2*r[s1]", name="pair"),
    )
    problem = AllocationProblem(signed_model("both_curved", 3, None, 140), 10e9, constraints=constraints)
    found = enclose(joint_form(problem), gap=1e-5, time_limit=np.inf)
    assert found.lower == found.upper == np.inf
