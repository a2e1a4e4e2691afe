"""Derivatives against complex steps and against the expanded SymPy form; laws and interactions of a user's own."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from conftest import random_model, random_ratios

from climbopt import Interaction, Law, MixtureModel, Parameter
from climbopt.foundations.errors import InputError
from climbopt.model.ensemble import Stack
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.symbols import D, r_i, r_j, z
from climbopt.model.templates import agreeing_pairs, derive
from climbopt.model.uses import USES, Use

BUDGET, SIZE = 2.3e9, 1.7
STEP = 1e-30


def models():
    seen = set()
    for law, interaction in agreeing_pairs():  # each law and each interaction: their derivatives are apart
        if not {law.name, f"of {interaction.name}"} <= seen:
            seen |= {law.name, f"of {interaction.name}"}
            yield pytest.param(
                random_model(
                    interaction.name, law=law.name, sources=4 if interaction.name in ("linear", "saturating") else 2
                ),
                id=f"{law.name}-{interaction.name}",
            )
    yield pytest.param(random_model("powers", sources=3, targets=("s1", "other")), id="zero-shot target-powers")
    for use in list(USES)[1:]:
        for interaction in INTERACTIONS:
            if interaction not in ("repetition", "information"):  # which count repeated tokens themselves
                every_day = (interaction, use) in {("powers", "diluting"), ("gated", "saturating")}
                marks = () if every_day else pytest.mark.slow  # minutes of SymPy: `make slow`
                yield pytest.param(
                    random_model(interaction, sources=2, use=use), id=f"{interaction}-{use}", marks=marks
                )
    yield pytest.param(random_model(sources=2, targets=("s1", "other"), use="hurting"), id="zero-shot target-hurting")
    for interaction in ("linear", "saturating", "gated"):
        yield pytest.param(
            random_model(interaction, sources=4, targets=("s1", "other", "s3")), id=f"zero-shot target-{interaction}"
        )
        yield pytest.param(random_model(interaction, sources=3, signed=True, seed=4), id=f"signed-{interaction}")


@pytest.fixture(params=models())
def model(request):
    return request.param


def test_jacobian_and_hessian_against_complex_steps(model):
    response, r = model.at(BUDGET, SIZE), random_ratios(len(model.sources))
    jacobian = response.z_and_jacobian(r)[1]
    weights = np.random.default_rng(1).normal(size=len(model.targets))
    hessian = response.hessian(r, weights)
    for j in range(r.size):
        shifted = r + STEP * 1j * (np.arange(r.size) == j)
        np.testing.assert_allclose(response.z(shifted).imag / STEP, jacobian[:, j], rtol=1e-12, atol=1e-14)
        rows = response.z_and_jacobian(shifted)[1].imag / STEP
        np.testing.assert_allclose(weights @ rows, hessian[:, j], rtol=1e-11, atol=1e-13)


def test_law_derivatives_against_complex_steps(model):
    response = model.at(BUDGET, SIZE)
    at = np.random.default_rng(2).uniform(0.05, 1.5, len(model.targets))
    loss, slope = response.losses_and_slopes(at)
    np.testing.assert_allclose(loss, response.losses(at), rtol=1e-15)
    np.testing.assert_allclose(response.losses(at + STEP * 1j).imag / STEP, slope, rtol=1e-12)
    np.testing.assert_allclose(
        response.losses_and_slopes(at + STEP * 1j)[1].imag / STEP, response.loss_curvatures(at), rtol=1e-12
    )


def numbers(model):
    """Return the value of each symbol of the expanded form."""
    values = {D: BUDGET / model.token_unit, sp.Symbol("N", positive=True): SIZE / model.params_unit}
    named = {}
    for p in model.templates.parameters:
        value = model.parameters[p.name]
        for index in np.ndindex(value.shape):
            if p.per == "pair":
                names = (model.targets[index[0]], model.sources[index[1]])
            else:
                names = ((model.targets if p.per == "target" else model.sources)[index[0]],)
            named[f"{p.name}[{', '.join(names)}]"] = float(value[index])
    return values, named


def test_against_the_expanded_form(model):
    """The whole model as one SymPy expression a target, differentiated by SymPy, agrees with the templates."""
    response, r = model.at(BUDGET, SIZE), random_ratios(len(model.sources), seed=3)
    values, named = numbers(model)
    named |= {f"r[{name}]": float(ratio) for name, ratio in zip(model.sources, r, strict=True)}
    at, jacobian = response.z_and_jacobian(r)
    loss, slope = response.losses_and_slopes(at)
    curvature = response.loss_curvatures(at)
    for i, (target, expression) in enumerate(model.templates.expand(model.sources, model.targets).items()):
        ratios = [
            next((s for s in expression.free_symbols if s.name == f"r[{name}]"), sp.Symbol(f"r[{name}]"))
            for name in model.sources
        ]
        known = {s: values.get(s, named.get(s.name)) for s in expression.free_symbols}
        assert float(expression.subs(known)) == pytest.approx(loss[i], rel=1e-12)
        gradient = [float(sp.diff(expression, s).subs(known)) for s in ratios]
        np.testing.assert_allclose(gradient, slope[i] * jacobian[i], rtol=1e-10, atol=1e-13)
        only = np.eye(len(model.targets))[i]
        ours = curvature[i] * np.outer(jacobian[i], jacobian[i]) + response.hessian(r, only * slope)
        theirs = [[float(sp.diff(expression, a, b).subs(known)) for b in ratios] for a in ratios]
        np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-12, err_msg=target)


def test_draws_with_parameters_of_sources_are_each_draw_alone():
    draws = [random_model("gated", sources=3, use="hurting", seed=seed) for seed in range(3)]
    response, r = Stack.of(draws).at(BUDGET), random_ratios(3)
    each = [draw.at(BUDGET) for draw in draws]
    at, jacobian = response.z_and_jacobian(r)
    np.testing.assert_allclose(at, np.concatenate([one.z(r) for one in each]), rtol=1e-14)
    np.testing.assert_allclose(jacobian, np.concatenate([one.z_and_jacobian(r)[1] for one in each]), rtol=1e-13)
    weights = np.arange(1.0, 10.0)
    alone = sum(one.hessian(r, part) for one, part in zip(each, weights.reshape(3, 3), strict=True))
    np.testing.assert_allclose(response.hessian(r, weights), alone, rtol=1e-12)
    some = response.model.select(("s1#0", "s2#2")).at(BUDGET)
    np.testing.assert_allclose(some.z(r), [each[0].z(r)[1], each[2].z(r)[2]], rtol=1e-14)


def test_use_at_one_epoch_and_beyond():
    """Muennighoff et al.: slope 1 on both sides of one epoch, at most U (1 + R) tokens; InfoLaw's slope jumps down."""
    saturating, information, hurting, diluting = (
        random_model("none", sources=1, use=name, seed=3) for name in list(USES)[1:]
    )
    supply = float(saturating.parameters["U"][0])
    for model, rises in ((saturating, True), (information, True), (hurting, False), (diluting, True)):
        tokens = supply * model.token_unit
        at = model.at(tokens * np.array([0.5, 1.0, 1 + 1e-9, 2.0, 50.0]))
        worth = at.z(np.ones((5, 1)))[:, 0] * at.D / supply
        np.testing.assert_allclose(worth[:3], [0.5, 1.0, 1.0], rtol=1e-8)
        assert 1 < worth[3] < 2 and (worth > 0).all() and (worth[4] > worth[3]) == rises
    R = float(saturating.parameters["R"][0])
    at = saturating.at(supply * saturating.token_unit * 1e3)
    assert at.z(np.ones(1))[0] * 1e3 == pytest.approx(1 + R, rel=1e-9)
    R = float(diluting.parameters["R"][0])
    ratios = np.array([[1.0], [0.01]])
    at = diluting.at(float(diluting.parameters["U"][0]) * diluting.token_unit * 400.0)
    expected = 1 + 20 * R * -np.expm1(-(400 * ratios[:, 0] - 1) / (20 * R))
    np.testing.assert_allclose(at.z(ratios)[:, 0] * 400, expected, rtol=1e-12)
    assert not saturating.templates.kinked and not hurting.templates.kinked and information.templates.kinked


