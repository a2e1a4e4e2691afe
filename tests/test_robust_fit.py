"""Runs that are wrong, tables that are no losses, and ceilings that the runs contradict: what a fit makes of them."""

import sys
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from climbopt.cli import main
from climbopt.files import load_pilots, save_model
from climbopt.fitting.doubts import doubts_of_runs
from climbopt.fitting.fit import fit
from climbopt.fitting.outliers import KNEE, apart
from climbopt.fitting.select import cross_validate
from climbopt.reports.extrapolation import fit_warnings
from climbopt.runs.pilots import PilotRuns
from climbopt.uncertainty.covariance import covariance

NAMES = ("en", "de", "sw")
E, B, BETA = np.array([1.0, 1.2, 0.8]), np.array([1.5, 2.0, 1.2]), np.array([0.3, 0.25, 0.35])
HELP = np.array([[1.0, 0.1, 0.05], [0.2, 1.0, 0.1], [0.1, 0.3, 1.0]])


def exact_runs(seed, n=45, noise=0.0):
    """Return runs of a linear interaction under the law power, without a language by itself."""
    rng = np.random.default_rng(seed)
    ratios, tokens = rng.dirichlet(np.ones(3), n), 1e6 * 2.0 ** (np.arange(n) % 3)
    losses = E + B * ((tokens / 1e6)[:, None] * (ratios @ HELP.T)) ** -BETA + noise * rng.standard_normal((n, 3))
    return PilotRuns(tuple(f"r{k:02d}" for k in range(n)), NAMES, NAMES, ratios, tokens, losses)


@pytest.fixture(scope="module")
def clean():
    return fit(exact_runs(7), interaction="linear", n_starts=1)


def test_a_law_without_noise_is_met_under_ceilings_that_its_corners_pass(clean):
    assert clean.model.parameters["beta"] == pytest.approx(BETA, abs=0.02)
    assert not clean.outliers


@pytest.mark.parametrize(
    ("off", "targets"), [(2.0, (0, 1, 2)), (-0.7, (0, 1, 2)), (1.2, (2,))], ids=["diverged", "unit", "one target"]
)
def test_two_wrong_runs_do_not_move_the_law(clean, off, targets):
    losses = clean.pilots.losses.copy()
    losses[np.ix_([3, 17], targets)] += off
    fitted = fit(replace(clean.pilots, losses=losses), interaction="linear", n_starts=1)
    assert fitted.model.parameters["beta"] == pytest.approx(clean.model.parameters["beta"], abs=0.05)
    assert fitted.outliers == ("r03", "r17")
    assert any("r03, r17" in sentence for sentence in fitted.warnings)
    assert not any(sentence.startswith("R2 is") for sentence in fitted.warnings)  # the others are explained


@pytest.mark.parametrize("seed", range(3))
def test_wrong_runs_cost_no_accuracy(seed):
    """Random tables with noise: predictions of new mixtures are as near to the law as those of the clean fit."""
    runs = exact_runs(seed, noise=0.01)
    rng = np.random.default_rng(100 + seed)
    losses = runs.losses.copy()
    losses[rng.choice(45, 3, replace=False)] += rng.choice([-0.6, 1.0, 3.0], (3, 1))
    new = exact_runs(50 + seed)
    errors = []
    for table in (runs, replace(runs, losses=losses)):
        model = fit(table, interaction="linear", n_starts=1).model
        response = model.at(new.tokens)
        errors.append(np.abs(response.losses(response.z(new.ratios)) - new.losses).mean())
    assert errors[1] < 2 * errors[0] + 0.002


def test_a_clean_table_is_fitted_by_plain_least_squares():
    fitted = fit(exact_runs(1, noise=0.01), interaction="linear", n_starts=1)
    assert all(np.isinf(one.block.rows.knee).all() for one in fitted.solved)
    assert not fitted.outliers


def test_early_points_of_many_runs_do_not_move_a_law():
    """One source at 240 sizes and budgets; 5 early points must not move what the other 235 say."""
    rng = np.random.default_rng(0)
    params, tokens = 10 ** rng.uniform(7.7, 10.2, 240), 10 ** rng.uniform(9, 11.5, 240)
    losses = 1.82 + 482 * params**-0.35 + 2085 * tokens**-0.37 + 0.01 * rng.standard_normal(240)
    runs = PilotRuns(tuple(map(str, range(240))), ("en",), ("en",), np.ones((240, 1)), tokens, losses[:, None], params)
    early = losses.copy()
    early[:5] *= 1.6
    fits = [fit(replace(runs, losses=table[:, None]), "power_nd", "none", n_starts=1) for table in (losses, early)]
    for name, tolerance in (("E", 0.01), ("beta", 0.01)):
        before, after = (one.model.parameters[name][0] for one in fits)
        assert after == pytest.approx(before, abs=tolerance)
    assert fits[0].model.parameters["beta"][0] == pytest.approx(0.37, abs=0.03)
    assert fits[1].outliers == ("0", "1", "2", "3", "4")


