"""The convex functions that bound a problem from below: they do, they are convex, and a spoilt one is caught."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from conftest import random_model
from hypothesis import given
from hypothesis import strategies as st

from climbopt.certification.bounds import Box, NoRelaxationError, relaxation_program
from climbopt.certification.bounds.curvature import enclose_jacobian
from climbopt.certification.bounds.envelopes import envelopes
from climbopt.certification.bounds.lagrangian import lagrangian
from climbopt.certification.bounds.oracle import boxed, linear_bound, minimise
from climbopt.certification.bounds.relaxable import largest_sums, relaxable
from climbopt.certification.bounds.relaxation import inside_domain, relax
from climbopt.certification.bounds.tangents import tangents
from climbopt.certification.bounds.terms import terms
from climbopt.certification.bounds.univariate import Univariate
from climbopt.model.interactions import INTERACTIONS, Interaction
from climbopt.model.laws import LAWS, Law
from climbopt.model.mixture import MixtureModel
from climbopt.model.symbols import Parameter, r_i, r_j
from climbopt.model.templates import Template, derive
from climbopt.numerics.quadratic import project
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Cap, Custom, Floor, Group, LossCeiling, StayNear
from climbopt.problem.objectives import CustomObjective
from climbopt.procedures import joint_form

a, g, t = sp.symbols("a g t", positive=True)
USERS = {
    "both_curved": Interaction(
        "both_curved", r_i, a * r_i**2 * (1 - sp.exp(-g * r_j)), (Parameter(a, "pair"), Parameter(g, "target"))
    ),
    "rising": Interaction("rising", r_i + r_i**2 / 4, a * r_j**2 - a * r_j, (Parameter(a, "pair"),)),
    "wavy": Interaction(
        "wavy", r_i, a * (r_j**3 - r_j**2) + t * sp.sqrt(r_j + 1) * r_i, (Parameter(a, "pair"), Parameter(t, "target"))
    ),
}
FORMS = ("none", "linear", "saturating", "gated", *USERS)


def signed_model(form, sources=4, targets=None, seed=0, scale=1.0):
    """Return a model whose transfer has both signs and whose z is above 0 wherever a target has data of its own."""
    if form in USERS:
        rng = np.random.default_rng(seed)
        names = tuple(f"s{j}" for j in range(sources))
        targets = names if targets is None else targets
        values = {
            p.name: 0.3 * rng.uniform(0.2, 1.0, (len(targets), sources)[: 2 if p.per == "pair" else 1])
            for p in USERS[form].parameters
        }
        values |= {
            "E": rng.uniform(0.5, 1.5, len(targets)),
            "B": rng.uniform(1.0, 3.0, len(targets)),
            "beta": rng.uniform(0.2, 0.5, len(targets)),
        }
        return MixtureModel(LAWS["power"], USERS[form], names, targets, values, token_unit=1e9)
    model = random_model(form, sources=sources, targets=targets, signed=True, seed=seed)
    if "b" not in model.parameters:
        return model
    return replace(model, parameters={**model.parameters, "b": scale * model.parameters["b"]})


def functions_on(problem, seed, width=None):
    """Return the Lagrangian, a random box and a point of it for a problem."""
    form = joint_form(problem)
    made, rng = lagrangian(form, np.zeros(form.functions.n_rows)), np.random.default_rng(seed)
    x = points(form, made.problem.root, rng, 1)[0]
    width = rng.uniform(0.01, 1.0) if width is None else width
    low = np.maximum(made.problem.root.lower, x - width * rng.uniform(0, 1, x.size))
    return form, made, Box(low, np.minimum(made.problem.root.upper, x + width * rng.uniform(0, 1, x.size))), x


def points(form, box, rng, count):
    """Return random points of the polytope cut by a box."""
    cut = boxed(
        form.polytope,
        np.where(np.isfinite(box.lower), box.lower, 0.0),
        np.where(np.isfinite(box.upper), box.upper, 0.0),
    )
    found = []
    for _ in range(count):
        x = rng.uniform(cut.bounds.lower, cut.bounds.upper)
        x[: form.n_ratios] = rng.dirichlet(rng.uniform(0.2, 3.0) * np.ones(form.n_ratios))
        found.append(project(x, cut))
    return found


def value(made, x):
    """Return the Lagrangian itself."""
    at, f = made.functions.at(x), made
    losses = np.where(f.loss_part != 0, at.losses, 0.0)
    return f.x_part @ x + f.z_part @ at.z + f.loss_part @ losses + f.constant


def check_below_and_convex(functions, made, form, box, rng, count=12):
    """Assert that a function is below the Lagrangian, convex, and consistent with its derivatives."""
    basis = np.linalg.svd(form.polytope.dense[form.polytope.equation])[2][int(form.polytope.equation.sum()) :].T
    for x in points(form, box, rng, count):
        at = functions.at(x)
        if not np.isfinite(at.value):
            continue
        true = value(made, x)
        assert np.isnan(true) or at.value <= true + at.slack + 1e-12 * abs(true)
        hessian = at.hessian(1.0, np.zeros(0))
        reduced = basis.T @ hessian @ basis
        assert np.linalg.eigvalsh(reduced).min(initial=0.0) >= -1e-9 * max(1.0, np.abs(hessian).max())
    along, h = basis @ rng.normal(size=basis.shape[1]), 1e-6
    slope = (functions.at(x + h * along).value - functions.at(x - h * along).value) / (2 * h)
    if np.isfinite(slope):
        assert slope == pytest.approx(at.gradient @ along, rel=1e-4, abs=1e-5)


SETTINGS = {
    "plain": {},
    "floors": {"constraints": (Floor({"s0": 0.05, "s1": 0.02}), Cap({"s1": 0.6}))},
    "group": {"constraints": (Group(("s0", "s1"), lower=0.2, upper=0.6),)},
    "near": {"constraints": (StayNear(0.5, "uniform"),)},
    "history": {"history": {"s0": 4e9, "s1": 1e9}},
}


def the_problem(form, setting, seed, sources=4, scale=1.0):
    """Return a random problem of a form in one of the settings."""
    targets = ("s0", "s1", "zero") if setting == "zero_shot" else None
    if setting == "group":
        sources = max(sources, 3)
    return AllocationProblem(signed_model(form, sources, targets, seed, scale), 10e9, **SETTINGS.get(setting, {}))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("setting", [*SETTINGS, "zero_shot"])
def test_bounding_functions_are_below_and_convex(form, setting):
    if setting == "zero_shot" and form in ("none", *USERS):
        pytest.skip("a target that is no source has z = 0 without transfer; users' forms are checked as sources")
    for seed in range(6):
        form_, made, box, x = functions_on(the_problem(form, setting, seed), seed)
        rng = np.random.default_rng(seed)
        check_below_and_convex(relax(made, box, x), made, form_, box, rng)
        touching = tangents(made, box, x)
        if touching is not None:
            check_below_and_convex(touching, made, form_, box, rng)


@given(
    st.sampled_from(("linear", "saturating", "gated", "both_curved", "rising", "wavy")),
    st.integers(2, 4),
    st.integers(0, 10**6),
    st.floats(0.001, 1.0),
    st.floats(0.1, 2.0),
    st.sampled_from([*SETTINGS, "plain"]),
)
def test_no_random_model_breaks_them(form, sources, seed, width, scale, setting):
    form_, made, box, x = functions_on(the_problem(form, setting, seed, sources, scale), seed, width)
    rng = np.random.default_rng(seed)
    check_below_and_convex(relax(made, box, x), made, form_, box, rng)
    touching = tangents(made, box, x)
    if touching is not None:
        check_below_and_convex(touching, made, form_, box, rng)
        basis = np.linalg.svd(form_.polytope.dense[form_.polytope.equation])[2][int(form_.polytope.equation.sum()) :].T
        for y in points(form_, box, rng, 5):
            over = touching.at(y).hessian(1.0, np.zeros(0)) - touching.least.matrix
            assert np.linalg.eigvalsh(basis.T @ over @ basis).min(initial=0.0) >= -1e-9 * max(1.0, np.abs(over).max())


@pytest.mark.parametrize("form", ["saturating", "gated"])
def test_tangents_touch_where_they_are_made_and_close_small_boxes(form):
    problem = the_problem(form, "plain", 3)
    form_, made, _, x = functions_on(problem, 3)
    box = Box(np.maximum(x - 1e-3, 0.0), x + 1e-3)
    touching = tangents(made, box, x)
    assert not touching.shift.any()
    assert touching.at(x).value == pytest.approx(value(made, x), rel=1e-13)
    np.testing.assert_allclose(touching.at(x).gradient, made.functions.at(x).gradient, rtol=1e-9)


def test_envelopes_close_as_boxes_shrink():
    problem = the_problem("gated", "plain", 1)
    _, made, _, x = functions_on(problem, 1)
    gaps = []
    for width in (0.1, 0.05, 0.025):
        box = Box(np.maximum(x - width, 0.0), x + width)
        gaps.append(value(made, x) - relax(made, box, x).at(x).value)
    assert 0 < gaps[2] < gaps[1] / 2 < gaps[0] / 4


def spoilt_chord(self, c, low, high):
    """Univariate.enveloped with each chord turned a little round its lower end, so that Z stays above 0."""
    kept, slope, constant = ENVELOPED(self, c, low, high)
    return kept, 0.8 * slope, constant + 0.2 * slope * np.where(slope > 0, low, high)


def narrow_chord(self, c, low, high):
    """Univariate.enveloped for a narrower range than the box's."""
    middle = 0.5 * (low + high)
    return ENVELOPED(self, c, middle, 0.75 * high + 0.25 * middle)


