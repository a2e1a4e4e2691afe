"""CLIMB's two steps: closed forms, cross-checks through other backends, ties, slack, iteration, and the gap."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import random_model
from scipy.optimize import brentq

from climbopt import (
    AllocationProblem,
    Cap,
    Floor,
    InputError,
    Law,
    MixtureModel,
    Options,
    Parameter,
    TwoStep,
    load_problem,
    solve,
)
from climbopt.backends import load
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.symbols import z
from climbopt.procedures import joint_form
from climbopt.procedures.two_step import benefit_residual, counted_targets, equal_benefit_direction, magnitude_form
from climbopt.testing import family_problem


def direction_problem(problem):
    """Step 1 as a problem of its own: the same laws on monolingual data, joint."""
    model = problem.model.select(counted_targets(problem))
    law = {p.name: model.parameters[p.name] for p in model.law.parameters}
    alone = MixtureModel(model.law, INTERACTIONS["none"], model.targets, model.targets, law, model.token_unit)
    return AllocationProblem(
        alone, problem.total_budget, weights={name: problem.weights.get(name, 1.0) for name in model.targets}
    )


@pytest.mark.parametrize("name", ["libreoffice6", "synthetic16", "equal_beta"])
@pytest.mark.parametrize("backend", ["newton", "slsqp", "trust_constr"])
def test_the_direction_is_that_of_the_nonlinear_program(name, backend):
    problem = load_problem(name)
    direction = equal_benefit_direction(problem, 1.0)
    assert direction.sum() == pytest.approx(1.0, abs=1e-14)
    assert benefit_residual(problem, direction, 1.0) < 1e-10
    solution = load(backend).solve(joint_form(direction_problem(problem)), Options())
    np.testing.assert_allclose(solution.x, direction, atol=1e-6)


def test_the_direction_in_closed_form():
    """Equal exponents: p is in proportion to (w B)^(1 / (1 + beta))."""
    problem = load_problem("equal_beta")
    expected = (np.array([1, 1, 2, 2]) * np.array([2.0, 3.0, 4.0, 5.0])) ** (1 / 1.25)
    np.testing.assert_allclose(equal_benefit_direction(problem, 1.0), expected / expected.sum(), rtol=1e-12)
    np.testing.assert_allclose(list(solve(problem).ratios.values()), expected / expected.sum(), atol=1e-9)


def test_the_direction_depends_on_the_magnitude_and_its_benefits_are_equal():
    problem = family_problem(6, seed=2)
    for t in (0.3, 1.0, 4.0):
        assert benefit_residual(problem, equal_benefit_direction(problem, t), t) < 1e-10
    assert np.abs(equal_benefit_direction(problem, 0.3) - equal_benefit_direction(problem, 4.0)).max() > 1e-3


@pytest.mark.parametrize("backend", ["slsqp", "trust_constr", "ipopt"])
def test_backends_agree_on_the_magnitude(backend):
    if backend == "ipopt":
        pytest.importorskip("cyipopt", reason="cyipopt is not installed")
    problem = load_problem("libreoffice6")
    ours, reference = (solve(problem, procedure="two_step", backend=b) for b in (backend, "slsqp"))
    assert ours.passed
    assert ours.two_step.magnitude == pytest.approx(reference.two_step.magnitude, abs=1e-8)
    np.testing.assert_allclose(list(ours.ratios.values()), list(reference.ratios.values()), atol=1e-6)


def test_without_transfer_two_steps_are_one():
    """z = r: the direction itself is feasible, t = 1, and the joint optimum is the same."""
    result = solve(load_problem("equal_beta"), procedure="two_step")
    assert result.two_step.magnitude == pytest.approx(1.0, abs=1e-9)
    assert result.two_step.slack == ()
    assert result.two_step_gap.absolute == pytest.approx(0.0, abs=1e-9)


def test_every_target_has_at_least_its_share():
    for name in ("libreoffice6", "synthetic16"):
        result = solve(load_problem(name), procedure="two_step")
        steps = result.two_step
        effective = np.array([result.effective_ratios[target] for target in steps.targets])
        assert (effective >= steps.magnitude * steps.direction - 1e-12).all()
        slack = {row.target for row in steps.slack}
        assert slack == {
            target
            for target, z, p in zip(steps.targets, effective, steps.direction, strict=True)
            if z > steps.magnitude * p * (1 + 1e-6)
        }
        assert all(row.reason for row in steps.slack)


def test_slack_rows_say_why():
    steps = solve(load_problem("synthetic16"), procedure="two_step").two_step
    reasons = {row.target: row.reason for row in steps.slack}
    assert "floor[sv] holds its ratio up" in reasons["sv"]
    assert "needs no data of its own" in reasons["pt"]
    assert "over-allocated on purpose: its data raise" in reasons["de"]


def test_the_gap_is_between_certified_answers_and_never_negative():
    for seed in range(4):
        problem = family_problem(12, seed=seed)
        joint, steps = solve(problem), solve(problem, procedure="two_step")
        assert joint.two_step_gap.absolute == pytest.approx(steps.two_step_gap.absolute, abs=1e-9)
        assert joint.two_step_gap.absolute == pytest.approx(steps.objective - joint.objective, abs=1e-9)
        assert joint.two_step_gap.absolute > 0 and 0 < joint.two_step_gap.share < 0.2
        reducible = joint.objective - float(problem.weight_vector @ problem.model.parameters["E"])
        assert joint.two_step_gap.share == pytest.approx(joint.two_step_gap.absolute / reducible, rel=1e-6)


def test_equal_column_sums_close_the_gap():
    """All rows tight, nothing active, benefits equal at z, equal columns of J: two_step is then joint's optimum."""
    m, off = 4, 1 - np.eye(4)
    names = tuple("abcd")
    model = MixtureModel(
        LAWS["power"],
        INTERACTIONS["linear"],
        names,
        names,
        {"E": np.ones(m), "B": [1.0, 2.0, 1.5, 1.2], "beta": np.full(m, 0.3), "b": 0.1 * off, "k": 0 * off},
        1e9,
    )
    gap = solve(AllocationProblem(model, 1e9)).two_step_gap
    assert abs(gap.absolute) < 1e-9


