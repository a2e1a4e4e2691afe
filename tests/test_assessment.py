"""An answer beside the rules of thumb: their losses, whether they are feasible, and the chance that it beats them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import PROBLEMS, random_model

from climbopt import (
    AllocationProblem,
    Cap,
    Minimax,
    NoAnswerError,
    assess,
    covariance,
    fit,
    load_problem,
    save_model,
    solve,
)
from climbopt.foundations.solution import Solution, Termination
from climbopt.model.ensemble import Ensemble
from climbopt.procedures import Joint
from climbopt.procedures.result import Result
from climbopt.runs.pilot_range import PilotRange
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


@pytest.mark.parametrize(
    "objective",
    [None, Minimax({"en": 2.0, "de": 2.0, "nl": 1.0, "sv": 3.0}), "L[en] + 0.1 * r[de]", "L[en] + 0.1 * z[de]"],
)
def test_gains_are_those_of_every_draw_whatever_the_objective(objective):
    problem = replace(family_problem(4), supply=dict.fromkeys(family_model(4).sources, 1e11))
    problem = problem if objective is None else replace(problem, objective=objective)
    draws = [scaled(problem.model, factor) for factor in (0.5, 1.0, 1.5)]
    answer = solve(problem)
    uniform = assess(answer, draws).baselines[0]
    mixtures = np.array([list(answer.ratios.values()), np.full(4, 0.25)])
    gains = []
    for draw in draws:
        values = replace(problem, model=draw).value(mixtures)
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


def test_command_line_prints_and_writes_the_baselines(run, pilots, tmp_path):
    code, text, _ = run("solve", "synthetic16", "--json", tmp_path / "a.json")
    value = json.loads((tmp_path / "a.json").read_text())["baselines"]
    assert code == 0 and "not feasible: cap[en]" in text
    assert value["natural"]["violated"] == "cap[en]" and value["natural"]["violation"] > 0.2
    assert value["unimax"]["violated"] is None and value["unimax"]["probability"] is None
    assert sum(value["temperature"]["ratios"].values()) == pytest.approx(1)


def test_draws_that_the_model_names_are_used(run, tmp_path):
    pilots = PROBLEMS / "libreoffice6" / "pilots.csv"
    run("fit", pilots, "--law", "power", "--interaction", "gated", "--bootstrap", 5, "-o", tmp_path / "m.toml")
    problem = tmp_path / "p.toml"
    problem.write_text('model = "m.toml"\nbudget = 8e6\n')
    _, text, _ = run("solve", problem)
    assert "chance %" in text
    (tmp_path / "m.draws.jsonl").rename(tmp_path / "d.jsonl")
    assert "chance %" not in run("solve", problem)[1]
    assert "chance %" in run("solve", problem, "--draws", tmp_path / "d.jsonl")[1]


def losing(gains):
    """The problem of two languages whose answer gains these numbers on the uniform mixture, scenario by scenario."""
    problem = AllocationProblem(family_model(2, interaction="none"), 100e9)
    assessment = assess(problem)
    advantage = Advantage.over(np.array(gains), np.full(len(gains), 1 / len(gains)))
    uniform = replace(assessment.baselines[0], advantage=advantage, feasible=True)
    return assessment, uniform


def test_the_band_is_that_of_the_objective_over_the_draws():
    problem = family_problem(3)
    draws = [scaled(problem.model, factor) for factor in (0.98, 1.0, 1.02)]
    answer = solve(problem)
    values = [replace(problem, model=draw).value(np.array(list(answer.ratios.values()))) for draw in draws]
    narrow = assess(answer, draws)
    assert narrow.half_width == pytest.approx((max(values) - min(values)) / 2, rel=1e-12)
    assert narrow.doubt is None and assess(answer).half_width is None
    wide = assess(answer, [scaled(problem.model, factor) for factor in (0.5, 1.0, 1.5)])
    assert wide.half_width > 0.075 * answer.objective and "has a 90 % band of" in wide.doubt
    assert "more than 7.5 % of it" in wide.doubt and repr(wide).startswith(f"{problem.name}: not a decision: ")


def _with_baseline(assessment, baseline):
    """The assessment with one baseline."""
    assessment = replace(assessment)
    assessment.__dict__["baselines"] = (baseline,)
    return assessment


@pytest.mark.parametrize(
    ("gains", "stands"),
    [
        ((-0.001, 0.0005, 0.001), True),  # within the noise of two equal runs
        ((-0.019, 0.03, 0.05), True),  # it gains as much on average
        ((-0.05, 0.03, 0.05), False),
        ((-0.05, -0.05, -0.05), False),
    ],
)
def test_a_baseline_that_may_be_much_better_is_a_doubt(gains, stands):
    assessment, uniform = losing(gains)
    assert (_with_baseline(assessment, uniform).doubt is None) == stands
    if not stands:
        doubt = _with_baseline(assessment, uniform).doubt
        assert "against uniform it may lose 0.05 nats/token (5 % of the models)" in doubt
    assert _with_baseline(assessment, replace(uniform, feasible=False)).doubt is None


def test_ratios_far_beyond_the_pilots_are_a_doubt(run, tmp_path):
    known = {name: (0.1, 0.4) for name in ("en", "de")}
    model = replace(family_model(2), pilots=PilotRange((1e9, 1e11), None, known))
    near = AllocationProblem(model, 100e9, constraints=[Cap({"en": 0.6, "de": 0.6})])
    assert assess(near).doubt is None  # 0.2 beyond
    save_model(model, tmp_path / "m.toml")
    (tmp_path / "p.toml").write_text('model = "m.toml"\nbudget = 1e11\n[weights]\nen = 1\ndefault = 0\n')
    code, text, _ = run("solve", tmp_path / "p.toml", "--json", tmp_path / "a.json")
    value = json.loads((tmp_path / "a.json").read_text())
    assert value["certificate"]["passed"] and not value["decision"]["stands"] and code == 1
    assert value["ratios"]["en"] > 0.65 and "nothing was measured there" in value["decision"]["reason"]
    assert "NOT a decision: en has" in text and value["decision"]["next"] in " ".join(text.split())
    assert value["decision"]["next"] == (
        "climbopt plan --languages en,de --budgets 1e+09,1e+11 --after PILOTS --target-budget 1e+11"
    )


def test_the_cost_of_a_form_is_its_regret():
    one, other = family_model(3), family_model(3, interaction="gated", seed=1)
    problem = AllocationProblem(Ensemble((one, other, scaled(one, 1.1)), (2, 1, 1)), 100e9)
    answer = solve(problem)
    ratios = np.array(list(answer.ratios.values()))
    forms = assess(answer).forms
    assert list(forms) == [one.label, other.label] and [cost.weight for cost in forms.values()] == [0.75, 0.25]
    mean = replace(problem, model=Ensemble((one, scaled(one, 1.1)), (2, 1)))
    for form, alone in ((one.label, mean), (other.label, replace(problem, model=other))):
        assert forms[form].regret == pytest.approx(float(alone.value(ratios)) - solve(alone).objective, abs=1e-12)
        assert forms[form].regret > 1e-6
    assert assess(replace(problem, model=one)).forms == {}


def test_far_beyond_the_budgets_of_the_pilots_forms_part(pilots):
    """Two laws with the same fit: at four times the largest pilot the answer is a decision, at a thousand none."""
    fits = [
        fit(pilots, law, interaction, n_starts=1) for law, interaction in (("power", "gated"), ("bimix", "overlap"))
    ]
    draws = zip(*(covariance(one).draws(20) for one in fits), strict=True)
    draws = [Ensemble(blocks) for blocks in draws]
    problem = AllocationProblem(Ensemble([one.model for one in fits]), 8e6)
    assert assess(problem, draws).doubt is None
    far = assess(replace(problem, budget=2e9), draws)
    assert far.result.passed and "has a 90 % band of" in far.doubt


def test_draws_repeat_the_supplies_of_the_problem():
    """A draw knows the supplies of the pilots, and is judged with those of the planned run."""
    model = random_model("gated", sources=3, use="saturating")
    problem = AllocationProblem(model, 5e9, supply=dict.fromkeys(model.sources, 2e8))
    assessment = assess(problem, [model, model])
    gain = assessment.baselines[0].objective - assessment.result.objective
    assert assessment.baselines[0].advantage.gain == pytest.approx(gain, rel=1e-9) and gain > 1e-4
    assert assessment.half_width == pytest.approx(0, abs=1e-12)