ENVELOPED = Univariate.enveloped


@pytest.mark.parametrize("spoilt", [spoilt_chord, narrow_chord])
@pytest.mark.parametrize("form", ["saturating", "gated"])
def test_a_spoilt_envelope_is_caught(monkeypatch, form, spoilt):
    monkeypatch.setattr(Univariate, "enveloped", spoilt)
    with pytest.raises(AssertionError):
        for seed in range(6):
            form_, made, box, x = functions_on(the_problem(form, "plain", seed), seed, 0.8)
            check_below_and_convex(relax(made, box, x), made, form_, box, np.random.default_rng(seed))


def test_a_missing_shift_and_a_larger_weight_are_caught():
    form_, made, _, x = functions_on(the_problem("gated", "plain", 2, scale=2.0), 2)
    touching, rng = tangents(made, made.problem.root, x), np.random.default_rng(0)
    assert touching.shift.any()
    with pytest.raises(AssertionError):
        check_below_and_convex(replace(touching, shift=np.zeros(form_.n)), made, form_, made.problem.root, rng, 100)
    with pytest.raises(AssertionError):
        heavy = replace(touching, weights=touching.weights + 10.0)
        check_below_and_convex(heavy, made, form_, made.problem.root, rng, 100)


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_largest_sums_are_reached_by_linear_programs(seed, n):
    rng = np.random.default_rng(seed)
    lower = rng.dirichlet(np.ones(n)) * rng.uniform(0, 1)
    upper = lower + rng.uniform(0, 1, n) + (1 - lower.sum()) / n
    rows = rng.normal(size=(3, n))
    form = joint_form(AllocationProblem(signed_model("linear", n), 1e9))
    cut = boxed(form.polytope, lower, upper)
    expected = [-cut.linear_minimum(-row)[0] for row in rows]
    np.testing.assert_allclose(largest_sums(rows, lower, upper, 1.0), expected, atol=1e-12)


