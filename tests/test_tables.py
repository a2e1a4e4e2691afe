"""The same runs from each format and dialect that spreadsheets, pandas and people write; or a refusal."""

import json
import random

import numpy as np
import pandas as pd
import pytest
from test_layouts import LANGUAGES, LOSSES, RATIOS, RUNS, TOKENS, same, tidy, wide, write

from climbopt import InputError, load_pilots
from climbopt.files import Layout, read_table

HEAD = ["run", "tokens", *[f"ratio_{name}" for name in LANGUAGES], *[f"loss_{name}" for name in LANGUAGES]]
ROWS = [
    [run, str(int(D)), *map(str, r), *map(str, x)]
    for run, D, r, x in zip(RUNS, TOKENS, RATIOS.tolist(), LOSSES.tolist(), strict=True)
]


def lines(rows, separator=","):
    return "".join(separator.join(row) + "\n" for row in rows)


def two_levels(kinds, blanks):
    first = [*["" if blanks else name for name in ("run", "tokens")], *kinds]
    second = [*[name if blanks else "" for name in ("run", "tokens")], *LANGUAGES, *LANGUAGES]
    return [first, second, *ROWS]


MERGED, REPEATED = ["ratio", "", "", "loss", "", ""], ["ratio"] * 3 + ["loss"] * 3
TEXTS = {
    "bars": lines([HEAD, *ROWS], "|"),
    "Markdown": lines([["", *row, ""] for row in [HEAD, [":--", *["---:"] * (len(HEAD) - 1)], *ROWS]], " | "),
    "semicolons, a comma in the header": lines([[*HEAD, "note, free"], *[[*row, "x"] for row in ROWS]], ";"),
    "two levels, repeated": lines(two_levels(REPEATED, False)),
    "two levels, merged": lines(two_levels(MERGED, False)),
    "two levels, above their names": lines(two_levels(REPEATED, True)),
    "two levels, merged above their names": lines(two_levels(MERGED, True)),
    "two levels, tokens behind": lines([[*row[:1], *row[2:], row[1]] for row in two_levels(MERGED, True)]),
    "comments": "# made by hand\n# 2026-01-01, by me\n"
    + lines([HEAD, *ROWS[:2]])
    + "# second half\n"
    + lines(ROWS[2:]),
    "header as a comment": "# " + lines([HEAD, *ROWS]),
    "empty columns and rows": lines([[*row, "", ""] for row in [HEAD, *ROWS, [""] * len(HEAD)]]),
    "Unix ends, blank lines": "\n" + lines([HEAD, *ROWS[:1]]) + "\n\n" + lines(ROWS[1:]),
    "counts with separators": lines(
        [HEAD] + [[r[0], f'"{int(D):,}"', *r[2:]] for r, D in zip(ROWS, TOKENS, strict=True)]
    ),
    "counts with points": lines(
        [HEAD] + [[r[0], f"{int(D):,}".replace(",", "."), *r[2:]] for r, D in zip(ROWS, TOKENS, strict=True)], ";"
    ),
    "units in brackets": lines(
        [["run", "tokens (B)", *[f"{n} (%)" for n in LANGUAGES], *[f"{n} loss [nats]" for n in LANGUAGES]]]
        + [[r[0], str(D / 1e9), *map(str, 100 * x), *r[5:]] for r, D, x in zip(ROWS, TOKENS, RATIOS, strict=True)]
    ),
}


