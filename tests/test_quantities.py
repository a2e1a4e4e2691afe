"""Numbers with the units that they are printed with, from Python and from files."""

import dataclasses
import math

import numpy as np
import pytest

import climbopt
from climbopt.foundations.errors import InputError
from climbopt.foundations.quantities import NUMBER, PARAMS, RATIO, TOKENS
from climbopt.reports.typesetting import tokens as printed


@pytest.mark.parametrize(
    ("unit", "value", "number"),
    [
        (TOKENS, "5B", 5e9),
        (TOKENS, "1T", 1e12),
        (TOKENS, " 2.5 M ", 2.5e6),
        (TOKENS, "300k", 3e5),
        (TOKENS, "5e9", 5e9),
        (TOKENS, "1_000_000", 1e6),
        (TOKENS, "0.1B", 1e8),
        (TOKENS, np.int64(7), 7.0),
        (PARAMS, "7B", 7e9),
        (RATIO, "20%", 0.2),
        (RATIO, "20 %", 0.2),
        (RATIO, "29%", 0.29),
        (RATIO, "-0.5", -0.5),
        (RATIO, 0.15, 0.15),
        (NUMBER, "4", 4.0),
    ],
)
def test_numbers_are_read(unit, value, number):
    read = unit.read(value, "it")
    assert read == number and type(read) is float


@pytest.mark.parametrize("value", ["inf", "nan", "", "B", "5 5", "1e400", "1e999T", "5,000", "0x10", "٥", "1" * 5000])
@pytest.mark.parametrize("unit", [TOKENS, RATIO, NUMBER])
def test_text_that_is_no_number(unit, value):
    with pytest.raises(InputError, match="the budget is .*; write a"):
        unit.read(value, "the budget")


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        (TOKENS, "20%"),
        (RATIO, "5B"),
        (NUMBER, "5%"),
        *((unit, value) for unit in (TOKENS, RATIO) for value in (True, None, [1.0], math.inf, math.nan, 10**400)),
    ],
)
def test_what_is_no_number_of_the_kind(unit, value):
    with pytest.raises(InputError, match="write a"):
        unit.read(value, "it")


@pytest.mark.parametrize("count", [1234567, 8e6, 5e9, 2.5e11, 1e12, 3e15])
def test_printed_token_counts_are_read_back(count):
    assert TOKENS.read(printed(count), "it") == pytest.approx(count, rel=5e-3)


def test_problems_of_printed_numbers():
    plain = climbopt.load_problem("libreoffice6")
    written = dataclasses.replace(
        plain,
        budget="8 M",
        supply={**plain.supply, "en": "3M"},
        constraints=(
            climbopt.Floor({"pt": "15%"}),
            climbopt.Group("romance", lower="20%"),
            climbopt.Linear({"en": "2", "de": -1}, upper="50%"),
            climbopt.StayNear("20%", {"en": "50%", "de": 0.5}),
            climbopt.LossCeiling(excess="2%", reference="uniform"),
        ),
    )
    assert written.budget == 8e6 and written.supply["en"] == 3e6
    floor, group, linear, near, ceiling = written.constraints
    assert (dict(floor.ratios), group.lower, near.distance, ceiling.excess) == ({"pt": 0.15}, 0.2, 0.2, 0.02)
    assert dict(linear.coefficients) == {"en": 2.0, "de": -1.0} and dict(near.reference) == {"en": 0.5, "de": 0.5}
    with pytest.raises(InputError, match=r"ratios of 'pt' is '15B'; write a ratio such as 0\.2 or 20%"):
        climbopt.Floor({"pt": "15B"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        written.budget = 1e9


def test_problem_files_of_printed_numbers(tmp_path):
    model = climbopt.load_problem("libreoffice6").model
    climbopt.save_model(model, tmp_path / "m.toml")
    text = """
        model = "m.toml"
        budget = "{budget}"
        supply = {{ en = "300 M" }}
        [[constraints]]
        kind = "floor"
        ratios = {{ pt = "{floor}" }}
    """
    path = tmp_path / "p.toml"
    path.write_text(text.format(budget="1T", floor="15 %"))
    problem = climbopt.load_problem(path)
    assert (problem.budget, problem.supply["en"], problem.constraints[0].ratios["pt"]) == (1e12, 3e8, 0.15)
    path.write_text(text.format(budget="20%", floor="15 %"))
    with pytest.raises(InputError, match="budget is '20%'; write a number of tokens"):
        climbopt.load_problem(path)
