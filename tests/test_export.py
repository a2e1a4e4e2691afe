"""Export: rounded weights, formats of trainers, what is said, and the subcommand."""

import csv
import json
import math
from fractions import Fraction
from io import StringIO

import numpy as np
import pytest
import yaml
from hypothesis import given, strategies as st

import climbopt
from climbopt.__main__ import main
from climbopt.files import load_ratios
from climbopt.files.trainers import TRAINERS, Mixture
from climbopt.files.trainers.trainer import blended
from climbopt.files.trainers.training_mixture import rounded
from climbopt.foundations.errors import InputError

RATIOS = {"en": 0.5, "de": 0.3, "sw": 0.2}
ODD = {"no": 0.25, "1e3": 0.25, 'a: &b "c"\\': 0.25, "x; rm -rf ~ $(id) #": 0.25}
"""Names that YAML, JSON or a shell would take for something else."""


def run(capsys, *words):
    """Run the command line; return its exit code, standard output and error."""
    with pytest.raises(SystemExit) as stopped:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["climbopt", *map(str, words)])
            main()
    captured = capsys.readouterr()
    return stopped.value.code or 0, captured.out, captured.err


@given(
    st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=40).filter(lambda shares: sum(shares) > 0),
    st.integers(1, 12),
)
def test_weights_are_the_nearest_whose_sum_is_exact(shares, digits):
    units = rounded(shares, digits)
    total = sum(map(Fraction, shares))
    assert sum(units) == 10**digits
    assert all(abs(u - Fraction(s) * 10**digits / total) < 1 for u, s in zip(units, shares, strict=True))
    assert all(u == 0 for u, s in zip(units, shares, strict=True) if s == 0)


def test_decimal_ratios_stay_themselves():
    assert [s.weight for s in blended(Mixture({"a": 0.15, "b": 0.85}), by_example=False).sources] == [0.15, 0.85]


def test_examples_are_drawn_by_shares_over_mean_tokens():
    # 0.5 / 100 to 0.3 / 300 to 0.2 / 50 is as 5 to 1 to 4.
    mixture = Mixture(RATIOS, mean_tokens={"en": 100, "de": 300, "sw": 50})
    exported = TRAINERS["datasets"].export(mixture)
    assert json.loads(exported.text)["interleave_datasets"]["probabilities"] == [0.5, 0.1, 0.4]
    assert exported.blend.ratios == pytest.approx(RATIOS, abs=1e-15)
    assert not any("examples" in note for note in exported.notes)


def test_a_rounded_share_of_examples_gives_the_ratios_that_follow():
    exported = TRAINERS["datasets"].export(Mixture({"a": 0.5, "b": 0.5}, mean_tokens={"a": 1, "b": 9}), digits=1)
    assert json.loads(exported.text)["interleave_datasets"]["probabilities"] == [0.9, 0.1]
    assert exported.blend.ratios == {"a": 0.5, "b": 0.5}
    exported = TRAINERS["datasets"].export(Mixture({"a": 0.5, "b": 0.5}, mean_tokens={"a": 1, "b": 4}), digits=1)
    assert exported.blend.ratios == {"a": 0.5, "b": 0.5}
    exported = TRAINERS["datasets"].export(Mixture({"a": 0.5, "b": 0.5}, mean_tokens={"a": 1, "b": 3}), digits=1)
    # 0.75 and 0.25 are drawn as 0.8 and 0.2, or 0.7 and 0.3: 0.8 to 0.6 tokens.
    assert exported.blend.ratios == {"a": pytest.approx(0.8 / 1.4), "b": pytest.approx(0.6 / 1.4)}


def test_trainers_are_shown_no_zeros_and_tables_are():
    mixture = Mixture({"en": 0.7, "de": 0.3, "sw": 0.0})
    for trainer in TRAINERS.values():
        exported = trainer.export(mixture)
        assert ("sw" in exported.text) == trainer.keeps_zeros
        assert any("ratio 0: sw" in note for note in exported.notes) == (not trainer.keeps_zeros)


