"""Objectives beyond the weighted sum: values, derivatives, certificates, and what they mean."""

import numpy as np
import pytest
from conftest import PROBLEMS

import climbopt
from climbopt import (
    AllocationProblem,
    CustomObjective,
    Floor,
    InputError,
    Minimax,
    StayNear,
    WeightedPowerMean,
    load_model,
    solve,
)
from climbopt.backends import BACKENDS, Options
from climbopt.model.outer import PowerMean
from climbopt.procedures import joint_form
from climbopt.testing import family_model

CONVEX = family_model(5, seed=4)
GATED = load_model(PROBLEMS / "libreoffice6" / "model.toml")
SOLVERS = [name for name in ("ipopt", "slsqp", "trust_constr") if BACKENDS[name].missing is None]
OBJECTIVES = {
    "minimax": Minimax(),
    "minimax, own references": Minimax(losses=dict(zip(CONVEX.sources, (2.0, 2.2, 2.4, 3.0, 3.1), strict=True))),
    "mean of power 2": WeightedPowerMean(power=2.0),
    "mean of power 20": WeightedPowerMean(power=20.0, reference={"en": 1.0}),
    "custom affine": CustomObjective("0.5 * L[en] + 2 * L[sv] + 0.1 * r[de]"),
    "custom": CustomObjective("L[en]**2 + L[sv] * 2 + (r[de] - 0.5)**2 + 1"),
    "custom from SymPy": CustomObjective(climbopt.L["en"] ** 3 + climbopt.L["es"] + climbopt.r["nl"] ** 2),
}


