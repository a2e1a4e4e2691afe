"""Constraints that cannot hold together: which, and by how much each must give."""

import json
import re
import sys
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from conftest import PROBLEMS, random_model
from hypothesis import given, strategies as st
from scipy.optimize import linprog
from test_certificate import three

from climbopt import (
    INTERACTIONS,
    LAWS,
    AllocationProblem,
    Cap,
    Floor,
    Group,
    InputError,
    MixtureModel,
    Options,
    Supply,
    cli,
    solve,
)
from climbopt.backends import BACKENDS, load
from climbopt.certification.elastic import explain
from climbopt.numerics.polytope import EmptyPolytopeError
from climbopt.problem.constraints import Custom, DistanceRow, Linear, LossCeiling, StayNear
from climbopt.procedures import joint_form
from climbopt.program import linear_conflict, linear_part
from climbopt.program.conflict import limits_of, minimal_conflict, rounded_up

FOUR = three((4.0, 1.0, 1.0, 1.0))
TWO = three((4.0, 1.0))
BUDGET = 1e9


def problem(*constraints, model=FOUR, **more):
    return AllocationProblem(model, BUDGET, constraints=constraints, **more)


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        (
            (Floor({"a": 0.6, "b": 0.47}),),
            "the lower bounds sum to 1.07, which is 0.07 more than 1; lower some of floor[a], floor[b]",
        ),
        (
            (Floor({"a": 0.2, "b": 0.25}), Group(("a", "b"), upper=0.4)),
            "the lower bounds sum to 0.45, which is 0.05 more than the 0.4 that group allows; lower some of floor[a], "
            "floor[b], or raise group",
        ),
        (
            (Cap({"a": 0.2}), Supply({"b": 2.0}), Group(("a", "b"), lower=0.6)),
            "the upper bounds sum to 0.4, which is 0.2 less than the 0.6 that group asks for; widen cap or supply, or "
            "lower group, or lower the budget",
        ),
        (
            (Floor({"c": 0.3}), Group(("a", "b"), lower=0.8, name="most")),
            "the lower bounds sum to 1.1, which is 0.1 more than 1; lower some of most, floor[c]",
        ),
        (
            (Cap({"c": 0.3, "d": 0.2}), Group(("a", "b"), upper=0.4)),
            "the upper bounds sum to 0.9, which is 0.1 less than 1; widen cap or group",
        ),
        ((Supply(1.0),), "the upper bounds sum to 0.4, which is 0.6 less than 1; widen supply, or lower the budget"),
        (
            (Floor({"a": 0.3}), Cap({"a": 0.2})),
            "floor[a] asks for a ratio of 0.3 or more, and cap[a] allows 0.2: 0.1 too "
            "much; lower the former or widen the latter",
        ),
    ],
)
def test_closed_forms(constraints, message):
    with pytest.raises(InputError, match=re.escape(message) + "$"):
        problem(*constraints, supply=dict.fromkeys("abcd", 0.1e9))


