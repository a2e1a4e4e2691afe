"""plan --export and collect: from planned runs to the table of pilots that their logs make."""

import json
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from test_records import event_file

import climbopt
from climbopt.files import jobs
from climbopt.files.collect import collect
from climbopt.files.jobs import PlannedRun, load_manifest, train_words, write_jobs
from climbopt.files.logs import keys_by_language, read_log
from climbopt.files.trainers import TRAINERS
from climbopt.foundations.errors import InputError

EVIL = ("en", "x; rm -rf ~", "$(touch pwned)", "it's `touch pwned`")
TRAIN = """\
import json, sys
config, out, tokens = sys.argv[1], sys.argv[2], float(sys.argv[3])
mixture = json.load(open(config))
json.dump(sys.argv[1:], open(out + "/arguments.json", "w"))
with open(out + "/train.jsonl", "w") as stream:
    for share in (0.5, 1.0):
        losses = {f"eval/loss/{name}": 3.0 - share + 0.1 * k for k, name in enumerate(json.load(open("names.json")))}
        print(json.dumps({"step": share, "tokens": share * tokens, "train/loss": 9.0, **losses}), file=stream)
"""


def planned(languages=("en", "de"), n=3):
    rng = np.random.default_rng(0)
    mixtures = rng.dirichlet(np.ones(len(languages)), n)
    return [
        PlannedRun(f"plan-{k + 1:03d}", 1e6, dict(zip(languages, row.tolist(), strict=True)), {})
        for k, row in enumerate(mixtures)
    ]


