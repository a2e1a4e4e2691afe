"""Pilots of several tables, with sources that changed in between."""

import numpy as np
import pytest

from climbopt.files import load_map
from climbopt.foundations.errors import InputError
from climbopt.runs.joined import join_pilots
from climbopt.runs.pilots import PilotRuns


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
    assert result.notes == ("old: 1 of 2 runs used; left out are those with z; none measures b, c: plan runs for it",)


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
