"""decide: one command from pilot runs to a folder that repeats its decision."""

import json
import shutil
import sys
import tomllib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

import climbopt
from climbopt import cli
from climbopt.files import commented, load_weights, new_folder
from climbopt.foundations.errors import InputError
from climbopt.uncertainty.decision import decide

LANGUAGES = ("en", "de", "sw")
SUPPLY = {"en": 4e9, "de": 4e8, "sw": 2e8}


def pilots(n=21, least=0.0, seed=3):
    """Runs of three languages with a known law, each language alone included, with noise of 0.002."""
    rng, rows = np.random.default_rng(seed), []
    for k in range(n):
        ratios = np.eye(3)[k] if k < 3 and least == 0 else rng.dirichlet(np.ones(3))
        ratios = least + (1 - 3 * least) * ratios
        tokens = (1e8, 2e8, 4e8)[k % 3]
        for i, (name, ratio) in enumerate(zip(LANGUAGES, ratios, strict=True)):
            z = ratio + 0.2 * (1 - ratio)
            loss = 1.5 + 0.1 * i + (tokens / 1e8 * z) ** -0.25 + rng.normal(0, 0.002)
            rows.append({"run": f"r{k}", "tokens": tokens, "language": name, "ratio": ratio, "loss": loss})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    pilots().to_csv(folder / "pilots.csv", index=False)
    pd.DataFrame({"language": list(SUPPLY), "tokens": list(SUPPLY.values())}).to_csv(folder / "supply.csv", index=False)
    pd.DataFrame({"language": LANGUAGES, "weight": [1, 1, 4]}).to_csv(folder / "weights.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def decided(inputs, tmp_path_factory):
    """A folder as the command writes it, its exit code and what it printed."""
    folder = tmp_path_factory.mktemp("decided") / "swahili run"
    with pytest.MonkeyPatch.context() as patch:
        words = f"decide {inputs}/pilots.csv --budget 1B --bootstrap 3 --floor en=30% --json".split()
        files = ["--supply", f"{inputs}/supply.csv", "--weights", f"{inputs}/weights.csv", "-o", str(folder)]
        patch.setattr(sys, "argv", ["climbopt", *words, f"{folder.parent}/out.json", *files])
        with pytest.raises(SystemExit) as stop:
            cli.main()
            sys.exit(0)
    return folder, stop.value.code or 0


def test_the_folder_holds_all_that_the_answer_rests_on(decided, inputs):
    folder, code = decided
    assert code == 0
    names = "answer.json mixture.csv model.draws.jsonl model.toml pilots.csv problem.toml report.txt".split()
    assert set(names) <= {path.name for path in folder.iterdir()}
    answer = json.loads((folder / "answer.json").read_text())
    assert answer == json.loads((folder.parent / "out.json").read_text())
    assert answer["certificate"]["passed"] and answer["decision"]["stands"] and set(answer["ranges"]) == set(LANGUAGES)
    assert {"uniform", "natural", "temperature", "unimax"} <= set(answer["baselines"])
    mixture = pd.read_csv(folder / "mixture.csv").set_index("language")
    assert list(mixture) == ["ratio", "tokens", "epochs"] and mixture["ratio"].to_dict() == answer["ratios"]
    assert mixture["ratio"].sum() == pytest.approx(1, abs=1e-12) and mixture["ratio"]["en"] >= 0.3 - 1e-9
    np.testing.assert_allclose(mixture["tokens"], 1e9 * mixture["ratio"])
    np.testing.assert_allclose(mixture["epochs"], mixture["tokens"] / pd.Series(SUPPLY)[mixture.index])
    known, copied = climbopt.load_pilots(inputs / "pilots.csv"), climbopt.load_pilots(folder / "pilots.csv")
    assert known.runs == copied.runs and known.sources == copied.sources
    np.testing.assert_allclose(copied.losses, known.losses, rtol=0, atol=1e-12)
    assert climbopt.load_result(folder / "answer.json").passed


def test_the_problem_states_what_was_asked(decided):
    table = tomllib.loads((decided[0] / "problem.toml").read_text())
    assert table == {
        "name": "swahili run",
        "model": "model.toml",
        "budget": 10**9,
        "weights": {"en": 1, "de": 1, "sw": 4},
        "supply": {name: int(tokens) for name, tokens in SUPPLY.items()},
        "constraints": [{"kind": "floor", "ratios": {"en": 0.3}}],
    }


def test_solve_on_the_folder_repeats_it(decided, run):
    folder, _ = decided
    code, out, _ = run("solve", folder, "--json", "-")
    answer, again = json.loads((folder / "answer.json").read_text()), json.loads(out)
    assert code == 0 and again["decision"]["scenarios"] == answer["decision"]["scenarios"]
    for key in ("ratios", "losses"):
        assert again[key] == pytest.approx(answer[key], abs=1e-12)
    assert again["baselines"]["uniform"]["gain"] == pytest.approx(answer["baselines"]["uniform"]["gain"], abs=1e-12)


def test_an_edited_problem_is_another_one(decided, tmp_path, run):
    folder = tmp_path / "edited"
    shutil.copytree(decided[0], folder)
    with (folder / "problem.toml").open("a") as stream:
        stream.write('\n[[constraints]]\nkind = "cap"\nratios = { sw = 0.3 }\n')
    _, out, _ = run("solve", folder, "--json", "-")
    ratios = json.loads(out)["ratios"]
    assert json.loads((folder / "answer.json").read_text())["ratios"]["sw"] > 0.31
    assert ratios["sw"] == pytest.approx(0.3, abs=1e-6) and ratios["en"] >= 0.3 - 1e-9


@pytest.mark.parametrize("command", ["sweep", "plot", "certify"])
def test_other_commands_take_the_folder(command, decided, tmp_path, run):
    options = {
        "sweep": ["--budgets", "1B:1B:1"],
        "plot": ["--kind", "allocation", "-o", tmp_path / "x.svg"],
        "certify": ["--ratios", decided[0] / "mixture.csv", "--time-limit", "1"],
    }
    code, _, err = run(command, decided[0], *options[command])
    assert code in (0, 1), err


def test_weights_move_the_answer(decided):
    """With the weight of sw at 4 it gets more than de, which is alike but for its floor of loss."""
    ratios = json.loads((decided[0] / "answer.json").read_text())["ratios"]
    assert ratios["sw"] > ratios["de"] + 0.1


def test_no_decision_is_written_too(tmp_path, run, monkeypatch):
    """Of runs that all hold 20 % or more of each language the answer at 80 % of one lies where nothing was measured."""
    monkeypatch.chdir(tmp_path)
    pilots(least=0.2).to_csv("pilots.csv", index=False)
    code, out, err = run(*"decide pilots.csv --budget 1B --bootstrap 2 --floor sw=0.9 -o folder".split())
    assert code == 1 and "NOT a decision: sw has 90 %" in out
    assert "--after folder/pilots.csv" in " ".join(out.split())
    answer = json.loads((tmp_path / "folder" / "answer.json").read_text())
    assert answer["decision"]["stands"] is False and (tmp_path / "folder" / "problem.toml").is_file()
    assert "pilots.csv: 21 runs of 3 languages at 100 M to 400 M tokens, 63 losses" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--floor", "sv=0.1"], "did you mean 'sw'"),
        (["--floor", "sw"], "--floor 'sw' is no LANGUAGE=RATIO"),
        (["--floor", "sw=0.1", "--floor", "sw=0.2"], "--floor names 'sw' twice"),
        (["--floor", "sw=0.6", "--floor", "de=0.6"], "sum to"),
        (["--floor", "sw=12"], "12"),
        (["--weights", "odd.csv"], "unknown language with a weight 'fr'"),
        (["--weights", "negative.csv"], "a weight is 0 or more"),
        (["--budget", "-1"], "budget"),
    ],
)
def test_refused_before_the_work(options, message, inputs, tmp_path, run, monkeypatch):
    monkeypatch.setattr("climbopt.uncertainty.decision.fit", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.csv").write_text("language,weight\nfr,1\n")
    (tmp_path / "negative.csv").write_text("language,weight\nsw,-1\n")
    code, _, err = run("decide", inputs / "pilots.csv", "--budget", "1B", *options, "-o", tmp_path / "folder")
    assert code == 2 and message in err and not (tmp_path / "folder").exists()


def test_priors_are_learned_where_that_is_asked_for(inputs, tmp_path, run, monkeypatch):
    asked = []

    def fit(*_, pool, **__):
        asked.append(pool)
        raise InputError("no fit here")

    monkeypatch.setattr("climbopt.uncertainty.decision.fit", fit)
    (tmp_path / "features.csv").write_text("language,family\nen,germanic\nde,germanic\nsw,bantu\n")
    for options in ([], ["--pool"], ["--features", tmp_path / "features.csv"]):
        assert run("decide", inputs / "pilots.csv", "--budget", "1B", *options)[0] == 2
    assert asked[:2] == [False, True] and asked[2].names == ("family",)


def test_unknown_keywords_are_refused():
    with pytest.raises(InputError, match="unknown keyword of decide 'constraint'; did you mean 'constraints'"):
        decide(pilots(), "1B", constraint=[])
    with pytest.raises(InputError, match="unknown keyword of plan 'runs'; did you mean 'n_runs'"):
        climbopt.plan(LANGUAGES, ["1B"], runs=9)
    with pytest.raises(InputError, match="unknown keyword of certify 'gaps'; did you mean 'gap'"):
        climbopt.certify("one_source", gaps=1e-3)


def test_a_folder_that_holds_something_is_left_alone(inputs, tmp_path, run):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    code, _, err = run("decide", inputs / "pilots.csv", "--budget", "1B", "-o", tmp_path / "mine")
    assert code == 2 and "holds something already ('notes.txt')" in err and "--force" in err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    code, _, err = run("decide", inputs / "pilots.csv", "--budget", "1B", "-o", inputs / "pilots.csv")
    assert code == 2 and "it is a file; name a folder" in err
    code, _, err = run("decide", inputs / "pilots.csv", "--budget", "1B", "-o", tmp_path / "no" / "such")
    assert code == 2 and "there is no folder" in err


def test_forced_files_are_replaced_and_others_stay(tmp_path):
    place = tmp_path / "folder"
    place.mkdir()
    for name in ("a", "b"):
        (place / name).write_text("old")
    with new_folder(place, force=True) as folder:
        (folder / "sub").mkdir()
        (folder / "a").write_text("new")
        (folder / "sub" / "c").write_text("new")
    assert {path.name: path.read_text() for path in place.rglob("*") if path.is_file()} == {
        "a": "new",
        "b": "old",
        "c": "new",
    }
    with pytest.raises(InputError, match="an input"), new_folder(place, force=True, inputs=[place / "b"]) as folder:
        (folder / "a").write_text("newer")
        (folder / "b").write_text("newer")
    assert (place / "a").read_text() == "new" and (place / "b").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder"]


def test_nothing_is_half_written(tmp_path):
    for start in (None, "empty"):
        place = tmp_path / "folder"
        if start:
            place.mkdir()
        with pytest.raises(KeyboardInterrupt), new_folder(place) as folder:
            (folder / "a").write_text("half")
            raise KeyboardInterrupt
        assert place.exists() == bool(start) and not any(tmp_path.rglob("a"))
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_init_writes_a_problem_to_be_edited(inputs, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("init", inputs / "pilots.csv", "--supply", inputs / "supply.csv", "--floor", "sw=2%")
    assert code == 0 and f"climbopt fit {inputs}/pilots.csv --supply {inputs}/supply.csv -o model.toml" in out
    table = tomllib.loads((tmp_path / "problem.toml").read_text())
    assert table == {
        "model": "model.toml",
        "budget": 4 * 10**8,
        "supply": {name: int(tokens) for name, tokens in SUPPLY.items()},
        "constraints": [{"kind": "floor", "ratios": {"sw": 0.02}}],
    }
    before = (tmp_path / "problem.toml").read_text()
    code, _, err = run("init", inputs / "pilots.csv")
    assert code == 2 and "is there already" in err and (tmp_path / "problem.toml").read_text() == before
    code, _, err = run("init", inputs / "pilots.csv", "--floor", "sv=2%", "-o", "other.toml")
    assert code == 2 and "did you mean 'sw'" in err and not (tmp_path / "other.toml").exists()


NAMES = st.lists(
    st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8), min_size=1, max_size=3, unique=True
)


@given(NAMES, st.floats(0, 1), st.floats(1e-300, 1e300))
def test_a_commented_problem_says_what_was_stated(names, ratio, budget):
    """Whatever the names hold, quotes, brackets, # and commands included, and with the comments taken off too."""
    names = [*names, 'x"; rm -rf ~ #]']
    table = {
        "name": names[0],
        "model": "model.toml",
        "budget": budget,
        "weights": dict.fromkeys(names, ratio),
        "constraints": [
            {"kind": "floor", "ratios": dict.fromkeys(names, ratio)},
            {"kind": "custom", "text": names[-1]},
        ],
        "objective": {"kind": "minimax"},
    }
    assert tomllib.loads(commented(table, names, names)) == table
    bare = commented({"model": "m", "budget": budget}, names, names)
    uncommented = [line.removeprefix("# ") for line in bare.splitlines() if line.startswith("# ") and " = " in line]
    for line in uncommented:
        assert tomllib.loads(line), line


def test_a_decision_in_python(decided, tmp_path, monkeypatch):
    """The same runs and seed give the same answer, which says what it is."""
    decision = decide(
        pilots(),
        "1B",
        supply=SUPPLY,
        weights={"sw": 4, "default": 1},
        constraints=[climbopt.Floor(en=0.3)],
        n_draws=3,
    )
    answer = json.loads((decided[0] / "answer.json").read_text())
    assert dict(decision.ratios) == pytest.approx(answer["ratios"], abs=1e-9)
    assert repr(decision).startswith("decision at 1e+09 tokens, a decision\n  ratios: sw ")
    assert decision.to_dict()["ratios"] == dict(decision.ratios) and list(decision.to_frame()["language"]) == [
        *LANGUAGES
    ]
    assert all(low < decision.result.losses[name] < high for name, (low, high) in decision.bands.items())
    monkeypatch.setattr("climbopt.reports.decisions.write_table", lambda *_: (_ for _ in ()).throw(InputError("full")))
    with pytest.raises(InputError, match="full"):
        decision.save(tmp_path / "folder")
    assert not list(tmp_path.iterdir())


def test_weights_are_read_as_they_are_written(tmp_path):
    (tmp_path / "w.csv").write_text("language,weight\nen,1\nsw,2.5\n")
    assert load_weights(tmp_path / "w.csv") == {"en": 1.0, "sw": 2.5}
    (tmp_path / "w.csv").write_text("language,weight\nen,1\nen,2\n")
    with pytest.raises(InputError, match="'en' twice"):
        load_weights(tmp_path / "w.csv")
