"""Lower bounds of blocks, piece by piece: nowhere above what attacks reach, for any multipliers, box and piece."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
import test_kinks
from blocks import STEPS, Blocks, cells, claimed
from conftest import random_model
from random_problems import INSEPARABLE, USERS, random_multipliers, repeated, signed_model, the_problem

from climbopt.certification.global_bound.search import optimal
from climbopt.certification.proof.blocks import Choices, Dual, Prices
from climbopt.certification.proof.decomposition import Box, Decomposition
from climbopt.certification.proof.enclosures import z_range
from climbopt.model.ensemble import Ensemble
from climbopt.model.interactions import INTERACTIONS, Interaction
from climbopt.model.laws import Law
from climbopt.model.symbols import Parameter, r_i, r_j, z
from climbopt.numerics.intervals import Interval
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Custom
from climbopt.problem.objectives import Minimax
from climbopt.procedures import joint_form

ROWS = (Custom("L[s0] >= 1", name="least"), Custom("z[s1] <= 1.2", name="most"), Custom("L[s1] <= 9", name="ceiling"))
B = sp.Symbol("B", positive=True)
HILL = Law("hill", B / (1 + 4 * z**2), (Parameter(B, "target"),))
"""Convex from z = 0.29 on, concave before."""


def plain(name, sources, seed):
    """Return a problem of a form with transfer of both signs."""
    if name in ("gated", "linear", "saturating", *USERS, *INSEPARABLE):
        return AllocationProblem(signed_model(name, sources, seed=seed, scale=1.5), 10e9)
    params = 1e9 if name in ("additive_power", "information") else None
    return AllocationProblem(random_model(name, sources=sources, signed=True, seed=seed), 10e9, params=params)


def zero_shot(sources, seed):
    """Return a problem with a target that is no source, and a source that is no target."""
    names = tuple(f"s{j}" for j in range(sources - 1))
    return AllocationProblem(signed_model("gated", sources, (*names, "zero"), seed), 10e9)


def with_rows(name, sources, seed):
    """Return a problem with nonlinear rows, whose multipliers make weights of losses negative."""
    return replace(plain(name, sources, seed), constraints=ROWS)


def sparse(sources, seed):
    """Return a problem where half the pairs give nothing, and rows on z, whose multipliers may dominate."""
    model = signed_model("gated", sources, seed=seed, scale=3.0)
    gives = np.random.default_rng(seed).random((sources, sources)) < 0.5
    values = {name: value * gives if value.ndim == 2 else value for name, value in model.parameters.items()}
    values["eta"] = 3.0 * values["eta"]
    rows = tuple(
        Custom(f"z[s{i}] {side}", name=f"z{i}{side[0]}") for side in ("<= 50", ">= -50") for i in range(sources)
    )
    return AllocationProblem(replace(model, parameters=values), 10e9, constraints=rows)


def under_a_hill(sources, seed):
    """Return a problem whose law is not convex."""
    model = signed_model("gated", sources, seed=seed)
    values = {name: value for name, value in model.parameters.items() if name not in ("E", "beta")}
    return AllocationProblem(replace(model, law=HILL, parameters=values), 1e9)


def in_an_ensemble(name, sources, seed):
    """Return a problem of three forms with repeated data."""
    one, other = signed_model(name, sources, seed=seed), signed_model("gated", sources, seed=seed + 1)
    return AllocationProblem(Ensemble((one, repeated(other, 0), other), (1, 2, 1)), 10e9)


def over_repeated_data(name, sources, seed):
    """Return a problem whose sources have little data."""
    return AllocationProblem(repeated(signed_model(name, sources, seed=seed), 0), 10e9)


def largest_loss(sources, seed):
    """Return a problem that minimises the largest loss."""
    return replace(plain("gated", sources, seed), objective=Minimax())


CASES = {
    **{f"{name} 3": (plain, name, 3) for name in (*INTERACTIONS, *USERS) if name != "none"},
    **{f"{name} 2": (plain, name, 2) for name in ("linear", "gated", "saturating", *USERS)},
    **{f"{name} with rows": (with_rows, name, 3) for name in ("linear", "gated", "saturating")},
    "gated 5": (plain, "gated", 5),
    "saturating 4": (plain, "saturating", 4),
    **{f"sparse {m}": (sparse, m) for m in (2, 3, 4)},
    "slopes that jump": (lambda m, seed: test_kinks.problem((4, 0.25)[seed], transfer=(0.5, -0.3)[seed]), 3),
    "law that bends both ways": (under_a_hill, 3),
    "repeated, gated": (over_repeated_data, "gated", 3),
    "repeated, saturating": (over_repeated_data, "saturating", 3),
    "zero shot": (zero_shot, 4),
    "ensemble": (in_an_ensemble, "linear", 3),
    "minimax": (largest_loss, 3),
    "group": (lambda m, seed: the_problem("gated", "group", seed, m), 3),
    "near": (lambda m, seed: the_problem("gated", "near", seed, m), 3),
    "history": (lambda m, seed: the_problem("gated", "history", seed, m), 3),
    **{f"{name} {m}": (plain, name, m) for name in INSEPARABLE for m in (2, 3)},
    "excess with rows": (with_rows, "excess", 3),
    "repeated, crowded": (over_repeated_data, "crowded", 3),
    "ensemble of a form without gates": (in_an_ensemble, "crowded", 3),
}


SLOW = {"repeated, gated", "repeated, saturating", "ensemble", "information 3", "powers 3"}
"""Cases of which fewer boxes are tried."""


def random_box(form, rng):
    """Return a point of the polytope and a box around it, often with sides on the bounds."""
    n = form.n_ratios
    x = form.nearest(form.complete(rng.dirichlet(np.full(n, rng.choice([0.3, 1.0, 3.0])))))
    width = 10.0 ** rng.uniform(-3, 0.3)
    low = np.maximum(form.polytope.bounds.lower, x - width * rng.random(x.size))
    high = np.minimum(np.minimum(form.polytope.bounds.upper, 5.0), x + width * rng.random(x.size))
    high[:n] = np.minimum(high[:n], 1.0)
    return x, Box(np.minimum(low, x), np.maximum(high, x))


def random_piece(low, high, rng):
    """Return an interval inside another: now and then all of it, its beginning or a point."""
    width = (high - low) * 10.0 ** rng.uniform(-3, 0)
    start = low + (high - low - width) * rng.random() * 10.0 ** rng.choice([0.0, 0.0, -2.0])
    kinds = [(low, high), (low, low + width), (start, start), *7 * [(start, start + width)]]
    return kinds[rng.integers(10)]


def tilts(x, value):
    """Return slopes whose addition puts a minimum at an end, nowhere in particular, and inside of the piece."""
    known = np.flatnonzero(np.isfinite(value))
    first, middle, last = known[0], known[known.size // 2], known[-1]
    chords = [(value[b] - value[a]) / (x[b] - x[a]) for a, b in ((first, last), (first, middle)) if x[b] > x[a]]
    return [0.0, *(-chord for chord in chords)]


def check_block(problem, multipliers, box, block, ends, rng):
    """Assert that a piece's claimed bound is not above what an attack reaches, however the total is priced."""
    in_total, dense = problem.total[0], problem.polytope.dense
    total = np.flatnonzero((dense == in_total[: dense.shape[1]]).all(axis=1) & in_total.any())[:1]
    x = np.linspace(*ends, STEPS)
    value, size = Blocks(problem, multipliers, box).attack(block, x, rng)
    known = np.isfinite(value)
    if not known.any():
        return
    priced = total.size and in_total[block]
    for tilt in tilts(x, value) if priced else [0.0]:
        rows = multipliers.rows.copy()
        rows[total] += tilt
        _, (bound,) = claimed(problem, replace(multipliers, rows=rows), box, cells(block, ends))
        above = value + tilt * x + 1e-12 * (size + abs(tilt))
        assert not np.isnan(bound)
        assert (bound <= above[known]).all()


