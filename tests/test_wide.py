"""Wide tables: names by a stated rule or a map, never by position; what is empty is no source and no target."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import PROBLEMS

from climbopt import InputError, PilotRuns, fit, predict
from climbopt.files import Layout, read_table, understood
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS

REGMIX = PROBLEMS.parents[1] / "shared" / "data" / "regmix"
NAMES = Layout("id", "train_*", "val_*_loss", tokens=1e9)
MIXTURES = pd.DataFrame({"id": [7, 3], "train_en": [0.25, 1.0], "train_de": [0.75, 0.0], "train_sw": [0.0, 0.0]})
LOSSES = pd.DataFrame(
    {"val_other_loss": [3.0, 2.5], "val_de_loss": [1.5, 2.0], "id": [3, 7], "val_sw_loss": [np.nan, np.nan]}
)


def tidy(mixtures, losses, layout, **options):
    return understood(mixtures, layout, losses, **options).table


def test_runs_and_columns_are_matched_by_name():
    runs = PilotRuns.from_frame(tidy(MIXTURES, LOSSES, replace(NAMES, params=1e6)))
    assert runs.sources == ("en", "de") and set(runs.targets) == {"de", "other"} and runs.runs == ("7", "3")
    np.testing.assert_array_equal(runs.ratios, [[0.25, 0.75], [1.0, 0.0]])
    np.testing.assert_array_equal(runs.losses[:, runs.targets.index("de")], [2.0, 1.5])
    np.testing.assert_array_equal(runs.losses[:, runs.targets.index("other")], [2.5, 3.0])
    assert (runs.tokens == 1e9).all() and (runs.params == 1e6).all()


def test_the_order_of_rows_and_columns_changes_nothing():
    shuffled = tidy(MIXTURES[["train_sw", "train_de", "id", "train_en"]].iloc[::-1], LOSSES, NAMES)
    ours, theirs = (PilotRuns.from_frame(table) for table in (tidy(MIXTURES, LOSSES, NAMES), shuffled))
    order = [theirs.runs.index(run) for run in ours.runs]
    np.testing.assert_array_equal(theirs.ratios_of(ours.sources)[order], ours.ratios)


def test_a_map_names_a_column():
    names = replace(NAMES, by_column={"val_other_loss": "en"})
    assert set(PilotRuns.from_frame(tidy(MIXTURES, LOSSES, names)).targets) == {"en", "de"}


@pytest.mark.parametrize(
    "mixtures, losses, names, words",
    [
        (MIXTURES, LOSSES, Layout("run"), "no column 'run'"),
        (
            MIXTURES,
            LOSSES,
            Layout("id", "mix_*", "val_*_loss"),
            "no column of the mixtures fits 'mix_\\*'; they are train_en",
        ),
        (MIXTURES, LOSSES, Layout("id", "*", "*", tokens=1e9), "no language stands in both tables"),
        (MIXTURES.iloc[:1], LOSSES, NAMES, "run '3' stands among the losses and not"),
        (MIXTURES, LOSSES.iloc[:1], NAMES, "run '7' has no losses; add them, or leave"),
        (pd.concat([MIXTURES, MIXTURES]), LOSSES, NAMES, "stands twice in the mixtures"),
        (MIXTURES, LOSSES, replace(NAMES, by_column={"nothing": "en"}), "unknown column 'nothing'"),
        (
            MIXTURES,
            LOSSES,
            replace(NAMES, by_column={"val_de_loss": "other"}),
            "two columns of the losses",
        ),
    ],
)
def test_what_does_not_fit_is_refused(mixtures, losses, names, words):
    with pytest.raises(InputError, match=words):
        tidy(mixtures, losses, names)


def test_missing_losses_are_refused_or_left_out():
    """Where another run has the loss; a column that is empty everywhere is still no target."""
    losses = LOSSES.assign(val_de_loss=[np.nan, 2.0])
    table = tidy(MIXTURES, losses, NAMES)
    with pytest.raises(InputError, match="missing losses: 1, the first that of language 'de' in run '3'"):
        PilotRuns.from_frame(table)
    runs = PilotRuns.from_frame(table, missing="drop")
    assert runs.missing == (("3", "de"),) and runs.runs == ("7", "3") and "sw" not in runs.targets
    np.testing.assert_array_equal(runs.losses[:, runs.targets.index("de")], [2.0, np.nan])


def test_runs_that_are_not_finished_are_left_out_where_asked_for():
    table = tidy(MIXTURES, LOSSES.iloc[:1], NAMES, missing="drop")
    runs = PilotRuns.from_frame(table, missing="drop")
    assert runs.runs == ("3",) and {run for run, _ in runs.missing} == {"7"}
    with pytest.raises(InputError, match="give its ratios"):  # whatever becomes of missing losses
        tidy(MIXTURES.iloc[:1], LOSSES, NAMES, missing="drop")


def test_an_index_is_compared_as_a_number_in_whatever_way_it_is_written():
    written = LOSSES.assign(id=LOSSES["id"].astype(float))
    assert PilotRuns.from_frame(tidy(MIXTURES, written, NAMES)).runs == ("7", "3")
    with pytest.raises(InputError, match="run '3.5' \\(the first of 2 such runs\\) stands"):
        tidy(MIXTURES, LOSSES.assign(id=[3.5, 7.0]), NAMES)


def test_empty_cells_of_a_file_are_missing_losses(tmp_path):
    path = tmp_path / "losses.csv"
    path.write_text("id,val_de_loss,val_other_loss\n3,,2.5\n7,1.5,3.0\n")
    runs = PilotRuns.from_frame(tidy(MIXTURES, read_table(path), NAMES, missing="drop"), missing="drop")
    assert runs.missing == (("3", "de"),)


def test_a_pattern_has_one_star():
    with pytest.raises(InputError, match="write one \\*"):
        Layout("id", "train_")


@pytest.mark.skipif(not REGMIX.is_dir(), reason="RegMix's data is not beside this checkout")
def test_regmix():
    """512 runs, 17 sources, 13 targets; unseen runs are ranked better than by the regression published with them."""
    names = Layout("index", "train_the_pile_*", "metric/the_pile_*_val_loss", tokens=1e9, params=1e6)

    def runs(which):
        tables = (pd.read_csv(Path(REGMIX) / f"{which}_{kind}_1m.csv") for kind in ("mixture", "pile_loss"))
        return PilotRuns.from_frame(tidy(*tables, names))

    train, unseen = runs("train"), runs("test")
    assert (len(train.runs), len(train.sources), len(train.targets)) == (512, 17, 13)
    model = fit(train, LAWS["power"], INTERACTIONS["saturating"], n_starts=1).model
    response = model.at(1e9)
    predicted = response.losses(response.z(unseen.ratios_of(model.sources)))
    ours, theirs = (
        pd.DataFrame(values, columns=runs.targets).rank()
        for values, runs in ((predicted, train), (unseen.losses, unseen))
    )
    assert ours.corrwith(theirs)["pile_cc"] > 0.9 and ours.corrwith(theirs).mean() > 0.95


@pytest.mark.parametrize("losses", [True, False])
def test_predict_reads_wide_tables(losses):
    """The same predictions as of the tidy table; losses may be missing."""
    pilots = pd.read_csv(PROBLEMS / "libreoffice6" / "held_out.csv")
    wide = pilots.pivot(index=["run", "tokens"], columns="language", values=["ratio", "loss"] if losses else ["ratio"])
    wide.columns = [f"{kind}_{language}" for kind, language in wide.columns]
    model = PROBLEMS / "libreoffice6" / "model.toml"
    ours, theirs = (predict(model, table) for table in (wide.reset_index(), pilots))
    keys = ["run", "language"]
    pd.testing.assert_series_equal(
        ours.set_index(keys)["predicted"].sort_index(), theirs.set_index(keys)["predicted"].sort_index(), rtol=1e-9
    )
    assert ours["loss"].notna().all() == losses


def test_predict_refuses_losses_that_have_two_readings():
    """Losses may be missing; those that are there are not left out because they are ambiguous."""
    shares = {"ratio_en": [0.5, 0.6], "ratio_de": [0.5, 0.4]}
    losses = {f"{kind}_{name}": [2.0, 2.1] for kind in ("loss", "nll") for name in ("en", "de")}
    table = pd.DataFrame({"run": ["a", "b"], "tokens": 4e6, **shares, **losses})
    with pytest.raises(InputError, match="several groups of columns may be the losses"):
        predict(PROBLEMS / "libreoffice6" / "model.toml", table)
