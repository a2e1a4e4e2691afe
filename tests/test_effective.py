"""Effective tokens: closed forms, agreement with z where z is the effective ratio, and where there are none."""

import json

import numpy as np
import pytest
from conftest import random_model, random_ratios

from climbopt import AllocationProblem, solve
from climbopt.model.effective import effective_tokens
from climbopt.model.ensemble import Ensemble, Stacked
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.templates import agreeing_pairs
from climbopt.reports.results import result_json

BUDGET, SIZE = 2.3e9, 1.7
CLOSED = {
    "split": lambda p, L, size: (p["B"] / (L - p["E"])) ** (1 / p["beta"]),
    "split_nd": lambda p, L, size: (p["B"] / (L - p["E"] - p["A"] * size ** -p["nu"])) ** (1 / p["beta"]),
    "msl": lambda p, L, size: (p["B"] / (L - p["E"] - p["A"] * size ** -p["a"])) ** (1 / p["beta"]),
    "bimix": lambda p, L, size: (p["B"] / (L / p["A"] - 1)) ** (1 / p["beta"]),
}


def tokens_of(model, ratios):
    return effective_tokens(model.at(BUDGET, SIZE), ratios)


@pytest.mark.parametrize("law", CLOSED)
def test_closed_forms(law):
    model = random_model(law=law)
    mixtures = np.random.default_rng(3).dirichlet(np.ones(4), 20)
    losses = model.at(BUDGET, SIZE).predicted(mixtures)
    expected = model.token_unit * CLOSED[law](model.parameters, losses, SIZE)
    np.testing.assert_allclose(tokens_of(model, mixtures), expected, rtol=1e-9)
    assert np.isfinite(expected).all()


@pytest.mark.parametrize("interaction", ["gated", "linear", "saturating", "repetition"])
@pytest.mark.parametrize("law", ["power", "power_nd"])
def test_inversion_agrees_with_z_where_it_is_the_effective_ratio(law, interaction):
    model, ratios = random_model(interaction, law=law), random_ratios(4)
    z = model.at(BUDGET, SIZE).z(ratios)
    assert model.templates.gives_effective_ratio
    np.testing.assert_array_equal(tokens_of(model, ratios), BUDGET * z)
    # An ensemble of one model has the same losses, and is inverted.
    np.testing.assert_allclose(tokens_of(Ensemble([model]), ratios), BUDGET * z, rtol=1e-11)


def test_a_language_alone_has_its_own_tokens():
    for law, interaction in agreeing_pairs():
        if law.name in ("exponential", "information_power"):
            continue
        model = random_model(interaction.name, law=law.name)
        parameters = dict(model.parameters)
        parameters |= {name: 0 * parameters[name] for name in ("h",) if name in parameters}
        parameters |= {"U": np.full(4, 10.0)} if "U" in parameters else {}
        alone = type(model)(law, interaction, model.sources, model.targets, parameters, model.token_unit)
        tokens = np.diag(tokens_of(alone, np.eye(4)))
        np.testing.assert_allclose(tokens, BUDGET, rtol=1e-9, err_msg=f"{law.name} {interaction.name}")
        assert alone.templates.gives_effective_ratio == (
            law.name in ("power", "power_nd") and interaction.name != "powers"
        )


def test_repeated_tokens_count_less_and_a_head_start_counts():
    for use, law in (("saturating", "power"), ("hurting", "bimix")):
        model = random_model("none", law=law, use=use, sources=2)
        assert (np.diag(tokens_of(model, np.eye(2))) < BUDGET).all()
    assert (np.diag(tokens_of(random_model("gated", law="split", sources=2), np.eye(2))) > BUDGET).all()


def test_none_below_what_any_amount_reaches():
    model = random_model("linear", law="split", sources=2)
    helped = {**model.parameters, "b": np.full((2, 2), 50.0), "E": np.array([1.0, 1.0]), "a": np.array([1.0, 1e-9])}
    helped |= {"gamma": np.array([0.3, 0.1])}
    strong = type(model)(LAWS["split"], INTERACTIONS["linear"], model.sources, model.targets, helped, 1e9)
    ratios = np.array([0.5, 0.5])
    losses = strong.at(BUDGET).predicted(ratios)
    assert losses[0] < 1 < losses[1]
    tokens = tokens_of(strong, ratios)
    assert np.isnan(tokens[0]) and tokens[1] > BUDGET
    result = solve(AllocationProblem(strong, BUDGET))
    s0, s1 = model.targets
    assert result.effective_tokens[s0] is None and result.effective_ratios[s0] is None
    assert result.effective_tokens[s1] == pytest.approx(BUDGET * result.effective_ratios[s1])
    text = json.loads(json.dumps(result_json(result)))
    assert text["effective_tokens"] == {**result.effective_tokens} and text["z"] == {**result.z}


def test_no_tokens_where_the_law_does_not_know_the_budget():
    for interaction in ("mixing", "information"):
        model = random_model(interaction, targets=("other",))
        assert np.isnan(tokens_of(model, random_ratios(4))).all()


def test_an_ensemble_has_the_tokens_at_which_its_mean_loss_is_the_mixtures():
    blocks = [random_model("gated", law="power", seed=1), random_model("overlap", law="bimix", seed=2)]
    blocks.append(random_model("gated", law="power", seed=3))
    ensemble = Ensemble(blocks, (3, 2, 1))
    mixtures = np.random.default_rng(5).dirichlet(np.ones(4), 6)
    tokens, losses = tokens_of(ensemble, mixtures), ensemble.at(BUDGET).predicted(mixtures)
    alone = np.zeros(tokens.shape)
    for weight, block in zip(ensemble.weights, ensemble.blocks, strict=True):
        for i in range(4):
            D, p = tokens[:, i] / 1e9, {name: value[i] for name, value in block.parameters.items()}
            power = p["B"] * D ** -p["beta"]
            alone[:, i] += weight * (p["E"] + power if block.law.name == "power" else p["A"] * (power + 1))
    np.testing.assert_allclose(alone, losses, rtol=1e-12)
    # Each scenario of a model and its draws is inverted by itself.
    scenarios = tokens_of(Stacked.scenarios(blocks[0], [blocks[2]]), mixtures)
    np.testing.assert_allclose(scenarios, np.hstack([tokens_of(b, mixtures) for b in blocks[::2]]), rtol=1e-11)
    answer = solve(AllocationProblem(ensemble, BUDGET))
    assert all(0 < ratio for ratio in answer.effective_ratios.values()) and not answer.z


def test_two_targets_of_an_ensemble_do_not_enter_each_other():
    """Where the first language has no data it has no loss, and the second has all of its own."""
    blocks = [random_model("none", law="power", sources=2, seed=seed) for seed in (1, 2)]
    ensemble, apart = Ensemble(blocks), np.array([[0.0, 1.0], [0.3, 0.7]])
    losses = ensemble.at(BUDGET).predicted(apart)
    assert np.isnan(losses[0, 0]) and ensemble.stacked.mean.nnz == 4
    np.testing.assert_allclose(losses[1], np.mean([b.at(BUDGET).predicted(apart[1]) for b in blocks], axis=0))
    np.testing.assert_allclose(tokens_of(ensemble, apart)[:, 1], BUDGET * apart[:, 1], rtol=1e-9)
    np.testing.assert_allclose(tokens_of(ensemble, apart)[1], BUDGET * apart[1], rtol=1e-9)
