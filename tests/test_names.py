"""Names: those that do not show what they are, or that two spellings stand for, are refused where they stand."""

import numpy as np
import pandas as pd
import pytest
from conftest import random_model

from climbopt import AllocationProblem, Custom, InputError, MixtureModel, PilotRuns, load_problem, save_model
from climbopt.files import Layout, understood
from climbopt.foundations.errors import look_alike, shown, unknown_name
from climbopt.foundations.names import check_name
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS

BAD = {
    "escape": "en\x1b[31m",
    "osc": "en\x1b]0;title\x07",
    "nul": "en\x00",
    "surrogate": "en\ud800",
    "bidi": "en\u202e",
    "isolate": "\u2066en\u2069",
    "newline": "en\nfr",
    "tab": "en\tfr",
    "c1": "en\x9b31m",
    "no-break space": "en\xa0",
    "zero width": "e\u200bn",
    "trailing blank": "en ",
    "leading blank": " en",
    "decomposed": "cafe\u0301",
    "empty": "",
}


@pytest.mark.parametrize("name", BAD.values(), ids=BAD)
def test_a_name_that_does_not_show_what_it_is_is_refused_everywhere(name):
    model = random_model("linear", sources=2)
    values = dict(model.parameters)
    table = pd.DataFrame(
        {"run": ["a"] * 2, "tokens": 1e9, "language": ["sw", name], "ratio": [0.5] * 2, "loss": [2.0] * 2},
        dtype=object,
    )
    wide = pd.DataFrame([[1, 0.5, 0.5]], columns=pd.Index(["index", "sw", name], dtype=object))
    for refused in (
        lambda: check_name(name, "the name"),
        lambda: MixtureModel(LAWS["power"], INTERACTIONS["linear"], ("sw", name), ("sw", "fr"), values),
        lambda: MixtureModel(LAWS["power"], INTERACTIONS["linear"], ("sw", "fr"), ("sw", name), values),
        lambda: PilotRuns.from_frame(table),
        lambda: PilotRuns.from_frame(table.assign(run=pd.Series([name] * 2, dtype=object))),
        lambda: understood(wide, Layout(tokens=1e9), wide),
        lambda: AllocationProblem(model, 1e9, constraints=(Custom("r[s0] <= 0.9", name=name or " "),)),
        lambda: AllocationProblem(model, 1e9, groups={name: ("s0",)}),
    ):
        with pytest.raises(InputError) as refusal:
            refused()
        assert str(refusal.value).isprintable()


@pytest.mark.parametrize("name", ["en", "français", "中文", "en-US", "the pile", "C++", "[x]", "日本語 (ja)", "हिन्दी"])
def test_names_that_print_are_taken(name):
    check_name(name, "the name")


@pytest.mark.parametrize("column", ["language", "run"])
@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ("en ", r"in row 5 is 'en ' \(U\+0065 U\+006E U\+0020\), which has a blank at its end; write 'en'"),
        ("en\xa0", r"in row 5 is 'en\\xa0' .*, which holds NO-BREAK SPACE"),
        ("En", "has 'En' in row 5, and 'en' elsewhere, which looks like it; write one name"),
        ("\u0435n", r"has '\u0435n' \(U\+0435 U\+006E\) in row 5, and 'en' elsewhere"),
    ],
)
def test_the_odd_cell_is_named(column, odd, words):
    rows = [(name, language) for name in ("en", "r2", "r3") for language in ("sw", "en", "fr")]
    if column == "run":
        rows = [(language, name) for name, language in rows]
    frame = pd.DataFrame(rows, columns=["run", "language"]).assign(tokens=1e9, ratio=1 / 3, loss=2.0)
    frame = frame.sort_values("run", kind="stable", ignore_index=True) if column == "run" else frame
    row = int(np.flatnonzero(frame[column] == "en")[1])
    frame.loc[row, column] = odd
    with pytest.raises(InputError, match=words.replace("row 5", f"row {row + 2}")):
        PilotRuns.from_frame(frame)


def test_an_unknown_name_that_looks_like_a_known_one_shows_how_it_is_spelled():
    assert "'cafe\u0301' (U+0063 U+0061 U+0066 U+0065 U+0301)" in str(
        unknown_name("language", "cafe\u0301", ["caf\xe9"])
    )
    assert "did you mean 'power'?" in str(unknown_name("law", "POWER", ["power"]))
    assert look_alike("a  b", "a\xa0b") and not look_alike("a", "b")


def test_a_file_name_is_shown_escaped(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "x\x1b[31m\n\u202ey"
    model = tmp_path / "m.toml"
    save_model(random_model("linear", sources=2), model)
    (tmp_path / f"{name}.toml").write_text('model = "m.toml"\nbudget = 1e9\n')
    assert load_problem(f"{name}.toml").name == shown(name)
    code, out, err = run("solve", f"{name}.toml", "--json", "o.json")
    assert code == 0 and "x\\x1b[31m\\n\\u202ey" in out and "\x1b" not in out + (tmp_path / "o.json").read_text()
    code, out, err = run("solve", f"no{name}.toml")
    assert code == 2 and err == "climbopt: there is no file nox\\x1b[31m\\n\\u202ey.toml; check the name\n"
    code, out, err = run("compare", f"{name}.toml", "--backends", "newton", "--html", "o.html")
    assert code == 0 and "\x1b" not in out + (tmp_path / "o.html").read_text()
