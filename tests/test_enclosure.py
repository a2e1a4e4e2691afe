"""Ball arithmetic: what it proves holds in exact arithmetic, and it proves nothing that is not so."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from conftest import random_model
from test_relaxation import signed_model

from climbopt.backends import Options, choose
from climbopt.model.symbols import Parameter, r_i
from climbopt.model.templates import Template
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Floor, Group, Linear, LossCeiling, StayNear
from climbopt.procedures import joint_form

flint = pytest.importorskip("flint", reason="python-flint is not installed (extra rigorous)")
from climbopt.certification.bounds import enclosure  # noqa: E402
from climbopt.certification.bounds.enclosure import exactly_feasible, prove  # noqa: E402


def solved(problem):
    """Return a problem's form and its solution by the default backend."""
    form = joint_form(problem)
    return form, choose(form).solve(form, Options(tolerance=1e-9)).x


def exact_objective(problem, point):
    """Return the objective at rationals with 50 digits, from the expanded SymPy form."""
    model = problem.model
    losses = model.templates.expand(model.sources, model.targets)
    values = {
        f"r[{name}]": sp.Rational(one.numerator, one.denominator)
        for name, one in zip(model.sources, point, strict=True)
    }
    values["D"] = sp.Rational(*(problem.total_budget / model.token_unit).as_integer_ratio())
    for p in model.templates.parameters:
        array = model.parameters[p.name]
        for index in np.ndindex(array.shape):
            names = [(model.sources if p.per == "source" else model.targets)[index[0]]]
            names += [model.sources[index[1]]] if p.per == "pair" else []
            values[f"{p.name}[{', '.join(names)}]"] = sp.Rational(*float(array[index]).as_integer_ratio())
    total = sp.Integer(0)
    for name, weight in zip(model.targets, problem.weight_vector.tolist(), strict=True):
        loss = losses[name]
        loss = loss.subs({s: values[s.name] for s in loss.free_symbols})
        total += sp.Rational(*weight.as_integer_ratio()) * sp.N(loss, 50)
    return total


@pytest.mark.parametrize("form", ["none", "linear", "saturating"])
def test_a_convex_problem_is_enclosed_tightly(form):
    problem = AllocationProblem(random_model(form, sources=3, seed=3), 10e9, constraints=(Floor({"s1": 0.05}),))
    made, x = solved(problem)
    proof = prove(made, x)
    assert proof.lower < proof.upper <= proof.lower + 1e-11
    assert sum(proof.point) == 1
    exact = exact_objective(problem, proof.point)
    assert exact <= proof.upper <= exact + 1e-14
    assert proof.lower <= exact


def test_the_proof_holds_for_any_point_and_multipliers():
    problem = AllocationProblem(
        random_model("saturating", sources=4, seed=1),
        10e9,
        constraints=(Group(("s0", "s1"), lower=0.3, upper=0.5), StayNear(0.6, "uniform")),
    )
    made, x = solved(problem)
    best, rng = prove(made, x), np.random.default_rng(0)
    for _ in range(10):
        worse = prove(made, made.complete(rng.dirichlet(np.ones(4))))
        assert worse.lower <= best.upper
        assert worse.upper is None or worse.upper >= best.lower


def test_what_is_not_convex_has_no_lower_bound():
    made, x = solved(AllocationProblem(signed_model("gated", 3, scale=2.0), 10e9))
    proof = prove(made, x)
    assert proof.lower is None
    assert proof.upper == pytest.approx(made.functions.at(x).value, rel=1e-9)


def test_convex_rows_through_their_multipliers():
    free = AllocationProblem(random_model("saturating", sources=3, seed=1), 10e9)
    made, x = solved(free)
    ceiling = float(made.functions.at(x).losses[0]) - 0.02
    bound, y = solved(replace(free, constraints=(LossCeiling({"s0": ceiling}),)))
    proof = prove(bound, y)
    assert prove(made, x).upper < proof.lower
    assert proof.lower <= bound.functions.at(y).value + 1e-9
    assert proof.upper is None or proof.upper <= proof.lower + 1e-5


def test_a_point_that_breaks_a_nonlinear_row_bounds_nothing():
    problem = AllocationProblem(
        random_model("saturating", sources=3, seed=1), 10e9, constraints=(LossCeiling({"s0": 1e-3}),)
    )
    made = joint_form(problem)
    assert prove(made, made.start, np.zeros(made.functions.n_rows)).upper is None


def test_points_are_exactly_feasible():
    problem = AllocationProblem(
        random_model("linear", sources=5, seed=1),
        10e9,
        constraints=(
            Group(("s0", "s1"), lower=0.3, upper=0.3, name="third"),
            Group(("s2", "s3"), upper=0.4),
            Linear({"s0": 1.0, "s1": -0.7}, lower=0.0),
            Floor({"s4": 0.1}),
        ),
    )
    made, x = solved(problem)
    point = [Fraction(int(q.p), int(q.q)) for q in exactly_feasible(made.polytope, x)]
    third = Fraction(0.3)
    assert sum(point) == 1
    assert point[0] + point[1] == third
    assert point[2] + point[3] <= Fraction(0.4)
    assert point[0] >= Fraction(0.7) * point[1]
    assert point[4] >= Fraction(0.1)
    np.testing.assert_allclose([float(q) for q in point], x, atol=1e-6)


def test_a_bound_rounded_the_wrong_way_is_caught(monkeypatch):
    exact = enclosure.down
    monkeypatch.setattr(enclosure, "down", lambda ball: exact(ball) + 1e-9)
    problem = AllocationProblem(random_model("linear", sources=3, seed=3), 10e9)
    made, x = solved(problem)
    proof = prove(made, x)
    assert proof.upper < exact_objective(problem, proof.point)  # minus _down of its negative: now too low


def test_numbers_of_a_template_are_exact():
    g = sp.Symbol("g", positive=True)
    template = Template(r_i / 3 + sp.sqrt(g) * sp.Float(0.1), (r_i,), (Parameter(g, "target"),))
    value, slope = enclosure._ball(template, True)(flint.arb(1), flint.arb(1), flint.arb(1), flint.arb(4))
    assert (3 * slope).contains(flint.arb(1))
    assert value.overlaps(flint.arb(flint.fmpq(1, 3)) + 2 * flint.arb(0.1))
    assert float(slope.rad()) < 1e-20 or flint.ctx.prec <= 64