@pytest.mark.parametrize("case", CASES)
def test_no_attack_gets_below_a_bound_of_a_block(case):
    make, *arguments = CASES[case]
    rng = np.random.default_rng(list(CASES).index(case))
    for seed in range(1 if case in SLOW else 2):
        problem = Decomposition.of(joint_form(make(*arguments, seed)))
        for _ in range(2):
            x, box = random_box(problem.form, rng)
            noise, size = rng.choice([0.0, 0.1, 1.0, 30.0]), rng.choice([1.0, 1.0, 20.0])
            multipliers = random_multipliers(problem, x, rng, noise, size)
            for block in rng.permutation(problem.n_blocks)[:2]:
                low, high = (end[block] if block < end.size else 0.0 for end in (box.lower, box.upper))
                check_block(problem, multipliers, box, block, random_piece(low, high, rng), rng)


def test_gates_bend_with_sums_that_are_far_from_the_middle():
    """With sources that give nothing the total has no price, and with rows on z their slopes hardly change."""
    rng, problem = np.random.default_rng(0), Decomposition.of(joint_form(sparse(3, 1)))
    box, sums = Box(np.zeros(3), np.array([1.0, 0.5, 0.5])), np.zeros((2, 3))
    for block in range(3):
        nonlinear = np.where(np.arange(6) == 3 + block, -20.0, 0.0)
        for price in (0.0, 3.0, -3.0):
            check_block(problem, Prices(np.zeros(1), nonlinear, sums + price), box, block, (0.2, 0.2001), rng)