def test_among_equal_magnitudes_the_least_loss_is_taken():
    """Language a is capped below its share, so that t is fixed by it alone and the others are free: best is joint."""
    model = random_model("none", sources=4, seed=1)
    problem = AllocationProblem(model, 1e9, constraints=(Cap({"s0": 0.1}),))
    steps, joint = solve(problem, procedure="two_step"), solve(problem)
    assert steps.passed
    np.testing.assert_allclose(list(steps.ratios.values()), list(joint.ratios.values()), atol=1e-5)
    assert steps.two_step_gap.absolute == pytest.approx(0.0, abs=1e-8)


def test_targets_of_weight_zero_do_not_count():
    problem = replace(load_problem("libreoffice6"), weights={"ru": 0.0, "default": 1.0}, constraints=())
    result = solve(problem, procedure="two_step")
    assert "ru" not in result.two_step.targets and result.passed
    assert result.marginal_benefit["ru"] == 0.0


def test_iterate_settles_where_direction_and_magnitude_agree():
    problem = load_problem("synthetic16")
    result = solve(problem, TwoStep(iterate=True))
    steps = result.two_step
    assert result.passed and steps.iterations > 1
    np.testing.assert_allclose(equal_benefit_direction(problem, steps.magnitude), steps.direction, rtol=1e-6)
    plain = solve(problem, TwoStep())
    assert plain.two_step.magnitude != pytest.approx(steps.magnitude, rel=1e-4)


