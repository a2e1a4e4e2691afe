"""Sweeps against solves one by one, bounds against shadow prices, schedules against their definition."""

import json
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
from conftest import PROBLEMS

from climbopt import (
    AllocationProblem,
    Cap,
    Floor,
    Group,
    InputError,
    LossCeiling,
    Minimax,
    StayNear,
    Supply,
    TwoStep,
    load_problem,
    schedule,
    solve,
    sweep,
)
from climbopt.backends import Options
from climbopt.files import DrawFile, PathFile, paths_beside
from climbopt.procedures import joint_form
from climbopt.studies.varied import varied
from climbopt.testing import family_model, family_problem


@pytest.mark.parametrize("interaction", ["saturating", "gated"])
@pytest.mark.parametrize("backend", [None, "slsqp"])
def test_a_path_is_its_solves_one_by_one(interaction, backend):
    problem = replace(family_problem(5, interaction=interaction, seed=1), constraints=(Floor({"es": 0.1}),))
    budgets = np.geomspace(1e9, 1e13, 5)
    path = sweep(problem, budgets, backend=backend)
    for point, budget in zip(path.points, budgets, strict=True):
        alone = solve(replace(problem, budget=budget))
        assert point.passed and point.budget == budget and point.bound is None
        assert point.result.objective == pytest.approx(alone.objective, abs=1e-9)
        np.testing.assert_allclose(list(point.result.ratios.values()), list(alone.ratios.values()), atol=1e-5)


def test_ratios_shift_with_the_budget_where_exponents_differ_and_only_there():
    budgets = np.geomspace(1e9, 1e13, 4)
    equal = sweep(load_problem("equal_beta"), budgets).ratios
    np.testing.assert_allclose(equal, np.tile(equal[0], (4, 1)), atol=1e-8)
    assert np.ptp(sweep(family_problem(4), budgets).ratios, axis=0).max() > 0.01


def test_the_objective_along_a_bound_falls_at_its_shadow_price():
    problem = family_problem(4)
    free = solve(problem).ratios["de"]
    values = free + np.array([-0.05, -0.02, 0.05, 0.05 + 1e-4, 0.05 + 2e-4])
    path = sweep(problem, over=("floor.de", values))
    objectives = [point.result.objective for point in path.points]
    np.testing.assert_allclose(path.ratios[:, problem.model.sources.index("de")], np.maximum(values, free), atol=1e-9)
    price = path.points[3].result.certificate.multipliers["floor[de]"].shadow_price
    assert (objectives[4] - objectives[2]) / 2e-4 == pytest.approx(price, rel=1e-6)


def test_grid_of_budgets_and_bounds_stands_in_order():
    path = sweep(family_problem(3), [1e10, 1e12], ("cap.en", [0.1, 0.2]), options=Options(tolerance=1e-7))
    assert [(point.budget, point.bound) for point in path.points] == [
        (1e10, 0.1),
        (1e10, 0.2),
        (1e12, 0.1),
        (1e12, 0.2),
    ]
    assert all(point.result.certificate.tolerance == 1e-7 for point in path.points)


def test_a_point_that_is_refused_says_why_and_the_path_goes_on():
    problem = load_problem("synthetic16")
    path = sweep(problem, [1e11, 1e13, 2e11])
    assert [point.passed for point in path.points] == [True, False, True]
    assert "supply[sv] allows 0.008" in path.points[1].refusal and path.points[1].result is None
    assert np.isnan(path.ratios[1]).all() and not np.isnan(path.ratios[[0, 2]]).any()


def test_other_procedures_are_swept_too():
    path = sweep("equal_beta", [1e10, 1e12], procedure="two_step")
    assert all(point.passed and point.result.procedure == TwoStep() for point in path.points)