def test_jacobians_lie_in_their_enclosures():
    for form in FORMS:
        form_, made, box, _ = functions_on(the_problem(form, "history", 5), 5)
        slopes = enclose_jacobian(made.problem, box)
        for x in points(form_, box, np.random.default_rng(0), 20):
            exact = made.response.z_and_jacobian(made.cumulative(x))[1]
            # rows of J matter up to a constant only, since the ratios sum to a constant
            away = exact - slopes.center
            middle = 0.5 * ((away + slopes.radius).min(axis=1) + (away - slopes.radius).max(axis=1))
            assert (np.abs(away - middle[:, None]) <= slopes.radius + 1e-12).all()


def test_terms_of_the_users_own_forms():
    for form in USERS.values():
        assert terms(derive(LAWS["power"], form)) is not None
    mixed = Interaction("mixed", r_i, a * sp.exp(-r_i * r_j), (Parameter(a, "pair"),))
    assert terms(derive(LAWS["power"], mixed)) is None


def test_what_cannot_be_relaxed_is_refused_with_a_reason():
    mixed = Interaction("mixed", r_i, a * sp.exp(-r_i * r_j), (Parameter(a, "pair"),))
    names, ones = ("s0", "s1"), np.ones(2)
    law = {"E": ones, "B": ones, "beta": 0.3 * ones}
    model = MixtureModel(LAWS["power"], mixed, names, names, {**law, "a": np.full((2, 2), 0.1)}, token_unit=1e9)
    form = joint_form(AllocationProblem(model, 1e9))
    made = lagrangian(form, np.zeros(form.functions.n_rows))
    with pytest.raises(NoRelaxationError, match="pair template of 'mixed'"):
        _ = made.problem.pieces
    E = sp.Symbol("E", positive=True)
    z = sp.Symbol("z", positive=True)
    bent = Law("bent", E + sp.exp(-((z - 1) ** 2)), (Parameter(E, "target", "nats"),))
    model = MixtureModel(bent, INTERACTIONS["none"], names, names, {"E": ones}, token_unit=1e9)
    form = joint_form(AllocationProblem(model, 1e9))
    with pytest.raises(NoRelaxationError, match="'bent' is not proved convex"):
        _ = lagrangian(form, np.zeros(form.functions.n_rows)).falls
    valley = Law("valley", E + (z - sp.Rational(1, 2)) ** 2, (Parameter(E, "target", "nats"),))
    model = MixtureModel(valley, INTERACTIONS["none"], names, names, {"E": ones}, token_unit=1e9)
    form = joint_form(AllocationProblem(model, 1e9))
    with pytest.raises(NoRelaxationError, match="'valley' is not proved monotone"):
        _ = lagrangian(form, np.zeros(form.functions.n_rows)).falls
    curved = AllocationProblem(signed_model("linear"), 1e9, objective=CustomObjective("L[s0]**2 + L[s1]"))
    with pytest.raises(NoRelaxationError, match="not affine"):
        lagrangian(joint_form(curved), np.zeros(0))


