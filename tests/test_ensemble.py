"""Ensembles: means of their blocks, their derivatives, the conditions of optimality, every backend, their files."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import random_model

from climbopt import AllocationProblem, Floor, LossCeiling, Minimax, bootstrap, certify, derive, fit, solve
from climbopt.backends import BACKENDS
from climbopt.certification.local import certify as certify_locally
from climbopt.files import DrawFile, load_draws, load_model, load_problem, save_model, save_problem
from climbopt.fitting.ensemble_fit import EnsembleFit, insane
from climbopt.foundations.errors import InputError
from climbopt.model.ensemble import Ensemble, Stacked, check_draws, mean_of
from climbopt.procedures import TwoStep, joint_form
from climbopt.runs.pilots import PilotRuns
from climbopt.uncertainty.bootstrap import folds_of_shapes, loss_noise

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
    assert len(ensemble.stacked.blocks) == 2 and len(ensemble.forms) == 2
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
    assert not isolated.z and not isolated.marginal_benefit


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


@pytest.fixture(scope="module")
def small():
    """Runs of two languages, of an exact law with a little noise."""
    truth = random_model("overlap", sources=2, seed=3)
    rng = np.random.default_rng(5)
    shares = np.concatenate([[0.0, 1.0, 0.0, 1.0], rng.uniform(0.05, 0.95, 14)])
    tokens = np.where(np.arange(18) % 2 == 0, 1e9, 4e9)
    ratios = np.column_stack([shares, 1 - shares])
    measured = truth.at(tokens).predicted(ratios) + 0.003 * rng.standard_normal((18, 2))
    return PilotRuns(tuple(f"r{k}" for k in range(18)), truth.sources, truth.targets, ratios, tokens, measured)


@pytest.fixture(scope="module")
def fitted(small):
    return fit(small, n_starts=1)


def test_the_default_fit_is_a_weighted_ensemble(small, fitted):
    assert isinstance(fitted, EnsembleFit) and len(fitted.fits) == 3 and not fitted.refused
    assert fitted.model.weights == pytest.approx([1 / 2, 1 / 4, 1 / 4])
    for one in fitted.fits:
        alone = fit(small, one.model.law, one.model.interaction, n_starts=1).model
        assert all((alone.parameters[name] == value).all() for name, value in one.model.parameters.items())
    each = [one.model.at(small.tokens).predicted(small.ratios) for one in fitted.fits]
    expected = np.average(each, axis=0, weights=[2, 1, 1])
    trained = small.ratios > 0
    assert fitted.overall.mae == pytest.approx(np.abs(expected - small.losses)[trained].mean(), rel=1e-12)
    assert not isinstance(fit(small, interaction="linear", n_starts=1), EnsembleFit)


def test_forms_that_are_not_sane_are_left_out(small):
    model = random_model("linear", sources=2, seed=1)
    quiet = dict(model.parameters) | {"b": np.full((2, 2), 0.1), "k": np.zeros((2, 2))}
    assert insane(replace(model, parameters=quiet), small) is None
    # Of the other's data s0 learns more than of its own.
    wrong = insane(replace(model, parameters=quiet | {"b": np.array([[0.0, 1.5], [0.1, 0.0]])}), small)
    assert wrong is not None and "the loss of 's0' is lower with none of its own data" in wrong
    shut = insane(replace(model, parameters=quiet | {"b": np.array([[0.0, 0.1], [-0.5, 0.0]])}), small)
    assert shut is not None and "the loss of 's1' is no number" in shut


def test_draws_of_all_forms_count_the_same_runs(fitted):
    draws = bootstrap(fitted, 3, seed=7)
    assert all(isinstance(draw, Ensemble) and len(draw.blocks) == len(fitted.fits) for draw in draws)
    for k, one in enumerate(fitted.fits):
        alone = bootstrap(one, 3, seed=7)
        for draw, single in zip(draws, alone, strict=True):
            block = draw.blocks[k]
            assert all((block.parameters[name] == single.parameters[name]).all() for name in block.parameters)


def test_draws_in_a_file(tmp_path, fitted):
    draws, path = bootstrap(fitted, 3), tmp_path / "d.jsonl"
    file = DrawFile(path, fitted.model, {"seed": 0})
    assert bootstrap(fitted, 2, keep=file.append) and len(file.known) == 0
    file.close()
    file = DrawFile(path, fitted.model, {"seed": 0})
    assert len(file.known) == 2
    resumed = bootstrap(fitted, 3, known=file.known, keep=file.append)
    file.close()
    r = np.array([[0.3, 0.7], [1.0, 0.0]])
    for again in (resumed, load_draws(path)):
        for a, b in zip(again, draws, strict=True):  # draws made together differ by rounding
            assert losses(a, r) == pytest.approx(losses(b, r), rel=1e-9)
    both = fitted.model.with_draws(draws)
    assert both.n_draws == 3 and both.base.blocks == fitted.model.blocks
    assert losses(both.base, r) == pytest.approx(losses(fitted.model, r), rel=1e-15)


def test_spread_is_that_of_the_blocks(ensemble, blocks):
    r = mixtures(3)
    each, weights = np.array([losses(b, r) for b in blocks]), np.array([1 / 2, 1 / 3, 1 / 6])
    mean = np.einsum("b,bij->ij", weights, each)
    expected = np.sqrt(np.einsum("b,bij->ij", weights, (each - mean) ** 2))
    assert ensemble.spread(r, BUDGET) == pytest.approx(expected, rel=1e-12)


def test_noise_by_folds_of_shapes(small, fitted):
    number = folds_of_shapes(small, 7)
    assert set(number) == set(range(7))
    alone = small.ratios.max(axis=1) == 1
    mirrored = PilotRuns(
        tuple(f"r{k}" for k in range(36)),
        small.sources,
        small.targets,
        np.vstack([small.ratios, small.ratios[:, ::-1]]),
        np.tile(small.tokens, 2),
        np.tile(small.losses, (2, 1)),
    )
    folds = folds_of_shapes(mirrored, 7)
    assert (folds[:18] == folds[18:])[~alone].all()
    noise = loss_noise(fitted, bootstrap(fitted, 4))
    assert (noise.deviations > 0).all() and 0.001 < noise.deviations[0, 2] < 0.1
    own = np.array([[0.0, 0.02], [0.5, 1.0]])
    half = noise.half_widths(np.full((2, 2), 0.01), own)
    assert half[0, 1] == pytest.approx(noise.widths[1] * np.hypot(0.01, noise.deviations[1, 1]))
    assert half[1, 1] == pytest.approx(noise.widths[3] * np.hypot(0.01, noise.deviations[1, 3]))


def test_noise_is_no_less_than_that_of_replicates(small, fitted, monkeypatch):
    """A prediction that meets every loss leaves the spread over seeds, of targets with few replicates that of all."""
    seeds = small.select(np.append(np.arange(18), [10, 10, 10]))
    losses = seeds.losses.copy()
    mixed = np.append(10, np.arange(18, 21))
    assert (seeds.ratios[mixed] > 0.03).all()
    losses[mixed] += np.array([[0.03, 0.0], [-0.03, 0.0], [0.05, 0.0], [-0.05, np.nan]])
    losses[[18, 19], 1] += [0.02, -0.02]
    seeds = replace(seeds, losses=losses)
    errors = seeds.replicate_errors
    assert np.mean(errors[mixed, 0] ** 2) == pytest.approx(np.var(losses[mixed, 0], ddof=1))
    assert np.nanmean(errors[mixed, 1] ** 2) == pytest.approx(np.var(losses[mixed[:3], 1], ddof=1))
    assert np.isnan(errors[np.bincount(seeds.replicates)[seeds.replicates] == 1]).all() and np.isnan(errors[20, 1])
    perfect = EnsembleFit(fitted.model, tuple(replace(one, pilots=seeds) for one in fitted.fits), {}, 0.0)
    monkeypatch.setattr("climbopt.uncertainty.bootstrap.held_out", lambda *_: losses)
    monkeypatch.setattr(EnsembleFit, "predicted", losses)
    of_class = np.where((seeds.ratios > 0.03) & (seeds.ratios < 1), errors, np.nan)
    squares, count = np.nansum(of_class**2, axis=0), (~np.isnan(of_class)).sum(axis=0)
    shrunk = (squares + 8 * squares.sum() / count.sum()) / (count + 8)
    np.testing.assert_allclose(loss_noise(perfect).deviations[:, 2], np.sqrt(shrunk))


def test_from_runs_to_a_decision_on_the_command_line(run, tmp_path, small):
    runs, model, problem = tmp_path / "runs.csv", tmp_path / "model.toml", tmp_path / "mine.toml"
    small.to_frame().to_csv(runs, index=False)
    code, out, err = run("fit", runs, "-o", model, "--json", tmp_path / "fit.json")
    assert code == 0 and "mean of the forms" in out, err
    record = json.loads((tmp_path / "fit.json").read_text())
    assert record["law"] == record["interaction"] == "ensemble" and record["bands"]["level"] == 0.9
    assert sum(form["weight"] for form in record["forms"]) == pytest.approx(1)
    loaded, draws = load_model(model), load_draws(tmp_path / "model.draws.jsonl")
    assert len(draws) == 40 and loaded.noise is not None and loaded.provenance["draws"] == "model.draws.jsonl"
    code, out, _ = run("predict", model, runs, "-o", tmp_path / "p.csv")
    table = pd.read_csv(tmp_path / "p.csv")
    held = ((table["lower"] <= table["loss"]) & (table["loss"] <= table["upper"])).sum()
    assert code == 0 and f"{held} of 36 losses lie inside their 90 % bands" in out and held >= 27
    problem.write_text('model = "model.toml"\nbudget = 4e9\n')
    code, out, _ = run("solve", problem, "--json", tmp_path / "r.json")
    answer = json.loads((tmp_path / "r.json").read_text())
    assert code == 0 and "mine: joint" in out and answer["two_step_gap"] is None
    grid = np.column_stack([np.linspace(0, 1, 2001), 1 - np.linspace(0, 1, 2001)])
    values = np.mean([one.at(4e9).predicted(grid).mean(axis=1) for one in (loaded, *draws)], axis=0)
    assert answer["objective"] == pytest.approx(np.nanmin(values), abs=1e-6)
    assert run("certify", problem, "--ratios", tmp_path / "r.json", "--time-limit", 1)[0] in (0, 1)
    assert run("solve", problem, "--robust", "mean", "--json", tmp_path / "robust.json")[0] == 0
    robust = json.loads((tmp_path / "robust.json").read_text())
    assert robust["robust"]["draws"] == 40
    for command in (
        ("derive", problem),
        ("derive", model),
        ("sweep", problem, "--budgets", "1e9:4e9:2"),
        ("compare", problem, "--backends", "newton,slsqp"),
        ("plan", "--languages", "s0,s1", "--budgets", "1e9", "--runs", 4, "--model", model),
        ("solve", problem, "--procedure", "isolated"),
    ):
        assert run(*command)[0] == 0, command
    code, _, err = run("solve", problem, "--procedure", "two_step")
    assert code == 2 and "two_step takes a model of one form" in err


def test_draws_of_an_earlier_fit_are_replaced(run, tmp_path, small):
    runs, other, model = tmp_path / "runs.csv", tmp_path / "other.csv", tmp_path / "model.toml"
    small.to_frame().to_csv(runs, index=False)
    small.to_frame().assign(loss=small.to_frame()["loss"] + 0.1).to_csv(other, index=False)
    assert run("fit", runs, "-o", model)[0] == 0
    before = load_draws(tmp_path / "model.draws.jsonl")
    assert run("fit", other, "-o", model)[0] == 0
    after = load_draws(tmp_path / "model.draws.jsonl")
    r = np.array([0.5, 0.5])
    assert np.mean([losses(a, r) - losses(b, r) for a, b in zip(after, before, strict=True)]) > 0.05


def test_a_problem_with_draws_is_saved_with_them(tmp_path, ensemble, blocks):
    draws = [Ensemble([block(law, form, 9 * k + i) for i, (law, form) in enumerate(FORMS)], (3, 2, 1)) for k in (1, 2)]
    problem = AllocationProblem(ensemble.with_draws(draws), BUDGET)
    save_problem(problem, tmp_path / "p.toml")
    loaded = load_problem(tmp_path / "p.toml")
    assert loaded.model.n_draws == 2
    assert losses(loaded.model, mixtures(2)) == pytest.approx(losses(problem.model, mixtures(2)), rel=1e-14)