LINEAR = [
    # r_a <= 0.25 + 0.1, half the distance
    (
        (StayNear(0.2, "uniform"), Floor({"a": 0.4})),
        {"stay_near": 0.1, "floor[a]": 0.05},
        "no mixture meets stay_near and floor[a] together; raise stay_near by 0.1 (to 0.3), or lower floor[a] by 0.05 "
        "(to 0.35)",
    ),
    (
        (StayNear(0.2, "uniform"), Group(("a", "b"), lower=0.2, upper=0.35), Floor({"c": 0.1})),
        {"stay_near": 0.1, "group": 0.05},
        "no mixture meets stay_near and group together; raise stay_near by 0.1 (to 0.3), or raise the upper side of "
        "group by 0.05 (to 0.4)",
    ),
    # r_a >= 0.2 is 0.2e9 tokens of the 0.1e9 there are; at two epochs 0.05e9 more would do
    (
        (StayNear(0.1, "uniform"), Supply({"a": 1.0})),
        {"stay_near": 0.2, "supply[a]": 0.1e9},
        "no mixture meets stay_near and supply[a] together; raise stay_near by 0.2 (to 0.3), or raise supply[a] by 1e8 "
        "tokens (to 2e8)",
    ),
    (
        (StayNear(0.01, "uniform"), Supply({"a": 2.0})),
        {"stay_near": 0.09, "supply[a]": 0.0225e9},
        "no mixture meets stay_near and supply[a] together; raise stay_near by 0.09 (to 0.1), or raise supply[a] by "
        "2.25e7 tokens (to 1.225e8)",
    ),
    # b <= 0.1 and c <= 0.3, and b + c >= 0.5
    (
        (
            Group(("a", "b"), upper=0.4, name="g"),
            Group(("b", "c"), lower=0.5, name="h"),
            Floor({"a": 0.3}),
            Cap({"c": 0.3}),
        ),
        {"g": 0.1, "h": 0.1, "floor[a]": 0.1, "cap[c]": 0.1},
        "no mixture meets g, h, floor[a] and cap[c] together; raise g by 0.1 (to 0.5), lower h by 0.1 (to 0.4), lower "
        "floor[a] by 0.1 (to 0.2), or raise cap[c] by 0.1 (to 0.4)",
    ),
    (
        (Group(("a", "b"), 0.5, 0.5, "g"), Group(("c", "d"), 0.6, 0.6, "h")),
        {"g": 0.1, "h": 0.1},
        "no mixture meets g and h together; lower g by 0.1 (to 0.4), or lower h by 0.1 (to 0.5)",
    ),
    # the third equation follows from the first two with 0.9
    (
        (
            Group(("a", "b"), 0.5, 0.5, "g"),
            Group(("b", "c"), 0.6, 0.6, "h"),
            Linear({"a": 2, "c": -2}, -0.6, -0.6, "i"),
        ),
        {"g": 0.2, "h": 0.2, "i": 0.4},
        "no mixture meets g, h and i together; lower g by 0.2 (to 0.3), raise h by 0.2 "
        "(to 0.8), or raise i by 0.4 (to -0.2)",
    ),
    # a >= 2 b >= 4 a with a >= 0.1: the second row may be broken by 2 * 0.1 - 0.05; the first by 4 * 0.1 - 0.1
    (
        (Custom("r[a] >= 2*r[b]"), Custom("r[b] >= 2*r[a]", name="x"), Floor({"a": 0.1})),
        {"custom": 0.3, "x": 0.15, "floor[a]": 0.1},
        "no mixture meets custom, x and floor[a] together; lower custom by 0.3, lower x by 0.15, or lower floor[a] by "
        "0.1 (to 0)",
    ),
    # 0.1 is not enough for a third, whose message is rounded up
    (
        (Group(("a", "b"), lower=2 / 3, name="g"), Group(("c", "d"), lower=0.5, name="h")),
        {"g": 1 / 6, "h": 1 / 6},
        "no mixture meets g and h together; lower g by 0.167 (to 0.5), or lower h by 0.167 (to 0.333)",
    ),
]


@pytest.mark.parametrize(("constraints", "amounts", "message"), LINEAR)
def test_linear_conflicts(constraints, amounts, message):
    asked = problem(*constraints, supply=dict.fromkeys("abcd", 0.1e9))
    conflict = linear_conflict(asked)
    assert {member.name: member.amount for member in conflict.members} == pytest.approx(amounts, rel=1e-9)
    assert all(member.alone_suffices for member in conflict.members) and conflict.proved and not conflict.others
    assert conflict.message == message
    with pytest.raises(InputError, match=re.escape(message)):
        joint_form(asked)


def test_one_of_several_conflicts_is_named():
    pairs = (Group(("a", "b"), upper=0.4, name="g"), Group(("a", "b"), lower=0.5, name="h"))
    both = (*pairs, StayNear(0.1, "uniform"), Group(("a", "c"), lower=0.8, name="i"))
    conflict = linear_conflict(problem(*both))
    names = {member.name for member in conflict.members}
    assert names in ({"g", "h"}, {"stay_near", "i"}) and conflict.others
    assert conflict.message.endswith("run again after the change")
    rest = [constraint for constraint in both if constraint.name not in names]
    assert linear_conflict(problem(*rest)) is not None
    assert linear_conflict(problem(pairs[0])) is None


