"""Parameters that are known and not fitted, above all the supplies of `repetition`."""

import numpy as np
import pandas as pd
import pytest
from conftest import random_model
from test_fitting import NOISE, design, simulate

from climbopt import InputError, MixtureModel, fit
from climbopt.fitting.coordinates import fit_form
from climbopt.fitting.estimate import _blocks, _held, observations
from climbopt.fitting.select import choose_form, known_to
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.templates import Form
from climbopt.uncertainty.bands import _fitted_like, bands
from climbopt.uncertainty.bootstrap import bootstrap
from climbopt.uncertainty.covariance import covariance
from climbopt.uncertainty.diagnosis import diagnose

REPETITION, POWER = INTERACTIONS["repetition"], LAWS["power"]
NAMES = ("s0", "s1", "s2")
SUPPLIES = {"s0": 0.2e9, "s1": 0.5e9, "s2": 40e9}


@pytest.fixture(scope="module")
def truth():
    values = {
        "E": [1.0, 1.2, 0.9],
        "B": [2.0, 1.5, 1.8],
        "beta": [0.3, 0.25, 0.35],
        "U": [0.2, 0.5, 40.0],
        "l": [0.4, 0.8, 0.6],
        "tau": 0.2 * (1 - np.eye(3)),
    }
    return MixtureModel(POWER, REPETITION, NAMES, NAMES, values, 1e9)


@pytest.fixture(scope="module")
def runs(truth):
    """Budgets below and above the small supplies: some tokens are repeated, up to ten times."""
    ratios, tokens = design(3)
    return simulate(truth, ratios, tokens)


def error(model, truth, tokens):
    """Return the mean error on unseen mixtures."""
    unseen = np.random.default_rng(5).dirichlet(np.full(3, 2.0), size=100)
    ours, theirs = model.at(tokens), truth.at(tokens)
    return np.abs(ours.losses(ours.z(unseen)) - theirs.losses(theirs.z(unseen))).mean()


def test_known_supplies_are_kept_and_the_rest_recovered(truth, runs):
    fitted = fit(runs, POWER, REPETITION, supply=SUPPLIES)
    np.testing.assert_allclose(
        fitted.model.parameters["U"] * fitted.model.token_unit, list(SUPPLIES.values()), rtol=1e-14
    )
    assert fitted.overall.mae < 2 * NOISE and error(fitted.model, truth, 2e9) < 2 * NOISE
    np.testing.assert_allclose(fitted.model.parameters["l"][:2], truth.parameters["l"][:2], rtol=0.25)
    labels = {parameter.name for one in fitted.solved for parameter, _ in one.block.labels}
    assert "log_U" not in labels and "log_l" in labels


def test_wrong_supplies_fit_worse(truth, runs):
    right = fit(runs, POWER, REPETITION, supply=SUPPLIES)
    wrong = fit(runs, POWER, REPETITION, supply=dict.fromkeys(NAMES, 40e9))  # nothing would be repeated
    assert wrong.cost > 5 * right.cost and error(wrong.model, truth, 2e9) > 3 * error(right.model, truth, 2e9)


def test_some_languages_only(runs):
    """What is not named is fitted; s2 is never repeated, so that its supply is only its prior's."""
    fitted = fit(runs, POWER, REPETITION, supply={"s0": 0.2e9, "s1": 0.5e9})
    assert fitted.model.parameters["U"][:2] * fitted.model.token_unit == pytest.approx([0.2e9, 0.5e9])
    labels = [(parameter.name, names) for parameter, names in fitted.solved[0].block.labels]
    assert ("log_U", ("s2",)) in labels and ("log_U", ("s0",)) not in labels


def test_a_parameter_of_the_law(runs):
    fitted = fit(runs, POWER, INTERACTIONS["gated"], fixed={"E": {"s1": 1.15}, "eta": {"s0": 4.0}})
    assert fitted.model.parameters["E"][1] == pytest.approx(1.15) and fitted.model.parameters["E"][0] != 1.15
    assert fitted.model.parameters["eta"][0] == pytest.approx(4.0)


