"""How far answers lie outside the pilots: the factor with every answer, and a warning past ten times."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from conftest import PROBLEMS, random_model
from test_cli import MODEL, PILOTS

from climbopt import AllocationProblem, InputError, Linear, fit, load_model, save_model, solve
from climbopt.model.ensemble import Stacked
from climbopt.reports.extrapolation import Reach, cumulative
from climbopt.reports.results import result_json
from climbopt.runs.pilot_range import PilotRange

LARGEST, SMALLEST = 1998848.0, 249856.0


def test_the_fitted_model_states_its_runs(pilots):
    fitted = fit(pilots.select(pilots.tokens > 1e6), "power", n_starts=1)
    whole = dict.fromkeys(pilots.sources, (0.0, 1.0))
    assert fitted.model.pilots == PilotRange((LARGEST, LARGEST), None, whole)
    assert pilots.range == PilotRange((SMALLEST, LARGEST), None, whole)
    assert load_model(MODEL).pilots == PilotRange((SMALLEST, LARGEST))  # a file of before ratios were stated
    sized = replace(pilots, params=pilots.tokens * 2)
    assert sized.range.params == (2 * SMALLEST, 2 * LARGEST)


@pytest.mark.parametrize("ends", [(0.0, 1.0), (2.0, 1.0), (1.0,), (1.0, float("inf")), (float("nan"), 1.0)])
def test_what_is_no_range(ends):
    with pytest.raises(InputError, match="tokens of the pilots are .*two positive numbers in this order"):
        PilotRange(ends)


def test_history_and_model_size_count():
    model = replace(random_model("linear", law="power_nd", sources=2), pilots=PilotRange((1e9, 4e9), (1e6, 1e7)))
    problem = AllocationProblem(model, 1e9, params=2e8, history={"s0": 7e9})
    found = Reach.of_problem(problem).json()
    assert (found["extrapolation"], found["size_extrapolation"]) == (2.0, 20.0)
    assert len(found["warnings"]) == 1 and "model size is 20 times the largest pilot's" in found["warnings"][0]
    assert result_json(solve(problem))["warnings"] == found["warnings"]
    smaller = Reach(model, (2e9,), (1e5,)).json()
    assert (smaller["extrapolation"], smaller["size_extrapolation"]) == (1.0, 10.0) and not smaller["warnings"]


def test_a_model_that_names_no_runs_says_nothing():
    model = random_model("linear", sources=2)
    found = result_json(solve(AllocationProblem(model, 1e9)))
    assert found["extrapolation"] is None and found["size_extrapolation"] is None and found["warnings"] == []
    assert Reach(model, (1e9,)).words() is None


def test_scenarios_and_parts_of_a_model_keep_the_range():
    model = load_model(MODEL)
    both = Stacked.scenarios(model, [replace(model, pilots=None)])
    assert model.select(["en"]).pilots == both.pilots == both.select(["ru"]).pilots == model.pilots


def write(tmp_path, budget):
    problem = tmp_path / "mine.toml"
    problem.write_text(f'model = "{MODEL}"\nbudget = {budget}\n')
    return problem


def test_solve_and_certify(run, tmp_path):
    for command, budget, factor, words in (
        (["solve"], 8e6, 8e6 / LARGEST, "4 times the largest"),
        (["solve"], 1e5, SMALLEST / 1e5, "1/2.5 of the smallest"),
        (["solve", "--procedure", "uniform"], 1e6, 1.0, "none, it is within"),
        (["certify", "--time-limit", "0.1"], 1e9, 1e9 / LARGEST, "500 times the largest"),
    ):
        code, out, err = run(*command, write(tmp_path, budget), "--json", tmp_path / "x.json")
        found = json.loads((tmp_path / "x.json").read_text())
        assert code in (0, 1) and found["extrapolation"] == pytest.approx(factor) and words in out
        assert len(found["warnings"]) == (factor > 10)
        assert err == "".join(f"climbopt: warning: {line}\n" for line in found["warnings"])


def test_sweep(run, tmp_path):
    code, out, err = run("sweep", write(tmp_path, 8e6), "--budgets", "1e4:1e7:2", "--json", tmp_path / "x.json")
    found = json.loads((tmp_path / "x.json").read_text())
    each = [point["extrapolation"] for point in found["points"]]
    assert code == 0 and each == pytest.approx([SMALLEST / 1e4, 1e7 / LARGEST])
    assert found["extrapolation"] == max(each) and len(found["warnings"]) == 1
    assert "5 times the largest pilot's; the budget is 1/25 of the smallest" in " ".join(out.split())
    assert found["warnings"][0] in err and "1/25 of the smallest" in err


def test_predict(run, tmp_path):
    code, out, err = run("predict", MODEL, PILOTS)
    assert code == 0 and "extrapolation: none" in out and err == ""
    table = pd.read_csv(PILOTS)
    table.assign(tokens=40 * table["tokens"]).to_csv(tmp_path / "far.csv", index=False)
    code, out, err = run("predict", MODEL, tmp_path / "far.csv", "-o", tmp_path / "p.csv")
    assert code == 0 and "40 times the largest pilot's" in out and "40 times the largest pilot's" in err

    alone = [{"run": "alone", "tokens": 1e6, "language": name, "ratio": 0.3} for name in ("pt", "en")]
    pd.DataFrame([*alone, {**alone[0], "language": "nl", "ratio": 0.4}]).to_csv(tmp_path / "inside.csv", index=False)
    model = load_model(MODEL)
    narrow = replace(model.pilots, ratios={**dict.fromkeys(model.sources, (0.0, 1.0)), "nl": (0.1, 0.2)})
    save_model(replace(model, pilots=narrow), tmp_path / "narrow.toml")
    code, out, err = run("predict", tmp_path / "narrow.toml", tmp_path / "inside.csv")
    assert code == 0 and "outside the pilots' mixtures: nl is 40 %" in " ".join(out.split()) and "nl is 40 %" in err


def test_files(tmp_path):
    """A model keeps its range in its file; a file without one is read as before."""
    model = replace(random_model("linear", sources=2), pilots=PilotRange((1e9, 4e9), (1e6, 1e6)))
    for one in (model, replace(model, pilots=PilotRange((1e9, 4e9))), replace(model, pilots=None)):
        save_model(one, tmp_path / "model.toml")
        assert load_model(tmp_path / "model.toml").pilots == one.pilots
    text = (PROBLEMS / "libreoffice6" / "model.toml").read_text()
    for old, new, words in (
        ("249856.0", "-1.0", "tokens of the pilots are"),
        ("249856.0,", "", "two positive numbers"),
        ("249856.0", '"few"', "pilots.tokens"),
        ("tokens = [", "token = [", "pilots.tokens"),
    ):
        (tmp_path / "bad.toml").write_text(text.replace(old, new))
        with pytest.raises(InputError, match=words):
            load_model(tmp_path / "bad.toml")


NARROW = {"s0": (0.1, 0.35), "s1": (0.6, 0.9)}


def narrow():
    """A model whose pilots had 10 to 35 % of s0, at the budget asked for."""
    return replace(random_model("linear", sources=2), pilots=PilotRange((1e9, 1e9), None, NARROW))


@pytest.mark.parametrize(
    ("ratio", "outside", "warned"),
    [
        (0.2, set(), False),
        (0.35, set(), False),
        (0.355, {"s0"}, False),
        (0.994, {"s0", "s1"}, True),
        (0.0, {"s0", "s1"}, True),
    ],
)
def test_ratios_outside_the_pilots_are_named(ratio, outside, warned):
    problem = AllocationProblem(narrow(), 1e9, constraints=[Linear({"s0": 1.0}, ratio, ratio)])
    found = result_json(solve(problem))
    assert set(found["ratio_extrapolation"]) == outside and found["extrapolation"] == 1.0
    assert bool(found["warnings"]) is warned
    words = Reach.of_problem(problem, found["ratios"]).words()
    assert ("outside the pilots' mixtures" in words) is bool(outside)
    if ratio == 0.994:
        assert found["ratio_extrapolation"]["s0"]["pilots"] == [0.1, 0.35]
        assert found["ratio_extrapolation"]["s0"]["ratio"] == pytest.approx(0.994)
        assert "s0 is 99.4 % and 10 to 35 % in the pilots" in found["warnings"][0] and "s0 is 99.4 %" in words


def test_the_line_on_extrapolation_states_what_three_digits_show():
    model = replace(narrow(), pilots=PilotRange((1e9, 1e9), None, {"s0": (0.0, 0.0), "s1": (0.0, 1.0)}))
    assert Reach(model, [1.0004e9]).words() == "extrapolation: none, it is within the pilots' budgets"
    words = Reach(model, [1.01e9], (), [{"s0": 0.2, "s1": 0.8}]).words()
    assert (
        words is not None and "1.01 times the largest pilot's" in words and "s0 is 20 % and 0 % in the pilots" in words
    )


def test_ratios_of_history_and_run_together_count():
    problem = AllocationProblem(narrow(), 1e9, history={"s0": 1e9})
    both = cumulative(problem, {"s0": 0.2, "s1": 0.8})
    assert both == pytest.approx({"s0": 0.6, "s1": 0.4})
    assert narrow().pilots.outside(both) == pytest.approx({"s0": 0.25, "s1": -0.2})


def test_model_files_state_the_ratios(tmp_path):
    path = tmp_path / "m.toml"
    save_model(narrow(), path)
    assert "[pilots.ratios]" in path.read_text() and load_model(path).pilots == narrow().pilots
    path.write_text(path.read_text().replace("0.35", "1.35"))
    with pytest.raises(InputError, match=r"the ratios of 's0' in the pilots are \[0.1, 1.35\]"):
        load_model(path)
