"""Learned priors of pairs: what regressions recover, when pooling and features stay, and tables of features."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from climbopt import fit
from climbopt.files import load_features
from climbopt.fitting.components import components
from climbopt.fitting.pooling import pooled, with_pooling
from climbopt.fitting.select import dealt
from climbopt.foundations.errors import InputError
from climbopt.runs.features import Features
from climbopt.runs.pilots import PilotRuns

NAMES = ("a", "b", "c", "d", "e")
NOISE = 0.002
KINSHIP = np.array([[0, 1, 0, 1, 0], [1, 0, 1, 0, 0], [0, 0, 0, 1, 1], [1, 0, 1, 0, 0], [1, 0, 0, 1, 0]], dtype=float)


def linear_runs(transfer, n=14, seed=3):
    """Return runs of the law power under `linear`, (T, S) transfer, with noise as a share of the loss."""
    rng = np.random.default_rng(seed)
    ratios, tokens = rng.dirichlet(np.full(len(NAMES), 0.7), n), 1e9 * 4.0 ** (np.arange(n) % 2)
    z = ratios + ratios @ (transfer * (1 - np.eye(len(NAMES)))).T
    losses = (1 + 1.5 * (z * tokens[:, None] / 1e9) ** -0.3) * (1 + NOISE * rng.standard_normal(z.shape))
    return PilotRuns(tuple(f"r{k}" for k in range(n)), NAMES, NAMES, ratios, tokens, losses)


def kin(values=KINSHIP):
    pairs = [(i, j) for i in range(len(NAMES)) for j in range(len(NAMES)) if i != j]
    return Features(("kin",), {(NAMES[j], NAMES[i]): (float(values[i, j]),) for i, j in pairs})


def centers(fitted):
    """Return the prior centers of transfer at the smallest budget, (T, S)."""
    result = np.full((len(NAMES),) * 2, np.nan)
    for part in fitted.solved:
        for (parameter, names), center in zip(part.block.labels, part.block.center, strict=True):
            if parameter.name == "alpha_smallest":
                result[NAMES.index(names[0]), NAMES.index(names[1])] = center
    return result


@pytest.fixture(scope="module")
def declared():
    return fit(linear_runs(0.2 * KINSHIP, 20), "power", "linear", n_starts=1)


def test_components_of_a_known_design():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1], [12, 9])
    i, j = np.divmod(np.arange(108), 9)
    design = np.hstack([np.eye(12)[i], np.eye(9)[j]])
    design -= design.mean(axis=0)
    effects = np.concatenate([0.1 * rng.standard_normal(12), 1.5 * rng.standard_normal(9)])
    noise = rng.uniform(0.005, 0.05, 108)
    values = design @ effects + 0.3 * rng.standard_normal(108) + np.sqrt(noise) * rng.standard_normal(108)
    learned = components(values, noise, design, groups)
    assert learned.variances[0] < 0.2 < 0.8 < learned.variances[1]
    # The start counts as four observations of 1 beside these 108 of 0.09.
    assert 0.05 < learned.residual < 0.2
    shift = design @ learned.effects
    scores = (shift - design @ effects) / np.sqrt(learned.variance(design) - learned.residual)
    assert np.sqrt(np.mean((shift - design @ effects) ** 2)) < 0.25 and 0.5 < scores.std() < 1.6


def test_priors_follow_features_and_donors(declared):
    told = centers(pooled(declared, kin().design(NAMES, NAMES)))
    assert np.isnan(np.diag(told)).all() and np.nanmin(told) >= 0
    assert told[KINSHIP == 1].min() > 0.03 and np.nanmax(told[KINSHIP == 0]) < 0.01
    donors = np.array([0.3, 0.3, 0.0, 0.0, 0.0])
    by_donor = centers(pooled(fit(linear_runs(np.tile(donors, (5, 1)), 20), "power", "linear", n_starts=1)))
    assert np.nanmin(by_donor[:, :2]) > 0.01 and np.nanmax(by_donor[:, 2:]) < 0.005


def test_noise_is_that_of_the_residuals(declared):
    """Losses have a noise of 0.2 %, and the fit assumes 0.7 %."""
    for before, after in zip(declared.solved, pooled(declared).solved, strict=True):
        share = after.block.rows.scale[:20] / before.block.rows.scale[:20]
        # A scale times the noise, divided by the scale, is the noise up to rounding.
        assert share == pytest.approx(np.full(share.shape, share[0, 0]), rel=1e-12) and 0.2 < share[0, 0] < 0.7
    model = pooled(declared).model
    assert (model.parameters["b"] + model.parameters["k"] >= 0).all()


@pytest.mark.parametrize("best", ["declared", "pooled", "features"])
def test_what_predicts_mixtures_left_out_best_stays(declared, monkeypatch, best):
    by_way = {"declared": 0.2, "pooled": 0.2, "features": 0.2} | ({} if best == "declared" else {best: 0.1})
    monkeypatch.setattr("climbopt.fitting.pooling._held_out_errors", lambda *_: by_way)
    chosen = with_pooling(declared, kin())
    features = kin().design(NAMES, NAMES) if best == "features" else None
    expected = declared if best == "declared" else pooled(declared, features)
    np.testing.assert_array_equal(chosen.model.parameters["b"], expected.model.parameters["b"])
    assert chosen.pooling.way == best and chosen.pooling.errors == by_way
    assert chosen.pooling.words.startswith(f"{'declared' if best == 'declared' else 'pooled'} priors")
    assert ("with features stay" in chosen.pooling.words) == (best == "features")


def test_errors_are_those_of_whole_mixtures_left_out(monkeypatch):
    monkeypatch.setattr("climbopt.fitting.pooling.FOLDS", 2)
    runs = linear_runs(0.2 * KINSHIP)
    fold = dealt(runs.mixtures, 2, 0)
    expected = []
    for k in range(2):
        out = runs.select(fold == k)
        model = fit(runs.select(fold != k), "power", "linear", n_starts=1).model
        expected.append(np.abs(model.at(out.tokens).predicted(out.ratios) - out.losses).ravel())
    one = with_pooling(fit(runs, "power", "linear", n_starts=1), True)
    assert one.pooling.errors["declared"] == pytest.approx(np.concatenate(expected).mean())
    assert one.pooling.way == min(one.pooling.errors, key=one.pooling.errors.get)


def test_missing_losses_and_outlying_ones_leave_the_noise_as_it_is():
    runs = linear_runs(0.2 * KINSHIP, 30)
    losses, far = runs.losses.copy(), int(runs.ratios[:, 0].argmax())
    losses[3, 1] = np.nan
    losses[far, 0] += 2
    scales = []
    for each in (runs, replace(runs, losses=losses)):
        learned = pooled(fit(each, "power", "linear", n_starts=1))
        scales.append([float(np.median(part.block.rows.scale[:30])) for part in learned.solved])
    assert learned.outliers == (f"r{far}",) and np.isinf(learned.solved[1].block.rows.scale[3])
    np.testing.assert_allclose(scales[1], scales[0], rtol=0.25)


def test_few_runs_are_left_as_they_are():
    few = linear_runs(0.2 * KINSHIP, 3)
    alone, plain = (fit(few, "power", "linear", n_starts=1, pool=pool) for pool in (True, False))
    assert alone.pooling.way == "declared" and not alone.pooling.errors and "too few" in alone.pooling.words
    np.testing.assert_array_equal(alone.model.parameters["b"], plain.model.parameters["b"])


def test_design_of_features():
    rows = {("a",): ("latin", 1.0), ("b",): ("latin", 4.0), ("c",): ("greek", 1.0)}
    design = Features(("script", "size"), rows).design(NAMES[:3], NAMES[:3])
    apart = ~np.eye(3, dtype=bool)
    # Same script; size of the source, of the target, and how far apart they are.
    assert design.shape == (3, 3, 4)
    np.testing.assert_allclose(design[apart].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((design[apart] ** 2).mean(axis=0), 1)
    same = design[..., 0]
    assert same[0, 1] == same[1, 0] > 0 > same[0, 2] == same[2, 1]
    assert design[0, 1, 1] > 0 > design[1, 0, 1] and design[1, 0, 2] > 0 > design[0, 1, 2]
    words = Features(("kin",), {("a", "b"): ("near",), ("b", "a"): ("far",)}).design(NAMES[:2], NAMES[:2])
    assert words.shape == (2, 2, 2) and (words[1, 0] == -words[0, 1]).all()
    constant = Features(("x",), {("a",): (1.0,), ("b",): (1.0,)}).design(NAMES[:2], NAMES[:2])
    assert constant.shape == (2, 2, 0)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"language": ["a", "b"], "target": ["b", "a"], "source": ["a", "b"]}, "a column per feature"),
        ({"tongue": ["a"], "x": [1]}, "features are a table of language"),
        ({"language": ["a", "a"], "x": [1, 2]}, "has 'a' twice"),
        ({"language": ["a", "b"], "x": [1, None]}, "'x' of 'b' in .* is empty"),
        ({"language": ["a", "b"], "x": ["inf", 2]}, "finite"),
        ({"language": ["a", "b"], "x": ["one", 2]}, "numbers and words"),
        ({"source": ["a"], "target": ["b"], "x": [1]}, None),
    ],
)
def test_tables_of_features(tmp_path, table, words):
    path = tmp_path / "features.csv"
    pd.DataFrame(table).to_csv(path, index=False)
    if words is None:
        features = load_features(path)
        assert features.of_pairs and features.rows == {("a", "b"): (1.0,)}
        with pytest.raises(InputError, match="no features of source 'b' for target 'a'"):
            features.design(("a", "b"), ("a", "b"))
        return
    with pytest.raises(InputError, match=words):
        load_features(path)


def test_features_are_taken_by_their_path(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr("climbopt.fitting.fit.with_pooling", lambda fitted, pool, _: taken.append(pool) or fitted)
    path, table = tmp_path / "features.csv", pd.DataFrame({"language": NAMES, "size": np.arange(5)})
    table.to_csv(path, index=False)
    fit(linear_runs(0.2 * KINSHIP), "power", "linear", n_starts=1, pool=str(path))
    assert taken == [load_features(path)]
    with pytest.raises(InputError, match="a DataFrame is no features; give pool=True, or the path"):
        fit(linear_runs(0.2 * KINSHIP), "power", "linear", n_starts=1, pool=table)


def test_on_the_command_line(run, tmp_path, monkeypatch):
    monkeypatch.setattr("climbopt.fitting.pooling.FOLDS", 2)
    runs, features, model = tmp_path / "runs.csv", tmp_path / "features.csv", tmp_path / "model.toml"
    linear_runs(0.2 * KINSHIP).to_frame().to_csv(runs, index=False)
    pd.DataFrame({"language": NAMES, "size": np.arange(5)}).to_csv(features, index=False)
    form = ("--law", "power", "--interaction", "linear")
    code, out, err = run("fit", runs, *form, "--features", features, "-o", model, "--json", tmp_path / "fit.json")
    assert code == 0 and " stay: error on mixtures left out " in " ".join(out.split()), err
    record = json.loads((tmp_path / "fit.json").read_text())["pooling"]
    assert list(record["held_out_mae"]) == ["declared", "pooled", "features"]
    assert record["held_out_mae"][record["way"]] == min(record["held_out_mae"].values())
    pd.DataFrame({"language": NAMES[:4], "size": np.arange(4)}).to_csv(features, index=False)
    code, _, err = run("fit", runs, *form, "--features", features)
    assert code == 2 and "no features of e" in err and "Traceback" not in err