def test_a_use_is_refused_beside_an_interaction_that_counts_repetition():
    with pytest.raises(InputError, match="interaction 'repetition' counts repeated tokens itself"):
        derive(LAWS["power"], INTERACTIONS["repetition"], USES["saturating"])


def test_what_is_no_use():
    for expression, parameters, message in (
        (r_j + 1, (), "not 0 at r_j = 0"),
        (r_i * r_j, (), "has r_i, which it does not declare"),
        (r_j * sp.Symbol("w"), (Parameter(sp.Symbol("w"), "target"),), "'w' of use 'mine' is not per source"),
    ):
        with pytest.raises(InputError, match=message):
            Use("mine", expression, parameters)


def test_other_supplies():
    model = random_model("gated", use="saturating")
    changed = model.with_supply({"s1": 5e8, "s2": 0.0})
    before, after = model.parameters["U"], changed.parameters["U"]
    np.testing.assert_allclose(after, [before[0], 0.5, 1e-9, before[3]])
    assert np.isfinite(changed.at(BUDGET).z_and_jacobian(np.full(4, 0.25))[1]).all()
    with pytest.raises(InputError, match="unknown language with a supply 'xx'"):
        model.with_supply({"xx": 1e9})
    plain = random_model("gated")
    assert plain.with_supply({"s1": 1e9}) is plain