def test_what_lies_apart():
    distances = np.array([1.0, 90.0, 2.0, 0.5] + [1.0] * 16)
    assert np.flatnonzero(apart(distances, 10.0)).tolist() == [1]
    assert not apart(distances, 100.0).any()
    assert not apart(np.append(distances, [40.0, 80.0]), 10.0).any()  # a tail, and no gap


def table(losses, names=NAMES, tokens=1e6, ratios=None):
    """Return runs of given losses; the first two names are sources."""
    losses = np.asarray(losses, dtype=float)
    ratios = (
        np.column_stack([np.linspace(0.2, 0.8, len(losses)), np.linspace(0.8, 0.2, len(losses))])
        if ratios is None
        else ratios
    )
    runs = tuple(map(str, range(len(losses))))
    return PilotRuns(runs, names[:2], names, ratios, np.full(len(losses), tokens), losses)


PLAIN = np.linspace(2.0, 3.0, 8)[:, None] * np.ones(3)


@pytest.mark.parametrize(
    ("change", "names", "words"),
    [
        (np.exp(PLAIN), NAMES, None),
        (np.exp(PLAIN + 1), NAMES, "perplexity"),
        (PLAIN, ("en", "de", "train_loss"), "'train_loss' looks like no validation loss"),
        (PLAIN, ("en", "de", "trainable"), None),
        (PLAIN, ("en", "de", "sw_bpb"), "'sw_bpb' looks like bits"),
        (PLAIN * [1, 1, 0] + np.arange(8)[:, None] * [0, 0, 1.0], NAMES, "'sw' are whole numbers"),
        (PLAIN * [1, 1, 0] + 1.1 + np.arange(8)[:, None] * [0, 0, 1.0], NAMES, None),
    ],
)
def test_tables_that_hold_no_losses(change, names, words):
    doubts = doubts_of_runs(table(change, names))
    assert doubts == () if words is None else words in " ".join(doubts)


@pytest.mark.parametrize(("spread", "warned"), [(0.004, False), (0.2, True)])
def test_replicates_that_disagree(spread, warned):
    losses = PLAIN + spread * PLAIN * np.array([1, -1] * 4)[:, None]
    runs = table(losses, ratios=np.repeat([[0.2, 0.8], [0.4, 0.6], [0.6, 0.4], [0.8, 0.2]], 2, axis=0))
    runs = replace(runs, losses=np.repeat(PLAIN[::2], 2, axis=0) * (1 + spread * np.array([1, -1] * 4)[:, None]))
    assert any("replicates" in sentence for sentence in doubts_of_runs(runs)) == warned


def test_a_low_r2_is_a_warning():
    rng = np.random.default_rng(0)
    runs = exact_runs(3)
    noise = replace(runs, losses=rng.permuted(runs.losses, axis=0))
    assert any(sentence.startswith("R2 is") for sentence in fit(noise, interaction="linear", n_starts=1).warnings)
    assert not any(sentence.startswith("R2 is") for sentence in fit(runs, interaction="linear", n_starts=1).warnings)


def test_measured_runs_give_no_warning():
    assert fit(load_pilots("libreoffice6"), "power", "gated").warnings == ()


def test_every_answer_repeats_what_the_fit_warned_of(clean, tmp_path, capsys, monkeypatch):
    losses = clean.pilots.losses.copy()
    losses[5] += 2.0
    fitted = fit(replace(clean.pilots, losses=losses), interaction="linear", n_starts=1)
    save_model(fitted.model, tmp_path / "model.toml")
    (tmp_path / "mixtures.csv").write_text("run,tokens,language,ratio\na,2e6,en,0.5\na,2e6,de,0.3\na,2e6,sw,0.2\n")
    (tmp_path / "problem.toml").write_text('model = "model.toml"\nbudget = 2e6\n')
    for command in (["predict", "model.toml", "mixtures.csv"], ["solve", "problem.toml"]):
        monkeypatch.setattr(sys, "argv", ["climbopt", command[0], *(str(tmp_path / name) for name in command[1:])])
        with suppress(SystemExit):
            main()
        assert "warning: the fit warned: outlying runs, far from the law and given little weight: r05" in " ".join(
            capsys.readouterr().err.split()
        )