def test_iterate_against_a_root_finder_of_its_own():
    """Two languages without constraints by hand: t = T(p(t)) with T from a scalar search over r."""
    model = random_model("saturating", sources=2, seed=6)
    problem = AllocationProblem(model, 1e9)
    response = model.at(1e9)

    def magnitude(direction):
        grid = np.linspace(0, 1, 200001)
        z_values = response.z(np.column_stack([grid, 1 - grid]))
        return float((z_values / direction).min(axis=1).max())

    root = brentq(lambda t: magnitude(equal_benefit_direction(problem, t)) - t, 0.5, 5.0, xtol=1e-9)
    assert solve(problem, TwoStep(iterate=True)).two_step.magnitude == pytest.approx(root, abs=1e-4)


def test_a_law_without_effective_ratio_is_refused_and_has_no_gap():
    import sympy as sp

    E = sp.Symbol("E", positive=True)
    law = Law("plain", E + 1 / z, (Parameter(E, "target", "nats"),))
    names = ("a", "b")
    model = MixtureModel(law, INTERACTIONS["none"], names, names, {"E": [1.0, 1.0]})
    problem = AllocationProblem(model, 1e9)
    assert solve(problem).two_step_gap is None
    with pytest.raises(InputError, match="two_step needs a law whose z is an effective ratio"):
        solve(problem, procedure="two_step")


def test_a_zero_shot_target_counts_too():
    model = random_model("gated", sources=3, targets=("s0", "s1", "other"), seed=2)
    problem = AllocationProblem(model, 1e9)
    joint, steps = solve(problem), solve(problem, procedure="two_step")
    assert joint.passed and steps.passed and set(steps.two_step.targets) == {"s0", "s1", "other"}
    assert steps.two_step_gap.absolute > -1e-9


def test_the_certificate_of_two_step_judges_the_direction_too():
    from climbopt.certification.kkt import Residual
    from climbopt.certification.local import certify

    problem = load_problem("equal_beta")
    direction = equal_benefit_direction(problem, 1.0)
    wrong = direction + np.array([0.01, -0.01, 0, 0])
    form = magnitude_form(problem, wrong)
    x = np.append(wrong, 1.0)
    assert certify(form, x).passed  # step 2 alone is solved
    residual = Residual(benefit_residual(problem, wrong, 1.0), "direction")
    assert not certify(form, x, extra=residual).passed


def test_floors_can_make_a_share_impossible_to_keep_alone():
    """With nearly everything held by floors the magnitude falls, and the answer is still certified."""
    problem = AllocationProblem(
        random_model("saturating", sources=4, seed=3), 1e9, constraints=(Floor({"s0": 0.5, "s1": 0.4}),)
    )
    result = solve(problem, procedure="two_step")
    assert result.passed and result.ratios["s0"] >= 0.5 - 1e-12


def test_where_no_mixture_is_inside_the_domain_nothing_passes():
    """Each language takes twice what it has from the other: some z is negative everywhere, and t too."""
    off = 1 - np.eye(2)
    model = MixtureModel(
        LAWS["power"],
        INTERACTIONS["linear"],
        ("a", "b"),
        ("a", "b"),
        {"E": [1, 1], "B": [1, 1], "beta": [1, 1], "b": -2.0 * off, "k": 0 * off},
        1e9,
    )
    result = solve(AllocationProblem(model, 1e9), procedure="two_step")
    assert not result.passed and result.two_step.magnitude < 0


def test_the_time_limit_is_for_all_magnitudes_together():
    problem = load_problem("synthetic16")
    result = solve(problem, TwoStep(iterate=True), backend="slsqp", options=Options(time_limit=1e-4))
    assert not result.passed
    assert result.solution is None or result.solution.termination.name == "TIME_LIMIT"


def test_options_of_a_backend_stay_with_it():
    """The gap is computed by other backends, which do not know them."""
    result = solve(load_problem("known_floor"), backend="slsqp", options=Options(native={"ftol": 1e-15}))
    assert result.passed and result.two_step_gap is not None
