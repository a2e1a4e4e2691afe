"""Robust allocation over draws: exact derivatives, optimality, other solvers, the confidence set, the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import random_model
from test_cli import PILOTS

from climbopt import Floor, LossCeiling, Minimax, solve
from climbopt.backends import BACKENDS
from climbopt.certification.local import certify
from climbopt.foundations.errors import InputError
from climbopt.model.ensemble import Stack
from climbopt.studies.ranges import ranges_near
from climbopt.testing import family_problem
from climbopt.uncertainty.confidence import confidence_set
from climbopt.uncertainty.regret import cvar_form, cvar_near, cvar_regret, mean_form, regrets
from climbopt.uncertainty.robust import Measure, robust, robust_ranges


def drawn(model, n, seed=0, spread=0.3):
    """Return models with parameters around another's."""
    rng = np.random.default_rng(seed)
    return tuple(
        replace(
            model,
            parameters={
                name: value * np.exp(spread * rng.standard_normal(value.shape))
                for name, value in model.parameters.items()
            },
        )
        for _ in range(n)
    )


@pytest.fixture(scope="module", params=["saturating", "gated"])
def found(request):
    problem = replace(family_problem(4, interaction=request.param), constraints=(Floor({"nl": 0.28}),))
    draws = drawn(problem.model, 40)
    return regrets(problem, draws, np.array(list(solve(problem).ratios.values())))


def test_scenarios_are_the_draws(found):
    r = np.array([0.4, 0.1, 0.3, 0.2])
    expected = [float(replace(found.problem, model=draw).value(r)) for draw in found.draws]
    assert found.values(r) == pytest.approx(expected, rel=1e-14)
    stacked = found.stacked.model
    assert stacked.targets[:4] == found.problem.model.targets and stacked.targets[4] == "en#0"
    part = stacked.select(["de#3", "en"])
    assert [part.blocks[0].targets[k] for k in part.mean.indices] == ["de#4", "en#0"] and part.targets == ("de#3", "en")
    assert sorted(part.blocks[0].own_source) == [0, 1]


def test_scenarios_of_targets_that_are_no_sources():
    model = random_model("gated", sources=3, targets=("s1", "x"))
    stacked = Stack.of([model, *drawn(model, 2)])
    assert stacked.own_source.tolist() == [1, -1] * 3


@pytest.mark.parametrize("kind", ["mean", "cvar"])
def test_derivatives_against_differences(found, kind):
    form = mean_form(found) if kind == "mean" else cvar_form(found, 0.8, range(0, 40, 5), found.optima[0])
    x, h = form.start, 1e-6
    mu = np.linspace(0.3, 0.8, len(form.nonlinear))
    at = form.functions.at(x)
    steps = h * np.eye(form.n)
    ends = [(form.functions.at(x + step), form.functions.at(x - step)) for step in steps]
    assert at.gradient == pytest.approx([(a.value - b.value) / (2 * h) for a, b in ends], abs=1e-8)
    if mu.size:
        assert at.jacobian.T == pytest.approx(np.array([(a.rows - b.rows) / (2 * h) for a, b in ends]), abs=1e-7)
    slopes = [(a.gradient + a.jacobian.T @ mu - b.gradient - b.jacobian.T @ mu) / (2 * h) for a, b in ends]
    assert at.hessian(1.0, mu) == pytest.approx(np.array(slopes), abs=1e-6)


@pytest.mark.parametrize("measure", ["mean", "cvar:0.8", "cvar:0.93"])
def test_no_candidate_has_less_regret(found, measure):
    answer = robust(found.problem, found.draws, measure)
    certificate = answer.result.certificate
    assert answer.result.passed and max(one.value for one in certificate.residuals.values()) < 1e-6
    least = answer.measure.of(answer.regret)
    assert certificate.upper_bound == pytest.approx(least, abs=1e-9)
    rng = np.random.default_rng(1)
    others = [*found.optima, *(0.28 * np.eye(4)[2] + 0.72 * one for one in rng.dirichlet(np.ones(4), 200))]
    near = [answer.ratios + step for step in 0.01 * rng.standard_normal((200, 4)) @ (np.eye(4) - 0.25)]
    others += [one for one in near if one[2] >= 0.28 and (one > 0).all()]
    assert min(answer.measure.of(found.of(one)) for one in others) >= least - 1e-9
    assert least < answer.measure.of(answer.plug_in_regret)


def test_rows_left_out_change_nothing(found):
    """The answer of a few draws' rows meets the conditions of the problem with all of them."""
    answer = robust(found.problem, found.draws, "cvar:0.8")
    form = cvar_form(found, 0.8, range(40), answer.ratios)
    certificate = certify(form, form.complete(answer.ratios))
    assert certificate.passed
    assert certificate.upper_bound == pytest.approx(answer.measure.of(answer.regret), abs=1e-9)