def log(place, name, tokens=1e6, file="train.jsonl", **losses):
    """Write a log of one run, half of its tokens and then all."""
    folder = place / name
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"tokens": share * tokens, **{f"eval/loss/{key}": loss + 1 - share for key, loss in losses.items()}}
        for share in (0.5, 1.0)
    ]
    (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_from_a_plan_to_pilots(tmp_path, run, monkeypatch):
    """Names that are commands reach the trainer as text, and nothing runs them."""
    monkeypatch.chdir(tmp_path)
    names = ["en", "x; rm -rf ~", "$(touch pwned)"]
    command = f"{sys.executable} train.py {{config}} {{logs}} {{tokens}} '$(touch pwned)' 'a b;touch pwned'"
    words = ["plan", "--languages", ",".join(names), "--budgets", "1M,2M", "--runs", 5, "--export", "json"]
    code, _, err = run(*words, "--command", command, "-o", "jobs")
    assert code == 0 and "climbopt collect jobs" in err
    folder = tmp_path / "jobs"
    (folder / "train.py").write_text(TRAIN)
    (folder / "names.json").write_text(json.dumps(names))
    for script in ("run.sh", "array.sbatch"):
        subprocess.run(["bash", "-n", folder / script], check=True)
    assert "#SBATCH --array=1-5\n" in (folder / "array.sbatch").read_text()
    subprocess.run(["bash", folder / "run.sh", "1", "2"], check=True, cwd=tmp_path)
    array = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_SUBMIT_DIR": str(folder), "PATH": "/usr/bin:/bin"}
    subprocess.run(["bash", folder / "array.sbatch"], check=True, cwd=tmp_path, env=array)
    code, out, _ = run("collect", "jobs", "-o", "pilots.csv")
    assert code == 1 and "3 of 5 runs are usable" in out and "plan-004" in out and "plan-005" in out
    assert not list(tmp_path.rglob("pwned"))
    arguments = json.loads((folder / "logs" / "plan-001" / "arguments.json").read_text())
    assert arguments[0] == "configs/plan-001.json" and arguments[3:] == ["$(touch pwned)", "a b;touch pwned"]
    plan, pilots = pd.read_csv(folder / "plan.csv"), pd.read_csv(tmp_path / "pilots.csv")
    both = pilots.merge(plan, on=["run", "language"])
    assert len(both) == len(pilots) == 9 and set(pilots["language"]) == set(names)
    np.testing.assert_allclose(both["ratio_x"], both["ratio_y"], atol=1e-6)
    assert (both["tokens_x"] == both["tokens_y"]).all()
    assert pilots["tokens"].dtype == plan["tokens"].dtype == int  # 500000, and not 500000.0
    assert pilots["loss"].tolist() == pytest.approx([2.0, 2.1, 2.2] * 3)
    for k, mixture in enumerate(load_manifest(folder)):
        config = json.loads((folder / f"configs/plan-{k + 1:03d}.json").read_text())
        assert all(name in json.dumps(config) for name in names) and sum(mixture.ratios.values()) == pytest.approx(1)
    provenance = json.loads((tmp_path / "pilots.csv.provenance.json").read_text())
    assert [entry["status"] for entry in provenance["runs"]] == ["ok"] * 3 + ["no logs"] * 2
    assert len(provenance["runs"][0]["files"][0]["sha256"]) == 64
    assert len(climbopt.load_pilots(tmp_path / "pilots.csv").runs) == 3


def test_a_failed_training_is_told(tmp_path):
    """Without a command the script refuses to do nothing; a command that fails leaves its code in the status."""
    for command, status in ((None, "failed 64"), ("bash -c 'exit 3'", "failed 3")):
        place = tmp_path / status.replace(" ", "")
        place.mkdir()
        write_jobs(place, planned(), TRAINERS["json"], {}, command)
        assert subprocess.run(["bash", place / "run.sh", "2"], capture_output=True).returncode == 1
        assert (place / "logs" / "plan-002" / "status").read_text().strip() == status
        collection = collect(load_manifest(place), [place / "logs"])
        assert [one.status for one in collection.runs] == ["no logs", "failed", "no logs"]


def test_cut_supplies_stand_in_the_manifest(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "supply.csv").write_text("language,tokens\nen,8M\nsw,1M\n")
    words = "plan --languages en,sw --budgets 1M,2M --runs 4 --target-budget 8M --supply supply.csv --cut-supply"
    code, _, _ = run(*words.split(), "--export", "megatron", "-o", "jobs")
    assert code == 0
    for one in load_manifest(tmp_path / "jobs"):
        assert one.supply == pytest.approx({"en": one.tokens, "sw": one.tokens / 8}, rel=1e-6)


@pytest.mark.parametrize("languages", [EVIL, ("a'b", 'c"d', "e\\f", "g|h")])
def test_scripts_hold_no_name_of_a_language(languages, tmp_path):
    write_jobs(tmp_path, planned(languages), TRAINERS["json"], {}, None)
    for script in (jobs.RUN_NAME, jobs.ARRAY_NAME):
        text = (tmp_path / script).read_text()
        assert not any(name in text for name in languages if len(name) > 2)
        subprocess.run(["bash", "-n", tmp_path / script], check=True)


def test_commands_are_quoted_word_by_word():
    assert train_words("a 'b; c' {run}.x") == "a 'b; c' \"$run\".x"
    for wrong, message in (("a {steps}", "its fields are"), ("a 'b", "split into words"), (" ", "is empty")):
        with pytest.raises(InputError, match=message):
            train_words(wrong)


def test_every_run_is_listed_with_what_became_of_it(tmp_path):
    """Failed, unfinished, doubled, incomplete and missing runs are named, and none of their losses is used."""
    runs = planned(n=8)
    log(tmp_path, "plan-001", en=2.0, de=2.1)
    log(tmp_path, "plan-002", en=2.0, de=2.1)
    (tmp_path / "plan-002" / "status").write_text("failed 137\n")
    log(tmp_path, "plan-003", tokens=6e5, en=2.0, de=2.1)
    log(tmp_path, "plan-004", en=2.0, de=2.1)
    log(tmp_path, "plan-004", file="again.jsonl", en=1.9, de=2.1)
    log(tmp_path, "plan-005", en=2.0)
    log(tmp_path, "plan-006", en=2.0, de=2.1)
    (tmp_path / "plan-006" / "status").write_text("running\n")
    log(tmp_path, "plan-008", en=2.0, de=2.1)
    log(tmp_path, "plan-008", file="copy.jsonl", en=2.0, de=2.1)
    (tmp_path / "plan-001" / "odd.csv").write_text("not,a\ntable")
    collection = collect(runs, [tmp_path])
    assert {run.planned.name: run.status for run in collection.runs} == {
        "plan-001": "ok",
        "plan-002": "failed",
        "plan-003": "unfinished",
        "plan-004": "doubled",
        "plan-005": "incomplete",
        "plan-006": "unfinished",
        "plan-007": "no logs",
        "plan-008": "ok",
    }
    assert sorted(collection.table()["run"].unique()) == ["plan-001", "plan-008"]
    assert collection.table()["loss"].tolist() == [2.0, 2.1, 2.0, 2.1]
    assert "again.jsonl" in collection.runs[3].reason and "train.jsonl" in collection.runs[3].reason


def test_an_export_of_a_tracker_names_its_runs_and_their_state(tmp_path):
    (tmp_path / "export.csv").write_text(
        "Name,State,eval/loss/en,eval/loss/de,config.api_key\n"
        "plan-001,finished,2.0,2.1,hunter2\nplan-002,crashed,2.5,2.6,hunter2\nother,finished,1,1,hunter2\n"
    )
    collection = collect(planned(), [tmp_path / "export.csv"])
    assert [run.status for run in collection.runs] == ["ok", "failed", "no logs"]
    assert collection.runs[0].losses == {"en": 2.0, "de": 2.1} and "other" in str(collection.ignored)


def test_an_offline_run_of_wandb_and_its_secrets(tmp_path, run):
    """The summary is read; a damaged record is named; nothing of configuration and metadata is copied."""
    runs = planned(n=2)
    write_jobs(tmp_path, runs, TRAINERS["json"], {}, None)
    files = tmp_path / "logs" / "plan-001" / "wandb" / "offline-run-1" / "files"
    files.mkdir(parents=True)
    summary = {"eval": {"loss": {"en": 2.0, "de": 2.1}}, "tokens": 1e6, "api_key": "hunter2", "_wandb": {"runtime": 3}}
    (files / "wandb-summary.json").write_text(json.dumps(summary))
    (files / "config.yaml").write_text("api_key: hunter2")
    (files / "wandb-metadata.json").write_text('{"args": ["--token", "hunter2"]}')
    (files.parent / "run-1.wandb").write_bytes(b":W&Bhunter2")
    code, out, _ = run("collect", tmp_path, "-o", tmp_path / "pilots.csv")
    assert (
        code == 1
        and "1 of 2 runs are usable" in out
        and "is no record of W&B that can be read" in " ".join(out.split())
    )
    written = [tmp_path / "pilots.csv", tmp_path / "pilots.csv.provenance.json"]
    assert pd.read_csv(written[0])["loss"].tolist() == [2.0, 2.1]
    assert not any("hunter2" in path.read_text() for path in written) and "hunter2" not in out


def test_results_of_lm_eval_are_nats_per_byte(tmp_path):
    results = {f"wiki_{name}": {"alias": name, "bits_per_byte,none": bits} for name, bits in (("en", 1.0), ("de", 1.5))}
    (tmp_path / "plan-001").mkdir()
    (tmp_path / "plan-001" / "results_2026.json").write_text(json.dumps({"results": results, "config": {"key": "x"}}))
    collection = collect(planned(n=1), [tmp_path])
    assert collection.runs[0].losses == pytest.approx({"en": math.log(2), "de": 1.5 * math.log(2)})
    assert collection.runs[0].reason == "nothing says that it ended"


def test_tensorboard_events_and_a_resumed_run(tmp_path):
    folder = tmp_path / "plan-001"
    folder.mkdir()
    for suffix, steps in ((".a", (1, 2)), (".b", (3, 4))):
        by_step = {
            step: {"eval/loss/en": 3 - step / 4, "eval/loss/de": 4 - step / 4, "tokens": step * 2.5e5} for step in steps
        }
        (folder / f"events.out.tfevents.1{suffix}").write_bytes(event_file(by_step))
    assert [entry.numbers["step"] for path in sorted(folder.iterdir()) for entry in read_log(path)] == [1, 2, 3, 4]
    collection = collect(planned(n=1), [tmp_path])
    assert collection.runs[0].status == "ok" and collection.runs[0].losses == pytest.approx({"en": 2.0, "de": 3.0})


def test_two_readings_of_losses_are_refused_with_both():
    keys = ["test/loss/en", "test/loss/de", "eval/loss/en", "eval/loss/de", "tokens/en"]
    with pytest.raises(InputError, match=r"--loss-columns 'test/loss/\*' or --loss-columns 'eval/loss/\*'"):
        keys_by_language(keys, ["en", "de"])
    assert keys_by_language(keys, ["en", "de"], "eval/loss/*")[1] == {"en": "eval/loss/en", "de": "eval/loss/de"}
    assert keys_by_language(["loss_zh", "loss_zh-hans"], ["zh", "zh-hans"])[1] == {
        "zh": "loss_zh",
        "zh-hans": "loss_zh-hans",
    }
    assert keys_by_language(["loss/den"], ["en", "de"]) == ("", {})


def test_before_the_first_log_every_run_is_listed(tmp_path, run):
    write_jobs(tmp_path, planned(n=2), TRAINERS["json"], {}, None)
    code, out, _ = run("collect", tmp_path, "-o", tmp_path / "pilots.csv")
    assert code == 1 and out.count("no logs") == 2 and not (tmp_path / "pilots.csv").exists()
    code, _, err = run("collect", tmp_path, "--from", tmp_path / "nowhere")
    assert code == 2 and "there is no file or folder" in err


def test_a_folder_that_is_none(tmp_path, run):
    code, _, err = run("collect", tmp_path)
    assert code == 2 and "manifest.json; name a folder" in err
    code, _, err = run("collect", "nowhere")
    assert code == 2 and err == "climbopt: there is no nowhere; name a folder that climbopt plan --export wrote\n"
    (tmp_path / "manifest.json").write_text('{"format": "climbopt manifest 1", "runs": [{}]}')
    code, _, err = run("collect", tmp_path)
    assert code == 2 and "is not as climbopt writes it" in err


def evaluated(tokens, en=2.0, de=2.1):
    return {"tokens": tokens, "eval/loss/en": en, "eval/loss/de": de}


@pytest.mark.parametrize(
    "entries, status, reason",
    [
        ([evaluated(1e6)], "ok", ""),
        ([evaluated(5e5, 7, 8), {"tokens": 1e6, "lr": 0.0}], "unfinished", "the last loss of en is at 5e+05 of 1e+06"),
        ([evaluated(5e5, 7, 8), evaluated(1e6, float("nan"))], "failed", "its last loss of en is nan"),
        ([evaluated(5e5), evaluated(1e6, "Infinity")], "failed", "its last loss of en is inf"),
        ([evaluated(2e6)], "overrun", "2e+06 tokens where 1e+06 were planned"),
        ([{"tokens": 1e6}, {"eval/loss/en": 2.0, "eval/loss/de": 2.1}], "ok", ""),
        ([evaluated(None) | {"config": {"tokens": 1e6}}], "ok", "nothing says that it ended"),
    ],
)
def test_losses_are_those_of_the_planned_end(tmp_path, entries, status, reason):
    """The last loss must be a number, and stand at the planned tokens."""
    (tmp_path / "plan-001.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    run = collect(planned(n=1), [tmp_path]).runs[0]
    assert run.status == status and reason in run.reason


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path):
    lines = json.dumps(evaluated(1e6)) + "\n"
    (tmp_path / "plan-001.jsonl").write_text(lines + '{"tokens": 1e')
    (tmp_path / "plan-002.jsonl").write_text('{"tokens": 1e\n' + lines)
    collection = collect(planned(n=2), [tmp_path])
    assert [run.status for run in collection.runs] == ["ok", "no logs"]
    assert "line 1 is no JSON" in str(collection.ignored)


def test_training_losses_are_not_taken_for_validation_losses(tmp_path):
    (tmp_path / "plan-001.jsonl").write_text(json.dumps({"tokens": 1e6, "train/loss/en": 2.0, "train/loss/de": 2.1}))
    with pytest.raises(InputError, match="no key of the logs names the loss"):
        collect(planned(n=1), [tmp_path])
    assert collect(planned(n=1), [tmp_path], "train/loss/*").runs[0].losses == {"en": 2.0, "de": 2.1}


def test_rows_of_a_table_of_runs_are_runs(tmp_path):
    """Two finished rows of one name are a double; one that crashed before the one that finished is left out."""
    rows = [("plan-001", "finished", 2.0), ("plan-001", "finished", 2.4), ("plan-002", "crashed", 3.0)]
    rows += [("plan-002", "finished", 2.0)]
    text = "".join(f"{name},{state},{loss},2.1,5000000\n" for name, state, loss in rows)
    (tmp_path / "export.csv").write_text("Name,State,eval/loss/en,eval/loss/de,config.total_tokens\n" + text)
    first, second = collect(planned(n=2), [tmp_path]).runs
    assert first.status == "doubled"
    assert (second.status, second.losses["en"]) == ("ok", 2.0) and "left out" in second.reason


def test_placeholders_of_all_runs_are_one_note(tmp_path):
    """Runs over other languages each: one note names all of them."""
    parts = {"a": {"en": 0.5, "de": 0.5}, "b": {"en": 0.5, "sw": 0.5}}
    runs = [PlannedRun(name, 1e6, ratios, {}) for name, ratios in parts.items()]
    notes = write_jobs(tmp_path, runs, TRAINERS["megatron"], {}, None)
    assert sum("placeholders" in note for note in notes) == 1
    assert "paths of en, de, sw;" in notes[0]
