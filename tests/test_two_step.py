"""CLIMB's two steps: closed forms, cross-checks through other backends, ties, slack, iteration, and the gap."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from conftest import random_model
from scipy.optimize import brentq, minimize

from climbopt import (
    AllocationProblem,
    Cap,
    Floor,
    InputError,
    Interaction,
    MixtureModel,
    Options,
    TwoStep,
    load_problem,
    solve,
)
from climbopt.backends import load
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.symbols import D, r_i, r_j
from climbopt.procedures import joint_form
from climbopt.procedures.direction import OwnData, benefit_residual, counted_targets, equal_benefit_direction
from climbopt.procedures.two_step import magnitude_form
from climbopt.testing import family_problem


def direction_problem(problem):
    """Step 1 as a problem of its own: the same laws on monolingual data, joint."""
    model = problem.model.select(counted_targets(problem))
    used = tuple(p for p in model.interaction.parameters if p.symbol in model.interaction.own.free_symbols)
    own = Interaction("own", model.interaction.own, sp.Integer(0), used)
    values = {p.name: model.parameters[p.name] for p in (*model.law.parameters, *used)}
    alone = MixtureModel(model.law, own, model.targets, model.targets, values, model.token_unit)
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
        effective = np.array([result.z[target] for target in steps.targets])
        shares = OwnData.of(load_problem(name)).own(steps.magnitude * steps.direction)[0]
        assert (effective >= shares - 1e-12).all()
        slack = {row.target for row in steps.slack}
        assert slack == {
            target for target, z, share in zip(steps.targets, effective, shares, strict=True) if z > share * (1 + 1e-6)
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


FORMS = {
    "power, gated": ("power", "gated"),
    "bimix, gated": ("bimix", "gated"),
    "bimix, none": ("bimix", "none"),
    "msl, overlap": ("msl", "overlap"),
    "power_nd, saturating": ("power_nd", "saturating"),
    "additive, additive_power": ("additive", "additive_power"),
    "power, repetition": ("power", "repetition"),
}


def problem_of(form, seed=1, sources=4):
    """A problem of a law and an interaction whose own term increases, with unequal weights and a floor."""
    law, interaction = FORMS[form]
    model = random_model(interaction, law=law, sources=sources, seed=seed)
    params = 1e9 if model.templates.uses_model_size else None
    weights = {f"s{j}": 1.0 + j for j in range(sources)}
    return AllocationProblem(model, 2e9, params, weights=weights, constraints=(Floor({"s0": 0.05}),))


def own_alone(problem, data):
    """own_i(e_i, D) from the declared SymPy expression, value by value."""
    model = problem.model
    values = []
    used = [p for p in model.interaction.parameters if p.per != "pair"]
    for i in range(len(model.targets)):
        numbers = {p.symbol: float(model.parameters[p.name][i]) for p in used}
        expression = model.interaction.own.subs({**numbers, r_i: float(data[i]), D: problem.budget / model.token_unit})
        values.append(float(expression))
    return np.array(values)


def losses_alone(problem, data):
    return problem.model.at(problem.budget, problem.params).losses(own_alone(problem, data))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("magnitude", [1.0, 1.6])
def test_the_direction_is_the_optimum_of_own_data_alone(form, magnitude):
    """min sum w_i law(own_i(t p_i)) by SLSQP with differences of the SymPy expressions, which read no derivative."""
    problem = problem_of(form)
    direction = equal_benefit_direction(problem, magnitude)
    found = minimize(
        lambda p: 1e3 * float(problem.weight_vector @ losses_alone(problem, magnitude * p)),
        np.full(4, 0.25),
        method="SLSQP",
        bounds=[(1e-6, 1)] * 4,
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
        options={"ftol": 1e-13, "maxiter": 300},
    )
    np.testing.assert_allclose(found.x, direction, atol=2e-4)
    assert direction.sum() == pytest.approx(1.0, abs=1e-14)
    assert benefit_residual(problem, direction, magnitude) < 1e-9


@pytest.mark.parametrize("form", FORMS)
def test_the_magnitude_is_the_largest_at_which_own_data_along_the_direction_are_reached(form):
    """max t with z_i(r) >= own_i(t p_i), t inside own and not linearised, by SLSQP from several starts."""
    problem = problem_of(form)
    result = solve(problem, TwoStep())
    steps, response = result.two_step, problem.model.at(problem.budget, problem.params)
    best = 0.0
    for seed in range(4):
        start = np.random.default_rng(seed).dirichlet(np.full(4, 4.0))
        found = minimize(
            lambda x: -x[-1],
            np.append(start, 0.5),
            method="SLSQP",
            bounds=[(0.05, 1), (1e-9, 1), (1e-9, 1), (1e-9, 1), (1e-3, 20)],
            constraints=[
                {"type": "eq", "fun": lambda x: x[:-1].sum() - 1},
                {"type": "ineq", "fun": lambda x: response.z(x[:-1]) - own_alone(problem, x[-1] * steps.direction)},
            ],
            options={"ftol": 1e-12, "maxiter": 300},
        )
        best = max(best, found.x[-1]) if found.success else best
    assert result.passed and best > 0
    assert steps.magnitude == pytest.approx(best, rel=1e-5)
    z = np.array(list(result.z.values()))
    assert (z >= own_alone(problem, steps.magnitude * steps.direction) * (1 - 1e-8)).all()
    assert result.two_step_gap.absolute > -1e-9


@pytest.mark.parametrize("form", ["bimix, gated", "additive, additive_power"])
def test_iterate_takes_the_direction_at_its_own_magnitude(form):
    problem = problem_of(form)
    steps = solve(problem, TwoStep(iterate=True)).two_step
    np.testing.assert_allclose(equal_benefit_direction(problem, steps.magnitude), steps.direction, rtol=1e-6)


def test_a_head_start_counts_and_may_leave_a_target_without_a_share():
    """gated: own = r + h / D, with -w L_z = lambda by hand; s0 has so much already that its benefit is the lowest."""
    model = random_model("gated", sources=3, seed=4)
    model = replace(model, parameters={**model.parameters, "h": np.array([3.0, 0.02, 0.01])})
    problem = AllocationProblem(model, 1e9)
    direction = equal_benefit_direction(problem, 1.0)
    assert direction[0] == 0.0
    B, beta, h = (model.parameters[name] for name in ("B", "beta", "h"))
    benefits = B * beta * (direction + h) ** -(beta + 1)
    assert benefits[1] == pytest.approx(benefits[2], rel=1e-10) and benefits[0] < benefits[1]
    result = solve(problem, TwoStep())
    assert result.passed and result.two_step.magnitude > 0


@pytest.mark.parametrize("law, interaction", [("exponential", "mixing")])
def test_a_form_whose_own_does_not_increase_is_refused_and_has_no_gap(law, interaction):
    problem = AllocationProblem(random_model(interaction, law=law, sources=3), 1e9)
    assert solve(problem).passed and solve(problem).two_step_gap is None
    with pytest.raises(InputError, match="two_step needs a z that increases .* 'mixing' has no own term; use the proc"):
        solve(problem, TwoStep())


def test_own_that_turns_down_is_refused():
    interaction = Interaction("hump", r_i * (1 - r_i), sp.Integer(0) * r_j)
    model = MixtureModel(
        LAWS["power"], interaction, ("a", "b"), ("a", "b"), {"E": [1, 1], "B": [1, 1], "beta": [1, 1]}, 1e9
    )
    with pytest.raises(InputError, match="its z increases with its own data, and under power .* does not hold of 'a'"):
        solve(AllocationProblem(model, 1e9), TwoStep())


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
