"""What public objects show: few lines, escaped pages, frames, and the JSON of the command line."""

import json
from dataclasses import replace
from enum import Enum
from html.parser import HTMLParser
from inspect import isabstract

import numpy as np
import pytest

import climbopt
from climbopt.cli import app
from climbopt.foundations.registry import Registry
from climbopt.foundations.view import LINES, Reported, View, Viewed
from climbopt.runs.pilots import PilotRuns
from climbopt.uncertainty.diagnosis import diagnose

ODD = "<b>x&"


@pytest.fixture(scope="module")
def fitted():
    """A small fit of languages with odd names."""
    rng = np.random.default_rng(0)
    names = (ODD, "b", "c")
    ratios = rng.dirichlet(np.ones(3), 14)
    tokens = np.tile([1e9, 2e9], 7)
    losses = 1.5 + 0.3 * (0.1 + ratios) ** -0.2 * (tokens[:, None] / 1e9) ** -0.2
    runs = PilotRuns(tuple(f"run{k}" for k in range(14)), names, names, ratios, tokens, losses)
    return climbopt.fit(runs, interaction="linear", n_starts=1)


@pytest.fixture(scope="module")
def shown(fitted):
    """An object of every public type, by the name of its type, and of types that public functions return."""
    problem = climbopt.AllocationProblem(fitted.model, 1e10, constraints=(climbopt.Floor({ODD: 0.1}),))
    result, covariance = climbopt.solve(problem), climbopt.covariance(fitted)
    draws = covariance.draws(24)
    robust = climbopt.robust(problem, draws)
    path, stages = climbopt.sweep(problem, [1e9, 1e10]), climbopt.schedule(problem, [1e9, 1e10])
    plan = climbopt.plan([ODD, "b"], [1e9, 2e9], 6)
    bands = climbopt.bands(covariance, folds=2)
    whole = climbopt.EnsembleFit(climbopt.Ensemble([fitted.model]), (fitted,), {}, 0.1)
    objects = [
        *(whole, whole.model, climbopt.Decision(whole, result, robust.assessment, climbopt.ranges(result))),
        climbopt.extend(fitted.model, ["d"], draws[:3]),
        *(fitted, fitted.model, fitted.pilots, covariance, bands, bands.predict([[0.2, 0.3, 0.5]], 1e9)),
        *(problem, result, result.certificate, result.solution, climbopt.ranges(result)[ODD]),
        climbopt.SavedResult(result.to_dict()),
        *(robust, robust.regrets, robust.confidence, robust.assessment, diagnose(fitted, draws[:3])),
        *(fitted.overall, climbopt.cross_validate(fitted.pilots, "power", ["none"], folds=2)[1][0], climbopt.Effort()),
        climbopt.conflict(replace(problem, constraints=(climbopt.LossCeiling({"b": 0.1}),))),
        *(path, path.points[0], stages, stages.stages[0], plan, plan.chosen),
        *(climbopt.compare([climbopt.load_problem("equal_beta")], backends=["newton"]), climbopt.Options()),
        *(
            climbopt.LAWS["msl"],
            climbopt.USES["saturating"],
            climbopt.INTERACTIONS["gated"],
            climbopt.INTERACTIONS["gated"].coordinates,
        ),
        *(climbopt.LAWS["msl"].parameters[0], climbopt.LAWS["msl"].parameters[0].prior),
        *(climbopt.Floor({ODD: 0.1}), climbopt.Cap({"b": 0.5}), climbopt.Supply(1.0), climbopt.Minimax()),
        *(climbopt.Weighted(), climbopt.WeightedPowerMean({ODD: 2.0}), climbopt.CustomObjective("L[b]")),
        *(climbopt.Custom("L[b] <= 3"), climbopt.Linear({"b": 1.0}, upper=0.5), climbopt.LossCeiling({"b": 3.0})),
        climbopt.examine(lambda x: x @ x, lambda x: 2 * x, lambda x: 2 * np.eye(1), [], np.zeros(1)),
        *(climbopt.Joint(), climbopt.TwoStep(), climbopt.Temperature(3.3)),
        *(climbopt.Uniform(), climbopt.Natural(), climbopt.UniMax(), climbopt.Isolated()),
        *(climbopt.StayNear(0.5, {ODD: 0.2, "b": 0.3, "c": 0.5}), climbopt.Group(("b", "c"), upper=0.9)),
    ]
    return {type(one).__name__: one for one in objects}


def public_types():
    """Return the names of the public classes that have instances of their own to show."""
    members = {name: getattr(climbopt, name) for name in climbopt.__all__}
    return [
        name
        for name, member in members.items()
        if isinstance(member, type) and not issubclass(member, Enum | Exception) and not isabstract(member)
    ]


@pytest.mark.parametrize("name", public_types())
def test_every_public_object_prints_a_few_lines(shown, name):
    text = repr(shown[name])
    assert len(text) < 1000 and len(text.splitlines()) <= LINES
    assert "\x1b" not in text and "object at 0x" not in text


def test_every_function_returns_what_prints(shown):
    for one in shown.values():
        assert len(repr(one)) < 1000, type(one)


def test_registries_and_symbols_print_one_line():
    for name in climbopt.__all__:
        member = getattr(climbopt, name)
        if isinstance(member, Registry) or name in ("D", "L", "r", "z"):
            assert len(repr(member)) < 200 and "\n" not in repr(member)


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.words = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.words += data


def test_pages_escape_names(shown):
    seen = 0
    for one in shown.values():
        if not isinstance(one, Viewed):
            continue
        page, tags = one._repr_html_(), Tags()
        tags.feed(page)
        assert "\x1b" not in page and tags.tags.count("b") == 1, type(one)  # the heading's own
        seen += "<b>x&" in tags.words
    assert seen > 10