def test_draws_give_bands():
    problem = family_problem(3)
    models = [family_model(3, seed=seed) for seed in range(4)]
    path = sweep(problem, [1e10, 1e12], draws=models)
    assert path.draws.shape == (4, 2, 3)
    np.testing.assert_allclose(path.draws[2], sweep(replace(problem, model=models[2]), [1e10, 1e12]).ratios, atol=1e-12)
    lower, upper = path.bands(1.0)
    np.testing.assert_array_equal(lower, path.draws.min(axis=0))
    np.testing.assert_array_equal(upper, path.draws.max(axis=0))
    assert sweep(problem, [1e10]).bands() is None
    with pytest.raises(InputError, match="another sources"):
        sweep(problem, [1e10], draws=[family_model(4)])


def test_draws_do_not_depend_on_processes_or_on_what_was_kept(tmp_path):
    """The same paths with two processes, and from a file that was cut off anywhere; progress counts every point."""
    problem, told = family_problem(3), []
    draws = [family_model(3, seed=seed) for seed in range(5)]
    budgets, shape = [1e10, 1e11, 1e12], (3, 3)
    alone = sweep(problem, budgets, draws=draws, progress=lambda *at: told.append(at)).draws
    assert told == [(k, 18) for k in (1, 2, 3, 6, 9, 12, 15, 18)]
    np.testing.assert_array_equal(sweep(problem, budgets, draws=draws, jobs=2).draws, alone)
    path = tmp_path / "x.csv.paths.jsonl"
    sweep(problem, budgets, draws=draws, stored=PathFile(path, shape, {"budgets": budgets}))
    whole = path.read_bytes()
    for length in (0, 30, len(whole) // 2, len(whole) - 1, len(whole)):
        path.write_bytes(whole[:length])
        stored = PathFile(path, shape, {"budgets": budgets})
        assert len(stored.known) == max(whole[:length].count(b"\n") - 1, 0)
        np.testing.assert_array_equal(sweep(problem, budgets, draws=draws, stored=stored).draws, alone)
        assert path.read_bytes() == whole
        stored.close()
    stored.known[1] = np.full(shape, 0.25)  # what is known is not solved again
    assert (sweep(problem, budgets, draws=draws, stored=stored).draws[1] == 0.25).all()


def test_paths_of_something_else_are_refused(tmp_path):
    path = tmp_path / "x.paths.jsonl"
    first = PathFile(path, (2, 3), {"budgets": [1.0, 2.0]})
    first.append(0, np.array([[0.1, 0.2, 0.7], [np.nan] * 3]))
    first.close()
    again = PathFile(path, (2, 3), {"budgets": [1.0, 2.0]})
    np.testing.assert_array_equal(again.known[0], [[0.1, 0.2, 0.7], [np.nan] * 3])
    again.close()
    content = path.read_bytes()
    with pytest.raises(InputError, match="paths of another sweep"):
        PathFile(path, (2, 3), {"budgets": [1.0, 3.0]})
    with pytest.raises(InputError, match="not as climbopt writes it"):
        PathFile(path, (2, 4), {"budgets": [1.0, 2.0]})
    assert path.read_bytes() == content


MANY = AllocationProblem(
    family_model(3),
    1e11,
    supply={"en": 1e11, "de": 1e11, "nl": 1e11},
    groups={"two": ("en", "de")},
    constraints=(
        Supply(2.0),
        Supply({"en": 1.0}, name="once"),
        Cap({"en": 0.9}),
        Group("two", 0.1, 0.9),
        StayNear(1.5, "uniform"),
        LossCeiling(excess=0.5, reference="uniform"),
    ),
)


@pytest.mark.parametrize(
    ("place", "read"),
    [
        ("supply", lambda problem: problem.constraints[0].epochs),
        ("once.en", lambda problem: problem.constraints[1].epochs["en"]),
        ("cap.de", lambda problem: problem.constraints[2].ratios["de"]),
        ("group.upper", lambda problem: problem.constraints[3].upper),
        ("stay_near", lambda problem: problem.constraints[4].distance),
        ("loss_ceiling", lambda problem: problem.constraints[5].excess),
        ("floor.nl", lambda problem: problem.constraints[6].ratios["nl"]),
    ],
)
def test_numbers_of_constraints(place, read):
    assert read(varied(MANY, place, 0.8)) == 0.8
    assert varied(MANY, place).constraints[:6] == MANY.constraints


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("suply", "did you mean 'supply'"),
        ("cap.xx", "unknown language of cap 'xx'"),
        ("group", "group.lower"),
        ("cap", "cap.en"),
        ("once.nl", "once.en"),
    ],
)
def test_what_is_no_number_of_a_constraint(place, words):
    with pytest.raises(InputError, match=words):
        sweep(MANY, over=(place, [0.1]))