def test_what_rounds_to_nothing_is_said():
    exported = TRAINERS["megatron"].export(Mixture({"en": 1 - 3e-8, "sw": 3e-8}))
    assert json.loads(exported.text)["train"] == ["1.0", "PATH_OF_en"]
    assert any(note.startswith("sw: at 6 decimals the weight is 0") for note in exported.notes)
    exported = TRAINERS["megatron"].export(Mixture({"en": 1 - 3e-8, "sw": 3e-8}), digits=8)
    assert json.loads(exported.text)["train"] == ["0.99999997", "PATH_OF_en", "3e-08", "PATH_OF_sw"]


def test_repetition_and_short_sources_are_said():
    exported = TRAINERS["megatron"].export(Mixture(RATIOS, budget=10_000, supply={"en": 2000, "de": 6000}))
    assert any("drawn more than once: en 2.5 times; Megatron-LM repeats" in note for note in exported.notes)
    assert any("fewer tokens than one sequence of 4096: de, sw" in note for note in exported.notes)
    assert {s.language: s.epochs for s in exported.blend.sources} == {"en": 2.5, "de": 0.5, "sw": None}


def test_megatron_reads_pairs_of_weight_and_prefix():
    mixture = Mixture(RATIOS, paths={"en": "/data/my en", "de": "/data/de_text_document", "sw": "sw"})
    blend = json.loads(TRAINERS["megatron"].export(mixture, ".json").text)
    assert blend["valid"] is None and blend["test"] is None
    assert blend["train"] == ["0.5", "/data/my en", "0.3", "/data/de_text_document", "0.2", "sw"]
    with pytest.raises(InputError, match="split at blanks"):
        TRAINERS["megatron"].export(mixture, ".txt")
    plain = TRAINERS["megatron"].export(Mixture(RATIOS, paths={"en": "/data/en"}), ".txt").text
    assert plain.split() == ["0.5", "/data/en", "0.3", "PATH_OF_de", "0.2", "PATH_OF_sw"]
    with pytest.raises(InputError, match="without .bin and .idx"):
        TRAINERS["megatron"].export(Mixture(RATIOS, paths={"en": "/data/en.bin"}))


def test_datasets_takes_files_by_their_suffix():
    mixture = Mixture(RATIOS, paths={"en": "hub/name", "de": "a/de.jsonl.gz", "sw": "sw.parquet"})
    named = json.loads(TRAINERS["datasets"].export(mixture).text)
    assert named["languages"] == list(RATIOS)
    assert [load["path"] for load in named["load_dataset"]] == ["hub/name", "json", "parquet"]
    assert [load.get("data_files") for load in named["load_dataset"]] == [None, "a/de.jsonl.gz", "sw.parquet"]


def test_streams_with_a_scheme_are_remote():
    text = TRAINERS["streaming"].export(Mixture(RATIOS, paths={"en": "s3://bucket/en", "de": "/data/de"})).text
    assert yaml.safe_load(text)["streams"] == {
        "en": {"remote": "s3://bucket/en", "proportion": 0.5},
        "de": {"local": "/data/de", "proportion": 0.3},
        "sw": {"local": "PATH_OF_sw", "proportion": 0.2},
    }


def test_schemas_of_trainers_that_read_yaml():
    mixture = Mixture(
        {**RATIOS, "xx": 0.0}, 1e6, {"en": 1e6, "de": 70_001, "xx": 1}, {"en": "/data/en", "de": "/data/de"}
    )
    content = {
        name: yaml.safe_load(TRAINERS[name].export(mixture).text)
        for name in ("nemo", "llm-foundry", "olmo-core", "nanotron", "lingua")
    }
    paths, weights = ["/data/en", "/data/de", "PATH_OF_sw"], [0.5, 0.3, 0.2]
    assert content["nemo"] == {"dataset": {"blend": [paths, weights]}}
    assert content["llm-foundry"]["train_loader"]["dataset"]["streams"]["de"] == {
        "local": "/data/de",
        "proportion": 0.3,
    }
    # 300,000 tokens of 70,001 are 4.28565 epochs, and OLMo-core refuses what is too little.
    assert content["olmo-core"]["sources"] == [
        {"source_name": "en", "target_ratio": 0.5, "paths": ["/data/en"], "max_repetition_ratio": 1.0},
        {"source_name": "de", "target_ratio": 0.3, "paths": ["/data/de"], "max_repetition_ratio": 4.29},
        {"source_name": "sw", "target_ratio": 0.2, "paths": ["PATH_OF_sw"]},
    ]
    (stage,) = content["nanotron"]["data_stages"]
    assert stage["start_training_step"] == 1
    assert stage["data"]["dataset"] == {"dataset_folder": paths, "dataset_weights": weights}
    assert content["lingua"] == {"data": {"sources": dict(zip(paths, weights, strict=True))}}