@pytest.mark.parametrize(
    "backend, measure",
    [("ipopt", "mean"), ("slsqp", "mean"), ("slsqp", "cvar:0.8"), ("pyomo", "cvar:0.8"), ("cvxpy", "mean")],
)
def test_other_backends_agree(backend, measure):
    """Also those that take the functions written out: the draws are one model like any other."""
    if BACKENDS[backend].missing:
        pytest.skip(f"{backend} is not installed")
    problem = family_problem(3)
    draws = drawn(problem.model, 10)
    first = robust(problem, draws, measure)
    second = robust(problem, draws, measure, backend=backend)
    assert second.result.passed and second.result.solution.backend == backend
    assert second.ratios == pytest.approx(first.ratios, abs=2e-5)


def test_the_mean_of_convex_draws_is_proved_least():
    problem = family_problem(3)
    assert robust(problem, drawn(problem.model, 10)).result.certificate.relative_gap < 1e-6


@pytest.mark.parametrize("measure", ["mean", "cvar:0.8"])
def test_ranges_hold_every_mixture_of_a_grid_that_is_as_good(measure):
    """Of convex draws, so that the ends are proved; each is reached by the grid to its spacing."""
    problem = family_problem(3)
    answer = robust(problem, drawn(problem.model, 12), measure)
    near = robust_ranges(answer, 1e-3)
    assert all(one.certified for one in near.values()) and (measure != "mean" or all(o.proved for o in near.values()))
    steps = np.arange(0, 61) / 60
    grid = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1])
    level = answer.measure.of(answer.regret) + 1e-3 * abs(answer.result.objective)
    inside = grid[[answer.measure.of(answer.regrets.of(one)) <= level for one in grid]]
    lower, upper = np.array([(one.lower, one.upper) for one in near.values()]).T
    assert (inside >= lower - 1e-7).all() and (inside <= upper + 1e-7).all()
    assert (inside.min(axis=0) <= lower + 2 / 60).all() and (inside.max(axis=0) >= upper - 2 / 60).all()


def test_rows_left_out_are_added_for_ranges(found):
    """The ends with rows for the worst draws alone are those with rows for all."""
    answer = robust(found.problem, found.draws, "cvar:0.8")
    few, every = cvar_near(found, 0.8, answer.ratios), cvar_regret(found, 0.8, tuple(range(40)), answer.ratios)
    least = answer.measure.of(answer.regret)
    ends = [
        np.array([(one.lower, one.upper) for one in ranges_near(goal, answer.result, least, 2e-3).values()])
        for goal in (few, every)
    ]
    assert ends[0] == pytest.approx(ends[1], abs=1e-6)


def test_processes_change_nothing(found):
    again = regrets(found.problem, found.draws, np.array(list(solve(found.problem).ratios.values())), jobs=2)
    assert np.array_equal(again.optima, found.optima) and np.array_equal(again.least, found.least)


def test_regret_is_never_negative_where_the_optimum_is_known(found):
    assert all(found.of(optimum)[k] >= -1e-12 for k, optimum in enumerate(found.optima))
    assert (found.of(np.array(list(solve(found.problem).ratios.values()))) >= -1e-12).all()


def test_one_draw_is_the_joint_problem():
    problem = family_problem(3)
    answer = robust(problem, [problem.model], "mean")
    assert answer.ratios == pytest.approx(list(solve(problem).ratios.values()), abs=1e-7)
    assert answer.regret == pytest.approx([0.0], abs=1e-12)


def test_loss_ceilings_are_held_by_the_fit_itself():
    problem = family_problem(3)
    losses = solve(problem).losses
    problem = replace(problem, constraints=(LossCeiling({"en": losses["en"] - 0.002}),))
    answer = robust(problem, drawn(problem.model, 10))
    assert answer.result.passed and answer.result.losses["en"] <= losses["en"] - 0.002 + 1e-9


def test_measures():
    values = np.arange(10.0)
    assert Measure("mean").of(values) == 4.5
    assert Measure("cvar", 0.8).of(values) == pytest.approx(8.5)
    assert Measure("cvar", 0.75).of(values) == pytest.approx((9 + 8 + 0.5 * 7) / 2.5)
    assert Measure.parse("cvar:0.5") == Measure("cvar", 0.5) and Measure.parse("cvar").level == 0.9
    for wrong in ("cvar:x", "cvar:1", "worst", "mean:0.5"):
        with pytest.raises(InputError):
            Measure.parse(wrong)


