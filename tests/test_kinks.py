"""Templates that change their form: what is proved of them, and the smooth models that stand for them."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from climbopt import AllocationProblem, InputError, Interaction, L, Law, MixtureModel, Parameter, TwoStep, r, solve
from climbopt.certification.global_bound import enclose
from climbopt.certification.local import certify
from climbopt.model.convexity import Proofs
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.lifting import split
from climbopt.model.piecewise import in_pieces, pieces
from climbopt.model.symbols import D, r_i, r_j
from climbopt.model.templates import derive
from climbopt.problem.constraints import Cap, Custom, Floor
from climbopt.problem.objectives import CustomObjective
from climbopt.procedures import joint_form

NAMES = ("a", "b", "c")
U = sp.Symbol("U", positive=True)
tau = sp.Symbol("tau", real=True)


QUARTER = sp.Rational(1, 4)


def bent(beyond=QUARTER):
    """Return r up to U / D, and from there on with the slope `beyond`, for itself and for others."""

    def worth(r):
        return sp.Piecewise((r, D * r <= U), (U / D + beyond * (r - U / D), True))

    return Interaction("bent", worth(r_i), tau * worth(r_j), (Parameter(U, "source", "tokens"), Parameter(tau, "pair")))


def model(beyond=QUARTER, *, supplies=(0.2, 0.3, 5.0), transfer=0.2, interaction=None):
    return MixtureModel(
        LAWS["power"],
        interaction or bent(beyond),
        NAMES,
        NAMES,
        {
            "E": np.ones(3),
            "B": [1.0, 1.1, 0.9],
            "beta": [0.3, 0.3, 0.35],
            "U": list(supplies),
            "tau": transfer * (1 - np.eye(3)),
        },
        1e9,
    )


def problem(*args, **options):
    return AllocationProblem(model(*args, **options), 1e9)


def proofs(of):
    return Proofs(of.at(1e9), np.zeros(3), np.ones(3))


def test_slopes_that_jump_down_are_concave_and_up_are_not():
    assert proofs(model()).z_concave and not proofs(model()).z_affine
    for beyond in (sp.Rational(5, 4), sp.Integer(2)):  # lines both, so that no second derivative shows it
        shown = proofs(model(beyond))
        assert not shown.z_concave and not shown.z_affine and not shown.losses_convex
    assert not proofs(model(transfer=-0.2)).z_concave


def test_pieces_that_do_not_meet_are_not_concave():
    step = Interaction(
        "step",
        sp.Piecewise((r_i, D * r_i <= U), (r_i - U / D / 2, True)),
        tau * r_j,
        (Parameter(U, "source", "tokens"), Parameter(tau, "pair")),
    )
    assert not proofs(model(interaction=step)).z_concave


@pytest.mark.parametrize("name", ["repetition", "information"])
def test_of_the_shipped_forms_information_has_a_kink(name):
    own = INTERACTIONS[name].own
    assert pieces(own, r_i).continuous and (pieces(own, r_i).jump != 0) == (name == "information")


def test_more_than_two_pieces_are_not_taken_apart():
    three = sp.Piecewise((r_i, r_i <= U), (U + (r_i - U) / 2, r_i <= 2 * U), (3 * U / 2, True))
    assert pieces(three, r_i) is None
    form = Interaction("three", three, tau * r_j, (Parameter(U, "source"), Parameter(tau, "pair")))
    of = model(interaction=form)
    assert not proofs(of).z_concave and split(of, 1e9, None) is None


def test_the_smooth_model_is_the_model_at_the_least_excesses():
    """Own and pair, targets that are sources and one that is none, another order of the targets."""
    worth = MixtureModel(
        LAWS["power"],
        bent(sp.Rational(1, 3)),
        NAMES,
        ("b", "other", "a"),
        {
            "E": np.ones(3),
            "B": np.ones(3),
            "beta": np.full(3, 0.3),
            "U": [0.2, 0.3, 5.0],
            "tau": [[0.1, 0.0, 0.3], [0.5, 0.6, 0.7], [0.0, 0.2, 0.4]],
        },
    )
    found = split(worth, 1.0, None)
    np.testing.assert_allclose(found.kinks, [0.2, 0.3])
    assert found.excess_of.tolist() == [0, 1]
    for ratios in np.random.default_rng(0).dirichlet(np.ones(3), 50):
        excess = np.maximum(ratios[found.excess_of] - found.kinks, 0)
        smooth, given = found.model.at(1.0), worth.at(1.0)
        np.testing.assert_allclose(smooth.z(np.append(ratios, excess)), given.z(ratios), rtol=1e-13)
        assert (smooth.z(np.append(ratios, excess + 0.01)) < given.z(ratios)).all()


@pytest.mark.parametrize("backend", ["newton", "ipopt", "slsqp", "trust_constr", "pyomo"])
def test_sources_that_are_targets_too(backend):
    """The best mixture uses a up to its kink."""
    asked = problem(supplies=(0.25, 0.6, 5.0))
    result = solve(asked, backend=backend)
    assert result.passed and result.certificate.verdict.value == "global within gap"
    assert result.ratios["a"] == pytest.approx(0.25, abs=1e-7)
    others = np.random.default_rng(0).dirichlet(np.ones(3), 20000)
    near = np.array(list(result.ratios.values())) + np.random.default_rng(1).normal(scale=0.01, size=(5000, 3))
    near = np.maximum(near, 1e-9) / np.maximum(near, 1e-9).sum(axis=1, keepdims=True)
    assert result.objective <= asked.value(np.vstack([others, near])).min() + 1e-9


def test_rows_that_want_z_small_keep_the_kinks():
    """Excesses that are not the least would meet z <= value; there the form is not taken apart."""
    small = replace(problem(), constraints=(Custom("z[b] <= 0.45"),))
    assert joint_form(small).kinked and not joint_form(small).excess_of
    large = replace(problem(), constraints=(Custom("z[b] >= 0.45"),))
    assert not joint_form(large).kinked and joint_form(large).excess_of == (0, 1)


def test_one_side_of_a_kink_shows_nothing_of_the_other():
    """At a floor on a kink whose slope jumps up, the side below looks optimal; the feasible one is not."""
    names = ("a", "b")
    own = sp.Piecewise((r_i, D * r_i <= U), (U / D + 3 * (r_i - U / D), True))
    form = Interaction("rising", own, tau * r_j, (Parameter(U, "source", "tokens"), Parameter(tau, "pair")))
    of = MixtureModel(
        LAWS["power"],
        form,
        names,
        names,
        {"E": [1, 1], "B": [1, 1], "beta": [0.5, 0.5], "U": [0.6, 5.0], "tau": np.zeros((2, 2))},
        1e9,
    )
    asked = AllocationProblem(of, 1e9, constraints=(Floor({"a": 0.6}), Cap({"a": 0.9})))
    standard = joint_form(asked)
    assert standard.kinked
    corner = standard.complete(np.array([0.6, 0.4]))
    assert float(asked.value(np.array([0.61, 0.39]))) < float(asked.value(np.array([0.6, 0.4])))
    found = certify(standard, corner)
    assert not found.passed and found.residuals["stationarity"].worst == "kink[a]"
    assert certify(replace(standard, kinked=False), corner).passed  # what the one side alone would say
    found = enclose(standard, gap=1e-6, time_limit=60.0)
    grid = np.linspace(0.6, 0.9, 3001)
    best = float(asked.value(np.column_stack([grid, 1 - grid])).min())
    assert found.lower <= best and found.upper >= best - 1e-7 and found.relative_gap <= 1e-6


@pytest.mark.parametrize(
    "expression",
    [
        sp.Min(D * r_i, U),
        sp.Max(r_i, U),
        sp.Abs(r_i - U),
        sp.Min(r_i, U, D),
        sp.Min(r_i, sp.Max(U, r_i * D)),
        sp.Abs(sp.Min(r_i, U) - sp.Max(r_i**2, D)),
        sp.exp(-sp.Max(r_i, U)) + sp.Piecewise((r_i, r_i <= U), (U, True)),
    ],
)
def test_min_max_and_abs_are_pieces(expression):
    """The same values at ratios and their slopes as numbers, for whichever is the larger of U and D."""
    written = in_pieces(expression, "own")
    assert not written.has(sp.Min, sp.Max, sp.Abs)
    value, slope = (sp.lambdify([r_i, U, D], e) for e in (written, sp.diff(written, r_i)))
    given, ratios = sp.lambdify([r_i, U, D], expression), np.linspace(0.03, 0.97, 20)
    for supply, budget in ((0.3, 0.6), (0.6, 0.3)):
        wanted = [float(given(one, supply, budget)) for one in ratios]
        np.testing.assert_allclose(value(ratios, supply, budget), wanted, rtol=1e-14)
        numeric = [
            float(given(one + 1e-7, supply, budget) - given(one - 1e-7, supply, budget)) / 2e-7 for one in ratios
        ]
        np.testing.assert_allclose(slope(ratios, supply, budget), numeric, atol=1e-6)


def test_a_minimum_is_taken_apart_like_its_pieces():
    form = Interaction("least", sp.Min(r_i, U / D), tau * sp.Min(r_j, U / D), bent().parameters)
    asked, same = problem(interaction=form), problem(sp.Integer(0))
    assert joint_form(asked).excess_of == joint_form(same).excess_of == (0, 1)
    assert solve(asked).objective == pytest.approx(solve(same).objective, abs=1e-12)


def test_steps_are_refused():
    for step in (sp.Heaviside(r_i - U), sp.floor(D * r_i), sp.sign(r_i - U)):
        with pytest.raises(InputError, match="interaction 'step' in own has .*, which jumps"):
            Interaction("step", r_i + step, tau * r_j, bent().parameters)


def test_a_law_whose_slope_jumps_is_refused():
    """With a slope that falls faster from some z on, every second derivative is 0 and yet no sum of losses convex."""
    z, E = sp.Symbol("z", positive=True), sp.Symbol("E", positive=True)
    for bend in (sp.Piecewise((-z / 10, z <= 1), (sp.Rational(19, 10) - 2 * z, True)), sp.Min(0, 1 - z)):
        with pytest.raises(InputError, match="the slope of law 'bend' may jump in z"):
            derive(Law("bend", E + bend, (Parameter(E, "target"),)), bent())
    smooth = E + sp.Piecewise((1 - z, z <= 1), ((1 - z) + (z - 1) ** 2 / 4, True))
    assert not derive(Law("smooth", smooth, (Parameter(E, "target"),)), bent()).loss.kinked


def test_objectives_and_rows_whose_slopes_jump_are_refused():
    """A concave bend of a loss has second derivatives of 0, and would be proved convex."""
    low = sp.Piecewise((L["a"], L["a"] <= 2), (1 + L["a"] / 2, True))
    for expression in (low + L["b"], sp.Max(L["a"], L["b"]), sp.Abs(r["a"] - r["b"])):
        with pytest.raises(InputError, match="the objective has Min, Max, Abs or Piecewise"):
            joint_form(replace(problem(), objective=CustomObjective(expression)))
        with pytest.raises(InputError, match="custom has Min, Max, Abs or Piecewise"):
            joint_form(replace(problem(), constraints=(Custom(expression <= 0.4),)))


def test_ties_of_two_step_where_the_joint_form_keeps_its_kinks():
    """The law is not proved convex, so that of the two steps' forms the one has excesses and the other none."""
    z, E, B = sp.Symbol("z", positive=True), *sp.symbols("E B", positive=True)
    law = Law(
        "logarithm",
        E + B * sp.log(1 + 1 / (D * z)),
        (Parameter(E, "target"), Parameter(B, "target")),
    )
    of = MixtureModel(
        law,
        bent(),
        NAMES,
        NAMES,
        {"E": np.ones(3), "B": [3.0, 3.1, 0.9], "U": [0.2, 0.3, 0.5], "tau": np.zeros((3, 3))},
        1e9,
    )
    asked = AllocationProblem(of, 1e9, constraints=(Cap({"c": 0.4}),))
    assert not joint_form(asked).excess_of
    result = solve(asked, TwoStep())
    own_data = np.array(list(result.ratios.values()))  # nothing is transferred
    assert result.passed and (own_data / result.two_step.direction).min() == pytest.approx(result.two_step.magnitude)
