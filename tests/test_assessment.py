"""An answer beside the rules of thumb: their losses, whether they are feasible, and the chance that it beats them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import PROBLEMS
from test_cli import run  # noqa: F401

from climbopt import AllocationProblem, Minimax, NoAnswerError, assess, load_problem, solve
from climbopt.foundations.solution import Solution, Termination
from climbopt.model.ensemble import Ensemble
from climbopt.procedures import Joint
from climbopt.procedures.result import Result
from climbopt.testing import family_model, family_problem
from climbopt.uncertainty.assessment import Advantage


def scaled(model, factor):
    """The model with all of B times a factor: losses above E grow alike."""
    return replace(model, parameters={**model.parameters, "B": factor * model.parameters["B"]})


def test_advantage_counts_weights():
    gains, weights = np.array([-1.0, 2.0, 4.0]), np.array([0.25, 0.5, 0.25])
    found = Advantage.over(gains, weights)
    assert (found.probability, found.gain, found.lower, found.upper) == (0.75, 1.75, -1.0, 4.0)


def test_baselines_beside_the_answer_are_those_of_their_procedures():
    problem = load_problem("synthetic16")
    answer = solve(problem)
    found = {baseline.name: baseline for baseline in assess(answer).baselines}
    assert list(found) == ["uniform", "natural", "temperature", "unimax", "isolated"]
    for name, baseline in found.items():
        other = solve(problem, name)
        np.testing.assert_allclose(baseline.ratios, list(other.ratios.values()), rtol=1e-12)
        assert baseline.objective == pytest.approx(other.objective, rel=1e-12)
        assert baseline.feasible == other.passed and baseline.advantage is None
    assert [name for name, one in found.items() if not one.feasible] == ["uniform", "natural"]
    assert found["uniform"].primal.worst == "supply[ur]" and found["natural"].primal.worst == "cap[en]"
    assert assess(answer).best.name == "unimax"  # the lowest objective of those that are feasible


@pytest.mark.parametrize("objective", [None, Minimax(), "L[en] + 0.1 * r[de]", "L[en] + 0.1 * z[de]"])
def test_gains_are_those_of_every_draw_whatever_the_objective(objective):
    problem = replace(family_problem(4), supply=dict.fromkeys(family_model(4).sources, 1e11))
    problem = problem if objective is None else replace(problem, objective=objective)
    draws = [scaled(problem.model, factor) for factor in (0.5, 1.0, 1.5)]
    answer = solve(problem)
    uniform = assess(answer, draws).baselines[0]
    mixtures = np.array([list(answer.ratios.values()), np.full(4, 0.25)])
    gains = []
    for draw in draws:
        values = problem.goal.value(mixtures, *replace(problem, model=draw).effective_and_losses(mixtures))
        gains.append(values[1] - values[0])
    assert uniform.advantage.gain == pytest.approx(np.mean(gains), rel=1e-12)
    assert (uniform.advantage.lower, uniform.advantage.upper) == pytest.approx((min(gains), max(gains)))
    assert uniform.advantage.probability == pytest.approx(np.mean(np.array(gains) > 0))


def test_forms_of_an_ensemble_are_scenarios():
    one, other = family_model(3), family_model(3, interaction="gated", seed=1)
    problem = AllocationProblem(Ensemble((one, other), (3, 1)), 100e9)
    answer = solve(problem)
    ratios = np.array(list(answer.ratios.values()))
    gains = [
        float(np.diff([replace(problem, model=form).value(mixture) for mixture in (ratios, np.full(3, 1 / 3))])[0])
        for form in (one, other)
    ]
    advantage = assess(answer).baselines[0].advantage
    assert advantage.gain == pytest.approx(0.75 * gains[0] + 0.25 * gains[1])
    assert advantage.probability == pytest.approx(np.dot(np.array(gains) > 0, (0.75, 0.25)))


def test_rules_of_thumb_and_results_without_an_answer_have_no_assessment():
    assert solve("equal_beta", "uniform").to_dict()["baselines"] == {}
    solution = Solution(None, None, Termination.FAILED, "out of licences", "odd", "1", None, None, 0.1)
    nothing = Result(load_problem("equal_beta"), Joint(), None, solution)
    assert nothing.to_dict()["baselines"] == {}
    with pytest.raises(NoAnswerError):
        assess(nothing)


def test_a_baseline_outside_the_domain_has_no_advantage():
    """Under `power` with own data alone, a language without any has no finite loss."""
    model = family_model(2, interaction="none")
    problem = AllocationProblem(model, 1e9, supply={"en": 1e9, "de": 0.0})
    natural = assess(problem, [model, scaled(model, 1.1)]).baselines[1]
    assert natural.name == "natural" and not natural.feasible and natural.advantage is None


def test_command_line_prints_and_writes_the_baselines(run, pilots, tmp_path):  # noqa: F811
    code, text, _ = run("solve", "synthetic16", "--json", tmp_path / "a.json")
    value = json.loads((tmp_path / "a.json").read_text())["baselines"]
    assert code == 0 and "not feasible: cap[en]" in text
    assert value["natural"]["violated"] == "cap[en]" and value["natural"]["violation"] > 0.2
    assert value["unimax"]["violated"] is None and value["unimax"]["probability"] is None
    assert sum(value["temperature"]["ratios"].values()) == pytest.approx(1)


def test_draws_that_the_model_names_are_used(run, tmp_path):  # noqa: F811
    pilots = PROBLEMS / "libreoffice6" / "pilots.csv"
    run("fit", pilots, "--law", "power", "--interaction", "gated", "--bootstrap", 5, "-o", tmp_path / "m.toml")
    problem = tmp_path / "p.toml"
    problem.write_text('model = "m.toml"\nbudget = 8e6\n')
    _, text, _ = run("solve", problem)
    assert "chance %" in text
    (tmp_path / "m.draws.jsonl").rename(tmp_path / "d.jsonl")
    assert "chance %" not in run("solve", problem)[1]
    assert "chance %" in run("solve", problem, "--draws", tmp_path / "d.jsonl")[1]
