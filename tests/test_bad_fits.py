"""Tables that a fit must not take, at the command line: one message, exit code 2, nothing written."""

import numpy as np
import pandas as pd
import pytest
from test_cli import PILOTS, run  # noqa: F401 - a fixture

from climbopt import load_model

TABLE = pd.read_csv(PILOTS)
RUNS = TABLE["run"].unique()


@pytest.mark.parametrize(("table", "words"), [
    (TABLE[TABLE["run"].isin(RUNS[:2])], "2 of the 2 runs can be used for 'en'; law 'power' has 3 parameters a target"),
    (TABLE.rename(columns={"ratio": "share"}), "the table has no column 'ratio'"),
    (TABLE.assign(weight=1.0), "unknown column 'weight'"),
    (TABLE.assign(tokens=TABLE["tokens"] / 1e9), "tokens are absolute counts: write 5e8, not 0.5 billion"),
    (TABLE.assign(params=0.125), "params are absolute counts"),
    (TABLE.assign(ratio=100 * TABLE["ratio"]), "sum to 100; a run's ratios sum to 1"),
], ids=["few runs", "renamed column", "another column", "billions", "size in billions", "percent"])
def test_refused(run, tmp_path, table, words):  # noqa: F811
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


def test_languages_of_wide_tables_are_matched_by_name(run, tmp_path):  # noqa: F811
    """Columns and rows in another order change nothing; names that match no language are refused, not counted off."""
    languages = sorted(TABLE["language"].unique())
    models = []
    for order in (languages, languages[::-1]):
        mixtures, losses = wide(tmp_path, order)
        code, _, err = run("fit", mixtures, "--losses", losses, "--tokens", 1e6, "--interaction", "none",
                           "-o", tmp_path / "model.toml")
        assert code == 0, err
        models.append(load_model(tmp_path / "model.toml"))
    position = [models[1].targets.index(name) for name in models[0].targets]
    np.testing.assert_allclose(models[1].parameters["E"][position], models[0].parameters["E"], rtol=1e-6)


def test_budgets_of_wide_tables_in_billions(run, tmp_path):  # noqa: F811
    mixtures, losses = wide(tmp_path, sorted(TABLE["language"].unique()))
    code, _, err = run("fit", mixtures, "--losses", losses, "--tokens", 0.001, "-o", tmp_path / "model.toml")
    assert code == 2 and "tokens are absolute counts" in " ".join(err.split())
    assert not (tmp_path / "model.toml").exists()
