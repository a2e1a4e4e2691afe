"""File formats: round trips, and one clear message for every kind of bad file."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import PROBLEMS, random_model

from climbopt import InputError, load_model, load_pilots, load_problem, save_model, shipped_problems
from climbopt.files import find_problem, load_ratios
from climbopt.files.text import read_object
from climbopt.testing import family_model

MODEL = """
law = "power"
interaction = "linear"
sources = ["en", "sw"]
targets = ["en", "sw"]
token_unit = 1e9

[parameters.E]
en = 1.0
sw = 1.5
[parameters.B]
en = 2.0
sw = 3.0
[parameters.beta]
en = 0.3
sw = 0.25
[parameters.b.en]
sw = 0.05
[parameters.b.sw]
en = 0.2
[parameters.k.en]
sw = 0.0
[parameters.k.sw]
en = 0.0
"""
PROBLEM = """
model = "model.toml"
budget = 1e9
[supply]
en = 5e9
sw = 1e8
[groups]
all = ["en", "sw"]
[[constraints]]
kind = "floor"
ratios = { sw = 0.05 }
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.toml").write_text(MODEL)
    (tmp_path / "problem.toml").write_text(PROBLEM)
    return tmp_path


def edited(folder, name, *changes):
    """Replace text in a file of the folder; each replacement must be found."""
    path = folder / name
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def test_a_problem_and_its_model(folder):
    problem = load_problem(folder / "problem.toml")
    assert problem.name == "problem" and problem.budget == 1e9 and problem.groups["all"] == ("en", "sw")
    assert problem.model.parameters["b"].tolist() == [[0.0, 0.05], [0.2, 0.0]]
    assert problem.rows[0].name == "floor[sw]"


@pytest.mark.parametrize("m", [5, 40])
def test_a_model_survives_its_file(tmp_path, m):
    """To the last bit; with many languages the pairs lie beside it."""
    model = dataclasses.replace(family_model(m, interaction="gated", negative=0.3), provenance={"file": "x.csv"})
    save_model(model, tmp_path / "m.toml")
    assert (tmp_path / "m.pairs.parquet").exists() == (m > 16)
    again = load_model(tmp_path / "m.toml")
    assert again.sources == model.sources and again.token_unit == model.token_unit
    assert dict(again.provenance) == {"file": "x.csv"}
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(again.parameters[name], value, err_msg=name)


def test_targets_that_are_no_sources_survive_too(tmp_path):
    model = random_model("gated", sources=3, targets=("s1", "other"))
    save_model(model, tmp_path / "m.toml")
    again = load_model(tmp_path / "m.toml")
    assert again.targets == ("s1", "other")
    np.testing.assert_array_equal(again.parameters["l"], model.parameters["l"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: pd.concat([frame, frame.iloc[[3]]]), "two rows for 'en' from 'es'; give every pair once"),
        (lambda frame: frame.iloc[1:], "no number as 'b' of 'en' from 'de'"),
        (
            lambda frame: frame.astype({"b": object}).replace({"b": {frame["b"].iloc[0]: "half"}}),
            "no number as 'b' of 'en' from 'de'",
        ),
        (
            lambda frame: frame.astype({"b": object}).replace({"b": {frame["b"].iloc[0]: ""}}),
            "no number as 'b' of 'en' from 'de'",
        ),
        (lambda frame: frame.replace({"source": {"sv": "svv"}}), "unknown source in m.csv 'svv'; did you mean 'sv'"),
        (lambda frame: frame.rename(columns={"k": "E"}), "parameter 'E' in m.csv is per target and not per pair"),
        (lambda frame: frame.rename(columns={"k": "kk"}), "unknown parameter in m.csv 'kk'"),
        (lambda frame: frame.drop(columns="k"), "no values for parameter 'k'"),
        (lambda frame: frame.drop(columns="target"), "m.csv has no column target"),
    ],
)
def test_bad_pair_tables(tmp_path, change, message):
    save_model(family_model(20), tmp_path / "m.toml")
    change(pd.read_parquet(tmp_path / "m.pairs.parquet")).to_csv(tmp_path / "m.csv", index=False)
    edited(tmp_path, "m.toml", ("m.pairs.parquet", "m.csv"))
    with pytest.raises(InputError, match=message):
        load_model(tmp_path / "m.toml")


