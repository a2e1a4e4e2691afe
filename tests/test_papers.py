"""Each published law and interaction against its formula, written out one language at a time; its parameters."""

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import random_model
from test_fitting import simulate

from climbopt import fit
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS

UNIT = 1e9
"""Tokens that count as 1 in `random_model`; its params count as they are."""
TOKENS, PARAMS = 3e9, 5.0

BY_HAND = {
    "power": lambda p, z, D, N: p["E"] + p["B"] * (D * z) ** -p["beta"],
    "power_nd": lambda p, z, D, N: p["E"] + p["A"] / N ** p["a"] + p["B"] / (D * z) ** p["beta"],
    "msl": lambda p, z, D, N: (p["E"] + p["A"] / N ** p["a"] + p["B"] / D ** p["beta"]) * z ** -p["gamma"],
    "exponential": lambda p, z, D, N: p["c"] + p["kappa"] * math.exp(z),
    "additive": lambda p, z, D, N: p["E"] + 1 / z + p["A"] / N ** p["a"] + p["B"] / D ** p["beta"],
    "bimix": lambda p, z, D, N: p["A"] / z ** p["a"] * (p["B"] / D ** p["beta"] + 1),
    "split": lambda p, z, D, N: p["E"] / z ** p["a"] + p["B"] / D ** p["beta"] / z ** p["gamma"],
    "split_nd": lambda p, z, D, N: (
        p["E"] / z ** p["a"] + p["A"] / N ** p["nu"] + p["B"] / D ** p["beta"] / z ** p["gamma"]
    ),
    "information_power": lambda p, z, D, N: p["alpha"] * z ** -p["beta"],
}


def worth(tokens, supply, rate):
    """ATLAS: each token beyond the supply is worth less than the one before."""
    if tokens <= supply:
        return tokens
    return supply * (1 + (1 - math.exp(-rate * (tokens / supply - 1))) / rate)


def information(p, j, tokens, D, N):
    """InfoLaw: M tokens used R times each."""
    once = min(tokens, p["U"][j])
    scale, rate = math.log(D / p["K"]), p["a"] * math.log(N) + p["c"]
    return 0.0 if tokens == 0 else p["q"][j] * once * scale * (1 - math.exp(-rate * tokens / once / scale))


def z_by_hand(name, p, i, r, D, N):
    """Return z of target i, which is source i, for lists p[...] by target, source or [target][source]."""
    others = [j for j in range(len(r)) if j != i]
    if name == "mixing":
        return sum(p["t"][i][j] * r[j] for j in others)
    if name == "additive_power":
        return p["c_own"][i] * r[i] ** p["g_own"][i] + sum(p["c"][i][j] * r[j] ** p["g"][i][j] for j in others)
    if name == "powers":
        own, other = ([x * (x + 0.01) ** (p[of][i] - 1) for x in r] for of in ("p", "g"))
        help_of = (p["s"][i][j] * own[i] * r[j] + (p["c"][i][j] + p["l"][i][j] / D) * other[j] for j in others)
        return own[i] + p["h"][i] / D + sum(help_of)
    if name == "repetition":
        own = worth(r[i] * D, p["U"][i], p["l"][i]) / D
        return own + sum(p["tau"][i][j] * worth(r[j] * D, p["U"][j], p["l"][j]) / D for j in others)
    if name == "information":
        of_target = {**p, "K": p["K"][i], "a": p["a"][i], "c": p["c"][i]}
        return sum(information(of_target, j, r[j] * D, D, N) for j in range(len(r)))
    raise KeyError(name)


@pytest.mark.parametrize("law", LAWS)
def test_every_law_is_its_formula(law):
    """At z of `random_model`, in the model's units."""
    interaction = {"exponential": "mixing", "additive": "additive_power", "information_power": "information"}.get(
        law, "linear"
    )
    model = random_model(interaction, law=law, seed=7)
    z = np.array([0.3, 0.5, 0.9, 1.2])
    losses = model.at(TOKENS, PARAMS).losses(z)
    for i in range(4):
        p = {
            name: values[i]
            for name, values in model.parameters.items()
            if name in {q.name for q in model.law.parameters}
        }
        assert losses[i] == pytest.approx(BY_HAND[law](p, z[i], TOKENS / UNIT, PARAMS), rel=1e-13)


@pytest.mark.parametrize("interaction", ["mixing", "additive_power", "repetition", "information", "powers"])
def test_every_published_interaction_is_its_formula(interaction):
    """Where tokens are repeated and where they are not."""
    model = random_model(interaction, seed=8)
    p = {name: values.tolist() for name, values in model.parameters.items()}
    for tokens in (0.2e9, TOKENS):
        for seed in range(3):
            r = np.random.default_rng(seed).dirichlet(np.ones(4)).tolist()
            z = model.at(tokens, PARAMS).z(np.array(r))
            assert z.tolist() == pytest.approx(
                [z_by_hand(interaction, p, i, r, tokens / UNIT, PARAMS) for i in range(4)], rel=1e-12
            )


@pytest.mark.parametrize("interaction", ["mixing", "additive_power", "repetition", "information", "powers"])
def test_z_does_not_depend_on_the_unit_of_tokens(interaction):
    """Parameters in tokens change with the unit, z as a ratio does not; information counts in tokens itself."""
    model = random_model(interaction, seed=8)
    factor = 1000.0
    tokens = {p.name for p in model.interaction.parameters if p.unit == "tokens"}
    values = {name: v / factor if name in tokens else v for name, v in model.parameters.items()}
    other = replace(model, parameters=values, token_unit=UNIT * factor)
    ratios = np.random.default_rng(0).dirichlet(np.ones(4), 20)
    scale = factor if interaction == "information" else 1.0
    np.testing.assert_allclose(
        other.at(TOKENS, PARAMS).z(ratios) * scale, model.at(TOKENS, PARAMS).z(ratios), rtol=1e-12
    )


SHOWN = {
    "msl": ("none", {"a": 0.1, "beta": 0.01, "gamma": 0.01}),
    "bimix": ("none", {"A": 0.01, "a": 0.01, "beta": 0.01}),
    "exponential": ("mixing", {"c": 0.02, "kappa": 0.02, "t": 0.03}),
    "additive": ("additive_power", {"a": 0.1, "beta": 0.01}),
}
"""Parameters that runs without noise show in spite of the priors, and how well; others share a sum or a product."""


@pytest.mark.parametrize("law", SHOWN)
def test_parameters_that_the_losses_show_come_back(law):
    interaction, shown = SHOWN[law]
    truth = random_model(interaction, law=law, sources=3, seed=11)
    rng = np.random.default_rng(0)
    ratios = np.maximum(rng.dirichlet(np.ones(3), size=150), 0.03)
    ratios /= ratios.sum(axis=1, keepdims=True)
    params = rng.choice([1.0, 4.0, 16.0, 64.0], 150) if truth.templates.uses_model_size else None
    runs = simulate(truth, ratios, rng.choice([0.1e9, 1e9, 10e9, 100e9], 150), noise=0.0, params=params)
    found = fit(runs, LAWS[law], INTERACTIONS[interaction], n_starts=1).model.parameters
    for name, tolerance in shown.items():
        np.testing.assert_allclose(found[name], truth.parameters[name], rtol=tolerance, err_msg=name)