def test_what_is_no_sweep():
    for arguments in (([],), ([-1.0],), (None, ("cap.en", [])), (None, ("cap.en", [np.nan]))):
        with pytest.raises(InputError):
            sweep(MANY, *arguments)


def _stage_facts(planned):
    """Check what every schedule promises, and return the stages."""
    begin, read = 0.0, 0.0
    for stage in planned.stages:
        assert stage.begin == begin and stage.ratios.min() >= 0 and stage.ratios.sum() == pytest.approx(1)
        read = read + (stage.end - begin) * stage.ratios
        np.testing.assert_allclose(read / stage.end, stage.cumulative, atol=1e-9)
        assert stage.objective >= stage.best - 1e-9
        begin = stage.end
    last = planned.stages[-1]
    np.testing.assert_allclose(last.cumulative, last.optimal, atol=1e-12)
    assert abs(last.gain) < 1e-12
    return planned.stages


def test_a_path_that_can_be_followed_is():
    problem = load_problem("libreoffice6")
    stages = _stage_facts(schedule(problem, [2e6, 4e6, 8e6]))
    assert all(stage.followed for stage in stages)
    assert [stage.gain > 1e-6 for stage in stages] == [True, True, False]
    for stage in stages:
        assert all(
            stage.end * ratio <= problem.supply[name] * (1 + 1e-9)
            for name, ratio in zip(problem.model.sources, stage.cumulative, strict=True)
        )


