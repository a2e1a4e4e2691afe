"""PilotRuns: every kind of bad table gets one message that names what is wrong."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import random_model

from climbopt import InputError, PilotRuns, load_pilots
from climbopt.fitting.prediction import predict_table


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
        ({"run_0": None}, r"column 'run' in row 2 is empty"),
        ({"run_2": " "}, r"column 'run' in row 4 is empty"),
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


def test_seeds_of_one_run_are_runs():
    """Rows of one run name with different seeds; a run with one seed keeps its name; seeds are whole numbers."""
    rows = [
        (run, seed, language, 1.0 + seed % 7)
        for run, seeds in (("a", (1, 1000000007, 1000000009)), ("b", (1,)))
        for seed in seeds
        for language in ("en", "sw")
    ]
    frame = pd.DataFrame(rows, columns=["run", "seed", "language", "loss"]).assign(tokens=1e9, ratio=0.5)
    runs = PilotRuns.from_frame(frame)
    assert runs.runs == ("a, seed 1", "a, seed 1000000007", "a, seed 1000000009", "b")
    assert PilotRuns.from_frame(frame.astype({"seed": float})).runs == runs.runs
    np.testing.assert_array_equal(runs.losses[:, 0], [2.0, 1.0 + 1000000007 % 7, 1.0 + 1000000009 % 7, 2.0])
    model = random_model("linear", sources=2)
    model = replace(model, sources=("en", "sw"), targets=("en", "sw"))
    predicted = predict_table(model, frame).table["predicted"]
    assert predicted.notna().all() and predicted.groupby(frame["language"]).nunique().eq(1).all()
    with pytest.raises(InputError, match="by a column 'seed'"):
        PilotRuns.from_frame(frame.drop(columns="seed"))


TIDY = "run,tokens,language,ratio,loss\n" + "".join(
    f"{run},1e6,{language},0.5,2.5\n" for run in ("a", "b") for language in ("en", "sw")
)


@pytest.mark.parametrize(
    "written",
    [
        TIDY,
        "\ufeff" + TIDY.replace("\n", "\r\n"),
        TIDY.replace(",", ";"),
        TIDY.replace(",", "\t"),
        TIDY.replace(",", ", "),
        TIDY.replace("\n", ",\n"),
        TIDY + ",,,,\n,,,,\n\n",
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path, written):
    path = tmp_path / "p.csv"
    path.write_bytes(written.encode())
    runs = load_pilots(path)
    assert runs.runs == ("a", "b") and runs.sources == ("en", "sw")
    assert (runs.losses == 2.5).all() and (runs.tokens == 1e6).all() and (runs.ratios == 0.5).all()


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (TIDY.replace("0.5,", '"0,5",').encode(), "ratio '0,5' .* is no number; .* with a point"),
        (
            b"PK\x03\x04" + bytes(range(128, 200)),
            "is no workbook that can be read; save the sheet",
        ),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is a workbook"),
        (TIDY.replace("\n", ",9\n").replace("loss,9", "loss,").encode(), "column 6 has no name in the header"),
        (TIDY.replace("loss", "run").encode(), "two columns are called 'run'"),
        ((TIDY[:40] + "\n,,,,\n" + TIDY[40:]).encode(), "the header"),
        (TIDY.replace("a,1e6,sw", ",1e6,sw").encode(), "column 'run' in row 3 is empty"),
        (TIDY.replace("language", "tongue").encode(), "no columns of the table are ratios: .* run, tokens, tongue"),
    ],
)
def test_a_refused_table_says_what_is_wrong_with_it(tmp_path, written, words):
    path = tmp_path / "p.csv"
    path.write_bytes(written)
    with pytest.raises(InputError, match=words):
        load_pilots(path)


def test_numbers_of_tables_are_read_as_they_are_printed(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(
        "run,tokens,params,language,ratio,loss\n"
        "a,5B,350 M,en,20%,2\na,5e9,3.5e8,de,0.8,2\nb,1T,7B,en,0.5,2\nb,1T,7B,de,50%,2\n"
    )
    runs = load_pilots(path)
    np.testing.assert_array_equal(runs.tokens, [5e9, 1e12])
    np.testing.assert_array_equal(runs.params, [350e6, 7e9])
    np.testing.assert_array_equal(runs.ratios, [[0.2, 0.8], [0.5, 0.5]])
    for bad, words in (("5X", "tokens '5X' of language 'en' in run 'a'"), ("20%", "tokens '20%'")):
        path.write_text(f"run,tokens,language,ratio,loss\na,{bad},en,1,2\n")
        with pytest.raises(InputError, match=words):
            load_pilots(path)
    path.write_text("run,tokens,language,ratio,loss\na,5B,en,1,2%\n")  # a loss has no unit
    with pytest.raises(InputError, match="loss '2%'"):
        load_pilots(path)
