"""save_problem: what load_problem reads back is the same problem, for every shipped one and every kind."""

from dataclasses import fields, replace

import numpy as np
import pytest
import sympy as sp
from conftest import random_model, random_ratios

import climbopt
from climbopt import (
    AllocationProblem,
    Cap,
    Custom,
    CustomObjective,
    Floor,
    Group,
    InputError,
    Linear,
    LossCeiling,
    Minimax,
    StayNear,
    Supply,
    Weighted,
    WeightedPowerMean,
    load_problem,
    save_problem,
    shipped_problems,
)
from climbopt.model.expressions import parse_expression, text_of
from climbopt.problem.constraints import CONSTRAINTS
from climbopt.problem.objectives import OBJECTIVES
from climbopt.procedures import as_procedure
from climbopt.procedures.result import resolve

r, z, L, D = climbopt.r, climbopt.z, climbopt.L, climbopt.D
MODEL = random_model("linear", sources=4)
NAMES = MODEL.sources
SUPPLY = {name: 1e9 * (k + 1) / 3 for k, name in enumerate(NAMES)}
PROBLEM = AllocationProblem(MODEL, 1.1e9, supply=SUPPLY, groups={"pair": ("s0", "s2")})
CONSTRAINTS_OF_EACH_KIND = [
    Floor({"s0": 0.1, "s1": 1 / 30}),
    Cap({"s0": 0.7}, name="most"),
    Group("pair", lower=0.2, upper=0.7),
    Group(("s1", "s3"), upper=2 / 3),
    Supply(4),
    Supply({"s0": 3.5}),
    StayNear(0.5, "natural"),
    StayNear(0.5, {"s0": 0.5, "s1": 0.5}),
    LossCeiling(losses={"s0": 5.0}),
    LossCeiling(excess=0.1, reference="uniform", targets=("s0", "s2")),
    Linear({"s1": 1.0, "s2": -0.3}, lower=-0.1),
    Custom("r[s1] >= 0.1 * r[s0]"),
    Custom(r["s1"] >= r["s0"] / 30 + 0.1 * (0.1 + 0.2), name="in SymPy"),
    Custom(sp.Eq(r["s1"], 0.25)),
    Custom(z["s0"] ** 0.5 * D / 7 <= 3 * L["s1"] ** sp.Rational(-1, 3) * D),
]
OBJECTIVES_OF_EACH_KIND = [
    Weighted(),
    Minimax(),
    Minimax(losses={name: 1 / 3 for name in NAMES}),
    Minimax(reference="natural"),
    WeightedPowerMean(power=3.5, reference={"s0": 0.25, "s1": 0.75}),
    CustomObjective("0.5 * L[s0] + L[s1]**2"),
    CustomObjective(-0.5 * sp.sqrt(z["s0"] + 0.1) + L["s1"] ** 2 / 3 + r["s3"]),
]


def reloaded(problem, folder):
    save_problem(problem, folder / "p.toml")
    return load_problem(folder / "p.toml")


def assert_same(one, other):
    for field in fields(one):
        if field.name not in ("model", "constraints", "objective", "name"):
            assert getattr(one, field.name) == getattr(other, field.name)
    for field in fields(one.model):
        mine, theirs = getattr(one.model, field.name), getattr(other.model, field.name)
        if field.name == "parameters":
            assert all(np.array_equal(mine[name], theirs[name]) for name in mine)
        else:
            assert mine == theirs
    assert len(one.constraints) == len(other.constraints)
    for mine, theirs in zip((*one.constraints, one.objective), (*other.constraints, other.objective), strict=True):
        for field in fields(mine):
            value, read = getattr(mine, field.name), getattr(theirs, field.name)
            if not isinstance(value, sp.Basic):
                assert type(mine) is type(theirs) and (value == read or list(value) == list(read))
    for row, again in zip(one.rows, other.rows, strict=True):
        assert (row.name, row.per_unit, row.unit) == (again.name, again.per_unit, again.unit)
        assert (row.lower, row.upper) == pytest.approx((again.lower, again.upper), rel=1e-15)
        if hasattr(row, "expression"):
            at = {symbol: 0.3 + 0.1 * k for k, symbol in enumerate(sorted(row.expression.free_symbols, key=str))}
            assert float(row.expression.subs(at)) == pytest.approx(float(again.expression.subs(at)), rel=1e-14)
        elif hasattr(row, "coefficients"):
            assert dict(row.coefficients) == pytest.approx(dict(again.coefficients), rel=1e-15)
        else:
            assert dict(row.center) == dict(again.center)
    for seed in range(3):
        ratios = random_ratios(len(one.model.sources), seed)
        assert one.value(ratios) == pytest.approx(other.value(ratios), rel=1e-14)