@pytest.mark.parametrize("layout", TEXTS)
def test_each_dialect_gives_the_same_runs(layout, tmp_path):
    (tmp_path / "a.csv").write_text(TEXTS[layout])
    same(load_pilots(tmp_path / "a.csv"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_encodings_with_a_mark(encoding, tmp_path):
    (tmp_path / "a.csv").write_text(lines([HEAD, *ROWS], "\t"), encoding=encoding)
    same(load_pilots(tmp_path / "a.csv"))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32", "latin-1"])
def test_other_encodings_are_refused(encoding, tmp_path):
    (tmp_path / "a.csv").write_text(lines([HEAD, *ROWS]).replace("pilot", "pilöt"), encoding=encoding)
    with pytest.raises(InputError, match="is not UTF-8 text; save it as UTF-8"):
        load_pilots(tmp_path / "a.csv")


def by_run():
    return {
        run: {"tokens": D, "ratio": dict(zip(LANGUAGES, r, strict=True)), "loss": dict(zip(LANGUAGES, x, strict=True))}
        for run, D, r, x in zip(RUNS, TOKENS, RATIOS.tolist(), LOSSES.tolist(), strict=True)
    }


def by_kind():
    runs = by_run()
    return {kind: {run: runs[run][kind] for run in RUNS} for kind in ("tokens", "ratio", "loss")}


JSON = {
    **{
        orient: lambda orient=orient: wide().to_json(orient=orient)
        for orient in ("records", "columns", "split", "table")
    },
    "index": lambda: wide().set_index("run").to_json(orient="index"),
    "named index": lambda: wide().set_index("run").to_json(orient="columns"),
    "lists": lambda: json.dumps(wide().to_dict(orient="list")),
    "by run": lambda: json.dumps(by_run(), indent=1),
    "by kind": lambda: json.dumps(by_kind(), indent=1),
    "lines": lambda: wide().to_json(orient="records", lines=True),
}


@pytest.mark.parametrize("orient", JSON)
def test_json_by_row_column_or_run(orient, tmp_path):
    (tmp_path / "a.json").write_text(JSON[orient]())
    same(load_pilots(tmp_path / "a.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": {"de": 0.5, "en": 0.5}}', "may name columns or runs, since no key is called tokens"),
        ('{"tokens": {"tokens": 1, "loss": 2}}', "may name columns or runs, since both levels do"),
        ('{"run": ["a", "b"], "tokens": [1]}', "lists of different lengths"),
        ('{"columns": ["a", "b"], "data": [[1]]}', "no lists as long as 'columns'"),
        ('{"columns": ["a", "a"], "data": [[1, 2]]}', "two of its columns have one name"),
        ('{"run": "a"}\n{"run": ', "line 2 is no JSON; write one object per line"),
        ('{"run": "a", "run": "b"}', "more than once"),
        ("[1, 2]", "holds no JSON objects"),
        ("3", "holds no JSON objects"),
    ],
)
def test_json_that_is_no_table(text, message, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "a.json")


def workbook(path, **sheets):
    with pd.ExcelWriter(path, engine="openpyxl") as writer:
        for name, (table, options) in sheets.items():
            table.to_excel(writer, sheet_name=name, **options)
    return path


def test_workbooks(tmp_path):
    pytest.importorskip("openpyxl")
    same(load_pilots(workbook(tmp_path / "a.xlsx", runs=(tidy(), {"index": False}), empty=(pd.DataFrame(), {}))))
    same(load_pilots(workbook(tmp_path / "b.xlsx", runs=(wide(), {}))))  # with pandas' index
    pivot = tidy().pivot(index=["run", "tokens"], columns="language", values=["ratio", "loss"])
    flat = pivot.reset_index()
    assert load_pilots(flat).layout.startswith("read as one row per run")  # a frame with two levels of columns
    same(load_pilots(flat))
    title = pd.DataFrame([["Pilot runs of 2026", *[""] * 7], HEAD, *ROWS])
    for k in range(1, 8):
        title[k] = pd.to_numeric(title[k], errors="coerce").astype(object).where(title.index > 1, title[k])
    same(load_pilots(workbook(tmp_path / "c.xlsx", runs=(title, {"index": False, "header": False}))))
    with pytest.raises(InputError, match="several sheets with cells, 'a', 'b'; give a workbook with one table"):
        load_pilots(workbook(tmp_path / "d.xlsx", a=(wide(), {}), b=(wide(), {})))
    with pytest.raises(InputError, match="has no cells"):
        load_pilots(workbook(tmp_path / "e.xlsx", a=(pd.DataFrame(), {})))


def test_formulas_count_by_their_stored_values(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["run", "tokens"])
    book.active.append(["a", "=5*10^9"])
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match="cell B2 of .* is a formula without a stored value"):
        read_table(tmp_path / "a.xlsx")


