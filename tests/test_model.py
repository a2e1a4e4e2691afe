"""MixtureModel: what it refuses, its domain, and what permuting languages does."""

import numpy as np
import pytest
from conftest import random_model, random_ratios

from climbopt import InputError, MixtureModel
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS

NAMES = ("en", "de")


def build(**changes):
    values = {"E": [1.0, 1.0], "B": [1.0, 2.0], "beta": [0.3, 0.3], "b": np.full((2, 2), 0.1), "k": np.zeros((2, 2))}
    values.update(changes.pop("values", {}))
    given = {"sources": NAMES, "targets": NAMES, "interaction": "linear"} | changes
    return MixtureModel(
        LAWS["power"],
        INTERACTIONS[given["interaction"]],
        given["sources"],
        given["targets"],
        {k: v for k, v in values.items() if v is not None},
        given.get("token_unit", 1.0),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": {"E": None}}, "no values for parameter 'E'"),
        ({"values": {"E": [1.0]}}, r"parameter 'E' has shape \(1,\); 2 targets and 2 sources need \(2,\)"),
        ({"values": {"b": [0.1, 0.2]}}, r"parameter 'b' has shape \(2,\).*need \(2, 2\)"),
        ({"values": {"B": [1.0, -2.0]}}, "parameter 'B' of 'de' is -2.0; it must be a positive number"),
        (
            {"values": {"b": [[0, np.nan], [0.1, 0]]}},
            "parameter 'b' of 'en' from 'de' is nan; it must be a finite number",
        ),
        ({"values": {"betta": [0.3, 0.3]}}, "unknown parameter of power .* linear 'betta'; did you mean 'beta'"),
        ({"sources": ("en", "en")}, "sources of a model must be one or more different names"),
        ({"targets": ()}, "targets of a model must be one or more different names"),
        ({"token_unit": 0.0}, "token_unit is 0.0; it must be a positive number"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(InputError, match=message):
        build(**changes)


def test_a_target_that_is_no_source_needs_transfer():
    with pytest.raises(InputError, match="target sw is no source, and interaction 'none' leaves its z at 0"):
        MixtureModel(
            LAWS["power"], INTERACTIONS["none"], ("en",), ("en", "sw"), {"E": [1, 1], "B": [1, 1], "beta": [0.3, 0.3]}
        )


def test_model_size_has_to_be_given():
    model = random_model("none", law="power_nd")
    with pytest.raises(InputError, match="power_nd \\+ .* depends on the model size; give params"):
        model.at(1e9)
    small, large = model.at(1e9, 1.0), model.at(1e9, 10.0)
    z = np.full(4, 0.5)
    assert (large.losses(z) < small.losses(z)).all()


def test_outside_the_domain_a_loss_is_not_a_number():
    response = build().at(1.0)
    assert np.isnan(response.losses(np.array([0.0, 1.0]))[0])
    assert np.isnan(response.losses_and_slopes(np.array([-0.1, 1.0]))[1][0])
    assert np.isfinite(response.losses(np.array([1e-12, 1.0]))).all()


def test_ratios_by_name():
    model = build()
    np.testing.assert_array_equal(model.vector({"de": 0.7, "en": 0.3}), [0.3, 0.7])
    with pytest.raises(InputError, match="no ratio for de"):
        model.vector({"en": 1.0})
    with pytest.raises(InputError, match="unknown language 'sw'"):
        model.vector({"en": 0.5, "de": 0.5, "sw": 0.0})


@pytest.mark.parametrize("interaction", list(INTERACTIONS))
def test_permuting_languages_permutes_everything(interaction):
    model, r = random_model(interaction, sources=5, seed=7), random_ratios(5)
    order = np.random.default_rng(0).permutation(5)
    values = {
        p.name: model.parameters[p.name][np.ix_(order, order)] if p.per == "pair" else model.parameters[p.name][order]
        for p in model.templates.parameters
    }
    names = tuple(model.sources[k] for k in order)
    other = MixtureModel(model.law, model.interaction, names, names, values, model.token_unit)
    ours, theirs = model.at(3e9, 2.0), other.at(3e9, 2.0)
    np.testing.assert_allclose(theirs.z(r[order]), ours.z(r)[order], rtol=1e-14)
    np.testing.assert_allclose(
        theirs.z_and_jacobian(r[order])[1], ours.z_and_jacobian(r)[1][np.ix_(order, order)], rtol=1e-13, atol=1e-16
    )


def test_the_token_unit_changes_nothing():
    """Rescaling h, l, k and B to another unit leaves every loss as it was."""
    model = random_model("gated", seed=2)
    factor = 1e3
    values = dict(model.parameters)
    for name in ("h", "l", "k"):
        values[name] = values[name] * factor
    values["B"] = values["B"] * factor ** values["beta"]
    other = MixtureModel(model.law, model.interaction, model.sources, model.targets, values, model.token_unit / factor)
    r = random_ratios(4)
    ours, theirs = model.at(3e9), other.at(3e9)
    np.testing.assert_allclose(theirs.losses(theirs.z(r)), ours.losses(ours.z(r)), rtol=1e-12)


def test_selecting_targets_keeps_their_values():
    model, r = random_model("gated", seed=1), random_ratios(4)
    part = model.select(["s2", "s0"])
    np.testing.assert_array_equal(part.at(1e9).z(r), model.at(1e9).z(r)[[2, 0]])