def test_long_conflicts_name_the_rare_members_first():
    names = tuple(f"s{j}" for j in range(30))
    model = random_model("none", sources=30)
    conflict = linear_conflict(
        AllocationProblem(model, BUDGET, constraints=(Floor(dict.fromkeys(names, 0.03)), StayNear(0.3, {"s0": 1.0})))
    )
    assert len(conflict.members) == 7  # 0.15 of s0 may go to others: 6 times 0.03 is more, 5 times is not
    assert conflict.members[0].name == "stay_near"
    long = replace(conflict, members=conflict.members * 3)
    assert long.message.count("and 13 more") == 2


def violation(sources, limits):
    """Return the least sum of violations of some limits, by a linear program of the test's own: (r, u, slack)."""
    n, distances = len(sources), [limit for limit in limits if isinstance(limit.row, DistanceRow)]
    size = n + n * len(distances) + 1
    A, b = [], []
    for limit in limits:
        row = np.zeros(size)
        row[-1] = -1.0
        if isinstance(limit.row, DistanceRow):
            first = n + n * distances.index(limit)
            row[first : first + n] = 1.0
            for j, name in enumerate(sources):
                for sign in (1.0, -1.0):
                    side = np.zeros(size)
                    side[[j, first + j]] = sign, -1.0
                    A.append(side)
                    b.append(sign * limit.row.center[name])
        else:
            for name, value in limit.row.coefficients.items():
                row[sources.index(name)] = limit.sign * value
        A.append(row)
        b.append(limit.sign * limit.bound)
    A, b = np.array(A).reshape(-1, size), np.array(b)
    ones = np.append(np.ones(n), np.zeros(size - n))[None, :]
    return linprog(np.append(np.zeros(size - 1), 1.0), A, b, ones, [1.0], [(0, None)] * size).fun


share = st.integers(0, 20).map(lambda k: k / 20)
names = st.sampled_from(["abc", "ab", "acd", "bd", "cd"])


@st.composite
def constraint_sets(draw):
    """Random floors, caps, groups, differences and distances over a, b, c and d."""
    made = [
        Floor(draw(st.dictionaries(st.sampled_from("abcd"), share, max_size=3))),
        Cap(draw(st.dictionaries(st.sampled_from("abcd"), share, max_size=3))),
    ]
    for k in range(draw(st.integers(0, 3))):
        low, high = sorted(draw(st.tuples(share, share)))
        made.append(Group(tuple(draw(names)), low, high, f"g{k}"))
    for k in range(draw(st.integers(0, 2))):
        made.append(
            Linear(
                {"a": 1.0, draw(st.sampled_from("bcd")): -draw(st.integers(1, 4))}, lower=draw(share) / 2, name=f"l{k}"
            )
        )
    if draw(st.booleans()):
        made.append(StayNear(draw(st.integers(1, 20)) / 20, "uniform"))
    return made


@given(constraint_sets())
def test_members_are_minimal_and_amounts_least(made):
    """Checked by linear programs of the test's own; closed forms are left out, and then refuse only what is empty."""
    sources = FOUR.sources
    with patch("climbopt.problem.allocation.check_bounds"):
        asked = problem(*made)
        limits = limits_of(asked.rows)
        conflict = linear_conflict(asked)
    assert (conflict is None) == (violation(sources, limits) < 1e-9)
    if conflict is None:
        problem(*made)
        return
    chosen = [
        next(limit for limit in limits if limit.name == member.name and limit.upper == (member.side == "upper"))
        for member in conflict.members
    ]
    assert violation(sources, chosen) > 1e-9
    for limit, member in zip(chosen, conflict.members, strict=True):
        others = [one for one in chosen if one != limit]
        assert violation(sources, others) < 1e-9
        assert violation(sources, [*others, limit.moved(member.amount)]) < 1e-9
        assert violation(sources, [*others, limit.moved(0.99 * member.amount)]) > 1e-9
        printed = float(re.search(r" by ([\d.e-]+)", member.change)[1])
        assert member.amount * (1 - 1e-9) <= printed <= 1.01 * member.amount
        assert violation(sources, [*others, limit.moved(printed)]) < 1e-9
        if not conflict.others:
            assert violation(sources, [limit.moved(printed) if one == limit else one for one in limits]) < 1e-9


def test_bounds_that_cross_leave_no_point():
    with patch("climbopt.problem.allocation.check_bounds"):
        crossed = linear_part(problem(Floor({"a": 0.05}), Cap({"a": 0.0})))
    with pytest.raises(EmptyPolytopeError):
        crossed.polytope.interior_point()


