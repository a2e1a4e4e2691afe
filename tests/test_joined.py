"""Pilots of several tables, with sources that changed in between."""

import json
import shlex
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from climbopt.files import load_map
from climbopt.foundations.errors import InputError
from climbopt.runs.joined import join_pilots
from climbopt.runs.pilots import PilotRuns
from climbopt.studies.design.plan import plan


def runs(names, ratios, first=2.0, prefix="r"):
    """Runs with the losses first, first + 0.1, ... of the languages, all of them sources and targets."""
    ratios = np.array(ratios, dtype=float)
    losses = np.array([[first + 0.1 * j + k for j in range(len(names))] for k in range(len(ratios))])
    labels = tuple(f"{prefix}{k}" for k in range(len(ratios)))
    return PilotRuns(labels, names, names, ratios, np.full(len(ratios), 1e9), losses)


TODAY = runs(("a", "b", "c"), [[0.2, 0.3, 0.5], [0.6, 0.2, 0.2]])


def joined(earlier, by_source):
    return join_pilots(("new", TODAY), [("old", earlier)], by_source)


def test_renamed_merged_split_and_removed():
    earlier = runs(("a", "x", "y", "z"), [[0.4, 0.3, 0.3, 0.0], [0.5, 0.1, 0.2, 0.2]], first=3.0, prefix="e")
    result = joined(earlier, {"x": {"b": 1.0}, "y": {"b": 0.25, "c": 0.75}, "z": {}})
    together = result.runs
    assert together.runs == ("r0", "r1", "e0") and together.sources == ("a", "b", "c")
    np.testing.assert_allclose(together.ratios[2], [0.4, 0.3 + 0.25 * 0.3, 0.75 * 0.3])
    np.testing.assert_array_equal(together.losses[2], [3.0, np.nan, np.nan])
    np.testing.assert_array_equal(together.losses[:2], TODAY.losses)
    assert result.notes == ("old: 1 of 2 runs used; left out are those with z; none measures b, c",)
    assert result.unknown == ("b", "c")


def test_a_renamed_language_keeps_its_losses_and_an_added_one_has_none():
    earlier = runs(("a", "old_b"), [[0.4, 0.6]], first=3.0)
    result = joined(earlier, {"old_b": {"b": 1.0}})
    assert result.runs.runs == ("r0", "r1", "old: r0")
    np.testing.assert_allclose(result.runs.ratios[2], [0.4, 0.6, 0.0])
    np.testing.assert_array_equal(result.runs.losses[2], [3.0, 3.1, np.nan])
    assert "none holds c" in result.notes[0] and "none measures c" in result.notes[0]


@pytest.mark.parametrize(
    ("by_source", "message"),
    [
        ({}, "'x' of old is no language of today"),
        ({"x": {"q": 1.0}}, "unknown language that 'x' is mapped to 'q'"),
        ({"x": {"b": 0.5}}, "sum to 0.5"),
        ({"x": {"b": 1.5}}, "above 0, up to 1"),
        ({"x": {"b": 1.0}, "w": {}}, "unknown earlier language in the map 'w'"),
    ],
)
def test_refused_maps(by_source, message):
    with pytest.raises(InputError, match=message):
        joined(runs(("a", "x"), [[0.5, 0.5]]), by_source)


def test_maps_are_read_as_they_are_written(tmp_path):
    place = tmp_path / "map.csv"
    place.write_text("language,becomes,share\nzh,zh_hans,80%\nzh,zh_hant,0.2\nnb,no,\nxx,,\n")
    assert load_map(place) == {"zh": {"zh_hans": 0.8, "zh_hant": 0.2}, "nb": {"no": 1.0}, "xx": {}}
    place.write_text("language,becomes\nzh,a\nzh,a\n")
    with pytest.raises(InputError, match="'zh' to 'a' twice"):
        load_map(place)
    place.write_text("language,to\nzh,a\n")
    with pytest.raises(InputError, match="a map is a table of language, becomes"):
        load_map(place)


def table(path, names, ratios, first=2.0, prefix="r"):
    runs(names, ratios, first, prefix).to_frame().to_csv(path, index=False)
    return path


def test_what_is_not_known_of_new_languages_is_planned(tmp_path, run, monkeypatch):
    """fit says what it uses and prints the command that plans the rest; the command works as it is printed."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    today = table(tmp_path / "today.csv", ("a", "b", "new lang"), rng.dirichlet(np.ones(3), 8))
    earlier = table(tmp_path / "old.csv", ("a", "x"), rng.dirichlet(np.ones(2), 6), prefix="e")
    (tmp_path / "map.csv").write_text("language,becomes\nx,b\n")
    code, _, err = run("fit", today, earlier, "--map", "map.csv", "--interaction", "none")
    assert code == 0 and "old.csv: 6 of 6 runs used; none holds new lang; none measures new lang" in err
    command = next(line for line in err.splitlines() if line.startswith("plan runs for new lang: "))
    words = shlex.split(command.partition(": ")[2])
    assert words[:5] == ["climbopt", "plan", "--languages", "a,b,new lang", "--budgets"] and words[-2:] == [
        "-o",
        "plan.csv",
    ]
    assert run(*words[1:], "--interaction", "none")[0] == 0
    planned = pd.read_csv("plan.csv")
    assert set(planned["language"]) == {"a", "b", "new lang"} and planned["run"].nunique() == 3


def test_runs_before_the_first_of_today(tmp_path, run):
    """Earlier runs alone are carried over to the languages of today, and the plan begins with the new one alone."""
    earlier = table(tmp_path / "old.csv", ("a", "x", "gone"), [[0.5, 0.5, 0.0], [0.2, 0.8, 0.0], [0.2, 0.3, 0.5]])
    place = tmp_path / "map.csv"
    place.write_text("language,becomes\nx,b\ngone,\n")
    words = ["plan", "--languages", "a,b,c", "--budgets", "1B,2B", "--runs", 4, "--json", "-"]
    code, out, err = run(*words, "--after", earlier, "--map", place)
    assert code == 0 and "old.csv: 2 of 3 runs used; left out are those with gone; none holds c; none measures c" in err
    content = json.loads(out)
    assert content["n_before"] == 2 and content["languages"] == ["a", "b", "c"]
    assert content["runs"][0]["ratios"] == {"a": 0.0, "b": 0.0, "c": 1.0}
    held = [planned["ratios"]["c"] for planned in content["runs"]]
    assert np.mean(held) > 1 / 3  # what is new is planned, not what is known
    code, _, err = run("fit", earlier, "--map", place)
    assert code == 2 and f"climbopt plan --languages NAMES --budgets TOKENS --after {earlier} --map {place}" in err
    place.write_text("language,becomes\nx,b\ngone,\na,\n")
    code, _, err = run(*words, "--after", earlier, "--map", place)
    assert code == 2 and "no run of old.csv can be used" in err
    code, _, err = run(*words, "--map", place)
    assert code == 2 and "name that table by --after" in err


def test_losses_that_were_not_measured_are_no_knowledge():
    """Merged languages are held by earlier runs, and their losses are not known: the plan is as if none had been."""
    ratios = np.random.default_rng(1).dirichlet(np.ones(2), 12)
    known = runs(("a", "b"), ratios)
    blind = replace(known, losses=np.where([True, False], known.losses, np.nan))
    errors = [plan(("a", "b"), ["1B"], 2, after=after).before for after in (known, blind)]
    assert errors[0] < errors[1] < plan(("a", "b"), ["1B"], 2).before