def test_a_page_shows_some_rows_and_the_frame_all():
    view = View("many", columns=lambda: {"k": list(range(100)), "value": [None] * 100})
    assert view.html().count("<tr>") == 41 and "60 more rows" in view.html()
    odd = View("\x1b[31m", ["\u202e"], columns=lambda: {"\x9b": ["\x07"]})
    assert odd.text().isprintable() or odd.text() == "\\x1b[31m\n  \\u202e"
    assert not {"\x1b", "\u202e", "\x9b", "\x07"} & set(odd.html())
    lines = View("many", [f"line {k}" for k in range(30)]).text().splitlines()
    assert len(lines) == LINES and lines[-1] == "  and 22 more lines"


def test_frames(shown, fitted):
    frame = shown["Result"].to_frame().set_index("language")
    assert frame["ratio"].to_dict() == dict(shown["Result"].ratios)
    assert frame["loss"].to_dict() == dict(shown["Result"].losses)
    again = PilotRuns.from_frame(fitted.pilots.to_frame())
    assert again.runs == fitted.pilots.runs and (again.losses == fitted.pilots.losses).all()
    assert again.ratios == pytest.approx(fitted.pilots.ratios, abs=1e-12)  # rescaled to sum 1
    assert shown["Sweep"].to_frame()["ratio"].to_numpy().reshape(2, 3) == pytest.approx(shown["Sweep"].ratios)
    model = shown["MixtureModel"].to_frame()
    row = model[(model["parameter"] == "b") & (model["language"] == "b") & (model["from"] == "c")]
    assert row["value"].item() == fitted.model.parameters["b"][1, 2]
    errors = shown["Fit"].to_frame().set_index("language")
    assert errors.loc["all", "mae"] == fitted.overall.mae


def test_dictionaries_are_json_and_name_their_format(shown):
    kinds = {"Decision": "result", "Diagnosis": "fit", "EnsembleFit": "fit", "Robust": "result", "Schedule": "sweep"}
    for name, one in shown.items():
        if isinstance(one, Reported):
            content = one.to_dict()
            assert json.loads(json.dumps(content, allow_nan=False)) == content
            kind = kinds.get(name, name.lower())
            assert content["format"] == f"climbopt {kind} {2 if kind == 'result' else 1}"


def without_times(value):
    """Return JSON values without those that differ from run to run."""
    if isinstance(value, dict):
        return {
            key: without_times(entry) for key, entry in value.items() if key not in ("seconds", "fastest", "slowest")
        }
    return [without_times(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (["solve", "equal_beta"], lambda: climbopt.solve("equal_beta")),
        (["sweep", "equal_beta", "--budgets", "1e9:1e10:2"], lambda: climbopt.sweep("equal_beta", [1e9, 1e10])),
        (
            ["plan", "--languages", "a,b", "--budgets", "1e9,2e9", "--runs", "5"],
            lambda: climbopt.plan(["a", "b"], [1e9, 2e9], 5),
        ),
        (
            ["fit", "problems/libreoffice6/pilots.csv", "--interaction", "none"],
            lambda: climbopt.fit("problems/libreoffice6/pilots.csv", interaction="none"),
        ),
    ],
    ids=["solve", "sweep", "plan", "fit"],
)
def test_dictionaries_equal_the_command_lines_json(command, answer, tmp_path):
    place = tmp_path / "answer.json"
    app([*command, "--json", str(place)], standalone_mode=False)
    assert without_times(json.loads(place.read_text())) == without_times(answer().to_dict())


def test_results_are_saved_and_read(shown, tmp_path):
    result, place = shown["Result"], tmp_path / "result.json"
    climbopt.save_result(result, place)
    saved = climbopt.load_result(place)
    assert saved.ratios == result.ratios and saved.passed and saved.to_dict() == result.to_dict()
    assert repr(saved).startswith("saved result of problem, joint: ")
    climbopt.save_result(shown["Robust"], place)
    assert climbopt.load_result(place).ratios == shown["Robust"].result.ratios
    with pytest.raises(climbopt.InputError, match="result of save_result.. is a Fit; give a Result or a Robust"):
        climbopt.save_result(shown["Fit"], place)
    place.write_text("{}")
    with pytest.raises(climbopt.InputError, match="holds no result; write it with save_result"):
        climbopt.load_result(place)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Result", "allocation"),
        ("Result", "ranges"),
        ("Result", "marginal"),
        ("Comparison", "profile"),
        ("Fit", "fit"),
        ("Fit", "transfer"),
        ("Sweep", "sweep"),
        ("Schedule", "sweep"),
        ("Plan", "errors"),
        ("Robust", "allocation"),
    ],
)
def test_pictures_are_drawn_into_axes(shown, name, kind):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    axes = figure.subplots(1, 2)
    assert shown[name].plot(kind, ax=axes[1]) is axes[1]
    assert axes[1].has_data() and not axes[0].has_data()
    own = shown[name].plot(kind)
    assert own.figure is not figure and own.has_data()


def test_bars_show_the_ratios(shown):
    pytest.importorskip("matplotlib")
    heights = [bar.get_height() or bar.get_width() for bar in shown["Result"].plot().containers[0]]
    assert heights == pytest.approx([100 * ratio for ratio in shown["Result"].ratios.values()])


def test_a_kind_without_a_picture_is_refused(shown):
    with pytest.raises(
        climbopt.InputError, match="unknown picture of a Result 'sweep'.*Known: allocation, ranges, marginal"
    ):
        shown["Result"].plot("sweep")
    with pytest.raises(climbopt.InputError, match="Known: none"):
        shown["Diagnosis"].plot()