@given(st.floats(1e-9, 1e12))
def test_amounts_are_rounded_up(amount):
    assert amount * (1 - 1e-9) <= rounded_up(amount) <= amount * 1.0100001
    assert rounded_up(rounded_up(amount)) == pytest.approx(rounded_up(amount), rel=1e-12)


@given(st.sets(st.integers(0, 11), min_size=1))
def test_the_filter_finds_a_conflict_with_few_questions(conflict):
    asked = []

    def feasible(chosen):
        asked.append(chosen)
        return not conflict <= set(chosen)

    assert set(minimal_conflict(range(12), feasible)) == conflict
    assert len(asked) <= 2 * len(conflict) * (np.log2(12 / len(conflict)) + 2)


NONLINEAR = [name for name in ("ipopt", "slsqp") if BACKENDS[name].missing is None]


@pytest.fixture(params=NONLINEAR)
def nonlinear(request, monkeypatch):
    """The backend that solves the elastic problems."""
    monkeypatch.setattr("climbopt.certification.elastic.choose", lambda form: load(request.param))
    return request.param


def amounts_of(conflict):
    return {member.name: member.amount for member in conflict.members}


def test_two_ceilings(nonlinear):
    """1 + 4 / r <= 9 takes half, 1 + 1 / r <= 2.6 takes 0.625; what the other leaves is 3/8, or half."""
    conflict = explain(problem(LossCeiling({"a": 9.0, "b": 2.6}), model=TWO), Options())
    assert amounts_of(conflict) == pytest.approx(
        {"loss_ceiling[a]": 4 * 8 / 3 + 1 - 9, "loss_ceiling[b]": 0.4}, abs=1e-6
    )
    assert conflict.proved and conflict.minimal and not conflict.others
    assert conflict.message == (
        "no mixture meets loss_ceiling[a] and loss_ceiling[b] together; raise loss_ceiling[a] by 2.67 nats (to 11.67), "
        "or raise loss_ceiling[b] by 0.4 nats (to 3)"
    )


@pytest.mark.parametrize(
    ("constraints", "amounts", "proved"),
    [
        # one alone: 1 + 4 / r is 5 or more
        ((LossCeiling({"a": 4.9}), Floor({"b": 0.0})), {"loss_ceiling[a]": 0.1}, True),
        # half is needed, and the floor leaves 0.4
        ((LossCeiling({"a": 9.0}), Floor({"c": 0.6})), {"loss_ceiling[a]": 2.0, "floor[c]": 0.1}, True),
        # half is needed, and the distance allows 0.35
        (
            (LossCeiling({"a": 9.0}), StayNear(0.2, "uniform"), Cap({"c": 0.9})),
            {"loss_ceiling[a]": 1 + 4 / 0.35 - 9, "stay_near": 0.3},
            True,
        ),
        # 5 % less than 1 + 4 * 4 needs r_a = 4 / 15.15, where half of the rest is the group's
        (
            (LossCeiling(excess=-0.05, reference="uniform", targets=["a"]), Group(("b", "c", "d"), lower=0.75)),
            {"loss_ceiling[a]": 0.05, "group": 4 / 15.15 - 0.25},
            True,
        ),
        # a lower limit, on z; z is r here
        ((Custom("z[a] >= 0.5"), Floor({"c": 0.6})), {"custom": 0.1, "floor[c]": 0.1}, True),
        # r_b r_c is at most 1/16 beside a half for a, and 0.1 allows a 1 - 2 sqrt(0.1)
        (
            (LossCeiling({"a": 9.0}), Custom("r[b] * r[c] >= 0.1")),
            {"loss_ceiling[a]": 1 + 4 / (1 - 2 * 0.1**0.5) - 9, "custom": 0.1 - 1 / 16},
            False,
        ),
    ],
)
def test_nonlinear_conflicts(nonlinear, constraints, amounts, proved):
    conflict = explain(problem(*constraints), Options())
    assert amounts_of(conflict) == pytest.approx(amounts, abs=1e-6)
    assert conflict.proved is proved and conflict.minimal and not conflict.others
    assert all(member.alone_suffices for member in conflict.members)
    assert conflict.message.startswith("no mixture meets" if proved else "no mixture was found that meets")


