"""The same pilots in each layout that people have are the same runs; two readings of a table are refused with both."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from climbopt import InputError, PilotRuns, load_pilots
from climbopt.files import Layout, read_table

LANGUAGES = ["en", "zh_cn", "sw"]
RATIOS = np.array([[0.2, 0.3, 0.5], [0.6, 0.15, 0.25], [0.1, 0.85, 0.05], [0.0, 0.5, 0.5]])
LOSSES = np.array([[2.5, 3.5, 3.25], [2.25, 3.75, 3.5], [2.75, 3.0, 4.0], [4.5, 3.25, 3.125]])
TOKENS = [5e9, 5e9, 25e9, 25e9]
RUNS = [f"pilot-{k}" for k in range(4)]


def tidy():
    rows = [
        {"run": run, "tokens": int(D), "language": name, "ratio": r, "loss": loss}
        for run, D, ratios, losses in zip(RUNS, TOKENS, RATIOS, LOSSES, strict=True)
        for name, r, loss in zip(LANGUAGES, ratios, losses, strict=True)
    ]
    return pd.DataFrame(rows)


def wide(ratio="ratio_{}", loss="loss_{}", **others):
    columns = {"run": RUNS, "tokens": [int(D) for D in TOKENS]}
    columns |= {ratio.format(name): RATIOS[:, j] for j, name in enumerate(LANGUAGES)}
    columns |= {loss.format(name): LOSSES[:, j] for j, name in enumerate(LANGUAGES)}
    return pd.DataFrame(columns | others)


def by_language():
    table = tidy()
    return table.assign(tokens=(table["tokens"] * table["ratio"]).astype(int)).drop(columns="ratio")


def tracker():
    table = wide("mixture/{}", "eval/loss/{}").rename(columns={"run": "Name", "tokens": "config.total_tokens"})
    return table.assign(**{"State": "finished", "_step": [10, 20, 30, 40], "eval/loss/mean": LOSSES.mean(axis=1)})


def in_tokens():
    table = wide("tokens_{}", "val/{}/nll")
    for name in LANGUAGES:
        table[f"tokens_{name}"] = table[f"tokens_{name}"] * table["tokens"]
    return table.drop(columns="tokens")


def write(table, folder, name, **options):
    table.to_csv(folder / name, index=False, **options)
    return folder / name


def pivot(folder, *, reset):
    table = tidy().pivot(index=["run", "tokens"], columns="language", values=["ratio", "loss"])
    path = folder / "pivot.csv"
    (table.reset_index() if reset else table).to_csv(path, index=not reset)
    return path


LAYOUTS = {
    "tidy": lambda f: write(tidy(), f, "a.csv"),
    "capitals": lambda f: write(tidy().rename(columns=str.title), f, "a.csv"),
    "synonyms": lambda f: write(
        tidy().set_axis(["run_name", "train_tokens", "lang", "Weight", "val_loss"], axis=1), f, "a.csv"
    ),
    "tabs": lambda f: write(tidy(), f, "a.tsv", sep="\t"),
    "decimal commas": lambda f: write(tidy(), f, "a.csv", sep=";", decimal=","),
    "byte order mark": lambda f: write(tidy(), f, "a.csv", encoding="utf-8-sig"),
    "per cent": lambda f: write(tidy().assign(ratio=tidy()["ratio"] * 100), f, "a.csv"),
    "per cent sign": lambda f: write(tidy().assign(ratio=[f"{r:.15g}%" for r in tidy()["ratio"] * 100]), f, "a.csv"),
    "billions": lambda f: write(tidy().assign(tokens=[f"{D / 1e9:g}B" for D in tidy()["tokens"]]), f, "a.csv"),
    "billions in the name": lambda f: write(
        tidy().assign(tokens=tidy()["tokens"] / 1e9).rename(columns={"tokens": "tokens_b"}), f, "a.csv"
    ),
    "tokens per language": lambda f: write(by_language(), f, "a.csv"),
    "more columns": lambda f: write(tidy().assign(cluster="a", wall_clock=3.0), f, "a.csv"),
    "wide": lambda f: write(wide(), f, "a.csv"),
    "wide, bare ratios": lambda f: write(wide("{}", "valid_{}_loss"), f, "a.csv"),
    "wide, in tokens": lambda f: write(in_tokens(), f, "a.csv"),
    "tracker": lambda f: write(tracker(), f, "a.csv"),
    "pivot": lambda f: pivot(f, reset=False),
    "pivot without index": lambda f: pivot(f, reset=True),
}


def same(runs):
    order = [runs.runs.index(name) for name in RUNS]
    np.testing.assert_allclose(runs.ratios_of(LANGUAGES)[order], RATIOS, rtol=1e-12)
    np.testing.assert_allclose(runs.losses[order][:, [runs.targets.index(name) for name in LANGUAGES]], LOSSES)
    np.testing.assert_allclose(runs.tokens[order], TOKENS)
    assert set(runs.targets) == set(LANGUAGES)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_same_runs(tmp_path, layout):
    runs = load_pilots(LAYOUTS[layout](tmp_path))
    same(runs)
    assert (runs.layout == "") == (
        layout in {"tidy", "capitals", "tabs", "decimal commas", "byte order mark", "per cent sign", "billions"}
    )
    assert not runs.layout or runs.layout.startswith("read as one row per run") and runs.layout[:60] in repr(runs)


@pytest.mark.parametrize("ratio, loss", [("ratio_{}", "loss_{}"), ("{} (%)", "eval/loss/{}"), ("r[{}]", "L[{}]")])
def test_names_end_in_any_sign_that_joins_no_words(ratio, loss):
    """Brackets that close inside of a name belong to it, those around every name to the pattern."""
    names = ["C++", "English (web)", "[b]sw[/b]"]
    table = wide(ratio, loss)
    odd = {
        pattern.format(plain): pattern.format(name)
        for plain, name in zip(LANGUAGES, names, strict=True)
        for pattern in (ratio, loss)
    }
    runs = load_pilots(table.rename(columns=odd))
    assert set(runs.sources) == set(runs.targets) == set(names)
    np.testing.assert_allclose(runs.ratios, load_pilots(table).ratios)


def test_formats(tmp_path):
    table = tidy()
    table.to_csv(tmp_path / "index.csv")  # with pandas' index
    table.to_parquet(tmp_path / "a.parquet")
    table.set_index("run").to_parquet(tmp_path / "indexed.parquet")
    table.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    table.to_json(tmp_path / "a.json", orient="records")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    nested = [
        {
            "run": run,
            "tokens": D,
            "ratio": dict(zip(LANGUAGES, r, strict=True)),
            "loss": dict(zip(LANGUAGES, x, strict=True)),
        }
        for run, D, r, x in zip(RUNS, TOKENS, RATIOS.tolist(), LOSSES.tolist(), strict=True)
    ]
    (tmp_path / "nested.jsonl").write_text("".join(json.dumps(record) + "\n" for record in nested))
    for path in sorted(tmp_path.iterdir()):
        same(load_pilots(path))


def test_two_tables_are_joined_on_the_runs(tmp_path):
    table = wide("train_{}", "valid_{}_loss")
    ratios = table[["run", *(f"train_{name}" for name in LANGUAGES)]].rename(columns={"run": "index"})
    losses = table[[f"valid_{name}_loss" for name in LANGUAGES[::-1]] + ["run", "tokens"]].iloc[::-1]
    runs = load_pilots(ratios, losses.rename(columns={"run": "index"}))  # the budgets stand beside the losses
    same(runs)
    same(load_pilots(table.drop(columns="tokens").iloc[:0].pipe(lambda _: table)))  # in one table as well
    with pytest.raises(InputError, match="no column of the mixtures says how many tokens"):
        load_pilots(ratios, losses.drop(columns="tokens").rename(columns={"run": "index"}))


def test_runs_without_a_name_are_numbered():
    assert load_pilots(wide().drop(columns="run")).runs == ("1", "2", "3", "4")


def test_two_budgets_never_become_one():
    with pytest.raises(
        InputError, match="--tokens says 5e\\+09, and column 'tokens' has 2.5e\\+10; leave out --tokens"
    ):
        load_pilots(wide(), layout=Layout(tokens=5e9))
    with pytest.raises(InputError, match="--tokens says 5e\\+09, and column 'tokens' has 2.5e\\+10"):
        load_pilots(tidy(), layout=Layout(tokens=5e9))
    assert set(load_pilots(wide(), layout=Layout(tokens=5e9, ignore=["tokens"])).tokens) == {5e9}


@pytest.mark.parametrize(
    "table, words, choice",
    [
        (wide().assign(total_tokens=1e10), None, None),  # the exact name wins
        (
            wide().rename(columns={"tokens": "n_tokens"}).assign(train_tokens=TOKENS),
            ["may each be the tokens", "--tokens-column n_tokens", "--tokens-column train_tokens"],
            Layout(tokens_column="n_tokens"),
        ),
        (
            wide().assign(**{f"planned_{name}": RATIOS[:, j] for j, name in enumerate(LANGUAGES)}),
            ["may be the ratios", "--ratio-columns 'ratio_*'", "--ratio-columns 'planned_*'"],
            Layout(ratios="ratio_*", ignore=["planned_*"]),
        ),
        (
            wide().assign(**{f"train_loss_{name}": LOSSES[:, j] - 1 for j, name in enumerate(LANGUAGES)}),
            ["may be the losses", "--loss-columns 'loss_*'", "--loss-columns 'train_loss_*'"],
            Layout(losses="loss_*", ignore=["train_loss_*"]),
        ),
    ],
)
def test_two_readings_are_refused_with_both(table, words, choice):
    if words is not None:
        with pytest.raises(InputError) as caught:
            load_pilots(table)
        assert all(word in str(caught.value) for word in words)
    same(load_pilots(table, layout=choice))


def test_what_is_left_out_is_told_and_never_fitted():
    runs = load_pilots(tracker())
    assert "left out: State, _step, eval/loss/mean" in runs.layout and "losses in 'eval/loss/*'" in runs.layout
    assert "tokens in 'config.total_tokens'" in runs.layout


def test_text_among_numbers_is_refused(tmp_path):
    table = wide().astype({"loss_sw": object})
    table.loc[1, "loss_sw"] = "3,5"
    with pytest.raises(InputError, match="column 'loss_sw' of the table has '3,5' in row 3, which is no number"):
        load_pilots(write(table, tmp_path, "a.csv"))


@pytest.mark.parametrize(
    "table, words",
    [
        (wide("{}", "{}_ppl").drop(columns=["en", "zh_cn", "sw"]), "no columns of the table are ratios"),
        (
            wide().drop(columns=[f"loss_{name}" for name in LANGUAGES]),
            "are losses of en, sw, zh_cn; state --loss-columns",
        ),
        (wide().drop(columns="tokens"), "says how many tokens a run had; add --tokens 5B for all runs"),
        (
            tidy().assign(lang=tidy()["language"]).drop(columns="language").assign(domain="x"),
            "may each be the language",
        ),
    ],
)
def test_tables_without_a_reading(table, words):
    with pytest.raises(InputError, match=words):
        load_pilots(table)


def test_ignored_columns_must_be_there():
    with pytest.raises(InputError, match="unknown column to ignore 'nothing'"):
        load_pilots(wide(), layout=Layout(ignore=["nothing"]))


def test_unfinished_runs_are_counted(tmp_path):
    table = tracker()
    table.loc[2, [f"eval/loss/{name}" for name in LANGUAGES]] = np.nan
    path = write(table, tmp_path, "a.csv")
    with pytest.raises(InputError, match="missing losses: 3"):
        load_pilots(path)
    runs = load_pilots(path, missing="drop")
    assert len(runs.runs) == 3 and len(runs.missing) == 3


def test_damaged_files(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"run,tokens")[:-6])
    (tmp_path / "a.jsonl").write_text('{"run": "a", "run": "b"}\n')
    (tmp_path / "b.jsonl").write_text("[1, 2]\n")
    for name, words in (
        ("a.csv.gz", "cannot be decompressed"),
        ("a.jsonl", "more than once"),
        ("b.jsonl", "no JSON objects"),
    ):
        with pytest.raises(InputError, match=words):
            read_table(tmp_path / name)


def test_a_frame_is_taken_as_a_file_is():
    assert isinstance(load_pilots(wide()), PilotRuns)