def test_torchtitan_takes_arguments_of_its_sources():
    config = json.loads(TRAINERS["torchtitan"].export(Mixture(RATIOS)).text)
    assert config["sources"][1] == {"dataset": "de", "dataset_path": "PATH_OF_de", "infinite": True, "weight": 0.3}


@pytest.mark.parametrize("name", ["nemo", "llm-foundry", "lingua"])
@pytest.mark.parametrize("mixture", [{"paths": {"en": "${oc.env:HOME}"}}, {"ratios": {"${oc.env:HOME}": 1.0}}])
def test_what_omegaconf_would_evaluate_is_refused(name, mixture):
    with pytest.raises(InputError, match="which OmegaConf would evaluate"):
        TRAINERS[name].export(Mixture(**{"ratios": RATIOS, **mixture}))


def test_lingua_names_sources_by_their_paths():
    with pytest.raises(InputError, match="two languages have the path"):
        TRAINERS["lingua"].export(Mixture(RATIOS, paths={"en": "/data/a", "de": "/data/a"}))


def test_the_help_names_every_trainer(capsys):
    _, printed, _ = run(capsys, "export", "--help")
    words = printed.replace("\n", " ").replace(",", " ").split()
    assert all(name in words for name in TRAINERS)


@pytest.mark.parametrize("name", TRAINERS)
def test_names_are_text_and_no_more(name):
    trainer = TRAINERS[name]
    mixture = Mixture(ODD, paths={language: f"/data/{k} 'x'\"y" for k, language in enumerate(ODD)})
    for suffix in trainer.formats:
        if (name, suffix) == ("megatron", ".txt"):
            continue
        text = trainer.export(mixture, suffix).text
        if suffix == ".csv":
            read = [row["language"] for row in csv.DictReader(StringIO(text))]
            assert read == list(ODD)
            continue
        content = json.loads(text) if suffix == ".json" else yaml.safe_load(text)
        leaves = list(_leaves(content))
        assert all(path in leaves for path in mixture.paths.values())
        assert math.isclose(sum(float(leaf) for leaf in leaves if leaf in (0.25, "0.25")), 1)


def _leaves(content):
    """Give keys and values of nested JSON."""
    if isinstance(content, dict):
        yield from content
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from _leaves(part)
    else:
        yield content


def test_a_comment_is_one_line():
    text = TRAINERS["yaml"].export(Mixture(RATIOS, name="a\nratios: {en: 1}")).text
    assert yaml.safe_load(text)["ratios"] == RATIOS


@pytest.mark.parametrize("name", ["json", "csv"])
def test_plain_files_are_read_as_ratios_again(name, tmp_path):
    file = tmp_path / f"mixture.{name}"
    file.write_text(TRAINERS[name].export(Mixture(RATIOS, budget=1e9)).text)
    assert load_ratios(file) == RATIOS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratios": {"en": 0.6, "de": 0.3}}, "sum to 0.9"),
        ({"ratios": {"en": 1.5, "de": -0.5}}, "lies in"),
        ({"ratios": {"e\u200bn": 1.0}}, "cannot be seen"),
        ({"paths": {"fr": "x"}}, "unknown language with a path 'fr'"),
        ({"paths": {"en": "a\nb"}}, "text that prints"),
        ({"supply": {"fr": 1}}, "unknown language with a supply"),
        ({"mean_tokens": {"en": 100}}, "no mean number of tokens of de, sw"),
        ({"mean_tokens": {"en": 0, "de": 1, "sw": 1}}, "must be positive"),
        ({"budget": 0}, "positive number of tokens"),
    ],
)
def test_bad_mixtures_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        Mixture(**{"ratios": RATIOS, **change})


def test_a_source_without_data_is_refused():
    with pytest.raises(InputError, match="supply of 'en' is 0"):
        TRAINERS["csv"].export(Mixture(RATIOS, budget=1e6, supply={"en": 0}))


