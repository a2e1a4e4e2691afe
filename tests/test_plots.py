"""Pictures: every kind from every file it takes, and what is drawn is what the file holds."""

import json
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from conftest import PROBLEMS, random_model

from climbopt import AllocationProblem, Floor, PilotRuns, load_problem, predict, save_model, save_problem, sweep
from climbopt.files import DrawFile
from climbopt.reports.sweeps import sweep_json
from climbopt.reports.writers import dumps
from climbopt.testing import family_model, family_problem
from climbopt.uncertainty.diagnosis import transfer

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

from climbopt.reports import pictures  # noqa: E402

MODEL, PILOTS = PROBLEMS / "libreoffice6" / "model.toml", PROBLEMS / "libreoffice6" / "pilots.csv"
BEGINNINGS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """JSON of a solve with ranges, and of a sweep with bands."""
    folder = tmp_path_factory.mktemp("records")
    answer = {
        "procedure": "joint",
        "ratios": {"en": 0.6, "de": 0.4},
        "ranges": {"en": {"lower": 0.5, "upper": 0.8}, "de": {"lower": 0.2, "upper": 0.5}},
    }
    (folder / "answer.json").write_text(json.dumps(answer))
    drawn = sweep(family_problem(3), np.geomspace(1e9, 1e12, 5), draws=[family_model(3, seed=s) for s in range(3)])
    (folder / "sweep.json").write_text(dumps(sweep_json(drawn)))
    both = sweep(family_problem(3), [1e9, 1e10], ("floor.en", [0.0, 0.1]))
    (folder / "both.json").write_text(dumps(sweep_json(both)))
    return folder


@pytest.mark.parametrize("width", ["3.4", "7"])
@pytest.mark.parametrize(
    ("kind", "file", "more"),
    [
        ("fit", str(MODEL), ("--pilots", PILOTS)),
        ("fit", "libreoffice6", ("--pilots", "libreoffice6")),
        ("transfer", str(MODEL), ()),
        ("transfer", "synthetic16", ()),
        ("transfer", "libreoffice6", ("--budget", "1e6")),
        ("allocation", "synthetic16", ()),
        ("allocation", "answer.json", ()),
        ("ranges", "answer.json", ()),
        ("ranges", "equal_beta", ()),
        ("sweep", "sweep.json", ()),
        ("marginal", "equal_beta", ()),
    ],
)
def test_every_kind_is_written(run, files, tmp_path, kind, file, more, width):
    place = tmp_path / f"x{list(BEGINNINGS)[len(kind) % 3]}"
    path = files / file if file.endswith(".json") else file
    loaded = "matplotlib.pyplot" in sys.modules
    code, _, err = run("plot", path, "--kind", kind, "-o", place, "--width", width, *more)
    assert (code, err) == (0, "")
    assert place.read_bytes().startswith(BEGINNINGS[place.suffix])
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_nothing_is_cut_off_or_hidden(files):
    """Every text lies inside its figure, and tick labels do not run into each other."""
    asked = [
        ("fit", pictures.Request(MODEL, PILOTS)),
        ("transfer", pictures.Request(MODEL)),
        ("allocation", pictures.Request(files / "answer.json")),
        ("sweep", pictures.Request(files / "sweep.json")),
    ]
    for kind, one in asked:
        for width in (3.4, 7.0):
            figure = pictures.draw(kind, pictures.Request(one.file, one.pilots, width=width))
            figure.draw_without_rendering()
            tight, page = figure.get_tightbbox(), figure.bbox_inches
            assert tight.x0 >= -0.02 and tight.y0 >= -0.02 and tight.x1 <= page.x1 + 0.02 and tight.y1 <= page.y1 + 0.02
            labels = [label for label in figure.axes[0].get_xticklabels(which="both") if label.get_text()]
            boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0)
            assert not any(a.overlaps(b) for a, b in zip(boxes, boxes[1:], strict=False)), kind