def test_what_is_refused():
    problem = family_problem(3)
    with pytest.raises(InputError, match="objective is 'minimax'"):
        robust(replace(problem, objective=Minimax()), [problem.model])
    with pytest.raises(InputError, match="no draws"):
        robust(problem, [])
    with pytest.raises(InputError, match="draw 1 has another interaction"):
        robust(problem, [problem.model, family_problem(3, interaction="gated").model])
    with pytest.raises(InputError, match="cannot show"):
        found = regrets(problem, [problem.model], np.full(3, 1 / 3))
        confidence_set(found, np.full(3, 1 / 3))


def test_advantage_over_baselines():
    problem = replace(family_problem(3), supply={"en": 1e12, "de": 1e11, "nl": 1e10})
    answer = robust(problem, drawn(problem.model, 30))
    uniform, *others = answer.assessment.baselines
    assert [other.name for other in others] == ["natural", "temperature", "unimax", "isolated"]
    gain = answer.regrets.values(np.full(3, 1 / 3)) - answer.regrets.values(answer.ratios)
    assert uniform.advantage.probability == pytest.approx(np.mean(gain > 0))
    assert uniform.advantage.gain == pytest.approx(gain.mean())
    assert uniform.advantage.lower <= np.median(gain) <= uniform.advantage.upper


def test_confidence_set(found):
    answer = np.array(list(solve(found.problem).ratios.values()))
    chosen = confidence_set(found, answer, level=0.9, size=60)
    losses = found.values(answer)
    for mixture in chosen.sample:
        assert np.mean(found.values(mixture) <= losses) >= 0.1
        assert mixture.sum() == pytest.approx(1) and mixture[2] >= 0.28 - 1e-9 and (mixture >= 0).all()
    assert len(np.unique(chosen.sample, axis=0)) > 30
    for j, (low, high) in enumerate(chosen.ranges.values()):
        assert low <= chosen.sample[:, j].min() and chosen.sample[:, j].max() <= high and low <= answer[j] <= high
    wider = confidence_set(found, answer, level=0.97, size=60)
    assert wider.share_of_optima >= chosen.share_of_optima


def test_command_line(run, tmp_path):
    model, out = tmp_path / "m.toml", tmp_path / "out.json"
    code, text, _ = run("fit", PILOTS, "--interaction", "saturating", "-o", model, "--bootstrap", 20, "--json", out)
    assert code == 0 and "90 % bands" in text and "missing runs" in text
    value = json.loads(out.read_text())
    assert value["draws"] == 20 and value["bands"]["level"] == 0.9 and len(value["transfer"]) == 30
    assert value["stderr"]["b"]["en"]["de"] >= 0 and value["missing_runs"][0]["reduction"] > 0
    draws = tmp_path / "m.draws.jsonl"
    assert draws.read_text().count("\n") == 21 and 'draws = "m.draws.jsonl"' in model.read_text()
    problem = tmp_path / "p.toml"
    problem.write_text('model = "m.toml"\nbudget = 8e6\n')
    code, text, _ = run("solve", problem, "--robust", "cvar:0.5", "--ranges", "0.1%", "--json", out)
    value = json.loads(out.read_text())
    assert code == 0 and "regret, mean of the worst 50 %" in text and "answer better by" in text
    assert set(value["baselines"]) == {"uniform", "isolated"}
    assert value["probability_better_than"]["uniform"]["gain"] == value["baselines"]["uniform"]["gain"]
    assert 0 <= value["baselines"]["uniform"]["probability"] <= 1
    assert all(one["lower"] <= value["ratios"][name] <= one["upper"] for name, one in value["ranges"].items())
    answer = value["robust"]
    assert (answer["measure"], answer["level"], answer["draws"], answer["unsettled"]) == ("cvar", 0.5, 20, [])
    assert answer["regret"] <= answer["regret_of_joint"] + 1e-9
    assert set(answer["optimum_quantiles"]) == set(answer["confidence_set"]["ranges"]) == set(value["ratios"])


def test_command_line_refusals(run, tmp_path):
    assert run("fit", PILOTS, "--draws", tmp_path / "d.jsonl")[0] == 2
    code, _, error = run("solve", "libreoffice6", "--robust", "mean")
    assert code == 2 and "climbopt fit PILOTS --bootstrap" in error
    assert "there is no file" in run("solve", "libreoffice6", "--draws", tmp_path / "d.jsonl")[2]
    assert run("solve", "libreoffice6", "--robust", "mean", "--procedure", "uniform")[0] == 2
    stranger = tmp_path / "d.jsonl"
    stranger.write_text("{}\n")
    assert run("solve", "libreoffice6", "--robust", "mean", "--draws", stranger)[0] == 2
