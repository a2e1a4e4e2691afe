"""Shadow prices are per unit of the number that the user wrote, on whichever side: against re-solves."""

import numpy as np
import pytest
import sympy as sp

import climbopt
from climbopt import AllocationProblem, Cap, Custom, Floor, Group, Linear, LossCeiling, StayNear, Supply, solve
from climbopt.backends import Options
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS

r, z, L, D = climbopt.r, climbopt.z, climbopt.L, climbopt.D
NAMES, BUDGET = ("a", "b", "c"), 1e9
# L_i = 1 + B_i / z_i, z = (r_a + 0.2 r_b, r_b, r_c): convex, every source counts
MODEL = climbopt.MixtureModel(
    LAWS["power"],
    INTERACTIONS["linear"],
    NAMES,
    NAMES,
    {
        "E": np.ones(3),
        "B": np.array([4.0, 1.0, 0.04]),
        "beta": np.ones(3),
        "k": np.zeros((3, 3)),
        "b": np.array([[0.0, 0.2, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    },
    token_unit=BUDGET,
)
# a relation with a number n in braces, a value of n that binds, and d (the relation's number) / dn
WRITTEN = [
    ("r[c] >= {n}", 0.2, 1),
    ("{n} <= r[c]", 0.2, 1),
    ("{n} + 0.1 <= r[c] + 0.05", 0.2, 1),
    ("r[c] - {n} >= 0", 0.2, 1),
    ("-r[c] <= {n}", -0.2, 1),
    ("{n} >= -r[c]", -0.2, 1),
    ("2 * r[c] >= {n}", 0.4, 1),
    ("{n} <= 2 * r[c]", 0.4, 1),
    ("r[c] == {n}", 0.2, 1),
    ("{n} == r[c]", 0.2, 1),
    ("r[b] + r[c] >= {n}", 0.6, 1),
    ("{n} <= r[b] + r[c]", 0.6, 1),
    ("{n} == r[b] + r[c]", 0.6, 1),
    ("{n} <= r[b] + r[c] <= 0.9", 0.6, 1),
    ("0.9 >= r[b] + r[c] >= {n}", 0.6, 1),
    ("r[b] >= r[a] + {n}", 0.1, 1),
    ("r[a] + {n} <= r[b]", 0.1, -1),
    ("L[c] <= {n}", 1.3, 1),
    ("{n} >= L[c]", 1.3, 1),
    ("{n} == L[c]", 1.3, 1),
    ("2 * L[c] + 1 <= {n}", 3.6, 1),
    ("{n} >= 2 * L[c] + 1", 3.6, 1),
    ("L[c] <= L[a] - {n}", 6.0, -1),
    ("z[a] <= {n}", 0.4, 1),
    ("{n} >= z[a]", 0.4, 1),
    ("z[a] * D <= {n}", 0.4e9, 1),
    ("{n} >= z[a] * D", 0.4e9, 1),
    ("{n} * D >= z[a] * D", 0.4, BUDGET),
    ("z[a] * z[b] <= {n}", 0.12, 1),
    ("{n} >= z[a] * z[b]", 0.12, 1),
]
# the same with objects: a constraint for n, a value that binds, the multiplier's name
KINDS = {
    "floor": (lambda n: Floor({"c": n}), 0.2, "floor[c]"),
    "cap": (lambda n: Cap({"a": n}), 0.4, "cap[a]"),
    "group lower": (lambda n: Group(("b", "c"), lower=n), 0.6, "group"),
    "group upper": (lambda n: Group(("a", "b"), upper=n), 0.7, "group"),
    "linear lower": (lambda n: Linear({"c": 3.0, "b": -1.0}, lower=n), 0.2, "linear"),
    "linear upper": (lambda n: Linear({"a": -2.0, "b": -2.0}, upper=n), -1.9, "linear"),
    "linear equal": (lambda n: Linear({"a": 2.0, "b": -1.0}, n, n), 0.5, "linear"),
    "linear one": (lambda n: Linear({"c": -2.0}, upper=n), -0.4, "linear"),
    "supply": (lambda n: Supply({"a": n}), 2.0, "supply[a]"),
    "ceiling": (lambda n: LossCeiling({"c": n}), 1.3, "loss_ceiling[c]"),
    "excess": (lambda n: LossCeiling(excess=n, reference="uniform", targets=("c",)), 0.2, "loss_ceiling[c]"),
    "distance": (lambda n: StayNear(n, "uniform"), 0.1, "stay_near"),
    "sympy": (lambda n: Custom(n <= r["c"]), 0.2, "custom"),
    "sympy tokens": (lambda n: Custom(sp.GreaterThan(n, z["a"] * D, evaluate=False)), 0.4e9, "custom"),
    "sympy equation": (lambda n: Custom(sp.Eq(n, L["c"])), 1.3, "custom"),
}
SUPPLY = dict.fromkeys(NAMES, 0.2 * BUDGET)


def answer(constraint):
    problem = AllocationProblem(MODEL, BUDGET, constraints=(constraint,), supply=SUPPLY)
    result = solve(problem, options=Options(tolerance=1e-9))
    assert result.passed, result.certificate.residuals
    return result


def slope(written, number):
    """Return d f* / dn by central differences."""
    step = 1e-4 * abs(number)
    up, down = (answer(written(number + sign * step)).objective for sign in (1, -1))
    return (up - down) / (2 * step)


@pytest.mark.parametrize(("text", "number", "factor"), WRITTEN)
def test_a_relation_is_priced_per_unit_of_its_number(text, number, factor):
    def written(n):
        return Custom(text.format(n=f"{n:.17g}"))

    row = answer(written(number)).certificate.multipliers["custom"]
    assert row.active and abs(factor * row.shadow_price * number) > 1e-4
    assert factor * row.shadow_price == pytest.approx(slope(written, number), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_priced_per_unit_of_its_number(kind):
    build, number, name = KINDS[kind]
    row = answer(build(number)).certificate.multipliers[name]
    factor = SUPPLY["a"] / number if kind == "supply" else 1.0  # a supply is priced per token, n is epochs
    assert row.active and abs(row.shadow_price * number) > 1e-8
    assert factor * row.shadow_price == pytest.approx(slope(build, number), rel=1e-4)


@pytest.mark.parametrize("same", [("r[c] >= 0.2", "0.2 <= r[c]"), ("L[c] <= 1.3", "1.3 >= L[c]")])
def test_both_ways_round_are_one_constraint(same):
    rows = [answer(Custom(text)).certificate.multipliers["custom"] for text in same]
    assert rows[0].shadow_price == rows[1].shadow_price and rows[0].multiplier == rows[1].multiplier