def test_the_sweep_draws_the_certified_ratios(files):
    record = json.loads((files / "sweep.json").read_text())
    axes = pictures.draw("sweep", pictures.Request(files / "sweep.json")).axes[0]
    drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
    for name in record["languages"]:
        np.testing.assert_allclose(drawn[name], [100 * point["ratios"][name] for point in record["points"]])
    assert axes.get_xscale() == "log" and len(axes.collections) == 3
    styles = {(line.get_linestyle(), line.get_marker()) for line in axes.lines}
    assert len(styles) == len(axes.lines)


def test_transfer_is_what_a_source_adds_to_z():
    """alpha = b + k / D for linear pairs; all pairs' parts of z together for the others."""
    linear, gated = random_model("linear", sources=3, signed=True), random_model(sources=3, signed=True)
    found = transfer(linear, 2e9)
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(found[off], (linear.parameters["b"] + linear.parameters["k"] / 2)[off])
    assert np.isnan(np.diag(found)).all()
    at = gated.at(2e9)
    apart = at.z(np.eye(3)[[0]] / 3)[0, 0]  # of a target by itself
    assert np.nansum(transfer(gated, 2e9)[0]) / 3 == pytest.approx(at.z(np.full(3, 1 / 3))[0] - apart)


def test_transfer_that_is_not_told_from_zero_is_grey(run, tmp_path):
    """By the draws, whose sign differs in some pairs; without draws nothing is grey, and the caption says why."""
    model = random_model("linear", sources=3, signed=True)
    values = transfer(model, model.token_unit)
    save_model(model, tmp_path / "m.toml")
    file = DrawFile(tmp_path / "d.jsonl", model, {"seed": 0})
    swinging = np.zeros((3, 3), dtype=bool)
    swinging[0, 1] = swinging[2, 0] = True
    for k in range(4):
        turned = {name: np.where(swinging & (k % 2 == 1), -1, 1) * model.parameters[name] for name in "bk"}
        file.append(k, {**model.parameters, **turned})
    figure = pictures.draw("transfer", pictures.Request(tmp_path / "m.toml", draws=tmp_path / "d.jsonl"))
    axes = figure.axes[0]
    hatched = [patch for patch in axes.collections if patch.get_hatch()]
    assert len(hatched) == ((values < 0) & ~swinging).sum() and len(axes.collections) == len(hatched) + 2
    assert {text.get_text() for text in axes.texts if text.get_text()[0] == "("} == {
        f"({value:.2f})" for value in values[swinging]
    }
    assert "5 to 95 % of 4 draws" in figure.get_supxlabel()
    figure = pictures.draw("transfer", pictures.Request(tmp_path / "m.toml"))
    assert len(figure.axes[0].collections) == (values < 0).sum() and "not known" in figure.get_supxlabel()
    code, _, err = run("plot", MODEL, "--kind", "transfer", "--draws", tmp_path / "d.jsonl", "-o", tmp_path / "x.png")
    assert code == 2 and "draw 0 has another" in err
    code, _, err = run("plot", MODEL, "--kind", "fit", "--draws", tmp_path / "d.jsonl", "-o", tmp_path / "x.png")
    assert code == 2 and "--kind transfer" in err


def test_marginal_benefits_of_the_optimum_are_equal():
    axes = pictures.draw("marginal", pictures.Request(PROBLEMS / "equal_beta.toml")).axes[0]
    before, after = ([bar.get_height() for bar in bars] for bars in axes.containers)
    assert np.ptp(after) < 1e-6 < np.ptp(before)