def test_a_parameter_in_the_file_and_in_its_pair_table(folder):
    rows = ["target,source,b", "en,sw,0.1", "sw,en,0.1"]
    (folder / "pairs.csv").write_text("\n".join(rows) + "\n")
    path = edited(folder, "model.toml", ("token_unit = 1e9", 'token_unit = 1e9\npairs = "pairs.csv"'))
    with pytest.raises(InputError, match="parameter 'b' stands in model.toml and in pairs.csv; keep one of them"):
        load_model(path)


@pytest.mark.parametrize("kind", ["law", "interaction"])
def test_a_form_that_only_shares_a_registered_name_is_not_saved(tmp_path, kind):
    model = family_model(3)
    form = getattr(model, kind)
    other = (
        dataclasses.replace(form, expression=2 * form.expression)
        if kind == "law"
        else dataclasses.replace(form, own=2 * form.own)
    )
    with pytest.raises(InputError, match=f"{kind} '{form.name}' of this model is not the registered one"):
        save_model(dataclasses.replace(model, **{kind: other}), tmp_path / "m.toml")
    assert not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_written_leaves_no_pair_table(tmp_path):
    (tmp_path / "m.toml").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        save_model(family_model(20), tmp_path / "m.toml")
    assert [path.name for path in tmp_path.iterdir()] == ["m.toml"]


def test_pairs_may_come_from_csv(tmp_path):
    model = family_model(20)
    save_model(model, tmp_path / "m.toml")
    pd.read_parquet(tmp_path / "m.pairs.parquet").to_csv(tmp_path / "m.csv", index=False)
    edited(tmp_path, "m.toml", ("m.pairs.parquet", "m.csv"))
    np.testing.assert_allclose(load_model(tmp_path / "m.toml").parameters["b"], model.parameters["b"], rtol=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("budget = 1e9", "budget = 0.0", "budget is 0; it must be a positive number"),
        ("budget = 1e9", "budget = nan", "budget is nan"),
        ("budget = 1e9", 'budget = "1e9x"', "budget is '1e9x'; write a number of tokens such as"),
        ("budget = 1e9", "budgt = 1e9", "unknown key in problem.toml 'budgt'; did you mean 'budget'"),
        ("budget = 1e9", "", "problem.toml has no key 'budget'"),
        (
            "budget = 1e9",
            'budget = 1e9\nprocedure = "two-step"',
            "unknown procedure 'two-step'; did you mean 'two_step'",
        ),
        ("budget = 1e9", "budget = 1e9\ntemperature = -1.0", "temperature is -1; it must be a positive number"),
        ("model.toml", "missing.toml", "there is no file .*missing.toml"),
        ('kind = "floor"', 'kind = "flor"', "unknown constraint kind 'flor'; did you mean 'floor'"),
        ('kind = "floor"', "", "constraint 1 of problem.toml has no key 'kind'"),
        (
            "ratios = { sw",
            "ratio = { sw",
            "unknown key of constraint 1 of problem.toml .floor. 'ratio'; did you mean 'ratios'",
        ),
        ("sw = 0.05 }", "sw = 1.2 }", "floor of 'sw' is 1.2; a floor is a ratio in .0, 1.; write 0.012 for 1.2 %"),
        ("sw = 0.05 }", "sw = -0.1 }", "floor of 'sw' is -0.1"),
        ("sw = 0.05 }", "yo = 0.05 }", "unknown language of floor 'yo'"),
        (
            "sw = 0.05 }",
            "sw = 0.7, en = 0.4 }",
            r"the lower bounds sum to 1.1, which is 0.1 more than 1; lower some of "
            r"floor\[en\], floor\[sw\]",
        ),
        ("en = 5e9", "eng = 5e9", r"unknown language in \[supply\] 'eng'; did you mean 'en'"),
        ("en = 5e9", "en = -5e9", r"\[supply\] of 'en' is -5e\+09; it must be 0 or more"),
        ('["en", "sw"]', '["en", "yo"]', "unknown language of group 'all' 'yo'"),
        (
            'kind = "floor"\nratios = { sw = 0.05 }',
            'kind = "supply"\nepochs = 0',
            "epochs of every language in supply is 0",
        ),
        (
            'kind = "floor"\nratios = { sw = 0.05 }',
            'kind = "group"\nmembers = "some"\nupper = 0.5',
            "unknown group of group 'some'.*Known: all",
        ),
        ('kind = "floor"\nratios = { sw = 0.05 }', 'kind = "group"\nmembers = ["en"]', "neither lower nor upper"),
        (
            'kind = "floor"\nratios = { sw = 0.05 }',
            'kind = "group"\nmembers = ["en"]\nlower = 0.5\nupper = 0.2',
            "lower 0.5 above upper 0.2",
        ),
    ],
)
def test_bad_problems(folder, old, new, message):
    path = edited(folder, "problem.toml", (old, new))
    with pytest.raises(InputError, match=message):
        load_problem(path)


