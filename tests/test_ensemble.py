"""Ensembles: means of their blocks, their derivatives, the conditions of optimality, every backend, their files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import random_model

from climbopt import AllocationProblem, Floor, LossCeiling, Minimax, certify, derive, solve
from climbopt.backends import BACKENDS
from climbopt.certification.local import certify as certify_locally
from climbopt.files import load_model, save_model
from climbopt.foundations.errors import InputError
from climbopt.model.ensemble import Ensemble, Stacked, check_draws, mean_of
from climbopt.procedures import TwoStep, joint_form

FORMS = (("power", "gated"), ("bimix", "overlap"), ("power", "gated"))
BUDGET = 2e9


def block(law, interaction, seed):
    return replace(random_model(interaction, law=law, sources=3, seed=seed), pilots=None, token_unit=1e9)


@pytest.fixture(scope="module")
def blocks():
    return [block(law, interaction, seed) for seed, (law, interaction) in enumerate(FORMS)]


@pytest.fixture(scope="module")
def ensemble(blocks):
    return Ensemble(blocks, (3, 2, 1))


def mixtures(n, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(3), n)


def losses(model, ratios):
    return model.at(BUDGET).predicted(ratios)


def test_losses_are_the_weighted_mean(ensemble, blocks):
    r = mixtures(5)
    expected = sum(w * losses(b, r) for w, b in zip((1 / 2, 1 / 3, 1 / 6), blocks, strict=True))
    assert losses(ensemble, r) == pytest.approx(expected, rel=1e-14)
    assert len(ensemble.stacked.parts) == 2 and len(ensemble.forms) == 2
    assert list(ensemble.forms.values()) == pytest.approx([2 / 3, 1 / 3])


def test_one_block_is_the_block_and_equal_blocks_are_one(blocks):
    r = mixtures(5)
    for same in (Ensemble(blocks[:1]), Ensemble([blocks[0], blocks[0]], (0.2, 0.8))):
        assert losses(same, r) == pytest.approx(losses(blocks[0], r), rel=1e-14)
        answer, alone = (solve(AllocationProblem(model, BUDGET)) for model in (same, blocks[0]))
        assert answer.passed and answer.objective == pytest.approx(alone.objective, abs=1e-12)
        assert list(answer.ratios.values()) == pytest.approx(list(alone.ratios.values()), abs=1e-6)


def test_order_of_blocks_and_draws_is_immaterial(ensemble, blocks):
    r = mixtures(5)
    permuted = Ensemble([blocks[k] for k in (2, 0, 1)], (1, 3, 2))
    assert losses(permuted, r) == pytest.approx(losses(ensemble, r), rel=1e-13)
    draws = [
        Ensemble([block(law, form, 10 * k + i) for i, (law, form) in enumerate(FORMS)], (3, 2, 1)) for k in (1, 2, 3)
    ]
    assert losses(ensemble.with_draws(draws), r) == pytest.approx(
        losses(ensemble.with_draws(draws[::-1]), r), rel=1e-13
    )
    assert losses(ensemble.with_draws(draws), r) == pytest.approx(
        np.mean([losses(one, r) for one in (ensemble, *draws)], axis=0), rel=1e-13
    )


@pytest.mark.parametrize("objective", ["weighted", "minimax", "power_mean", "L[s0] + 2 * L[s1]**2 + r[s2] / L[s2]"])
def test_derivatives_of_every_objective_against_differences(ensemble, objective):
    problem = AllocationProblem(
        ensemble, BUDGET, objective=objective, constraints=("L[s1] * L[s2] <= 50", "L[s0] <= 9")
    )
    form = joint_form(problem)
    x, h = form.start, 1e-6
    mu = np.linspace(0.3, 0.8, len(form.nonlinear))
    at = form.functions.at(x)
    assert form.functions.at(form.complete(x[:3])).value == pytest.approx(float(problem.value(x[:3])), rel=1e-12)
    ends = [(form.functions.at(x + step), form.functions.at(x - step)) for step in h * np.eye(form.n)]
    assert at.gradient == pytest.approx([(a.value - b.value) / (2 * h) for a, b in ends], abs=1e-7)
    assert at.jacobian.T == pytest.approx(np.array([(a.rows - b.rows) / (2 * h) for a, b in ends]), abs=1e-6)
    slopes = [(a.gradient + a.jacobian.T @ mu - b.gradient - b.jacobian.T @ mu) / (2 * h) for a, b in ends]
    assert at.hessian(1.0, mu) == pytest.approx(np.array(slopes), abs=1e-5)


def test_jacobian_by_complex_step(ensemble):
    response, r = ensemble.at(BUDGET), mixtures(1)[0]
    steps = 1e-30j * np.eye(3)
    by_step = np.array([response.z(r + step).imag / 1e-30 for step in steps])
    assert response.z_and_jacobian(r)[1].T == pytest.approx(by_step, rel=1e-12)


@pytest.mark.parametrize("constraints", [(), ("r[s0] >= 0.5",)])
def test_an_optimum_is_the_best_of_a_grid(ensemble, constraints):
    problem = AllocationProblem(ensemble, BUDGET, constraints=constraints)
    answer = solve(problem)
    assert answer.passed and max(one.value for one in answer.certificate.residuals.values()) < 1e-6
    steps = np.linspace(0, 1, 201)
    grid = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-12]).clip(0)
    grid = grid[grid[:, 0] >= 0.5 - 1e-12] if constraints else grid
    values = problem.value(grid)
    assert answer.objective <= np.nanmin(values) + 1e-9
    assert np.abs(grid[np.nanargmin(values)] - list(answer.ratios.values())).max() < 0.02


@pytest.mark.parametrize("name", [name for name, entry in BACKENDS.items() if not entry.missing])
def test_every_backend_agrees(ensemble, name):
    problem = AllocationProblem(ensemble, BUDGET, constraints=(Floor(s1=0.2),))
    form = joint_form(problem)
    if (refusal := BACKENDS[name].backend().refusal(form)) is not None:
        assert "convex" in refusal or "exact" in refusal, refusal
        return
    answer, best = solve(problem, backend=name), solve(problem)
    assert answer.objective == pytest.approx(best.objective, abs=1e-6)


@pytest.mark.parametrize("name", ["ipopt", "pyomo", "cvxpy_dnlp"])
def test_algebraic_backends_take_means_inside_functions(ensemble, name):
    if name not in BACKENDS or BACKENDS[name].missing:
        pytest.skip(f"{name} is not installed")
    problem = AllocationProblem(ensemble, BUDGET, objective="power_mean", constraints=("L[s1] * L[s2] <= 50",))
    assert solve(problem, backend=name).objective == pytest.approx(solve(problem).objective, abs=1e-6)


def test_a_perturbed_answer_fails(ensemble):
    answer = solve(AllocationProblem(ensemble, BUDGET))
    form, x = joint_form(answer.problem), np.array(list(answer.ratios.values()))
    moved = x + 0.01 * (np.eye(3)[int(np.argmin(x))] - np.eye(3)[int(np.argmax(x))])
    assert not certify_locally(form, moved).passed


def test_minimax_and_loss_rows(ensemble):
    worst = solve(AllocationProblem(ensemble, BUDGET, objective=Minimax(dict.fromkeys(ensemble.targets, 1.0))))
    assert worst.passed and worst.objective == pytest.approx(max(worst.losses.values()), abs=1e-7)
    base = solve(AllocationProblem(ensemble, BUDGET))
    target = max(base.losses, key=base.losses.get)
    ceiling = base.losses[target] - 0.2 * (base.losses[target] - worst.losses[target])
    held = solve(AllocationProblem(ensemble, BUDGET, constraints=(LossCeiling({target: ceiling}),)))
    assert held.passed and held.losses[target] == pytest.approx(ceiling, abs=1e-6)


def test_refusals(ensemble, blocks):
    with pytest.raises(InputError, match="no effective ratio of its own"):
        AllocationProblem(ensemble, BUDGET, constraints=("z[s0] >= 0.2",))
    with pytest.raises(InputError, match="no effective ratio of its own"):
        AllocationProblem(ensemble, BUDGET, objective="z[s0] + L[s1]")
    with pytest.raises(InputError, match="two_step takes a model of one form"):
        solve(AllocationProblem(ensemble, BUDGET), TwoStep())
    with pytest.raises(InputError, match="no block"):
        Ensemble([])
    with pytest.raises(InputError, match="other sources"):
        Ensemble([blocks[0], random_model("gated", sources=2)])
    for weights in ((1, 2), (1, 0, 1), (1, 1, np.nan)):
        with pytest.raises(InputError, match="one positive number for each"):
            Ensemble(blocks, weights)
    with pytest.raises(InputError, match="not itself"):
        Ensemble([ensemble])
    with pytest.raises(InputError, match="other forms"):
        check_draws(ensemble, [Ensemble(blocks)])
    with pytest.raises(InputError, match="another law"):
        check_draws(blocks[0], [blocks[1]])
    assert solve(AllocationProblem(ensemble, BUDGET)).two_step_gap is None


def test_baselines_and_gaps(ensemble):
    problem = AllocationProblem(ensemble, BUDGET)
    isolated = solve(problem, "isolated")
    assert isolated.objective >= solve(problem).objective - 1e-9
    assert not isolated.effective_ratios and not isolated.marginal_benefit


def test_the_file_of_an_ensemble(tmp_path, ensemble):
    path = tmp_path / "model.toml"
    save_model(replace(ensemble, provenance={"file": "pilots.csv"}), path)
    loaded = load_model(path)
    assert isinstance(loaded, Ensemble) and loaded.weights == ensemble.weights and loaded.provenance["file"]
    assert (losses(loaded, mixtures(4)) == losses(ensemble, mixtures(4))).all()
    for old, new, words in (
        ('law = "ensemble"', 'law = "power"', "are both 'ensemble'"),
        ("weight = 0.5", "weight = -1.0", "one positive number"),
        ('"s2",\n]', '"s3",\n]', "other sources or targets"),
    ):
        text = path.read_text()
        assert old in text
        (tmp_path / "bad.toml").write_text(text.replace(old, new, 1))
        with pytest.raises(InputError, match=words):
            load_model(tmp_path / "bad.toml")


def test_pairs_of_many_languages_stand_beside(tmp_path):
    blocks = [random_model("gated", sources=18, seed=k) for k in range(2)]
    save_model(Ensemble(blocks), tmp_path / "m.toml")
    assert (tmp_path / "m.1.pairs.parquet").exists() and (tmp_path / "m.2.pairs.parquet").exists()
    loaded = load_model(tmp_path / "m.toml")
    r = np.random.default_rng(1).dirichlet(np.ones(18), 2)
    assert losses(loaded, r) == pytest.approx(losses(Ensemble(blocks), r), rel=1e-15)


def test_scenarios_hold_each_draw(ensemble):
    draws = [Ensemble([block(law, form, 9 * k + i) for i, (law, form) in enumerate(FORMS)], (3, 2, 1)) for k in (1, 2)]
    both = Stacked.scenarios(ensemble, draws)
    r = mixtures(3)
    expected = np.concatenate([losses(model, r) for model in (ensemble, *draws)], axis=-1)
    assert losses(both, r) == pytest.approx(expected, rel=1e-14)
    assert losses(both.select(["s2#1", "s0"]), r) == pytest.approx(expected[:, [8, 0]], rel=1e-14)


def test_derive_prints_each_form(ensemble):
    text = derive(AllocationProblem(ensemble, BUDGET, constraints=("L[s0] <= 9",)))
    assert "power + gated, with indices" in text and "bimix + overlap, written out" in text


def test_a_global_certificate_is_sound(ensemble):
    answer = certify(AllocationProblem(ensemble, BUDGET), time_limit=2.0)
    bound = answer.certificate.bound
    assert bound is None or bound.lower <= answer.objective + 1e-12
    assert bound is not None or not answer.passed


def test_mean_of_models(blocks):
    assert mean_of(blocks).weights == pytest.approx([1 / 3] * 3)
    assert json.dumps(dict(mean_of(blocks).forms))