def test_each_pair_has_a_symbol_of_its_own():
    """b of a from b_c, and of a_b from c."""
    names = ("a", "a_b", "b_c", "c")
    templates = derive(LAWS["power"], INTERACTIONS["linear"])
    pairs = [s for name in names for s in templates.expand_z(names, name).free_symbols if s.name.startswith("b")]
    assert len(set(pairs)) == len(pairs) == 12


def test_parameter_derivatives_against_differences(model):
    response, r = model.at(BUDGET, SIZE), random_ratios(len(model.sources), seed=5)
    by_parameter = response.by_parameter(r)
    for p in model.templates.parameters:
        value = model.parameters[p.name]
        for index in np.ndindex(value.shape):
            if p.per == "pair" and model.targets[index[0]] == model.sources[index[1]]:
                continue
            step = 1e-6 * value[index]
            ends = []
            for sign in (1, -1):
                moved = np.array(value)
                moved[index] += sign * step
                other = replace(model, parameters={**model.parameters, p.name: moved})
                at = other.at(BUDGET, SIZE)
                ends.append(at.losses(at.z(r)))
            change = (ends[0] - ends[1]) / (2 * step)
            full = np.zeros(len(model.targets))
            if p.per == "source":
                full = by_parameter[p.name][:, index[0]]
            else:
                full[index[0]] = by_parameter[p.name][index]
            np.testing.assert_allclose(full, change, rtol=1e-5, atol=1e-8, err_msg=f"{p.name} {index}")


def test_a_batch_of_mixtures_is_each_mixture_alone(model):
    mixtures = np.random.default_rng(0).dirichlet(np.ones(len(model.sources)), size=5)
    budgets = np.linspace(1e9, 5e9, 5)
    together = model.at(budgets, np.full(5, SIZE))
    losses = together.losses(together.z(mixtures))
    for k in range(5):
        alone = model.at(budgets[k], SIZE)
        np.testing.assert_allclose(losses[k], alone.losses(alone.z(mixtures[k])), rtol=1e-14)


def own_law():
    C, gamma = sp.symbols("C gamma", positive=True)
    return Law(
        "logarithmic",
        C - gamma * sp.log(1 + D * z),
        (Parameter(C, "target", "nats"), Parameter(gamma, "target")),
        source="a test",
    )


def own_interaction():
    """A form with a parameter of each kind: a source's quality, a target's rate, a pair's strength."""
    q, rate = sp.symbols("q rate", positive=True)
    c = sp.Symbol("c", nonnegative=True)
    return Interaction(
        "quality",
        own=q * r_i,
        pair=c * sp.tanh(rate * r_j) / (1 + r_i),
        parameters=(Parameter(q, "source"), Parameter(rate, "target"), Parameter(c, "pair")),
        source="a test",
    )


def test_a_law_and_an_interaction_of_ones_own():
    law, form = own_law(), own_interaction()
    model = MixtureModel(
        law,
        form,
        ("en", "de"),
        ("en", "de"),
        {"C": [3.0, 4.0], "gamma": [0.2, 0.3], "q": [1.0, 0.8], "rate": [2.0, 3.0], "c": [[0, 0.5], [0.4, 0]]},
    )
    response, r = model.at(5.0), np.array([0.6, 0.4])
    expected = np.array([0.6 + 0.5 * np.tanh(2.0 * 0.4) / 1.6, 0.8 * 0.4 + 0.4 * np.tanh(3.0 * 0.6) / 1.4])
    np.testing.assert_allclose(response.z(r), expected, rtol=1e-14)
    np.testing.assert_allclose(
        response.losses(expected),
        [3 - 0.2 * np.log(1 + 5 * expected[0]), 4 - 0.3 * np.log(1 + 5 * expected[1])],
        rtol=1e-14,
    )
    jacobian = response.z_and_jacobian(r)[1]
    for j in range(2):
        step = 1e-30j * (np.arange(2) == j)
        np.testing.assert_allclose(response.z(r + step).imag / 1e-30, jacobian[:, j], rtol=1e-12)


def test_a_symbol_that_is_not_declared_is_refused():
    with pytest.raises(InputError, match="law 'stray' uses Q"):
        Law("stray", sp.Symbol("Q") * z, ())
    with pytest.raises(InputError, match="interaction 'stray' uses r_j in own"):
        Interaction("stray", own=r_i * r_j, pair=sp.Integer(0))
    with pytest.raises(InputError, match="must contain one symbol named z"):
        Law("flat", D, ())


def test_one_name_for_two_parameters_is_refused():
    beta = sp.Symbol("beta", positive=True)
    form = Interaction("clash", own=r_i, pair=beta * r_j, parameters=(Parameter(beta, "pair"),))
    with pytest.raises(InputError, match="both declare a parameter 'beta'"):
        derive(LAWS["power"], form)


def test_templates_are_derived_once():
    assert derive(LAWS["power"], INTERACTIONS["gated"]) is derive(LAWS["power"], INTERACTIONS["gated"])