def test_the_jacobian_of_what_is_left(runs):
    form, (rows, _) = fit_form(POWER, REPETITION), observations(runs, POWER, REPETITION)
    (block,) = _blocks(runs, form, rows, _held(runs, form, {"U": {"s0": 0.2e9}, "E": {"s2": 0.9}}))
    x = block.center + 0.2 * block.spread
    jacobian = block.jacobian(x)
    for k in range(x.size):
        step = 1e-6 * (np.arange(x.size) == k)
        change = (block.residuals(x + step) - block.residuals(x - step)) / 2e-6
        np.testing.assert_allclose(jacobian[:, k], change, rtol=1e-4, atol=1e-4 * np.abs(jacobian).max())


def test_draws_and_bands_keep_what_is_known(runs):
    fitted = fit(runs, POWER, REPETITION, supply=SUPPLIES)
    for draw in bootstrap(fitted, 3):
        np.testing.assert_allclose(draw.parameters["U"], fitted.model.parameters["U"], rtol=1e-14)
    assert not any("U[" in name for name in covariance(fitted).standard_errors())


def test_each_candidate_takes_what_it_has(runs):
    fixed = {"U": SUPPLIES}
    assert known_to(Form(POWER, REPETITION), fixed) == fixed
    assert not known_to(Form(POWER, INTERACTIONS["linear"]), fixed)
    forms = [Form(POWER, REPETITION), Form(POWER, INTERACTIONS["linear"])]
    chosen, scores = choose_form(runs, forms, folds=3, fixed=fixed)
    assert chosen.interaction is REPETITION and scores[0].n_parameters == 9 + 3 + 9


@pytest.mark.parametrize(
    ("interaction", "fixed", "message"),
    [
        ("repetition", {"V": {"s0": 1.0}}, "parameter of power \\+ repetition"),
        ("repetition", {"U": {"s0": 1.0}}, "'U' is the supply of a source; give supplies by --supply"),
        ("repetition", {"l": {"sw": 1.0}}, "'sw'"),
        ("repetition", {"l": {"s0": -1.0}}, "'l' of 's0' is fixed at -1; it must be a positive number"),
        ("repetition", {"l": {"s0": np.nan}}, "is fixed at nan"),
        ("gated", {"h": {"s0": 0.2}}, "'h' of 's0' is fixed at 0.2 tokens; write the count"),
        ("repetition", {"tau": {"s0": 1.0}}, "parameter 'tau' of power \\+ repetition cannot be fixed"),
        ("gated", {"h": {"s0": -1.0}}, "'h' of 's0' is fixed at -1"),
        ("gated", {"b": {"s0": 1.0}}, "'b' .* cannot be fixed"),
    ],
)
def test_what_cannot_be_fixed(runs, interaction, fixed, message):
    with pytest.raises(InputError, match=message):
        fit(runs, POWER, INTERACTIONS[interaction], fixed=fixed)


@pytest.fixture
def files(tmp_path, runs):
    rows = [
        {"run": name, "tokens": tokens, "language": language, "ratio": ratio, "loss": loss}
        for name, tokens, ratios, losses in zip(runs.runs, runs.tokens, runs.ratios, runs.losses, strict=True)
        for language, ratio, loss in zip(NAMES, ratios, losses, strict=True)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "pilots.csv", index=False)
    pd.DataFrame([{"language": name, "tokens": value} for name, value in SUPPLIES.items()]).to_csv(
        tmp_path / "supplies.csv", index=False
    )
    return tmp_path


def test_the_command_line(run, files):
    code, out, err = run(
        "fit",
        str(files / "pilots.csv"),
        "--interaction",
        "repetition",
        "--supply",
        str(files / "supplies.csv"),
        "-o",
        str(files / "model.toml"),
    )
    assert code == 0, err
    from climbopt import load_model

    model = load_model(files / "model.toml")
    np.testing.assert_allclose(model.parameters["U"] * model.token_unit, list(SUPPLIES.values()), rtol=1e-12)