def test_an_ensemble_states_what_its_forms_warn_of_once(clean):
    losses = clean.pilots.losses.copy()
    losses[5] += 2.0
    fitted = fit(replace(clean.pilots, losses=losses), n_starts=1)
    assert fitted.warnings and fit_warnings(fitted.model) == [f"the fit warned: {line}" for line in fitted.warnings]


def test_robust_residuals_against_differences(clean):
    """Across knees that some losses are past, and with ceilings beside, which have none."""
    block = clean.solved[0].block
    rows = block.rows
    knee = np.where(rows.ceiling[:, None], np.inf, 1e-3 * np.ones(rows.losses.shape))
    block = replace(block, rows=replace(rows, knee=knee))
    x = clean.solved[0].x + 0.05
    past = np.abs(block.scaled_errors(x)) > knee
    assert past.any() and rows.ceiling.any()
    steps = 1e-6 * np.eye(x.size)
    numeric = np.column_stack([(block.residuals(x + step) - block.residuals(x - step)) / 2e-6 for step in steps])
    assert block.jacobian(x) == pytest.approx(numeric, rel=1e-5, abs=1e-5)


def test_whole_mixtures_and_regions_are_held_out():
    """Four budgets of each mixture: neighbours in the folds over runs, none over mixtures or regions."""
    rng = np.random.default_rng(4)
    ratios = np.repeat(rng.dirichlet(np.ones(3), 12), 4, axis=0)
    runs = exact_runs(0, n=48, noise=0.01)
    tokens = np.tile(1e6 * 2.0 ** np.arange(4), 12)
    off = np.repeat(0.05 * rng.standard_normal((12, 3)), 4, axis=0)  # what the law cannot know of a mixture
    losses = E + B * ((tokens / 1e6)[:, None] * (ratios @ HELP.T)) ** -BETA + off
    runs = replace(runs, ratios=ratios, tokens=tokens, losses=losses)
    assert np.bincount(runs.mixtures).tolist() == [4] * 12
    assert sorted(np.bincount(runs.replicates)) == [1] * 48
    _, (score,) = cross_validate(runs, "power", ["gated"])
    assert score.mae < score.by_mixture and score.mae < score.by_region


def scaling_runs(early, seed=0):
    """Return a synthetic table of the design of Chinchilla's figure: nine budgets of compute, 26 model sizes each.

    Parameters as published (arXiv 2404.10102), noise of Student's with 3 degrees of freedom; `early` points of large
    models, long before their loss has fallen, come last.
    """
    rng = np.random.default_rng(seed)
    compute = np.repeat(10.0 ** np.linspace(18.8, 21.5, 9), 26)
    sizes = np.sqrt(compute / 6 / 20) * 10.0 ** np.tile(np.linspace(-0.6, 0.6, 26), 9)
    budgets = compute / (6 * sizes)
    losses = 1.8172 + 482.01 * sizes**-0.3478 + 2085.43 * budgets**-0.3658
    losses *= 1 + 0.003 * rng.standard_t(3, losses.size)
    large = np.array([6.8e9, 3.0e9, 2.6e9, 2.3e9, 2.0e9])[:early]
    sizes, budgets = np.append(sizes, large), np.append(budgets, 9.6e18 / (6 * large))
    losses = np.append(losses, np.array([5.01, 4.67, 3.79, 3.77, 3.45])[:early])
    names, one = tuple(f"r{k:03d}" for k in range(losses.size)), np.ones((losses.size, 1))
    return PilotRuns(names, ("text",), ("text",), one, budgets, losses[:, None], sizes)


def scaling_law(early):
    fitted = fit(scaling_runs(early), "power_nd", "none", n_starts=1)
    (one,) = fitted.solved
    errors = np.sqrt(np.diag(covariance(fitted).spreads[0].covariance))
    return fitted, one.x, errors


def test_five_early_points_do_not_move_a_scaling_law():
    clean, x, errors = scaling_law(0)
    values = {name: float(value[0]) for name, value in clean.model.parameters.items()}
    assert values["E"] == pytest.approx(1.8172, abs=0.02) and not clean.outliers
    assert values["a"] == pytest.approx(0.3478, abs=0.02) and values["beta"] == pytest.approx(0.3658, abs=0.02)
    fitted, moved, _ = scaling_law(5)
    assert (np.abs(moved - x) < errors).all()
    assert set(fitted.outliers) == {"r234", "r235", "r236", "r237"}  # the fifth is eleven noises away


def test_the_knee_of_mixtures_would_let_them(monkeypatch):
    monkeypatch.setattr("climbopt.fitting.outliers.KNEE_ALONE", KNEE)
    x, moved = scaling_law(0)[1], scaling_law(5)[1]
    assert (np.abs(moved - x) > 3 * scaling_law(0)[2]).any()