@pytest.fixture(scope="module")
def answer(tmp_path_factory):
    """An answer to libreoffice6, in a folder as decide writes it, without a problem."""
    folder = tmp_path_factory.mktemp("answer")
    result = climbopt.solve("libreoffice6")
    (folder / "answer.json").write_text(json.dumps(result.to_dict()))
    return folder


def test_export_states_the_loss_that_rounding_costs(answer, tmp_path, capsys):
    out = tmp_path / "mixture.csv"
    words = ["export", answer, "--to", "csv", "-o", out, "--digits", "2", "--problem", "libreoffice6"]
    code, printed, _ = run(capsys, *words)
    problem = climbopt.load_problem("libreoffice6")
    exact = json.loads((answer / "answer.json").read_text())["ratios"]
    drawn = load_ratios(out)
    assert sum(Fraction(str(ratio)) for ratio in drawn.values()) == 1
    costs = [problem.value(np.array([of[name] for name in problem.model.sources])) for of in (drawn, exact)]
    assert code == 0 and f"changes by {costs[0] - costs[1]:+.1e} nats/token" in " ".join(printed.split())
    assert f"more than {max(abs(drawn[name] - exact[name]) for name in exact):.1e}" in printed


def test_without_a_problem_the_loss_is_not_stated(answer, tmp_path, capsys):
    code, printed, error = run(capsys, "export", answer / "answer.json", "--to", "megatron", "-o", tmp_path / "b.json")
    assert code == 0 and "--problem" in printed and "placeholders" in error
    assert json.loads((tmp_path / "b.json").read_text())["train"][1::2] == [
        f"PATH_OF_{x}" for x in "en de nl es pt ru".split()
    ]


def test_paths_and_supplies_come_from_tables(tmp_path, capsys):
    (tmp_path / "ratios.json").write_text(json.dumps(RATIOS))
    (tmp_path / "paths.csv").write_text("language,path\nen,/data/en\nde,007\nsw,nan\n")
    (tmp_path / "supply.csv").write_text("language,tokens\nen,1M\nde,2M\nsw,4k\n")
    words = ["--paths", tmp_path / "paths.csv", "--supply", tmp_path / "supply.csv", "--budget", "1M"]
    code, _, error = run(capsys, "export", tmp_path / "ratios.json", "--to", "yaml", "-o", tmp_path / "m.yaml", *words)
    content = yaml.safe_load((tmp_path / "m.yaml").read_text())
    assert code == 0 and content["paths"] == {"en": "/data/en", "de": "007", "sw": "nan"}
    assert content["epochs"] == {"en": 0.5, "de": 0.15, "sw": 50} and "sw 50 times" in error


def test_an_answer_that_is_no_decision_is_exported_with_a_warning(answer, tmp_path, capsys):
    record = json.loads((answer / "answer.json").read_text())
    record["decision"] = {"stands": False, "reason": "the band is wide"}
    record["certificate"]["passed"] = False
    (tmp_path / "answer.json").write_text(json.dumps(record))
    code, _, error = run(capsys, "export", tmp_path, "--to", "csv", "-o", tmp_path / "m.csv")
    assert code == 0 and "NOT a decision: the band is wide" in error and "did not pass its certificate" in error


def test_the_problem_beside_the_answer_is_used(answer, tmp_path, capsys):
    climbopt.save_problem(climbopt.load_problem("libreoffice6"), tmp_path / "problem.toml")
    (tmp_path / "answer.json").write_text((answer / "answer.json").read_text())
    code, printed, _ = run(capsys, "export", tmp_path, "--to", "csv", "-o", tmp_path / "m.csv")
    assert code == 0 and "changes by" in printed
    with (tmp_path / "m.csv").open() as stream:
        assert all(float(row["epochs"]) > 0 for row in csv.DictReader(stream))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "megatrn", "-o", "x.json"], "did you mean 'megatron'"),
        (["--to", "megatron", "-o", "x.yaml"], "megatron reads no '*.yaml'; call the file *.json or *.txt"),
        (["--to", "csv", "-o", "x.csv", "--problem", "one_source"], "name the problem that was answered"),
        (["--to", "csv", "-o", "answer.json"], "reads no"),
        (["--to", "json", "-o", "answer.json"], "is an input"),
        (["--to", "csv", "-o", "no/x.csv"], "no folder"),
    ],
)
def test_bad_input_is_refused_and_nothing_written(answer, tmp_path, monkeypatch, capsys, words, message):
    (tmp_path / "answer.json").write_text((answer / "answer.json").read_text())
    monkeypatch.chdir(tmp_path)
    code, _, error = run(capsys, "export", "answer.json", *words)
    assert code == 2 and message in error
    assert [path.name for path in tmp_path.iterdir()] == ["answer.json"]