def test_a_floor_beyond_the_supply_is_explained(folder):
    path = edited(folder, "problem.toml", ("sw = 0.05 }", 'sw = 0.3 }\n[[constraints]]\nkind = "supply"\nepochs = 1'))
    with pytest.raises(
        InputError,
        match=r"floor\[sw\] asks for a ratio of 0.3 or more, and supply\[sw\] allows 0.1: "
        "0.2 too much",
    ):
        load_problem(path)


def test_caps_that_leave_no_mixture_are_explained(folder):
    path = edited(
        folder,
        "problem.toml",
        ('kind = "floor"\nratios = { sw = 0.05 }', 'kind = "cap"\nratios = { sw = 0.3, en = 0.5 }'),
    )
    with pytest.raises(InputError, match="the upper bounds sum to 0.8, which is 0.2 less than 1; widen cap"):
        load_problem(path)


def test_two_constraints_of_one_name(folder):
    path = edited(
        folder, "problem.toml", ("sw = 0.05 }", 'sw = 0.05 }\n[[constraints]]\nkind = "floor"\nratios = { en = 0.1 }')
    )
    with pytest.raises(InputError, match="two constraints are called 'floor'; give each a 'name' of its own"):
        load_problem(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('law = "power"', 'law = "powr"', "unknown law 'powr'; did you mean 'power'"),
        ('interaction = "linear"', 'interaction = "liner"', "unknown interaction 'liner'; did you mean 'linear'"),
        ('interaction = "linear"', 'interaction = "gated"', "no values for parameter 'eta'"),
        ('interaction = "linear"', 'interaction = "none"', "unknown parameter in model.toml 'b'"),
        ("[parameters.E]\nen = 1.0", "[parameters.E]", "parameter 'E' in model.toml has no value for en"),
        ("[parameters.E]\nen = 1.0", "[parameters.E]\nen = 1.0\nyo = 1.0", "unknown language of parameter 'E'"),
        (
            "[parameters.E]\nen = 1.0",
            "[parameters.E]\nen = -1.0",
            "parameter 'E' of 'en' is -1.0; it must be a positive",
        ),
        ("[parameters.b.en]\nsw = 0.05", "[parameters.b.en]\nyo = 0.05", "unknown language of parameter 'b' of 'en'"),
        (
            "[parameters.b.en]\nsw = 0.05\n[parameters.b.sw]\nen = 0.2",
            "[parameters.b]\nen = 0.1\nsw = 0.1",
            "parameter 'b' in model.toml is per pair; 'en' needs a table by source",
        ),
        ("token_unit = 1e9", "token_units = 1e9", "unknown key in model.toml 'token_units'; did you mean 'token_unit'"),
        ("token_unit = 1e9", "token_unit = -1.0", "token_unit is -1.0; it must be a positive number"),
        ('sources = ["en", "sw"]', 'sources = ["en", "en"]', "one or more different names"),
    ],
)
def test_bad_models(folder, old, new, message):
    path = edited(folder, "model.toml", (old, new))
    with pytest.raises(InputError, match=message):
        load_model(path)