def test_a_workbook_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr("climbopt.files.formats.find_spec", lambda name: None)
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="which the package openpyxl reads; pip install 'climbopt\\[xlsx\\]'"):
        read_table(tmp_path / "a.xlsx")


def test_long_and_wide_tables_join(tmp_path):
    ratios = wide().drop(columns=[f"loss_{name}" for name in LANGUAGES])
    long = tidy()[["run", "language", "loss"]].iloc[::-1]
    runs = load_pilots(ratios, write(long, tmp_path, "losses.csv"))
    same(runs)
    assert "the losses one row per run and language" in runs.layout
    losses = wide()[["run", *[f"loss_{name}" for name in LANGUAGES]]]
    same(load_pilots(tidy().drop(columns="loss"), losses))
    same(load_pilots(tidy().drop(columns="loss"), long))
    same(
        load_pilots(tidy().drop(columns=["loss", "tokens"]), tidy().drop(columns="ratio"))
    )  # budgets beside the losses
    same(
        load_pilots(
            tidy().drop(columns="loss").rename(columns={"run": "key"}),
            long.rename(columns={"run": "key"}),
            layout=Layout(index="key"),
        )
    )
    with pytest.raises(InputError, match="language 'en' of run 'pilot-0' stands twice in the losses"):
        load_pilots(ratios, pd.concat([tidy()[["run", "language", "loss"]]] * 2))
    with pytest.raises(InputError, match="no column of the losses is called 'loss'"):
        load_pilots(ratios, long.rename(columns={"loss": "value"}))


def test_targets_that_are_no_sources_are_stated():
    """As in swarms whose losses are those of tasks; a pattern that is cut wrongly is still refused."""
    losses = pd.DataFrame({"run": RUNS, "eval/arc/bpb": LOSSES[:, 0], "eval/mmlu/bpb": LOSSES[:, 1]})
    ratios = wide().drop(columns=[f"loss_{name}" for name in LANGUAGES])
    with pytest.raises(InputError, match="no columns of the losses are losses of en, sw, zh_cn; state --loss-columns"):
        load_pilots(ratios, losses)
    runs = load_pilots(ratios, losses, layout=Layout(losses="eval/*/bpb"))
    assert set(runs.targets) == {"arc", "mmlu"} and runs.sources == tuple(LANGUAGES)
    np.testing.assert_array_equal(runs.losses[:, runs.targets.index("mmlu")], LOSSES[:, 1])
    with pytest.raises(InputError, match="no language stands in both tables"):
        load_pilots(
            ratios, losses.rename(columns={"eval/arc/bpb": "eval/en_arc/bpb"}), layout=Layout(losses="eval/*/bpb")
        )


def test_a_run_at_several_budgets_is_several_runs():
    """Never one run of one budget: in tidy tables and in wide ones."""
    later = [table.assign(tokens=table["tokens"] * 2, run=table["run"]) for table in (tidy(), wide())]
    for table, after in zip((tidy(), wide()), later, strict=True):
        runs = load_pilots(pd.concat([table, after]))
        assert len(runs.runs) == 8 and f"{RUNS[0]}, 10000000000 tokens" in runs.runs
        np.testing.assert_array_equal(np.sort(runs.tokens), np.sort([*TOKENS, *(2 * D for D in TOKENS)]))
        order = [runs.runs.index(f"{name}, {2 * D:.12g} tokens") for name, D in zip(RUNS, TOKENS, strict=True)]
        np.testing.assert_allclose(runs.ratios_of(LANGUAGES)[order], RATIOS)
    assert "a run at several budgets as several runs" in load_pilots(pd.concat([tidy(), later[0]])).layout
    assert "a run at several budgets as several runs" in load_pilots(pd.concat([wide(), later[1]])).layout
    cases = (tidy(), "stands twice in run 'pilot-0'"), (wide(), "'pilot-0, 5000000000 tokens' stands twice")
    for table, words in cases:
        with pytest.raises(InputError, match=words):
            load_pilots(pd.concat([table, table]))