def simplex_grid(steps):
    """Return all mixtures of three languages in steps, (k, 3)."""
    i, j = np.meshgrid(np.arange(steps + 1), np.arange(steps + 1), indexing="ij")
    inside = i + j <= steps
    return np.stack([i[inside], j[inside], steps - i[inside] - j[inside]], axis=-1) / steps


@pytest.mark.parametrize(("interaction", "proved"), [("saturating", True), ("gated", False)])
def test_amounts_against_a_grid(nonlinear, interaction, proved):
    """Two ceilings that cannot both hold: on a fine grid, each must give what the other leaves."""
    model = random_model(interaction, sources=3, seed=4)
    at = AllocationProblem(model, BUDGET)
    grid = simplex_grid(600)
    losses = at.losses(grid)
    best = losses.min(axis=0)
    ceilings = {"s0": best[0] + 0.03, "s2": best[2] + 0.03}
    s0, s2 = losses[:, 0] - ceilings["s0"], losses[:, 2] - ceilings["s2"]
    assert not ((s0 <= 0) & (s2 <= 0)).any()
    conflict = explain(replace(at, constraints=(LossCeiling(ceilings), Cap({"s1": 0.9}))), Options())
    found = amounts_of(conflict)
    assert set(found) == {"loss_ceiling[s0]", "loss_ceiling[s2]"} and conflict.proved is proved
    for own, other, name in ((s0, s2, "loss_ceiling[s0]"), (s2, s0, "loss_ceiling[s2]")):
        least = own[other <= 0].min()  # on the grid, so a little more than the least
        assert least - 5e-3 < found[name] <= least + 1e-9
    for name, amount in found.items():
        wide = {
            key: value + (rounded_up(amount) if name == f"loss_ceiling[{key}]" else 0)
            for key, value in ceilings.items()
        }
        widened = replace(at, constraints=(LossCeiling(wide),))
        assert explain(widened, Options()) is None


def test_a_change_that_leads_out_of_the_domain_is_none(nonlinear):
    """z_a = r_a - 0.8 (r_b + r_c): under the ceiling of b, which takes 10/11, a has no loss at all.

    Under that of a, which takes 13/18, b has 5/18 at most.
    """
    model = MixtureModel(
        LAWS["power"],
        INTERACTIONS["linear"],
        ("a", "b", "c"),
        ("a", "b", "c"),
        {
            "E": np.ones(3),
            "B": np.ones(3),
            "beta": np.ones(3),
            "b": [[0, -0.8, -0.8], [0, 0, 0], [0, 0, 0]],
            "k": np.zeros((3, 3)),
        },
        1e9,
    )
    conflict = explain(problem(LossCeiling({"a": 3.0, "b": 2.1}), model=model), Options())
    assert amounts_of(conflict) == {"loss_ceiling[a]": None, "loss_ceiling[b]": pytest.approx(2.5, abs=1e-6)}
    assert [member.alone_suffices for member in conflict.members] == [False, True]
    assert conflict.message.endswith("together; raise loss_ceiling[b] by 2.5 nats (to 4.6)")
    outside = problem(LossCeiling({"a": 3.0}), Cap({"a": 0.3}), model=model)
    result = solve(outside, backend=nonlinear)
    assert not result.passed and result.conflict is None


def test_no_minimal_set_where_the_solves_are_used_up(monkeypatch):
    asked = problem(LossCeiling(excess=-0.1, reference="uniform"))
    monkeypatch.setattr("climbopt.certification.elastic.MOST_SOLVES", 2)
    conflict = explain(asked, Options())
    assert not conflict.minimal and conflict.proved
    assert conflict.message.startswith("no mixture meets all constraints together; raise loss_ceiling[")
    raised = {member.name[13:-1]: member.amount for member in conflict.members}
    reference = asked.losses(np.full(4, 0.25))
    ceilings = {name: (0.9 + raised.get(name, 0.0)) * loss + 1e-9 for name, loss in zip("abcd", reference, strict=True)}
    assert len(raised) < 2 or not any(member.alone_suffices for member in conflict.members)
    assert explain(problem(LossCeiling(ceilings)), Options()) is None
    monkeypatch.setattr("climbopt.certification.elastic.MOST_SOLVES", 0)
    assert explain(asked, Options()) is None
    monkeypatch.undo()
    assert explain(asked, Options(time_limit=1e-9)) is None


