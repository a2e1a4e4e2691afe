"""newton over random models: certified minima, indefinite Hessians, saddle points, many languages."""

import numpy as np
import pytest
from conftest import random_model
from hypothesis import given, strategies as st

from climbopt import AllocationProblem, Cap, Floor, Group, MixtureModel, Options, Termination
from climbopt.backends import load
from climbopt.certification.local import certify
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.procedures import joint_form
from climbopt.testing import family_problem

NEWTON = load("newton")


def constraints(seed, names):
    """Return some floors, caps and a group that leave room."""
    rng = np.random.default_rng(seed)
    chosen = list(rng.permutation(names))
    kinds = [
        Floor({chosen[0]: 0.3 * rng.random()}),
        Cap({chosen[1]: 0.3 + 0.2 * rng.random()}),
        Group(chosen[1:3], upper=0.5, lower=0.1 * rng.random()),
    ]
    return tuple(kind for kind in kinds if rng.random() < 0.6)


@given(
    seed=st.integers(0, 10**6),
    m=st.integers(3, 9),
    signed=st.booleans(),
    interaction=st.sampled_from(["none", "linear", "saturating", "gated"]),
)
def test_every_answer_is_certified(seed, m, signed, interaction):
    model = random_model(interaction, sources=m, signed=signed, seed=seed)
    problem = AllocationProblem(model, 1e9, constraints=constraints(seed, model.sources))
    form = joint_form(problem)
    solution = NEWTON.solve(form, Options())
    if solution.termination is Termination.LEFT_DOMAIN:
        assert signed  # interference that leaves z negative at the start
        return
    assert solution.termination is Termination.SOLVED, solution.raw_status
    certificate = certify(form, solution.x, claimed=solution.multipliers)
    assert certificate.passed, certificate.residuals
    assert certificate.residuals["stationarity"].value < 1e-9
    if interaction in ("none", "linear"):
        assert certificate.gap is not None and certificate.gap < 1e-7


@given(seed=st.integers(0, 10**6))
def test_no_random_mixture_is_better_than_a_proved_optimum(seed):
    problem = AllocationProblem(random_model("saturating", sources=6, seed=seed), 1e9)
    form = joint_form(problem)
    solution = NEWTON.solve(form, Options())
    best = form.functions.at(solution.x).value
    mixtures = np.random.default_rng(seed).dirichlet(np.full(6, 0.5), size=500)
    near = solution.x + 0.05 * (mixtures - solution.x)
    assert (problem.value(np.vstack([mixtures, near])) >= best - 1e-12).all()


def test_permuting_languages_permutes_the_answer():
    model = random_model("gated", sources=6, seed=8)
    order = np.random.default_rng(1).permutation(6)
    values = {
        p.name: model.parameters[p.name][np.ix_(order, order)] if p.per == "pair" else model.parameters[p.name][order]
        for p in model.templates.parameters
    }
    names = tuple(model.sources[k] for k in order)
    other = MixtureModel(model.law, model.interaction, names, names, values, model.token_unit)
    ours, theirs = (NEWTON.solve(joint_form(AllocationProblem(one, 1e9)), Options()).x for one in (model, other))
    np.testing.assert_allclose(theirs, ours[order], atol=1e-9)


def two_basins():
    """Two languages that hurt each other when both have data: the middle is a saddle, each corner a minimum."""
    off = 1 - np.eye(2)
    return MixtureModel(
        LAWS["power"],
        INTERACTIONS["gated"],
        ("a", "b"),
        ("a", "b"),
        {
            "E": [1, 1],
            "B": [1, 1],
            "beta": [0.3, 0.3],
            "eta": [2, 2],
            "h": [0.2, 0.2],
            "b": -1.0 * off,
            "k": 0 * off,
            "l": 0.8 * off,
        },
        1e9,
    )


def test_a_saddle_point_is_left():
    """The start is stationary by symmetry; the answer is not there, because the curvature is negative."""
    form = joint_form(AllocationProblem(two_basins(), 1e9))
    middle = form.functions.at(form.start)
    along = np.array([1.0, -1.0])
    assert abs(middle.gradient @ along) < 1e-12
    assert along @ middle.hessian(1.0, np.zeros(form.functions.n_rows)) @ along < 0
    solution = NEWTON.solve(form, Options())
    assert solution.termination is Termination.SOLVED
    assert form.functions.at(solution.x).value < middle.value - 1e-4
    assert certify(form, solution.x).passed
    assert not certify(form, form.start).verdict.value.startswith("strict")


@pytest.mark.parametrize("m", [64, 200])
def test_many_languages(m):
    form = joint_form(family_problem(m))
    solution = NEWTON.solve(form, Options())
    certificate = certify(form, solution.x, claimed=solution.multipliers)
    assert certificate.passed and certificate.gap < 1e-9 and certificate.disagreement < 1e-6


def test_from_any_start():
    form = joint_form(family_problem(8))
    answers = [
        NEWTON.solve(form.from_start(start), Options()).x
        for start in np.random.default_rng(0).dirichlet(np.full(8, 0.3), size=5)
    ]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], atol=1e-9)


def test_a_hessian_that_is_negative_off_the_simplex_only():
    """Its least eigenvalue lies along the ones vector, where no step can go: no shift, and no stall."""
    model = MixtureModel(
        LAWS["power"],
        INTERACTIONS["saturating"],
        ("a", "b"),
        ("a", "b", "z"),
        {
            "E": np.ones(3),
            "B": [1, 1, 5],
            "beta": np.full(3, 0.3),
            "eta": np.full(3, 5.0),
            "b": [[0, 0.1], [0.2, 0], [0.3, -0.2]],
            "k": np.zeros((3, 2)),
        },
        1e9,
    )
    form = joint_form(AllocationProblem(model, 1e9))
    solution = NEWTON.solve(form, Options())
    assert solution.termination is Termination.SOLVED and certify(form, solution.x).passed


@given(seed=st.integers(0, 10**6))
def test_two_sources_with_signed_transfer_against_a_fine_grid(seed):
    rng = np.random.default_rng(seed)
    model = MixtureModel(
        LAWS["power"],
        INTERACTIONS["saturating"],
        ("a", "b"),
        ("a", "b", "z"),
        {
            "E": np.ones(3),
            "B": rng.uniform(0.5, 5, 3),
            "beta": np.full(3, 0.3),
            "eta": rng.uniform(1, 8, 3),
            "b": rng.uniform(-0.3, 0.4, (3, 2)),
            "k": np.zeros((3, 2)),
        },
        1e9,
    )
    problem = AllocationProblem(model, 1e9)
    grid = np.linspace(0, 1, 2001)
    values = problem.value(np.column_stack([grid, 1 - grid]))
    form = joint_form(problem)
    solution = NEWTON.solve(form, Options())
    if np.isnan(values).all():
        assert solution.termination is Termination.LEFT_DOMAIN
        return
    if solution.termination is Termination.SOLVED:
        around = np.nanmin(values[np.abs(grid - solution.x[0]) < 0.01], initial=np.inf)
        assert form.functions.at(solution.x).value <= around + 1e-9
    else:
        assert solution.termination is Termination.LEFT_DOMAIN and np.isnan(values).mean() > 0.5