def test_indonesian_is_no_index():
    table = wide().rename(columns={"ratio_zh_cn": "id", "ratio_en": "en", "ratio_sw": "sw", "loss_zh_cn": "loss_id"})
    runs = load_pilots(table)
    assert set(runs.sources) == {"en", "id", "sw"} and runs.runs == tuple(RUNS)
    np.testing.assert_array_equal(runs.ratios_of(["id"])[:, 0], RATIOS[:, 1])
    assert load_pilots(table.drop(columns="run")).runs == ("1", "2", "3", "4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            lines([HEAD, *ROWS, ["mean", *ROWS[0][1:]]]),
            "run 'mean' of the table may be a row below the runs .* or a run",
        ),
        (
            tidy().assign(run=["Total" if run == RUNS[3] else run for run in tidy()["run"]]).to_csv(index=False),
            "'Total'",
        ),
        (lines([HEAD, *ROWS]) + "Source: our spreadsheet\n", "line 6 has 1 fields and the header 8"),
        (lines([[*HEAD, "loss_en"], *[[*row, "3"] for row in ROWS]]), "two columns are called 'loss_en'"),
        (
            lines([HEAD] + [[row[0], '"500,000"', *row[2:]] for row in ROWS]),
            "column 'tokens' has '500,000', which may be 500000 or a fraction",
        ),
        (lines([[name.replace("loss", "ppl") for name in HEAD], *ROWS]), "'ppl_\\*' of the table look like no losses"),
        (lines([[name.replace("loss", "acc") for name in HEAD], *ROWS]), "'acc_\\*' of the table look like no losses"),
        (lines([HEAD, *ROWS[:3], [*ROWS[3][:-1], "diverged"]]), "has 'diverged' in row 5, which is no number"),
        (lines([HEAD, *ROWS[:3], [*ROWS[3][:-1], "n/a"]]), "missing losses: 1, the first that of language 'sw'"),
        (lines([HEAD, *ROWS[:3], [*ROWS[3][:-1], "inf"]]), "loss of language 'sw' in run 'pilot-3' is inf"),
        (lines([HEAD, *ROWS[:2]]) + lines(ROWS[2:], ";"), "line 4 has 1 fields and the header 8"),
        (
            lines([HEAD] + [[row[0], "2026-01-02", *row[2:]] for row in ROWS]),
            "'tokens' of the table has '2026-01-02' in row 2",
        ),
        ("\n\n", "is empty"),
        ("# nothing\n", "has one column"),
    ],
)
def test_odd_tables_are_refused_in_one_sentence(text, message, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_pilots(tmp_path / "a.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", TEXTS)
def test_damaged_tables_are_read_or_refused_and_never_swapped(layout, tmp_path):
    """Cells and separators that were lost, added or doubled: another error, or a ratio among the losses, fails."""
    rng, path = random.Random(layout), tmp_path / "a.csv"
    for _ in range(6):
        text, k, j = TEXTS[layout], rng.randrange(400), rng.randrange(400)
        added = rng.choice(
            [",", ";", "\n", '"', "0", "e999", "run", "tokens", "mean", "nan", "%", "#", text[j : j + 30]]
        )
        path.write_text(text[:k] + added + text[k + rng.choice([0, 1, 10]) :])
        try:
            runs = load_pilots(path)
        except InputError as error:
            assert "\n" not in str(error)
            continue
        for name, losses in zip(runs.runs, runs.losses, strict=True):
            if name in RUNS and set(runs.targets) == set(LANGUAGES):
                ratios = RATIOS[RUNS.index(name), [LANGUAGES.index(target) for target in runs.targets]]
                assert not np.isclose(losses, ratios).any()


def test_a_damaged_workbook_and_a_budget_of_0(tmp_path):
    pytest.importorskip("openpyxl")
    whole = workbook(tmp_path / "a.xlsx", runs=(wide(), {"index": False})).read_bytes()
    for k in range(40, len(whole), 500):
        (tmp_path / "a.xlsx").write_bytes(whole[:k] + bytes([whole[k] ^ 255]) + whole[k + 1 :])
        try:
            same(load_pilots(tmp_path / "a.xlsx"))  # where the byte is none of a cell's
        except InputError as error:
            assert "\n" not in str(error)
    with pytest.raises(InputError, match="tokens of run 'pilot-0' is 0"):
        load_pilots(wide().assign(tokens=0))