@pytest.mark.parametrize("name", ["linear", "saturating", "gated"])
def test_where_the_weight_of_a_loss_is_negative_it_is_concave(name):
    rng, problem = np.random.default_rng(0), Decomposition.of(joint_form(with_rows(name, 3, 0)))
    none = np.zeros(problem.functions.n_rows)
    box, sums = Box(np.full(3, 0.1), np.full(3, 0.6)), optimal(problem, np.full(3, 1 / 3), none).sums
    least = np.where([label.name == "least" for label in problem.form.nonlinear.labels], -5.0, none)
    assert least.any()
    for width in (0.0, 1e-3, 1e-1):
        for price in (0.0, 1.0, -1.0, 9.0, -9.0):
            prices = Prices(np.zeros(1), least, sums + price)
            check_block(problem, prices, box, 0, (0.3, 0.3 + width), rng)


@pytest.mark.parametrize("make", [under_a_hill, lambda m, seed: with_rows("linear", m, seed)])
def test_lines_lie_below_the_law_wherever_z_may_be(make):
    """By the mean value theorem where the law is not convex, or its weight is negative."""
    rng, problem = np.random.default_rng(0), Decomposition.of(joint_form(make(3, 0)))
    n_rows = problem.functions.n_rows
    for width in (1e-3, 1e-1, 0.5):
        box = Box(np.full(3, 0.2), np.full(3, 0.2 + width))
        prices = Prices(np.zeros(1), -5.0 * rng.random(n_rows), np.zeros((len(problem.separable.parts), 3)))
        dual, t, on = Dual(problem, prices, box), np.arange(3), Interval(box.lower, box.upper)
        z, (_, v, w, _) = z_range(problem, dual.parts, on, t), dual.lagrangian
        assert (z.lower > 0).all()
        for share in (-0.1, 0.0, 0.3, 1.0, 1.5):
            kappa, u = dual._line(t, on, z.lower + share * (z.upper - z.lower))
            for at in np.linspace(z.lower, z.upper, 21):
                value = w.middle * problem.separable.law.values(at, t) + v.middle * at
                line = (kappa + u * Interval.enclosing(at)).lower
                assert np.isfinite(line).all() and (line <= value + 1e-12 * (1 + np.abs(value))).all()


def test_every_target_of_a_block_bends():
    """The first of two forms is linear, the second gated."""
    rng, bent = np.random.default_rng(0), sparse(3, 1).model
    ensemble = Ensemble((signed_model("linear", 3, seed=0), bent), (1, 9))
    problem = Decomposition.of(joint_form(AllocationProblem(ensemble, 10e9)))
    box = Box(np.zeros(3), np.array([1.0, 0.5, 0.5]))
    sums = optimal(problem, np.full(3, 1 / 3), np.zeros(problem.functions.n_rows)).sums
    for block in range(3):
        for share in (1.0, 0.0, -2.0):
            prices = Prices(np.zeros(1), np.zeros(problem.functions.n_rows), share * sums)
            check_block(problem, prices, box, block, (0.2, 0.2001), rng)


def test_rows_that_are_not_affine_have_no_price():
    rows = (Custom("L[s0]**2 + L[s1] <= 9", name="curved"), Custom("L[s1] <= 3", name="affine"))
    problem = Decomposition.of(joint_form(replace(plain("gated", 3, 0), constraints=rows)))
    box, labels = Box(np.zeros(3), np.ones(3)), [label.name for label in problem.form.nonlinear.labels]

    def bound(**prices):
        nonlinear = np.array([prices.get(name, 0.0) for name in labels])
        constant, bounds = claimed(problem, Prices(np.zeros(1), nonlinear, np.zeros((2, 3))), box, cells(1, (0.2, 0.5)))
        return constant, bounds[0]

    assert bound(curved=1.0) == bound()
    assert bound(curved=-1.0, affine=0.5) == bound(affine=0.5) != bound()


def test_slopes_that_jump_inside_of_a_piece():
    rng, problem = np.random.default_rng(0), Decomposition.of(joint_form(test_kinks.problem(4, transfer=0.5)))
    box, shape = Box(np.zeros(3), np.ones(3)), (len(problem.separable.parts), 3)
    for block, kink in ((0, 0.2), (1, 0.3)):
        for price in (3.0, -3.0):
            for ends in ((kink - 0.01, kink + 0.01), (kink - 0.001, kink + 0.1), (0.0, 1.0)):
                prices = Prices(np.zeros(1), np.zeros(problem.functions.n_rows), np.full(shape, price))
                check_block(problem, prices, box, block, ends, rng)


