"""What is proved of a model: true where the mathematics says so, and never where a sample contradicts it."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from conftest import random_model
from hypothesis import given, strategies as st
from test_templates import own_interaction, own_law

from climbopt import AllocationProblem, InputError, MixtureModel, solve
from climbopt.certification.local import Verdict
from climbopt.model.convexity import Proofs
from climbopt.model.interactions import INTERACTIONS, Interaction
from climbopt.model.laws import LAWS, Law
from climbopt.model.symbols import Parameter, r_i, r_j


def proofs(model, *, budget=1e9, lower=None, upper=None):
    n = len(model.sources)
    return Proofs(model.at(budget), np.zeros(n) if lower is None else lower, np.ones(n) if upper is None else upper)


@pytest.mark.parametrize(
    ("interaction", "signed", "concave", "affine"),
    [
        ("none", False, True, True),
        ("linear", False, True, True),
        ("linear", True, True, True),
        ("saturating", False, True, False),
        ("saturating", True, False, False),
        ("gated", False, False, False),
        ("powers", False, False, False),
    ],
)
def test_curvature_of_z(interaction, signed, concave, affine):
    shown = proofs(random_model(interaction, signed=signed, seed=4))
    assert (shown.z_concave, shown.z_affine) == (concave, affine)
    assert shown.loss_convex and shown.loss_decreasing
    assert shown.losses_convex == (concave or affine)


@pytest.mark.parametrize(
    ("interaction", "use", "signed", "convex"),
    [
        ("none", "saturating", False, True),
        ("none", "information", False, True),
        ("none", "hurting", False, False),
        ("linear", "saturating", False, True),
        ("linear", "saturating", True, False),  # a u that is concave, times a negative transfer
        ("saturating", "information", False, True),
        ("gated", "saturating", False, False),
    ],
)
def test_curvature_of_a_use(interaction, use, signed, convex):
    model = random_model(interaction, signed=signed, seed=4, use=use)
    shown = proofs(model)
    assert shown.z_concave == shown.losses_convex == convex and not shown.z_affine
    if convex:
        ends = np.random.default_rng(0).dirichlet(np.ones(4), (2, 200))
        at = model.at(1e9)
        assert (at.predicted(ends.mean(axis=0)) <= at.predicted(ends).mean(axis=0) + 1e-12).all()


@pytest.mark.parametrize("use", ["once", "saturating", "information", "hurting"])
@pytest.mark.parametrize("interaction", ["none", "linear", "gated", "overlap", "saturating", "powers"])
def test_z_is_never_below_what_is_proved(interaction, use):
    for seed in range(3):
        model = random_model(interaction, signed=True, seed=seed, use=use)
        shown = proofs(model)
        mixtures = np.random.default_rng(seed).dirichlet(np.full(4, 0.3), 500)
        least = model.at(1e9).z(np.vstack([np.eye(4), mixtures])).min(axis=0)
        assert (least >= shown.least_z - 1e-12).all()


def test_powers_without_help_of_others():
    """s < 0: 1 + sum s_ij u_j stays positive, so that z falls to h / D and no lower."""
    model = random_model("powers", seed=1)
    least = {"s": -0.5 * (1 - np.eye(4)), "c": np.zeros((4, 4)), "l": np.zeros((4, 4))}
    model = replace(model, parameters={**model.parameters, **least})
    shown = proofs(model)
    np.testing.assert_allclose(shown.least_z, model.parameters["h"], rtol=1e-6)
    assert shown.z_positive.all()
    assert solve(AllocationProblem(model, budget=1e9)).certificate.passed


B, z = sp.Symbol("B", positive=True), LAWS["power"].z


@pytest.mark.parametrize(
    ("expression", "convex"),
    [(B / z**2, True), (B / (z - 1) ** 2, False), (-sp.log((z - B) ** 2), False), (B / (z + 1) + z**2, True)],
)
def test_a_law_with_a_pole_inside_of_its_domain_is_not_convex(expression, convex):
    law, names = Law("own", expression, (Parameter(B, "target"),)), ("a", "b")
    assert proofs(MixtureModel(law, INTERACTIONS["none"], names, names, {"B": np.ones(2)}, 1e9)).loss_convex == convex


def test_a_law_of_ones_own():
    model = MixtureModel(
        own_law(),
        own_interaction(),
        ("en", "de"),
        ("en", "de"),
        {"C": [3.0, 4.0], "gamma": [0.2, 0.3], "q": [1.0, 0.8], "rate": [2.0, 3.0], "c": [[0, 0.5], [0.4, 0]]},
    )
    shown = proofs(model, budget=5.0)
    assert shown.loss_convex and shown.loss_decreasing and not shown.z_concave


def test_transfer_at_the_budget_counts_and_not_its_parts():
    """b < 0 with b + k / D > 0: concave at this budget, not at a larger one."""
    names, off = ("a", "b"), 1 - np.eye(2)
    model = MixtureModel(
        LAWS["power"],
        random_model("saturating").interaction,
        names,
        names,
        {"E": [1, 1], "B": [1, 1], "beta": [0.3, 0.3], "eta": [3, 3], "b": -0.1 * off, "k": 0.3 * off},
        1e9,
    )
    assert proofs(model, budget=1e9).z_concave
    assert not proofs(model, budget=1e10).z_concave


@pytest.mark.parametrize("interaction", ["linear", "saturating", "gated"])
def test_positive_transfer_keeps_z_positive(interaction):
    assert proofs(random_model(interaction, sources=5)).z_positive.all()


def test_without_transfer_z_reaches_zero():
    shown = proofs(random_model("none"))
    assert not shown.z_positive.any()
    assert proofs(random_model("none"), lower=np.full(4, 0.1)).z_positive.all()


def test_a_head_start_outweighs_bounded_interference():
    """gated with eta alpha = -0.9, the worst that the fit allows, stays positive by its head start alone."""
    model = random_model("gated", sources=3)
    eta = model.parameters["eta"]
    values = dict(model.parameters) | {
        "b": np.tile(-0.9 / eta[:, None], (1, 3)),
        "k": np.zeros((3, 3)),
        "l": np.zeros((3, 3)),
        "h": np.full(3, 1e-3),
    }
    worst = MixtureModel(model.law, model.interaction, model.sources, model.targets, values, model.token_unit)
    assert proofs(worst).z_positive.all()
    values["b"] = 3 * values["b"]
    beyond = MixtureModel(model.law, model.interaction, model.sources, model.targets, values, model.token_unit)
    assert not proofs(beyond).z_positive.any()


@given(seed=st.integers(0, 10**6), interaction=st.sampled_from(["linear", "saturating", "gated"]), signed=st.booleans())
def test_the_lower_bound_of_z_holds(seed, interaction, signed):
    model = random_model(interaction, sources=4, targets=("s0", "s2", "other"), signed=signed, seed=seed)
    rng = np.random.default_rng(seed)
    lower = 0.1 * rng.random(4)
    shown = proofs(model, lower=lower)
    mixtures = lower + (1 - lower.sum()) * rng.dirichlet(np.full(4, 0.3), size=400)
    values = model.at(1e9).z(mixtures)
    assert (values >= shown.least_z - 1e-12).all()


@given(seed=st.integers(0, 10**6), interaction=st.sampled_from(["linear", "saturating", "gated"]), signed=st.booleans())
def test_what_is_called_convex_is_convex_along_chords(seed, interaction, signed):
    model = random_model(interaction, signed=signed, seed=seed)
    if not proofs(model).losses_convex:
        return
    rng, response = np.random.default_rng(seed), model.at(1e9)
    a, b = rng.dirichlet(np.ones(4), size=(2, 50))
    t = rng.random((50, 1))
    with np.errstate(invalid="ignore"):
        middle, ends = (
            response.losses(response.z(t * a + (1 - t) * b)),
            [response.losses(response.z(end)) for end in (a, b)],
        )
    inside = ~np.isnan(ends[0]) & ~np.isnan(ends[1])
    assert (middle <= t * ends[0] + (1 - t) * ends[1] + 1e-9)[inside].all()


def test_slopes_count_from_zero_and_not_from_the_floor():
    """A saturating loss of data is steepest at 0: beyond a floor its slope is small, and z is negative all the same."""
    off = 1 - np.eye(2)
    model = MixtureModel(
        LAWS["power"],
        random_model("saturating").interaction,
        ("a", "b"),
        ("a", "b"),
        {"E": [1, 1], "B": [1, 1], "beta": [1, 1], "eta": [10, 10], "b": [[0, -0.6], [0, 0]], "k": 0 * off},
        1e9,
    )
    shown = proofs(model, lower=np.array([0.3, 0.5]))
    assert model.at(1e9).z(np.array([0.4, 0.6]))[0] < 0
    assert not shown.z_positive[0]


def test_an_unbounded_slope_is_no_slope_of_zero():
    """A loss of data by its square root is steepest without bound at 0."""
    c = sp.Symbol("c", nonnegative=True)
    form = Interaction("root", own=r_i, pair=-c * sp.sqrt(r_j), parameters=(Parameter(c, "pair"),))
    values = {"E": [1, 1], "B": [1, 1], "beta": [1, 1], "c": [[0, 0.5], [0, 0]]}
    model = MixtureModel(LAWS["power"], form, ("a", "b"), ("a", "b"), values, 1e9)
    shown = proofs(model, lower=np.full(2, 0.1))
    assert model.at(1e9).z(np.array([0.1, 0.9]))[0] < 0
    assert not shown.z_positive[0] and shown.z_positive[1]


def test_a_parameter_of_a_source_that_a_stranger_would_need_is_refused():
    from climbopt import Interaction, Parameter
    from climbopt.model.symbols import r_i, r_j

    start, gain = sp.Symbol("start", nonnegative=True), sp.Symbol("gain", nonnegative=True)
    form = Interaction("started", r_i + start, gain * r_j, (Parameter(start, "source"), Parameter(gain, "pair")))
    with pytest.raises(InputError, match="target zz is no source, and interaction 'started' needs its own start"):
        MixtureModel(
            LAWS["power"],
            form,
            ("a", "b"),
            ("a", "zz"),
            {"E": [1, 1], "B": [1, 1], "beta": [1, 1], "start": [0.1, 0.2], "gain": np.ones((2, 2))},
        )


def additive(**changed):
    model = random_model("additive_power", law="additive")
    return replace(
        model,
        parameters=dict(model.parameters)
        | {name: change(np.array(model.parameters[name])) for name, change in changed.items()},
    )


def sized(model):
    return Proofs(model.at(1e9, 1.0), np.zeros(4), np.ones(4))


def set_to(value, at):
    def change(values):
        values[at] = value
        return values

    return change


def test_powers_of_ratios_are_concave_up_to_an_exponent_of_one():
    """c r^g has an unbounded slope at r = 0, and is concave there all the same; 1/z of it is convex."""
    for model in (additive(), additive(g=set_to(1.0, (0, 1))), additive(g_own=set_to(1.0, 2))):
        shown = sized(model)
        assert shown.z_concave and shown.losses_convex and shown.z_positive.all()
    every = additive(g=np.ones_like, g_own=np.ones_like)
    assert sized(every).z_affine


@pytest.mark.parametrize(
    "changed", [{"g": set_to(1.2, (0, 1))}, {"g_own": set_to(1.2, 2)}, {"g": set_to(1 + 1e-12, (3, 0))}]
)
def test_an_exponent_above_one_is_not_concave(changed):
    shown = sized(additive(**changed))
    assert not shown.z_concave and not shown.losses_convex


def test_a_weight_below_zero_is_refused_by_the_form_and_not_concave_in_ones_own():
    with pytest.raises(InputError, match="parameter 'c' of 's0' from 's1' is -0.5"):
        additive(c=set_to(-0.5, (0, 1)))
    given = INTERACTIONS["additive_power"]
    weight, (_, _, old, _) = sp.Symbol("c", real=True), given.parameters
    signed = replace(
        given,
        pair=given.pair.subs(old.symbol, weight),
        parameters=tuple(replace(p, symbol=weight) if p is old else p for p in given.parameters),
    )
    model = additive()
    values = dict(model.parameters)
    assert sized(replace(model, interaction=signed)).z_concave
    values["c"] = set_to(-0.5, (0, 1))(np.array(values["c"]))
    assert not sized(replace(model, interaction=signed, parameters=values)).z_concave


def test_the_additive_law_has_a_certified_optimum():
    """Against the best of many mixtures; with one exponent above 1 nothing global is claimed."""
    problem = AllocationProblem(additive(), 1e9, params=1.0)
    result = solve(problem)
    assert result.certificate.verdict is Verdict.GLOBAL and result.certificate.gap < 1e-9
    mixtures = np.random.default_rng(0).dirichlet(np.ones(4), size=20000)
    assert result.certificate.lower_bound <= problem.value(mixtures).min()
    bent = solve(replace(problem, model=additive(g=set_to(1.2, (0, 1)))))
    assert bent.certificate.lower_bound is None and bent.certificate.verdict is not Verdict.GLOBAL


def test_slopes_of_powers_at_zero():
    """x^g / x would be 0/0: the slope at r = 0 is infinite below g = 1, c at 1 and 0 above."""
    model = additive(g=set_to(1.5, (0, 1)))
    jacobian = model.at(1e9, 1.0).z_and_jacobian(np.array([0.5, 0.0, 0.0, 0.5]))[1]
    assert jacobian[0, 1] == 0 and jacobian[0, 2] == np.inf and np.isfinite(jacobian[0, 0])