def test_draws_of_other_known_values_are_not_taken_up(run, files):
    supplies, draws = files / "supplies.csv", files / "draws.jsonl"
    asked = ("fit", str(files / "pilots.csv"), "--interaction", "repetition", "--bootstrap", "2", "--draws", str(draws))
    assert run(*asked, "--supply", str(supplies))[0] == 0 and run(*asked, "--supply", str(supplies))[0] == 0
    supplies.write_text(supplies.read_text().replace("200000000.0", "300000000.0"))
    code, _, err = run(*asked, "--supply", str(supplies))
    assert code == 2 and "another fit" in " ".join(err.split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parameter,language,value\n", "has no rows"),
        ("language,tokens\ns0,5\n", "known parameters are a table of parameter, language, value"),
        ("parameter,language,value\nE,s0,much\n", "'E' of 's0' in"),
        ("parameter,language,value\nE,s0,\n", "write a number, or leave the row out"),
        ("parameter,language,value\nE,s0,1\nE,s0,2\n", "twice"),
        ("parameter,language,value\nV,s0,1\n", "unknown parameter"),
    ],
)
def test_bad_tables(run, files, text, message):
    (files / "known.csv").write_text(text)
    code, out, err = run(
        "fit",
        str(files / "pilots.csv"),
        "--interaction",
        "repetition",
        "--fixed",
        str(files / "known.csv"),
        "-o",
        str(files / "model.toml"),
    )
    assert code == 2 and message in " ".join(err.split()) and not (files / "model.toml").exists()


def test_a_target_of_which_all_is_known(runs):
    """Nothing is left to fit for s0, and nothing for any target; the others are fitted as before."""
    values = {"E": 1.0, "B": 2.0, "beta": 0.3}
    one = {name: {"s0": value} for name, value in values.items()}
    fitted, free = fit(runs, fixed=one, interaction=INTERACTIONS["none"]), fit(runs, interaction=INTERACTIONS["none"])
    assert [solved.x.size for solved in fitted.solved] == [0, 3, 3]
    assert all(
        fitted.model.parameters[name][0] == pytest.approx(value) for name, value in values.items() if name != "B"
    )
    np.testing.assert_allclose(fitted.model.parameters["E"][1:], free.model.parameters["E"][1:], rtol=1e-3)
    every = fit(
        runs,
        fixed={name: dict.fromkeys(NAMES, value) for name, value in values.items()},
        interaction=INTERACTIONS["none"],
    )
    for known, n_sure in ((fitted, 1), (every, 3)):
        found = diagnose(known, bootstrap(known, 3))
        errors = covariance(known).parameter_errors()["E"]
        assert np.isnan(errors).sum() == n_sure and np.isfinite(found.bands.widths).all()
    assert found.missing_runs == ()


def test_bands_are_of_folds_that_know_as_much(runs):
    """Else the folds' errors are those of another fit than the one whose bands they widen."""
    fitted = fit(runs, POWER, REPETITION, supply=SUPPLIES)
    part = _fitted_like(fitted, runs.select(np.arange(len(runs.runs)) % 2 == 0))
    np.testing.assert_allclose(part.model.parameters["U"] * part.model.token_unit, list(SUPPLIES.values()), rtol=1e-12)
    free = fit(runs, POWER, REPETITION)
    covered = [bands(covariance(one)).coverage for one in (fitted, free)]  # by the folds alone
    assert not np.allclose(*covered)


def test_auto_refuses_known_values_of_nothing(runs):
    forms = [Form(POWER, INTERACTIONS["none"]), Form(POWER, REPETITION)]
    with pytest.raises(InputError, match="unknown parameter of the forms that are tried 'UU'; did you mean 'U'"):
        choose_form(runs, forms, fixed={"UU": SUPPLIES})
    with pytest.raises(InputError, match="unknown language with a known 'U' 's3'"):
        choose_form(runs, forms, fixed={"U": {"s3": 1e9}})


def test_a_model_of_fixed_supplies_has_no_kink_to_mind():
    """`repetition` is smooth at U, so that known supplies change nothing about how it is solved."""
    assert not random_model("repetition").templates.kinked