def test_elsewhere_the_nearest_path_is_taken():
    """Languages whose best number of tokens falls: the schedule is the projection that its docstring states."""
    ends = np.geomspace(1e9, 3e11, 4)
    planned = schedule(load_problem("synthetic16"), ends)
    stages = _stage_facts(planned)
    assert not all(stage.followed for stage in stages)
    optimal = planned.path.ratios
    c = cp.Variable(optimal.shape)
    grows = [ends[k] / ends[-1] * c[k] >= ends[k - 1] / ends[-1] * c[k - 1] for k in range(1, 4)]
    polytopes = [joint_form(replace(planned.problem, budget=end)).polytope for end in ends]
    rows = [
        [
            part.bounds.lower <= c[k],
            c[k] <= np.minimum(part.bounds.upper, 1.0),
            part.dense @ c[k] >= part.rows.lower - 1e-12,
            part.dense @ c[k] <= part.rows.upper + 1e-12,
        ]
        for k, part in enumerate(polytopes)
    ]
    least = cp.Problem(
        cp.Minimize(cp.sum_squares(1e3 * (c - optimal))),
        [c[3] == optimal[3], *grows, *(row for part in rows for row in part)],
    )
    least.solve(solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    found = np.array([stage.cumulative for stage in stages])
    np.testing.assert_allclose(found, c.value, atol=1e-6)
    assert all(stage.gain > 0 for stage in stages[:-1])


def test_schedules_keep_linear_constraints_only():
    problem = family_problem(3)
    for constraint, words in ((StayNear(0.5, "uniform"), "stay_near"), (LossCeiling({"en": 9.0}), "loss_ceiling")):
        with pytest.raises(InputError, match=words):
            schedule(replace(problem, constraints=(constraint,)), [1e10, 1e12])
    fair = replace(problem, objective=Minimax())  # its auxiliary is no constraint on the ratios
    last = schedule(fair, [1e10, 1e12]).stages[-1]
    assert last.objective == pytest.approx(solve(replace(fair, budget=1e12)).objective, rel=1e-9)
    for ends in ([1e10], [1e12, 1e10], [0.0, 1e10]):
        with pytest.raises(InputError, match="increasing|positive number"):
            schedule(problem, ends)
    with pytest.raises(InputError, match="no certified optimum for a run of 1e\\+13"):
        schedule(load_problem("synthetic16"), [1e11, 1e13])


def test_command_line(run, tmp_path):
    table = tmp_path / "path.csv"
    code, out, _ = run(
        "sweep", "equal_beta", "--budgets", "1e9:1e13:3", "--over", "floor.en=0:0.2:2", "-o", str(table), "--json", "-"
    )
    content = json.loads(out)
    assert code == 0 and len(content["points"]) == 6 and content["over"] == "floor.en" and content["bands"] is None
    frame = pd.read_csv(table)
    assert len(frame) == 24 and frame["certified"].all()
    np.testing.assert_allclose(frame.groupby(["budget", "bound"])["ratio"].sum(), 1.0)
    code, out, _ = run("sweep", "synthetic16", "--budgets", "1e10:1e13:3", "--stages", "2")
    assert code == 2
    code, out, _ = run("sweep", "synthetic16", "--budgets", "1e10:1e11:2", "--stages", "2")
    assert code == 0 and "gain over static" in out and out.count("\nur %") == 2
    code, out, _ = run("sweep", "synthetic16", "--budgets", "1e11:1e13:2")
    assert code == 0 and "1 points refused" in out
    for arguments, words in (
        ((), "needs --budgets"),
        (("--budgets", "1e9:1e13"), "FROM:TO:COUNT"),
        (("--budgets", "0:1e13:3"), "above 0"),
        (("--over", "floor.en"), "is no NUMBER=FROM:TO:COUNT"),
        (("--over", "floor.en=0:1:2", "--stages", "3"), "needs --budgets"),
        (("--over", "floor.en=2:3:2"), "every point is refused"),
    ):
        code, _, err = run("sweep", "equal_beta", *arguments)
        assert code == 2 and words in err


def test_command_line_draws_bands(run, tmp_path):
    """Ratios stand between their bands in the table, the JSON, the CSV; a sweep that was killed is taken up again."""
    for name in ("libreoffice6.toml", "libreoffice6/model.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((PROBLEMS / name).read_text())
    problem, draws = tmp_path / "libreoffice6.toml", tmp_path / "draws.jsonl"
    model = load_problem(problem).model
    file = DrawFile(draws, model, {"seed": 0})
    for k in range(4):
        file.append(k, {name: value * (1 + 0.02 * k * (name == "B")) for name, value in model.parameters.items()})
    table, record = tmp_path / "path.csv", tmp_path / "path.json"
    command = ("sweep", problem, "--budgets", "1e6:4e6:2", "--draws", draws, "-o", table, "--json", record)
    code, out, _ = run(*command)
    content, frame = json.loads(record.read_text()), pd.read_csv(table)
    assert code == 0 and "5 to 95 % of 4 draws" in out and out.count("\n  5 to 95 %") == 6
    assert content["draws"] == 4 and set(content["bands"]) == set(content["languages"])
    assert (frame["lower"] <= frame["upper"]).all() and frame["lower"].tolist() == [
        content["bands"][name]["lower"][k] for k in range(2) for name in content["languages"]
    ]
    assert not list(tmp_path.glob("*.paths.jsonl"))
    stored = paths_beside(table)
    with pytest.MonkeyPatch.context() as patch:  # stopped where the last path is stored
        patch.setattr(PathFile, "remove", lambda self: None)
        run(*command)
    lines = stored.read_bytes().splitlines(keepends=True)
    stored.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    before = table.read_text()
    assert run(*command)[0] == 0 and table.read_text() == before and not stored.exists()
    code, _, err = run("sweep", "equal_beta", "--budgets", "1e9:1e10:2", "--draws", draws, "-o", table)
    assert code == 2 and "draw 0 has another" in err and not stored.exists()
    code, _, err = run("sweep", "equal_beta", "--budgets", "1e9:1e10:2", "--draws", table)
    assert code == 2 and "no JSON object" in err