def test_a_problem_of_an_ensemble(tmp_path):
    problem = load_problem("scarce6")
    again = reloaded(problem, tmp_path)
    assert again.supply == problem.supply and again.model.weights == problem.model.weights
    mixtures = np.random.default_rng(0).dirichlet(np.ones(6), 20)
    np.testing.assert_array_equal(again.value(mixtures), problem.value(mixtures))


@pytest.mark.parametrize("name", [name for name in shipped_problems() if name not in ("scarce6", "loop4")])
def test_shipped_problems(name, tmp_path):
    problem = load_problem(name)
    assert_same(problem, reloaded(problem, tmp_path))


@pytest.mark.parametrize("constraint", CONSTRAINTS_OF_EACH_KIND, ids=lambda one: one.kind)
def test_constraints(constraint, tmp_path):
    problem = replace(PROBLEM, constraints=(constraint,))
    assert_same(problem, reloaded(problem, tmp_path))


@pytest.mark.parametrize("objective", OBJECTIVES_OF_EACH_KIND, ids=lambda one: one.kind)
def test_objectives(objective, tmp_path):
    problem = replace(PROBLEM, objective=objective)
    assert_same(problem, reloaded(problem, tmp_path))


def test_every_kind_is_in_the_lists():
    assert {one.kind for one in CONSTRAINTS_OF_EACH_KIND} == set(CONSTRAINTS)
    assert {one.kind for one in OBJECTIVES_OF_EACH_KIND} == set(OBJECTIVES)


def test_numbers_by_language_and_the_model_size(tmp_path):
    model = random_model("linear", law="power_nd", sources=3)
    problem = AllocationProblem(
        model, 1e9, params=7e9, weights={"s0": 2.0, "default": 1 / 3}, history={"s1": 1e8}, name="x"
    )
    assert_same(problem, reloaded(problem, tmp_path))


@pytest.mark.parametrize(
    "procedure", [climbopt.TwoStep(iterate=True), climbopt.Temperature(2.5), climbopt.UniMax(), climbopt.Joint()]
)
def test_the_procedure_and_its_options(procedure, tmp_path):
    save_problem(PROBLEM, tmp_path / "p.toml", procedure)
    assert resolve(tmp_path / "p.toml")[1] == procedure
    save_problem(PROBLEM, tmp_path / "p.toml", procedure.name)
    assert resolve(tmp_path / "p.toml")[1] == as_procedure(procedure.name)


@pytest.mark.parametrize("procedure", ["twostep", object()])
def test_another_procedure_is_refused(procedure, tmp_path):
    with pytest.raises(InputError, match="unknown procedure"):
        save_problem(PROBLEM, tmp_path / "p.toml", procedure)
    assert not list(tmp_path.iterdir())


class Plain:
    """No dataclass."""

    name = "joint"


@pytest.mark.parametrize(
    ("procedure", "message"), [(climbopt.TwoStep, r"write TwoStep\(\)"), (Plain(), "unknown procedure")]
)
def test_what_is_no_procedure_but_has_a_name_of_one_is_refused(procedure, message, tmp_path):
    with pytest.raises(InputError, match=message):
        save_problem(PROBLEM, tmp_path / "p.toml", procedure)
    assert not list(tmp_path.iterdir())


def test_what_a_file_could_not_name_is_refused(tmp_path):
    class Floor2(Floor):
        pass

    path = tmp_path / "p.toml"
    for problem, words in (
        (replace(PROBLEM, constraints=(Floor2({"s0": 0.1}),)), "not the registered kind 'floor'"),
        (replace(PROBLEM, objective=CustomObjective(sp.exp(L["s0"]))), "a call is not allowed"),
    ):
        with pytest.raises(InputError, match=words):
            save_problem(problem, path)
    with pytest.raises(InputError, match="there is no folder"):
        save_problem(PROBLEM, tmp_path / "no" / "p.toml")
    with pytest.raises(InputError, match="name a file"):
        save_problem(PROBLEM, "/dev/null")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "expression", [sp.sqrt(r["a"] + 0.1 + 0.2), -0.5 * L["a"] ** -2, (r["a"] - 1e-30) ** 2 * D / 7]
)
def test_texts_of_expressions_are_read_back(expression):

    at = {r["a"]: 0.3, L["a"]: 1.7, D: 1e9}
    assert float(parse_expression(text_of(expression), {}).subs(at)) == pytest.approx(
        float(expression.subs(at)), rel=1e-15
    )