def test_a_lagrangian_of_rows_is_below_the_objective_where_they_hold():
    model = signed_model("gated", 4, seed=4)
    problem = AllocationProblem(
        model,
        10e9,
        constraints=(LossCeiling({"s0": 2.5}), Custom("z[s1] >= 0.1"), Custom("L[s2] + r[s0] <= 4", name="both")),
    )
    form = joint_form(problem)
    mu = np.zeros(form.functions.n_rows)
    mu[:3] = np.where(np.isfinite(form.nonlinear.upper[:3]), 0.3, -0.2)
    made = lagrangian(form, mu)
    rng = np.random.default_rng(0)
    for x in points(form, made.problem.root, rng, 200):
        at = form.functions.at(x)
        if (at.rows >= form.nonlinear.lower).all() and (at.rows <= form.nonlinear.upper).all():
            assert value(made, x) <= at.value + 1e-12
    check_below_and_convex(relax(made, made.problem.root, form.start), made, form, made.problem.root, rng)
    check_below_and_convex(tangents(made, made.problem.root, form.start), made, form, made.problem.root, rng)


def test_any_point_and_any_multipliers_give_a_bound():
    form, made, box, x = functions_on(the_problem("gated", "group", 7), 7, 1.0)
    functions = relax(made, box, x)
    cut, rng = boxed(made.polytope, box.lower, box.upper), np.random.default_rng(0)
    cloud = points(form, box, rng, 200)
    least = min(functions.at(y).value for y in cloud)
    best = minimise(functions, cut, x)
    assert best.lower <= least
    for y in cloud[:40]:
        found = linear_bound(functions.at(y), y, cut, rng.normal(size=cut.rows.lower.size))
        assert found.lower <= best.lower + 1e-9
        for w in cloud:
            ends = np.maximum(found.reduced * (w - box.lower), found.reduced * (w - box.upper))
            assert functions.at(w).value >= found.lower + ends.max() - 1e-9


def test_the_envelopes_of_an_affine_form_are_exact():
    _, made, box, x = functions_on(the_problem("linear", "plain", 0), 0)
    separable = envelopes(made.problem, box, x).separable
    np.testing.assert_allclose(separable.slopes(x)[0], made.response.z(x), rtol=1e-13)


def test_a_gates_chord_is_at_its_ends():
    template = Template(1 - sp.exp(-g * r_i), (r_i,), (Parameter(g, "target"),))
    low, high = np.array([0.1]), np.array([0.7])
    function = Univariate.of(template, [np.array(1.0), np.array(np.nan), np.array([3.0])], low, high, (1,))
    kept, slope, constant = function.enveloped(np.array([-2.0]), low, high)
    assert kept == 0
    for end in (low, high):
        np.testing.assert_allclose(slope * end + constant, -2.0 * function.values(end), rtol=1e-14)


@pytest.mark.parametrize(
    ("form", "setting"),
    [
        ("linear", "plain"),
        ("saturating", "group"),
        ("gated", "plain"),
        ("gated", "near"),
        ("gated", "history"),
        ("both_curved", "plain"),
        ("gated", "zero_shot"),
    ],
)
def test_the_cvxpy_program_has_newtons_minimum(form, setting):
    form_, _, box, x = functions_on(the_problem(form, setting, 11), 11, 0.5)
    made = lagrangian(relaxable(form_, centered=False), np.zeros(form_.functions.n_rows))
    program = relaxation_program(form_, box, reference=x)
    program.solve(solver="CLARABEL")
    ours, cut = relax(made, box, x), boxed(made.polytope, box.lower, box.upper)
    ours = minimise(ours, cut, inside_domain(ours.separable, cut, x))
    assert program.value == pytest.approx(ours.lower, abs=1e-6)


def test_what_cvxpy_cannot_write_is_refused():
    tanh = Interaction("tanh", r_i, a * sp.tanh(r_j), (Parameter(a, "pair"),))
    model = signed_model("linear", 2)
    parameters = {name: model.parameters[name] for name in ("E", "B", "beta")} | {"a": np.full((2, 2), 0.2)}
    model = MixtureModel(LAWS["power"], tanh, model.sources, model.targets, parameters, token_unit=1e9)
    form_ = joint_form(AllocationProblem(model, 10e9))
    with pytest.raises(NoRelaxationError, match="CVXPY"):
        relaxation_program(form_)
