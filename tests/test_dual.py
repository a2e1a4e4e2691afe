"""The dual function of decomposition: nowhere above the objective, for any multipliers, on any box."""

from dataclasses import replace

import numpy as np
import pytest
from random_problems import (
    FORMS,
    INSEPARABLE,
    SETTINGS,
    USERS,
    points,
    random_multipliers,
    repeated,
    signed_model,
    the_problem,
)

from climbopt.certification.global_bound.boxes import halves, whole
from climbopt.certification.global_bound.choices import choose
from climbopt.certification.proof.blocks import Dual
from climbopt.certification.proof.decomposition import Box, Decomposition
from climbopt.model.ensemble import Ensemble
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Custom, LossCeiling
from climbopt.problem.objectives import Minimax
from climbopt.procedures import joint_form
from climbopt.procedures.direction import equal_benefit_direction
from climbopt.procedures.two_step import magnitude_form

KINDS = ("plain", "floors", "group", "near", "history", "zero_shot", "ceiling", "minimax", "second step", "rows")
WITH_USE = ("use", "use, step", "ensemble")
QUICK = ("saturating", "gated")
"""Forms that repeated data and ensembles are tried with at once; the others are run by hand."""


def form_of(kind, name, seed, sources=3, scale=1.5):
    """Return a standard form of a kind."""
    if kind == "zero_shot" and name in ("none", *USERS):
        pytest.skip("without transfer a target that is no source has z = 0; users' forms are taken as sources")
    if kind in SETTINGS:
        return joint_form(the_problem(name, kind, seed, sources, scale))
    model = signed_model(name, sources, seed=seed, scale=scale)
    if kind == "ensemble":
        others = (repeated(signed_model(name, sources, seed=seed + 1), seed), signed_model("gated", sources, seed=seed))
        return joint_form(AllocationProblem(Ensemble((repeated(model, seed + 1), *others), (1, 2, 1)), 10e9))
    problem = AllocationProblem(repeated(model, seed) if kind.startswith("use") else model, 10e9)
    if kind == "use":
        return joint_form(problem)
    if kind == "minimax":
        return joint_form(replace(problem, objective=Minimax()))
    if kind in ("second step", "use, step"):
        return magnitude_form(problem, equal_benefit_direction(problem, 1.0))
    if kind == "ceiling":
        losses = joint_form(problem).functions.at(np.full(sources, 1 / sources)).losses
        return joint_form(replace(problem, constraints=(LossCeiling({"s0": float(losses[0])}),)))
    rows = (
        Custom("z[s1] <= 1.2", name="most"),
        Custom("L[s0] >= 1", name="least"),
        Custom("z[s1] >= 0.1", name="some"),
        Custom("L[s0] + r[s1] <= 9", name="both"),
        Custom("L[s0] - L[s1] <= 3", name="difference"),
    )
    return joint_form(replace(problem, constraints=rows))


def feasible(form, box, rng, count):
    """Return random points of a box that meet all rows."""
    found = []
    for x in points(form, box, rng, count):
        if form.n > form.functions.offset.size or form.excess_of:
            x = form.complete(x[: form.n_ratios])
        at = form.functions.at(x)
        held = (at.rows >= form.nonlinear.lower).all() and (at.rows <= form.nonlinear.upper).all()
        if held and np.isfinite(at.value) and (x >= box.lower).all() and (x <= box.upper).all():
            found.append(x)
    return found


def bound_at(value, constant, x):
    """Return the sum of the bounds of the pieces that hold x, a lower bound of the objective there."""
    total, n = constant, value.least.size
    extended = np.append(x, np.zeros(n - x.size))
    pieces = value.pieces
    holds = (pieces.lower <= extended[pieces.block]) & (pieces.upper >= extended[pieces.block])
    best = np.full(n, -np.inf)
    np.maximum.at(best, pieces.block[holds], value.bound[holds])
    return total + best.sum()


def check_nowhere_above(form, seed, noise=0.1, count=60):
    """Assert that the sum of the pieces' bounds is below the objective at random points; return the least distance."""
    rng, problem = np.random.default_rng(seed), Decomposition.of(form)
    least, free = np.inf, np.where(np.isfinite(form.polytope.bounds.upper), form.polytope.bounds.upper, 1e3)
    lower = np.where(np.isfinite(form.polytope.bounds.lower), form.polytope.bounds.lower, -1e3)
    root = Box(lower, np.append(np.minimum(free[: form.n_ratios], 1.0), free[form.n_ratios :]))
    for _ in range(4):
        center = form.complete(points(form, root, rng, 1)[0][: form.n_ratios])
        width = 10.0 ** rng.uniform(-4, 0)
        box = Box(
            np.maximum(root.lower, center - width * rng.uniform(0, 1, form.n)),
            np.minimum(root.upper, center + width * rng.uniform(0, 1, form.n)),
        )
        dual = Dual(problem, random_multipliers(problem, center, rng, noise * rng.integers(0, 2)), box)
        pieces = whole(problem, box, int(rng.integers(1, 9)))
        pieces = pieces if rng.uniform() < 0.5 else halves(pieces)
        value = dual.value(pieces, dual.bounds(pieces, choose(dual, pieces)[0]))
        for x in [*feasible(form, box, rng, count), center]:
            at = form.functions.at(x)
            inside = (x >= box.lower).all() and (x <= box.upper).all()
            held = (at.rows >= form.nonlinear.lower).all() and (at.rows <= form.nonlinear.upper).all()
            if inside and held and np.isfinite(at.value):
                distance = at.value - bound_at(value, dual.lagrangian[3].lower[0], x)
                assert distance >= -1e-12 * max(1.0, abs(at.value))
                assert value.lower <= at.value + 1e-12
                least = min(least, distance)
    return least


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_point_is_below_the_dual_function(kind, name):
    seed = FORMS.index(name)
    check_nowhere_above(form_of(kind, name, seed), seed)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in FORMS])
@pytest.mark.parametrize("kind", WITH_USE)
def test_no_point_is_below_it_with_repeated_data_and_for_ensembles(kind, name):
    seed = FORMS.index(name)
    check_nowhere_above(form_of(kind, name, seed), seed)


@pytest.mark.parametrize("name", INSEPARABLE)
@pytest.mark.parametrize("kind", ["plain", "history", "minimax", "second step", "rows", "use"])
def test_no_point_is_below_it_where_the_pair_template_has_no_decomposition(kind, name):
    seed = list(INSEPARABLE).index(name)
    check_nowhere_above(form_of(kind, name, seed), seed)
