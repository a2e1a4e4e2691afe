"""What a problem takes from Python: keywords for mappings, relations, texts and names for objects."""

from dataclasses import replace

import pytest
import sympy as sp

import climbopt
from climbopt import AllocationProblem, Cap, Custom, CustomObjective, Floor, InputError, LossCeiling, Minimax, Supply
from climbopt.testing import family_model

L, r = climbopt.L, climbopt.r
MODEL = family_model(4, seed=1)
A, B, C, _ = MODEL.sources


def problem(**given):
    return AllocationProblem(MODEL, "100B", **given)


def test_languages_as_keywords():
    assert Floor(en=0.15, de="5%") == Floor({"en": 0.15, "de": 0.05})
    assert Cap(en="50%", name="most") == Cap({"en": 0.5}, "most")
    assert Supply(en=4, sw=8) == Supply({"en": 4.0, "sw": 8.0}) != Supply(4)
    assert LossCeiling(de=2.1) == LossCeiling({"de": 2.1})
    assert Floor({"zh-Hant": 0.1}).ratios["zh-Hant"] == 0.1 and hash(Floor(en=0.1)) == hash(Floor({"en": 0.1}))
    assert replace(Floor(en=0.1), ratios={"en": 0.2}) == Floor(en=0.2)
    assert repr(Floor(en=0.1)).startswith("Floor(ratios=")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Floor({"en": 0.1}, de=0.2), "a floor has its numbers by keyword and in its first argument too"),
        (lambda: Supply(4, en=2), "a supply has its numbers by keyword and in its first argument too"),
        (lambda: Supply(), r"supply has no epochs; write Supply\(epochs=4\)"),
        (lambda: Floor(0.15), "ratios is 0.15; give a mapping from language to number"),
        (lambda: Floor(en=15), "floor of 'en' is 15; a floor is a ratio in .*write 0.15 for 15 %"),
        (lambda: LossCeiling(), "either 'losses' by target, or 'excess'"),
        (lambda: LossCeiling(excess=0.1, de=2.0, reference="uniform"), "either 'losses' by target, or 'excess'"),
        (lambda: problem(constraints=Floor(en=0.1)), r"constraints is a Floor; give a list"),
        (lambda: problem(constraints="r[en] <= 0.5"), r"constraints is a str; give a list"),
        (lambda: problem(constraints=[{"kind": "floor"}]), r"constraint 1 is \{'kind': 'floor'\}; give for example"),
        (lambda: problem(constraints=[Floor]), "constraint 1 is the class Floor"),
        (lambda: problem(constraints=[r[A] == 0.2]), "constraint 1 is False; write an equation as sympy.Eq"),
        (lambda: problem(constraints=[r[A] + 0.2]), "custom: .* is no relation with <=, >= or Eq"),
        (lambda: problem(constraints=[r[A] >= r[A]]), "custom: 'True' is no relation"),
        (lambda: problem(objective=Minimax), "objective is <class .*; give an objective such as"),
        (lambda: problem(objective=3.0), r"objective is 3.0; give an objective such as climbopt.Minimax\(\), its name"),
        (lambda: problem(objective="minmax"), "the objective: .*'minmax' is none of r, z, L and D"),
        (lambda: problem(groups={"x": "en"}), r"group 'x' is 'en'; list its languages, such as \['en'\]"),
        (lambda: AllocationProblem("model.toml", 1e9), "model is a str; give a MixtureModel"),
        (lambda: AllocationProblem(MODEL, "1X"), "budget is '1X'; write a number of tokens such as 5e9, 5B"),
    ],
)
def test_a_wrong_type_gets_one_sentence_and_the_fix(make, message):
    with pytest.raises(InputError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)


def test_relations_are_constraints():
    asked = problem(constraints=[r[A] >= 0.4, f"r[{B}] <= 0.2", Floor({C: 0.1}), sp.Eq(L[B] - L[C], 0.05), L[A] <= 99])
    assert [one.name for one in asked.constraints] == ["custom", "custom 2", "floor", "custom 3", "custom 4"]
    assert asked.rows == problem(constraints=tuple(asked.constraints)).rows
    taken = problem(constraints=[r[A] >= 0.1, Custom(r[B] >= 0.1, name="custom")])
    assert [one.name for one in taken.constraints] == ["custom 2", "custom"]
    result = climbopt.solve(problem(constraints=[r[A] >= 0.4]))
    assert result.passed and result.ratios[A] >= 0.4 - 1e-9


def test_objectives_by_name_and_by_expression():
    assert problem(objective="minimax").objective == Minimax()
    assert problem(objective="weighted").goal.label == "weighted loss"
    text, expression = f"L[{A}] + 2 * r[{B}]", L[A] + 2 * r[B]
    assert problem(objective=text).objective == CustomObjective(text)
    one, other = (climbopt.solve(problem(objective=given)) for given in (text, expression))
    assert one.passed and one.objective == other.objective