def test_bars_lie_where_there_are_many():
    axes = pictures.draw("allocation", pictures.Request(PROBLEMS / "synthetic16.toml")).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == list(load_problem("synthetic16").model.sources)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((MODEL, "--kind", "fit"), "add --pilots"),
        ((MODEL, "--kind", "marginal"), "is a model"),
        ((MODEL, "--kind", "fitt"), "did you mean 'fit'"),
        (("answer.json", "--kind", "sweep"), "holds no sweep"),
        (("sweep.json", "--kind", "ranges"), "holds no ratios"),
        (("both.json", "--kind", "sweep"), "one of them at a"),
        (("answer.json", "--kind", "marginal"), "give the problem file"),
    ],
)
def test_what_cannot_be_drawn(run, files, tmp_path, arguments, words):
    first = files / arguments[0] if str(arguments[0]).endswith(".json") else arguments[0]
    code, _, err = run("plot", first, *arguments[1:], "-o", tmp_path / "x.png")
    assert code == 2 and words in err


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"points": [{"budget": "x"}]}', "sweep"),
        ('{"points": [], "languages": ["a"], "over": null}', "sweep"),
        ('{"ratios": {"a": "much"}}', "allocation"),
        ('{"ratios": {"a": 1}, "ranges": [3]}', "ranges"),
    ],
)
def test_json_of_another_shape(run, tmp_path, text, kind):
    (tmp_path / "x.json").write_text(text)
    code, out, err = run("plot", tmp_path / "x.json", "--kind", kind, "-o", tmp_path / "x.png")
    assert code == 2 and out == "" and err.count("climbopt: ") == 1 and "Traceback" not in err
    assert not (tmp_path / "x.png").exists()


def test_other_refusals(run, tmp_path, monkeypatch):
    code, _, err = run("plot", MODEL, "--kind", "transfer", "-o", tmp_path / "x.gif")
    assert code == 2 and ".png, .svg or .pdf" in err
    code, _, err = run("plot", MODEL, "--kind", "transfer", "-o", tmp_path / "x.png", "--width", "340")
    assert code == 2 and "2 to 20 inches" in err
    monkeypatch.setattr("climbopt.cli.study_commands.find_spec", lambda name: None)
    code, _, err = run("plot", MODEL, "--kind", "transfer", "-o", tmp_path / "x.png")
    assert code == 2 and "pip install 'climbopt[plots]'" in err


@pytest.mark.parametrize("kind", ["allocation", "marginal", "transfer"])
def test_names_are_drawn_as_they_are(run, tmp_path, kind):
    """What mathematics, markup, emoji codes or XML would make of them."""
    names = ("[red]x[/]", ":smile:", "$x_{$", "<b>&amp;")
    model = replace(random_model("linear", sources=4), sources=names, targets=names)
    save_problem(AllocationProblem(model, 2e9, constraints=(Floor({names[0]: 0.1}),)), tmp_path / "p.toml")
    assert run("plot", tmp_path / "p.toml", "--kind", kind, "-o", tmp_path / "p.svg")[0] == 0
    code, out, _ = run("solve", tmp_path / "p.toml")
    assert code == 0 and all(name in out for name in names)


def test_characters_without_a_font_are_named_once(run, tmp_path):
    names = ("\U00013000\U00013001", "en", "de")  # hieroglyphs
    model = replace(random_model("linear", sources=3), sources=names, targets=names)
    save_problem(AllocationProblem(model, 2e9), tmp_path / "p.toml")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, _, err = run("plot", tmp_path / "p.toml", "--kind", "allocation", "-o", tmp_path / "p.svg")
    assert code == 0 and err.count("warning") == 1 and "no font of the pictures has \U00013000, \U00013001, " in err


def test_ticks_of_budgets_are_plain(run, tmp_path):
    run("sweep", "equal_beta", "--budgets", "1e9:1e12:4", "--json", tmp_path / "s.json")
    assert run("plot", tmp_path / "s.json", "--kind", "sweep", "-o", tmp_path / "s.svg")[0] == 0
    assert "mathdefault" not in (tmp_path / "s.svg").read_text()


def test_supplies_of_runs_count():
    """Runs of cut-down supplies are predicted with these, as climbopt predict does."""
    model = random_model("linear", sources=2, use="diluting")
    ones = np.ones((1, 2))
    runs = PilotRuns(("a",), model.sources, model.targets, ones / 2, 2e9 * ones[:, 0], ones, supply=1e8 * ones)
    lines = [line.get_ydata() for line in pictures.predictions(model, runs).axes[0].lines]
    drawn = [line[0] for line in lines if len(line) == 1]
    assert drawn == pytest.approx(predict(model, runs.to_frame())["predicted"].tolist())