def test_a_feasible_problem_has_no_conflict(nonlinear):
    fine = problem(LossCeiling({"a": 9.0}), Floor({"c": 0.3}))
    assert explain(fine, Options()) is None
    assert solve(fine, backend="slsqp").conflict is None
    stopped = solve(fine, backend="slsqp", options=Options(max_iterations=1))
    assert not stopped.passed and stopped.conflict is None


@pytest.mark.parametrize("backend", NONLINEAR)
@pytest.mark.parametrize("procedure", ["joint", "two_step"])
def test_an_infeasible_answer_says_why(backend, procedure):
    result = solve(problem(LossCeiling({"a": 9.0, "b": 2.6}), model=TWO), backend=backend, procedure=procedure)
    assert not result.passed
    assert set(amounts_of(result.conflict)) == {"loss_ceiling[a]", "loss_ceiling[b]"}


def test_no_explanation_was_asked_for():
    """A baseline chooses its mixture without minding; a time limit is the user's word to stop."""
    asked = problem(LossCeiling({"a": 9.0, "b": 2.6}), model=TWO)
    assert solve(asked, procedure="uniform").conflict is None
    limited = solve(asked, backend="slsqp", options=Options(time_limit=1e-9))
    assert not limited.passed and limited.conflict is None


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Solve a problem of the shipped known_floor model (L = 1 + B / r with B = 4, 1, 0.04), with some constraints."""

    def call(constraints, *arguments):
        model = PROBLEMS / "known_floor" / "model.toml"
        path = tmp_path / "mine.toml"
        path.write_text(f'model = "{model}"\nbudget = 1e9\n{constraints}')
        monkeypatch.setattr(sys, "argv", ["climbopt", "solve", str(path), *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out = capsys.readouterr()
        return stop.value.code, out.out, out.err

    return call


CEILINGS = '[[constraints]]\nkind = "loss_ceiling"\nlosses = { a = 9.0, b = 2.6 }\n'


def test_at_the_command_line(run):
    """Linear constraints that leave no mixture are refused; an answer that is not feasible says why, and exits 1."""
    code, out, err = run(
        '[[constraints]]\nkind = "stay_near"\ndistance = 0.2\nreference = { a = 0.5, b = 0.5 }\n'
        '[[constraints]]\nkind = "floor"\nratios = { c = 0.2 }\n'
    )
    assert code == 2 and out == ""
    assert err == (
        "climbopt: no mixture meets stay_near and floor[c] together; raise stay_near by 0.2 (to 0.4), or "
        "lower floor[c] by 0.1 (to 0.1)\n"
    )
    message = (
        "no mixture meets loss_ceiling[a] and loss_ceiling[b] together; raise loss_ceiling[a] by 2.67 nats "
        "(to 11.67), or raise loss_ceiling[b] by 0.4 nats (to 3)"
    )
    code, out, err = run(CEILINGS)
    assert code == 1 and " ".join(out.split()).endswith(message) and err == ""
    code, out, _ = run(CEILINGS, "--json", "-")
    conflict = json.loads(out)["conflict"]
    assert code == 1 and conflict["message"] == message
    assert conflict["proved"] is True and conflict["minimal"] is True and conflict["others"] is False
    assert conflict["members"][1] == {
        "name": "loss_ceiling[b]",
        "side": "upper",
        "amount": pytest.approx(0.4, abs=1e-6),
        "unit": "nat",
        "alone_suffices": True,
        "change": "raise loss_ceiling[b] by 0.4 nats (to 3)",
    }
    code, out, _ = run('[[constraints]]\nkind = "loss_ceiling"\nlosses = { a = 11.7, b = 2.6 }\n', "--json", "-")
    assert code == 0 and json.loads(out)["conflict"] is None


def test_the_page_shows_what_is_printed(capsys):
    page = (PROBLEMS.parent / "docs" / "constraints.md").read_text()
    page = page[page.index("## When nothing fits") :]
    names = {}
    for block, shown in re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, re.DOTALL):
        exec(block, names)
        assert capsys.readouterr().out == shown
    assert "result" in names
