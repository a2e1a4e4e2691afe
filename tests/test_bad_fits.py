"""Tables that a fit must not take, at the command line: one message, exit code 2, nothing written."""

import numpy as np
import pandas as pd
import pytest
from test_cli import PILOTS

from climbopt import cross_validate, load_model, load_pilots

TABLE = pd.read_csv(PILOTS)
RUNS = TABLE["run"].unique()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            TABLE[TABLE["run"].isin(RUNS[:2])],
            "2 of the 2 runs can be used for 'en'; law 'split' has 5 parameters per target",
        ),
        (TABLE.rename(columns={"ratio": "part"}), "the table has no column 'ratio'"),
        (TABLE.assign(tokens=TABLE["tokens"] / 1e9), "tokens are absolute counts: write 5e8, not 0.5 billion"),
        (TABLE.assign(params=0.125), "params are absolute counts"),
        (TABLE.assign(ratio=90 * TABLE["ratio"]), "; a run's ratios sum to 1"),
    ],
    ids=["few runs", "renamed column", "billions", "size in billions", "no shares"],
)
def test_refused(run, tmp_path, table, words):
    table.to_csv(tmp_path / "pilots.csv", index=False)
    code, out, err = run("fit", tmp_path / "pilots.csv", "-o", tmp_path / "model.toml")
    assert code == 2 and out == "" and words in " ".join(err.split()) and "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["pilots.csv"]


def wide(folder, order):
    """Write the tidy table as two wide ones, the loss columns in some order."""
    ratios = TABLE.pivot_table(index="run", columns="language", values="ratio").reset_index(names="index")
    losses = TABLE.pivot_table(index="run", columns="language", values="loss").reset_index(names="index")
    ratios.to_csv(folder / "mixtures.csv", index=False)
    losses[["index", *order]].iloc[::-1].to_csv(folder / "losses.csv", index=False)
    return folder / "mixtures.csv", folder / "losses.csv"


def test_languages_of_wide_tables_are_matched_by_name(run, tmp_path):
    """Columns and rows in another order change nothing; names that match no language are refused, not counted off."""
    languages = sorted(TABLE["language"].unique())
    models = []
    for order in (languages, languages[::-1]):
        mixtures, losses = wide(tmp_path, order)
        code, _, err = run(
            "fit", mixtures, "--losses", losses, "--tokens", 1e6, "--interaction", "none", "-o", tmp_path / "model.toml"
        )
        assert code == 0, err
        models.append(load_model(tmp_path / "model.toml"))
    position = [models[1].targets.index(name) for name in models[0].targets]
    np.testing.assert_allclose(models[1].parameters["E"][position], models[0].parameters["E"], rtol=1e-6)


def test_budgets_of_wide_tables_in_billions(run, tmp_path):
    mixtures, losses = wide(tmp_path, sorted(TABLE["language"].unique()))
    code, _, err = run("fit", mixtures, "--losses", losses, "--tokens", 0.001, "-o", tmp_path / "model.toml")
    assert code == 2 and "tokens are absolute counts" in " ".join(err.split())
    assert not (tmp_path / "model.toml").exists()


def test_draws_of_other_losses_or_budgets_of_the_same_mixtures_are_not_taken_up(run, tmp_path):
    """Wide tables: mixtures, losses and --tokens together are the runs."""
    languages = sorted(TABLE["language"].unique())
    mixtures, losses = wide(tmp_path, languages)
    draws = tmp_path / "draws.jsonl"
    asked = ("fit", mixtures, "--interaction", "none", "--bootstrap", 2, "--draws", draws, "--losses")
    assert run(*asked, losses, "--tokens", 1e6)[0] == 0 and run(*asked, losses, "--tokens", 1e6)[0] == 0
    higher = pd.read_csv(losses)
    higher[languages] += 0.5
    higher.to_csv(tmp_path / "higher.csv", index=False)
    for other in ((tmp_path / "higher.csv", "--tokens", 1e6), (losses, "--tokens", 2e6)):
        code, _, err = run(*asked, *other)
        assert code == 2 and "holds draws of another fit" in " ".join(err.split())


def test_a_model_is_not_put_beside_draws_of_another(run, tmp_path):
    """Draws of the same form and languages would be taken for its own."""
    fitted = ("fit", PILOTS, "--interaction", "none", "-o", tmp_path / "model.toml", "--bootstrap")
    assert run(*fitted, 2)[0] == 0
    before = (tmp_path / "model.toml").read_bytes()
    higher = tmp_path / "higher.csv"
    TABLE.assign(loss=TABLE["loss"] + 0.5).to_csv(higher, index=False)
    code, _, err = run(fitted[0], higher, *fitted[2:], 2)
    assert code == 2 and "holds draws of another fit" in " ".join(err.split())
    assert (tmp_path / "model.toml").read_bytes() == before
    (tmp_path / "model.toml").unlink()
    (tmp_path / "model.draws.jsonl").unlink()
    assert run(*fitted, 0)[0] == 2 and [path.name for path in tmp_path.iterdir()] == ["higher.csv"]


def measured_in(runs):
    """Return the table with losses of one language in some of the runs only."""
    return TABLE.assign(loss=TABLE["loss"].where((TABLE["language"] != "de") | TABLE["run"].isin(runs)))


def test_a_language_with_few_losses(run, tmp_path):
    """Enough for a fit, and too few for one without a fold, or without the largest budget: words, and no warning."""
    mixed = TABLE.loc[(TABLE["language"] == "de") & (TABLE["ratio"] > 0), "run"].unique()
    measured_in(mixed[:4]).to_csv(tmp_path / "few.csv", index=False)
    asked = ("fit", tmp_path / "few.csv", "--missing", "drop", "--interaction")
    assert run(*asked, "none")[0] == 0
    code, _, err = run(*asked, "none", "--bootstrap", 2)
    assert code == 2 and "hold out a fold of whole runs at a time, and without one" in " ".join(err.split())
    largest = TABLE.loc[TABLE["tokens"] == TABLE["tokens"].max(), "run"].unique()
    measured_in(largest).to_csv(tmp_path / "few.csv", index=False)
    few = load_pilots(tmp_path / "few.csv", missing="drop")
    scores = cross_validate(few, "power", ["none", "linear"], folds=2)[1]
    assert [score.by_scale for score in scores] == [None, None]