def test_a_law_is_touched_inside_of_its_domain_alone():
    """z**-2 has a tangent at z = -1 too, which lies above it at z = 1."""
    model = signed_model("linear", 2, seed=0)
    squared = replace(model, parameters={**model.parameters, "beta": np.full(2, 2.0)})
    problem = Decomposition.of(joint_form(AllocationProblem(squared, 10e9)))
    dual = Dual(problem, Prices(np.zeros(1), np.zeros(0), np.zeros((1, 2))), Box(np.full(2, 0.25), np.full(2, 0.75)))
    pieces = cells(0, (0.25, 0.75))
    assert np.isfinite(dual.bounds(pieces, Choices(np.array([0.6]), np.zeros(1)))).all()
    for z0 in (-1.0, -1e-3, np.nan, np.inf, -np.inf):
        assert dual.bounds(pieces, Choices(np.array([z0]), np.zeros(1))) == -np.inf


@pytest.mark.parametrize("power", [1, 2])
def test_a_law_with_a_pole_is_not_convex_across_it(power):
    """(z - 1/2)**-2 bends up on both sides; what is a tangent on one side is above it on the other."""
    poles = Law("pole", B / (z - sp.Rational(1, 2)) ** power, (Parameter(B, "target"),))
    model = signed_model("linear", 2, seed=0)
    values = {name: value for name, value in model.parameters.items() if name not in ("E", "beta")}
    problem = Decomposition.of(joint_form(AllocationProblem(replace(model, law=poles, parameters=values), 10e9)))
    assert not problem.loss_convex
    box = Box(np.full(2, 0.25), np.full(2, 0.75))
    prices, pieces = Prices(np.zeros(1), np.zeros(0), np.zeros((1, 2))), cells(0, (0.25, 0.4, 0.75))
    least = min(problem.functions.at(np.array([x, 1 - x])).losses[0] for x in np.linspace(0.25, 0.4, 50))
    for z0 in (0.3, 0.55, 0.6, 1.0):
        for theta in (0.0, 5.0, -5.0):
            bound = Dual(problem, prices, box).bounds(pieces, Choices(np.full(2, z0), np.full(2, theta)))[0]
            assert bound <= problem.functions.table.parts.loss[0, 0] * least


def test_a_template_with_a_pole_is_not_convex_across_it():
    own = Interaction("pole", 1 / (r_i - sp.Rational(1, 2)) ** 2, r_j / 9)
    plain = signed_model("linear", 2, seed=0)
    values = {name: plain.parameters[name] for name in ("E", "B", "beta")}
    problem = Decomposition.of(joint_form(AllocationProblem(replace(plain, interaction=own, parameters=values), 10e9)))
    dual = Dual(problem, Prices(np.zeros(1), np.zeros(0), np.zeros((1, 2))), Box(np.zeros(2), np.ones(2)))
    (bound,) = dual.bounds(cells(0, (0.4, 0.6)), Choices(np.array([30.0]), np.zeros(1)))
    loss = problem.functions.at(np.array([0.5 + 1e-9, 0.5 - 1e-9])).losses[0]
    assert bound <= problem.functions.table.parts.loss[0, 0] * loss


@pytest.mark.parametrize("case", ["gated 3", "gated with rows", "ensemble", "repeated, gated", "zero shot", "history"])
def test_blocks_add_up_to_the_lagrangian(case):
    """So that what is attacked is what is bounded: at a feasible point it is the objective but for priced rows."""
    make, *arguments = CASES[case]
    rng, form = np.random.default_rng(0), joint_form(make(*arguments, 0))
    problem = Decomposition.of(form)
    x, box = random_box(form, rng)
    multipliers, at = random_multipliers(problem, x, rng, 1.0), form.functions.at(x)
    blocks = Blocks(problem, multipliers, box)
    total = blocks.constant + sum(blocks.values(j, x[None])[0][0] for j in range(problem.n_blocks))
    used = multipliers.nonlinear != 0
    priced = multipliers.nonlinear[used] @ (at.rows - form.nonlinear.named(multipliers.nonlinear))[used]
    rows = problem.polytope.dense @ x - problem.polytope.rows.named(multipliers.rows)
    priced += multipliers.rows[multipliers.rows != 0] @ rows[multipliers.rows != 0]
    assert total == pytest.approx(at.value + priced, rel=1e-11, abs=1e-11)
