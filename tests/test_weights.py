"""[weights]: all targets, or a default for the others; never a guess."""

from dataclasses import replace

import pytest

import climbopt
from climbopt import AllocationProblem, InputError, load_problem, solve
from climbopt.testing import family_model

MODEL = family_model(4, seed=1)
FIRST, *REST = MODEL.targets


def shares(weights):
    return AllocationProblem(MODEL, 1e11, weights=weights).weight_vector.tolist()


def test_a_default_stands_for_the_targets_that_are_not_named():
    assert shares({}) == [0.25] * 4
    assert shares({FIRST: 5.0, "default": 0.0}) == [1.0, 0.0, 0.0, 0.0]
    assert shares({FIRST: 5.0, "default": 1.0}) == [5 / 8, 1 / 8, 1 / 8, 1 / 8]
    assert shares({FIRST: 3, "default": "0.5"}) == [3 / 4.5, 0.5 / 4.5, 0.5 / 4.5, 0.5 / 4.5]
    assert shares(dict.fromkeys(MODEL.targets, 2.0)) == [0.25] * 4


def test_a_partial_table_is_refused_with_both_readings():
    with pytest.raises(InputError) as refusal:
        shares({FIRST: 1.0})
    message = str(refusal.value)
    assert f"names {FIRST} and not {', '.join(REST)}" in message
    assert "default = 0 if only the named targets count" in message
    assert "default = 1 if each of the others has weight 1 (the named ones then have 25 % of the weight" in message


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({FIRST: 0.0, "default": 0.0}, "every target has weight 0"),
        ({FIRST: 1.0, "default": -1.0}, r"\[weights\] of 'default' is -1; it must be 0 or more"),
        ({"defualt": 1.0}, "did you mean 'default'"),
        ({FIRST: float("nan"), "default": 1.0}, "weights of '.*' is nan"),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(InputError, match=message):
        shares(weights)


def test_a_target_called_default_cannot_be_weighted():
    renamed = replace(
        MODEL, targets=("default", *REST), sources=tuple("default" if s == FIRST else s for s in MODEL.sources)
    )
    assert AllocationProblem(renamed, 1e11).weight_vector.tolist() == [0.25] * 4
    with pytest.raises(InputError, match="a target is called 'default'"):
        AllocationProblem(renamed, 1e11, weights=dict.fromkeys(renamed.targets, 1.0))


def test_weights_of_files_and_of_every_procedure(tmp_path):
    climbopt.save_model(MODEL, tmp_path / "m.toml")
    path = tmp_path / "p.toml"
    text = 'model = "m.toml"\nbudget = 1e11\ntemperature = 2\n[weights]\n{first} = 1\n{default}'
    path.write_text(text.format(first=FIRST, default=""))
    with pytest.raises(InputError, match="add default = 0"):
        load_problem(path)
    path.write_text(text.format(first=FIRST, default="default = 0.0"))
    problem = load_problem(path)
    alone = solve(problem)
    assert alone.passed and alone.objective == pytest.approx(alone.losses[FIRST])
    assert solve(problem, procedure="isolated").ratios[FIRST] == pytest.approx(1.0)