def test_files_that_are_none(tmp_path):
    bad = {"empty.toml": b" \n", "broken.toml": b"model = [", "latin.toml": "model = 'é'".encode("latin-1")}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    for name, message in (
        ("empty.toml", "is empty"),
        ("broken.toml", "is no TOML"),
        ("latin.toml", "is not UTF-8"),
        ("none.toml", "there is no file"),
        (".", "is a folder"),
    ):
        with pytest.raises(InputError, match=message):
            load_problem(tmp_path / name)
    for name, content, message in (
        ("empty.csv", b"", "is no CSV table"),
        ("latin.csv", "run,é\n".encode("latin-1"), "is not UTF-8"),
        ("ragged.csv", b"run,tokens\n1,2,3,4\n", "is no CSV table: line 2 has 4 fields and the header 2"),
        ("trailing.csv", b"run,tokens,language,ratio,loss\na,1e6,en,1,2,\n", "line 2 has 6 fields"),
        ("fake.parquet", b"no parquet", "cannot be read as a table"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_pilots(tmp_path / name)
    with pytest.raises(InputError, match="is a folder"):
        load_pilots(tmp_path)


def test_pilots_from_parquet(tmp_path, pilots):
    pd.read_csv(PROBLEMS / "libreoffice6" / "pilots.csv").to_parquet(tmp_path / "pilots.parquet")
    np.testing.assert_array_equal(load_pilots(tmp_path / "pilots.parquet").losses, pilots.losses)


def test_languages_named_like_missing_values(tmp_path):
    """The code of Namibian languages, 'na', or 'nan' is a name and not a missing value."""
    rows = ["run,tokens,language,ratio,loss"] + [f"{run},1e6,{name},0.5,3.0" for run in "ab" for name in ("na", "nan")]
    (tmp_path / "p.csv").write_text("\n".join(rows) + "\n")
    assert load_pilots(tmp_path / "p.csv").sources == ("na", "nan")


def test_ratios(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"en": 0.3334, "sw": 0.6664}))
    ratios = load_ratios(path)
    assert sum(ratios.values()) == pytest.approx(1.0, abs=1e-15)
    for content, message in (
        ("[0.5, 0.5]", "valid dictionary"),
        ('{"en": "half"}', "the ratio of 'en' in r.json is 'half'"),
        ('{"en": 0.5}', "sum to 0.5; they must sum to 1"),
        ('{"en": -0.5, "sw": 1.5}', "the ratio of 'en' in r.json is -0.5"),
        ("{", "is no JSON"),
        ('{"en": 0.9, "sw": 0.75, "en": 0.25}', "it has the key 'en' more than once"),
        ('{"en": NaN, "sw": 1.0}', "NaN is no number in JSON"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=message):
            load_ratios(path)


def test_what_is_nested_too_deeply_is_refused(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    for read, name in (
        (load_ratios, "deep.json"),
        (read_object, "deep.json"),
        (load_problem, "deep.toml"),
        (load_model, "deep.toml"),
    ):
        with pytest.raises(InputError, match=f"{name} is nested too deeply"):
            read(tmp_path / name)


def test_a_byte_order_mark_is_no_content(folder):
    for name in ("model.toml", "problem.toml"):
        path = folder / name
        path.write_text(path.read_text(), encoding="utf-8-sig")
    assert load_problem(folder / "problem.toml").budget == 1e9


def test_a_folder_does_not_hide_a_shipped_problem(tmp_path, monkeypatch):
    (tmp_path / "one_source").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_problem("one_source").model.sources == ("en",)


def test_shipped_problems_are_found_by_name():
    names = shipped_problems()
    assert {"libreoffice6", "synthetic16", "one_source", "equal_beta", "known_floor"} <= set(names)
    assert find_problem("libreoffice6").exists()
    with pytest.raises(InputError, match="unknown problem 'libreofice6'; did you mean 'libreoffice6'"):
        find_problem("libreofice6")


def test_every_problem_in_the_folder_is_shipped():
    assert set(shipped_problems()) == {path.stem for path in Path(PROBLEMS).glob("*.toml")}


def test_every_package_is_in_the_wheel():
    import tomllib

    root = PROBLEMS.parent
    listed = set(tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {".".join(path.parent.relative_to(root).parts) for path in (root / "climbopt").rglob("__init__.py")}
    assert listed == found | {"climbopt.problems"}
