"""PilotRuns: every kind of bad table gets one message that names what is wrong."""

import numpy as np
import pandas as pd
import pytest

from climbopt import InputError, PilotRuns


def table(**changes):
    """Return two runs of two languages, with some cells changed: name_row = value."""
    frame = pd.DataFrame(
        {
            "run": ["a", "a", "b", "b"],
            "tokens": [1e6, 1e6, 2e6, 2e6],
            "language": ["en", "de", "en", "de"],
            "ratio": [0.5, 0.5, 0.9, 0.1],
            "loss": [3.0, 3.1, 2.8, 3.3],
        }
    ).astype({"tokens": float})
    for key, value in changes.items():
        column, _, row = key.rpartition("_")
        frame[column] = frame[column].astype(object)
        frame.loc[int(row), column] = value
    return frame


def test_a_good_table():
    runs = PilotRuns.from_frame(table())
    assert (runs.runs, runs.sources, runs.targets) == (("a", "b"), ("en", "de"), ("en", "de"))
    np.testing.assert_array_equal(runs.ratios, [[0.5, 0.5], [0.9, 0.1]])
    np.testing.assert_array_equal(runs.losses, [[3.0, 3.1], [2.8, 3.3]])
    np.testing.assert_array_equal(runs.tokens, [1e6, 2e6])
    assert runs.params is None and runs.n_rescaled == 0


def test_rows_in_any_order():
    shuffled = PilotRuns.from_frame(table().iloc[[3, 0, 2, 1]])
    assert shuffled.runs == ("b", "a") and shuffled.sources == ("de", "en")
    np.testing.assert_array_equal(shuffled.losses, [[3.3, 2.8], [3.1, 3.0]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratio_0": 0.51}, r"ratios of run 'a' sum to 1.01"),
        ({"ratio_0": -0.1}, r"ratio of language 'en' in run 'a' is -0.1"),
        ({"ratio_1": np.nan}, r"ratio of language 'de' in run 'a' is nan"),
        ({"ratio_0": "half"}, r"ratio 'half' of language 'en' in run 'a' is no number"),
        ({"loss_2": 0.0}, r"loss of language 'en' in run 'b' is 0; a loss is a positive number"),
        ({"loss_2": -1.0}, r"loss of language 'en' in run 'b' is -1"),
        ({"loss_2": np.nan}, r"missing losses: 1, the first that of language 'en' in run 'b'"),
        ({"loss_2": np.inf}, r"loss of language 'en' in run 'b' is inf"),
        ({"tokens_0": 0.0, "tokens_1": 0.0}, r"tokens of run 'a' is 0; it must be a positive number"),
        (
            {f"tokens_{k}": 0.5 for k in range(4)},
            r"tokens of run 'a' is 0.5; no run has less than 10000, and tokens are",
        ),
        ({"tokens_0": np.nan}, r"tokens of run 'a' is nan"),
        ({"tokens_1": 5e6}, r"run 'a' has two different tokens"),
        ({"language_1": "en"}, r"language 'en' stands twice in run 'a'"),
        ({"run_3": "c"}, r"language 'de' is missing from run 'b'"),
        ({"run_0": None}, r"column 'run' is empty in row 2"),
        ({"run_2": " "}, r"column 'run' is empty in row 4"),
    ],
)
def test_bad_cells(changes, message):
    with pytest.raises(InputError, match=message):
        PilotRuns.from_frame(table(**changes))


def test_sizes_in_billions_are_refused():
    with pytest.raises(InputError, match="params of run 'a' is 7; no run has less than 1000.*write 5e8, not 0.5 bil"):
        PilotRuns.from_frame(table().assign(params=7))


def test_bad_columns():
    with pytest.raises(InputError, match="no column 'loss'"):
        PilotRuns.from_frame(table().drop(columns="loss"))
    with pytest.raises(InputError, match="unknown column 'sed'; did you mean 'seed'"):
        PilotRuns.from_frame(table().assign(sed=1))
    with pytest.raises(InputError, match="the table has no rows"):
        PilotRuns.from_frame(table().iloc[:0])


@pytest.mark.parametrize("kind", ["datetime64[ns]", "bool"])
def test_times_and_truth_values_are_no_numbers(kind):
    with pytest.raises(InputError, match="tokens '.*' of language 'en' in run 'a' is no number"):
        PilotRuns.from_frame(table().astype({"tokens": kind}))


def test_sums_near_one_are_rescaled_and_counted():
    runs = PilotRuns.from_frame(table(ratio_0=0.503))
    assert runs.n_rescaled == 1
    np.testing.assert_allclose(runs.ratios.sum(axis=1), 1.0, rtol=1e-15)


def test_sources_and_targets_may_differ():
    """A language never drawn from is no source; one never measured is no target."""
    frame = pd.concat(
        [
            table(),
            pd.DataFrame(
                {
                    "run": ["a", "b"],
                    "tokens": [1e6, 2e6],
                    "language": ["sw", "sw"],
                    "ratio": [0.0, 0.0],
                    "loss": [6.0, 5.9],
                }
            ),
        ]
    )
    frame.loc[frame["language"] == "de", "loss"] = np.nan
    runs = PilotRuns.from_frame(frame)
    assert runs.sources == ("en", "de") and runs.targets == ("en", "sw")
    np.testing.assert_array_equal(runs.ratios_of(("sw", "de")), [[0.0, 0.5], [0.0, 0.1]])


def test_mixtures_need_no_losses():
    runs = PilotRuns.from_frame(table().drop(columns="loss"), need_losses=False)
    assert runs.targets == () and runs.losses.shape == (2, 0)


def test_selecting_runs():
    runs = PilotRuns.from_frame(table().assign(params=[1e6, 1e6, 2e6, 2e6]))
    twice = runs.select(np.array([1, 1]))
    assert twice.runs == ("b", "b")
    np.testing.assert_array_equal(twice.params, [2e6, 2e6])


def test_missing_losses_are_refused_or_left_out():
    """By default the table is refused; without them a run keeps its other losses, and one that has none is no run."""
    frame = pd.concat(
        [
            table(),
            pd.DataFrame(
                {"run": "c", "tokens": 9e6, "language": ["en", "de"], "ratio": [0.2, 0.8], "loss": [3.0, 3.0]}
            ),
        ],
        ignore_index=True,
    )
    frame.loc[[2, 4, 5], "loss"] = np.nan
    with pytest.raises(InputError, match="missing losses: 3, the first that of language 'en' in run 'b'; .*drop"):
        PilotRuns.from_frame(frame)
    runs = PilotRuns.from_frame(frame, missing="drop")
    assert runs.runs == ("a", "b") and runs.missing == (("b", "en"), ("c", "en"), ("c", "de"))
    np.testing.assert_array_equal(runs.losses, [[3.0, 3.1], [np.nan, 3.3]])
    np.testing.assert_array_equal(runs.tokens, [1e6, 2e6])
    with pytest.raises(InputError, match="unknown treatment of missing losses 'skip'"):
        PilotRuns.from_frame(frame, missing="skip")


@pytest.mark.parametrize("missing", ["refuse", "drop"])
def test_a_loss_that_is_none_is_refused_even_so(missing):
    with pytest.raises(InputError, match="loss of language 'en' in run 'b' is -1"):
        PilotRuns.from_frame(table(loss_2=-1.0, loss_3=np.nan), missing=missing)
