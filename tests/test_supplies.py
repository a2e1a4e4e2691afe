"""Fits with known supplies: uses and their parameters, supplies of single runs, problems, predictions, files."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import random_model
from test_fitting import design, simulate

from climbopt import AllocationProblem, InputError, fit, load_model, predict, solve
from climbopt.fitting.coordinates import fit_form
from climbopt.fitting.estimate import _blocks, _held, _noise, observations
from climbopt.fitting.select import candidates
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.mixture import MixtureModel
from climbopt.model.uses import USES
from climbopt.runs.pilots import PilotRuns

NAMES = ("s0", "s1", "s2")
SUPPLIES = {"s0": 0.2e9, "s1": 0.5e9, "s2": 40e9}


@pytest.fixture(scope="module")
def truth():
    values = {
        "E": [1.0, 1.2, 0.9],
        "B": [2.0, 1.5, 1.8],
        "beta": [0.3, 0.25, 0.35],
        "eta": [5.0, 4.0, 6.0],
        "h": np.zeros(3),
        "b": 0.2 * (1 - np.eye(3)),
        "k": np.zeros((3, 3)),
        "l": np.full((3, 3), 0.02),
        "U": [0.2, 0.5, 40.0],
        "R": [2.0, 8.0, 5.0],
    }
    return MixtureModel(LAWS["power"], INTERACTIONS["gated"], NAMES, NAMES, values, 1e9, use=USES["saturating"])


@pytest.fixture(scope="module")
def runs(truth):
    return simulate(truth, *design(3))


@pytest.fixture(scope="module")
def fitted(runs):
    return fit(runs, interaction="gated", use="saturating", supply=SUPPLIES)


def table(runs):
    """Return runs as a tidy table."""
    columns = {"run": runs.runs, "tokens": runs.tokens}
    rows = []
    for k in range(len(runs.runs)):
        for j, language in enumerate(runs.sources):
            row = {name: column[k] for name, column in columns.items()} | {"language": language}
            row |= {"ratio": runs.ratios[k, j], "loss": runs.losses[k, j]}
            rows.append(row | ({} if runs.supply is None else {"supply": runs.supply[k, j]}))
    return pd.DataFrame(rows)


def test_a_use_is_recovered(truth, fitted):
    model = fitted.model
    assert model.label == "power + gated + saturating use"
    np.testing.assert_allclose(model.parameters["U"] * model.token_unit, list(SUPPLIES.values()), rtol=1e-14)
    np.testing.assert_allclose(np.log(model.parameters["R"][:2]), np.log([2.0, 8.0]), atol=0.4)
    unseen = np.random.default_rng(5).dirichlet(np.full(3, 2.0), size=100)
    assert np.abs(model.at(2e9).predicted(unseen) - truth.at(2e9).predicted(unseen)).mean() < 0.01


def test_once_is_the_default_without_supplies_and_diluting_with_them(runs, fitted):
    assert fit(runs, interaction="gated", n_starts=1).model.use is USES["once"]
    assert fit(runs, interaction="gated", supply=SUPPLIES, n_starts=1).model.use is USES["diluting"]
    assert fit(runs, interaction="gated", use="once", supply=SUPPLIES, n_starts=1).model.use is USES["once"]
    assert fit(runs, interaction="repetition", supply=SUPPLIES, n_starts=1).model.use is USES["once"]
    assert fit(runs, interaction="gated", use="once", n_starts=1).cost > fitted.cost + 10


@pytest.mark.slow
def test_auto_chooses_among_the_uses(runs):
    result = fit(runs, interaction="linear", use="auto", supply=SUPPLIES)
    assert {score.use for score in result.scores} == set(USES) and result.model.use is not USES["once"]


@pytest.mark.parametrize("use", list(USES)[1:])
def test_the_jacobian_of_a_fit_with_runs_of_their_own_supplies(runs, use):
    rng = np.random.default_rng(1)
    own = replace(runs, supply=rng.uniform(0.1e9, 1e9, runs.ratios.shape))
    form, (rows, _) = (
        fit_form(LAWS["power"], INTERACTIONS["gated"], USES[use]),
        observations(own, LAWS["power"], INTERACTIONS["gated"]),
    )
    (block,) = _blocks(own, form, rows, _held(own, form, {"U": SUPPLIES}))
    x = block.center + 0.2 * block.spread
    jacobian = block.jacobian(x)
    assert not any(parameter.name == "log_U" for parameter, _ in block.labels)
    for k in range(x.size):
        step = 1e-6 * (np.arange(x.size) == k)
        change = (block.residuals(x + step) - block.residuals(x - step)) / 2e-6
        np.testing.assert_allclose(jacobian[:, k], change, rtol=1e-4, atol=1e-4 * np.abs(jacobian).max())


def test_runs_with_supplies_of_their_own(truth, runs):
    """Smaller runs with a fifth of the supplies: one U for all would be wrong for them."""
    shares = np.where(runs.tokens == runs.tokens.max(), 1.0, 0.2)
    supply = shares[:, None] * np.array(list(SUPPLIES.values()))
    losses = truth.at(runs.tokens, None, supply).predicted(runs.ratios)
    own = PilotRuns.from_frame(table(replace(runs, losses=losses, supply=supply)))
    np.testing.assert_allclose(own.supply, supply)
    result = fit(own, interaction="gated", use="saturating")
    wrong = fit(replace(own, supply=None), interaction="gated", use="saturating", supply=SUPPLIES)
    np.testing.assert_allclose(result.model.parameters["U"] * result.model.token_unit, list(SUPPLIES.values()))
    assert result.overall.mae < 0.02 and wrong.overall.mae > 1.5 * result.overall.mae
    predicted = predict(result.model, table(own))
    trained = predicted[predicted["ratio"] > 0]
    assert np.abs(trained["predicted"] - trained["loss"]).mean() == pytest.approx(result.overall.mae)
    part = own.select(np.array([3, 1]))
    np.testing.assert_allclose(part.supply, supply[[3, 1]])


def test_the_supply_of_a_problem_is_that_of_its_run(fitted):
    own = AllocationProblem(fitted.model, budget=4e9)
    more = AllocationProblem(fitted.model, budget=4e9, supply={"s0": 40e9})
    assert more.model.parameters["U"][0] * more.model.token_unit == pytest.approx(40e9)
    before, after = solve(own), solve(more)
    assert after.objective < before.objective and after.ratios["s0"] > before.ratios["s0"]
    assert before.certificate.passed and after.certificate.passed


@pytest.mark.parametrize("use", list(USES)[1:])
@pytest.mark.parametrize("backend", ["ipopt", "trust_constr", "cvxpy_dnlp", "pyomo"])
def test_backends_agree_with_newton(use, backend):
    if use == "information" and backend in ("cvxpy_dnlp", "pyomo"):
        pytest.skip("its slope jumps, which these systems cannot write")
    problem = AllocationProblem(random_model("gated", use=use, seed=2), budget=3e9)
    ours, theirs = solve(problem), solve(problem, backend=backend)
    assert ours.certificate.passed
    np.testing.assert_allclose(list(theirs.ratios.values()), list(ours.ratios.values()), atol=1e-4)


def test_two_step_refuses_a_use_that_falls():
    with pytest.raises(InputError, match="more tokens are never worth less, and 'hurting' is none"):
        solve(AllocationProblem(random_model("none", use="hurting"), budget=1e11), procedure="two_step")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fixed": {"U": SUPPLIES}}, "give supplies by --supply"),
        ({"use": "saturating"}, "use 'saturating' needs the supply of each source"),
        ({"supply": {"s0": 1e9}}, "the supply of s1, s2 is not stated"),
        ({"supply": SUPPLIES | {"xx": 1e9}}, "unknown language with a supply 'xx'"),
        ({"supply": SUPPLIES, "use": "satuating"}, "did you mean 'saturating'"),
        ({"supply": SUPPLIES, "interaction": "repetition", "use": "hurting"}, "counts repeated tokens itself"),
    ],
)
def test_refusals(runs, arguments, message):
    with pytest.raises(InputError, match=message):
        fit(runs, **{"interaction": "gated"} | arguments)


def test_files_and_command_line(run, runs, tmp_path):
    table(runs).to_csv(tmp_path / "pilots.csv", index=False)
    (tmp_path / "supply.csv").write_text("language,tokens\ns0,200M\ns1,500M\ns2,40B\n")
    known = ["--supply", str(tmp_path / "supply.csv")]
    code, _, err = run(
        "fit", str(tmp_path / "pilots.csv"), "--interaction", "gated", *known, "-o", str(tmp_path / "m.toml")
    )
    assert code == 0, err
    model = load_model(tmp_path / "m.toml")
    assert model.use is USES["diluting"] and 'use = "diluting"' in (tmp_path / "m.toml").read_text()
    np.testing.assert_allclose(model.parameters["U"] * model.token_unit, list(SUPPLIES.values()))
    (tmp_path / "more.csv").write_text("language,tokens\ns0,90e9\n")
    outputs = [tmp_path / "own.csv", tmp_path / "more.out.csv"]
    for output, extra in zip(outputs, ([], ["--supply", str(tmp_path / "more.csv")]), strict=True):
        code, _, err = run("predict", str(tmp_path / "m.toml"), str(tmp_path / "pilots.csv"), *extra, "-o", str(output))
        assert code == 0, err
    own, more = (pd.read_csv(output)["predicted"] for output in outputs)
    assert (more <= own + 1e-12).all() and (more < own - 0.01).any()
    for text, message in (
        ("language,words\ns0,1\n", "supplies are a table of language, tokens"),
        ("language,tokens\ns0,1e9\ns0,2e9\n", "twice"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        code, _, err = run("fit", str(tmp_path / "pilots.csv"), "--supply", str(tmp_path / "bad.csv"))
        assert code == 2 and message in " ".join(err.split())


def test_a_gate_that_is_shut_for_a_target_that_is_no_source():
    shut = {name for name, interaction in INTERACTIONS.items() if interaction.shut_without_own_data}
    assert shut == {"none", "gated"}
    truth = random_model("overlap", sources=3, targets=("s0", "s1", "s2", "other"))
    runs = simulate(truth, *design(3))
    assert fit(runs, law="power", n_starts=1).model.interaction.name == "overlap"
    gated = fit(runs, law="power", interaction="gated", n_starts=1)
    assert any("other: no source" in line for line in gated.warnings)
    forms = candidates("power", "auto", sized=False, unseen=True)
    assert {form.interaction.name for form in forms} == {"linear", "saturating", "overlap", "repetition", "powers"}


def test_runs_that_are_mostly_repeats_weigh_less(runs):
    """Twice the noise at two fifths of repeats: a run of one source with a fifth of its tokens in supply has 1 + 4."""
    alone = replace(runs, ratios=np.eye(3)[:1], tokens=np.array([1e9]), losses=runs.losses[:1], runs=runs.runs[:1])
    noise = _noise(replace(alone, supply=np.array([[0.2e9, 1e9, 1e9]])))
    np.testing.assert_allclose(noise / _noise(replace(alone, supply=None)), 5.0)