def test_a_folder_without_an_answer_is_refused(tmp_path, capsys):
    code, _, error = run(capsys, "export", tmp_path, "--to", "csv", "-o", tmp_path / "x.csv")
    assert code == 2 and "holds no answer.json" in error


@pytest.fixture
def schedule(tmp_path):
    """A schedule of two stages, as sweep --stages --json writes it."""
    stages = [
        {"begin": 0.0, "end": 1e6, "ratios": {"en": 0.75, "de": 0.25}, "cumulative": {"en": 0.75, "de": 0.25}},
        {"begin": 1e6, "end": 4e6, "ratios": {"en": 0.25, "de": 0.75}, "cumulative": {"en": 0.375, "de": 0.625}},
    ]
    (tmp_path / "path.json").write_text(json.dumps({"format": "climbopt sweep 1", "schedule": stages}))
    return tmp_path / "path.json"


def test_a_stage_is_exported_with_its_own_ratios_and_tokens(schedule, capsys):
    out = schedule.with_name("stage.yaml")
    code, _, _ = run(capsys, "export", schedule, "--to", "yaml", "-o", out, "--stage", 2)
    content = yaml.safe_load(out.read_text())
    assert code == 0 and content["ratios"] == {"en": 0.25, "de": 0.75} and content["budget"] == 3e6


def test_a_schedule_is_one_file_where_the_trainer_has_stages(schedule, capsys):
    """Steps are counted from 1: after 1 M tokens in steps of 0.25 M the second stage begins at step 5."""
    out = schedule.with_name("stages.yaml")
    code, _, _ = run(capsys, "export", schedule, "--to", "nanotron", "-o", out, "--batch-tokens", "0.25M")
    stages = yaml.safe_load(out.read_text())["data_stages"]
    assert code == 0 and [stage["start_training_step"] for stage in stages] == [1, 5]
    assert [stage["data"]["dataset"]["dataset_weights"] for stage in stages] == [[0.75, 0.25], [0.25, 0.75]]
    assert len({stage["name"] for stage in stages}) == 2


@pytest.mark.parametrize(
    ("to", "options", "words"),
    [
        ("csv", ("--batch-tokens", "1M"), "a file of csv holds one mixture; name a stage by --stage N"),
        ("nanotron", ("--batch-tokens", "8M"), "which do not rise"),
        ("nanotron", ("--batch-tokens", "1M", "--stage", 1), "leave out --stage"),
    ],
)
def test_stages_that_no_file_holds(schedule, capsys, to, options, words):
    out = schedule.with_name("stages.yaml" if to == "nanotron" else "stages.csv")
    code, _, error = run(capsys, "export", schedule, "--to", to, "-o", out, *options)
    assert code == 2 and words in error and not out.exists()


def test_a_stage_must_be_named_and_be_there(schedule, answer, capsys):
    out = schedule.with_name("x.csv")
    for words in ([schedule], [schedule, "--stage", 3]):
        code, _, error = run(capsys, "export", *words, "--to", "csv", "-o", out)
        assert code == 2 and "a schedule of 2 stages; name one by --stage N" in error
    code, _, error = run(capsys, "export", answer / "answer.json", "--stage", 1, "--to", "csv", "-o", out)
    assert code == 2 and "holds no schedule" in error and not out.exists()


def test_sweep_writes_stages_that_are_exported(tmp_path, capsys):
    path, out = tmp_path / "path.json", tmp_path / "s.json"
    code, _, _ = run(capsys, "sweep", "synthetic16", "--budgets", "1B:4B:2", "--stages", 2, "--json", path)
    assert code == 0
    code, _, _ = run(capsys, "export", path, "--to", "json", "-o", out, "--stage", 1)
    assert code == 0 and sum(json.loads(out.read_text())["ratios"].values()) == pytest.approx(1)