def problem(objective, *constraints, model=CONVEX, budget=1e11):
    return AllocationProblem(
        model, budget, constraints=constraints, objective=objective, weights={"de": 3.0, "default": 1.0}
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_solvers_agree_and_the_gap_closes(name):
    asked = problem(OBJECTIVES[name], Floor({"nl": 0.25}))
    answers = {backend: solve(asked, backend=backend, options=Options(tolerance=1e-7)) for backend in SOLVERS}
    for backend, result in answers.items():
        assert result.passed, (backend, result.certificate.residuals)
        assert result.objective == pytest.approx(asked.value(np.array(list(result.ratios.values()))), rel=1e-12)
        assert result.certificate.relative_gap < 1e-7, backend
        for language, ratio in answers[SOLVERS[0]].ratios.items():
            assert result.ratios[language] == pytest.approx(ratio, abs=1e-5)
    rng = np.random.default_rng(3)
    mixtures = 0.75 * rng.dirichlet(np.ones(5), 2000) + 0.25 * np.eye(5)[2]
    best = answers[SOLVERS[0]].objective
    assert (asked.value(mixtures) >= best - 1e-9).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_derivatives(name):
    form = joint_form(problem(OBJECTIVES[name]))
    rng = np.random.default_rng(2)
    x = form.complete(rng.dirichlet(np.full(5, 4.0)))
    evaluation, h, mu = form.functions.at(x), 1e-6, rng.normal(size=len(form.nonlinear))
    exact = evaluation.hessian(1.3, mu)
    for j in range(form.n):
        step = h * np.eye(form.n)[j]
        ahead, behind = form.functions.at(x + step), form.functions.at(x - step)
        assert (ahead.value - behind.value) / (2 * h) == pytest.approx(evaluation.gradient[j], rel=1e-7, abs=1e-9)
        slope = [1.3 * one.gradient + one.jacobian.T @ mu for one in (ahead, behind)]
        np.testing.assert_allclose((slope[0] - slope[1]) / (2 * h), exact[:, j], rtol=1e-5, atol=1e-7)


def test_minimax_levels_the_losses():
    result = solve(problem(Minimax(), model=GATED, budget=8e6))
    uniform = np.full(6, 1 / 6)
    share = np.array(list(result.losses.values())) / problem(Minimax(), model=GATED, budget=8e6).losses(uniform)
    assert result.passed and result.objective == pytest.approx(share.max(), abs=1e-12)
    prices = {name: one.multiplier for name, one in result.certificate.multipliers.items() if "largest" in name}
    assert sum(prices.values()) == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(share[[price > 1e-6 for price in prices.values()]], share.max(), atol=1e-8)
    assert result.two_step_gap is None


def test_power_means_lie_between_the_mean_and_the_largest():
    values = [solve(problem(WeightedPowerMean(power=power))) for power in (1.0, 2.0, 8.0, 64.0)]
    largest = solve(problem(Minimax())).objective
    objectives = [value.objective for value in values]
    assert all(value.passed for value in values)
    assert objectives == sorted(objectives) and objectives[-1] < largest + 1e-9
    assert largest - objectives[-1] < 0.02
    plain = problem(WeightedPowerMean(losses=dict.fromkeys(CONVEX.sources, 1.0), power=1.0))
    weighted = AllocationProblem(CONVEX, 1e11, weights={"de": 3.0, "default": 1.0})
    assert solve(plain).objective == pytest.approx(solve(weighted).objective, rel=1e-10)


def test_an_objective_that_bends_the_wrong_way_is_not_called_global():
    result = solve(problem(CustomObjective("L[en] + L[sv] - 4 * (r[de] - 0.3)**2")))
    assert result.certificate.lower_bound is None


def test_targets_of_weight_zero_do_not_count():
    asked = AllocationProblem(
        CONVEX,
        1e11,
        objective=Minimax(losses={"en": 2.0, "sv": 3.0}),
        weights={"de": 0.0, "nl": 0.0, "es": 0.0, "default": 1.0},
    )
    result = solve(asked)
    assert result.passed and set(joint_form(asked).functions.response.model.targets) == {"en", "sv"}


def test_an_objective_with_a_distance_has_both_kinds_of_auxiliaries():
    result = solve(problem(Minimax(), StayNear(0.2, {"en": 0.6, "de": 0.4})))
    assert result.passed and result.certificate.multipliers["stay_near"].active


def test_a_problem_file_states_its_objective(tmp_path):
    text = f'model = "{PROBLEMS / "libreoffice6" / "model.toml"}"\nbudget = 8e6\n[objective]\n'
    file = tmp_path / "p.toml"
    file.write_text(text + 'kind = "power_mean"\npower = 3\nreference = "uniform"\n')
    assert climbopt.load_problem(file).objective == WeightedPowerMean(reference="uniform", power=3)
    file.write_text(text + 'kind = "custom"\nexpression = "L[en] + L[ru]**2"\n')
    assert solve(climbopt.load_problem(file)).passed
    for wrong, words in (
        ('kind = "minmax"', "did you mean 'minimax'"),
        ("power = 3", "has no key 'kind'"),
        ('kind = "custom"', "has no key 'expression'"),
        ('kind = "custom"\nexpression = 3', "valid string"),
        ('kind = "custom"\nexpression = "L[xx]"', "unknown language of L.xx. in the objective"),
        ('kind = "power_mean"\npower = 0.5', "1 or more"),
        ('kind = "minimax"\nlosses = { en = 1.0 }', "has none for 'de'"),
        ('kind = "minimax"\npowers = 3', "unknown key of the objective"),
    ):
        file.write_text(text + wrong)
        with pytest.raises(InputError, match=words):
            climbopt.load_problem(file)


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: problem(Minimax(losses={"en": 0.0, "de": 1, "nl": 1, "sv": 1, "es": 1})), "a loss above 0"),
        (lambda: Minimax(losses={"en": 1.0}, reference="uniform"), "not both"),
        (lambda: problem(CustomObjective("3 + D")), "holds no ratio"),
        (lambda: solve(problem(Minimax()), procedure="two_step"), "use the procedure joint"),
    ],
)
def test_bad_objectives(build, words):
    with pytest.raises(InputError, match=words):
        build()


@pytest.mark.parametrize("power", [1.0, 1.2, 2.0, 9.0])
def test_slopes_support_a_mean_where_their_dual_norm_is_one_at_most(power):
    rng = np.random.default_rng(0)
    weights, references = rng.dirichlet(np.ones(4)), rng.uniform(0.5, 2.0, 4)
    mean = PowerMean(("a", "b", "c", "d"), weights, references, power)
    losses = rng.uniform(0.1, 5.0, (200, 4))
    for at in losses[:20]:
        slopes = mean.gradient(at)
        assert mean.supports((1 - 1e-13) * slopes) and not mean.supports((1 + 1e-9) * slopes)
        assert not mean.supports(-slopes) and not mean.supports(slopes[:3]) and not mean.supports(np.nan * slopes)
        assert (losses @ slopes <= mean.value(losses) * (1 + 1e-12)).all()
        for tried in slopes * rng.uniform(0.9, 1.1, (20, 4)):
            if mean.supports(tried):
                assert (losses @ tried <= mean.value(losses)).all()
