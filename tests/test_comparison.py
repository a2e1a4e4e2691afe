"""compare: rows, keys, crashes that lose one row, limits, profiles."""

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from climbopt import AllocationProblem, BackendError, InputError, load_problem
from climbopt.backends import BACKENDS, Entry, load
from climbopt.reports.comparisons import comparison_html
from climbopt.studies.comparison.backend_runs import Comparison, Run, compare, profiles, shifted_geometric_mean
from climbopt.testing import family_model

KEYS = {
    "problem",
    "procedure",
    "backend",
    "objective",
    "max_ratio_difference",
    "stationarity",
    "verdict",
    "seconds",
    "termination",
}


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """Backends that end their process in every way there is, known here and to the processes of the runs."""
    (tmp_path / "hostile.py").write_text(
        "import dataclasses, os, signal, sys, time\n"
        "class Base:\n"
        "    version = '1'\n"
        "    def refusal(self, form):\n"
        "        return None\n"
        "class Killed(Base):\n"
        "    name = 'killed'\n"
        "    def solve(self, form, options):\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "class Raises(Base):\n"
        "    name = 'raises'\n"
        "    def solve(self, form, options):\n"
        "        raise RuntimeError('a bug')\n"
        "class Exits(Base):\n"
        "    name = 'exits'\n"
        "    def solve(self, form, options):\n"
        "        os._exit(7)\n"
        "class Sleeps(Base):\n"
        "    name = 'sleeps'\n"
        "    def solve(self, form, options):\n"
        "        time.sleep(600)\n"
        "class Eats(Base):\n"
        "    name = 'eats'\n"
        "    def solve(self, form, options):\n"
        "        return bytearray(10**12)\n"
        "class Refuses(Base):\n"
        "    name = 'refuses'\n"
        "    def refusal(self, form):\n"
        "        return 'refuses takes nothing'\n"
        "class Prints(Base):\n"
        "    name = 'prints'\n"
        "    def solve(self, form, options):\n"
        "        from climbopt.backends import load\n"
        "        print('noise'); sys.stdout.flush(); os.write(1, b'more noise')\n"
        "        return dataclasses.replace(load('newton').solve(form, options), backend=self.name)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")])))
    for name in ("killed", "raises", "exits", "sleeps", "eats", "refuses", "prints"):
        monkeypatch.setitem(BACKENDS._members, name, Entry(name, f"hostile:{name.capitalize()}"))


def test_what_does_not_stop_is_killed(hostile, monkeypatch):
    monkeypatch.setattr("climbopt.studies.comparison.backend_runs.GRACE", 2.0)
    (only,) = compare([load_problem("equal_beta")], backends=["sleeps"], time_limit=0.5).runs
    assert only.termination == "time_limit" and "killed" in only.raw_status and not only.passed


def test_a_crash_loses_one_row(hostile):
    names = ["killed", "raises", "exits", "eats", "refuses", "prints", "newton"]
    found = compare([load_problem("equal_beta")], backends=names)
    rows = {one.backend: one for one in found.runs}
    assert rows["killed"].termination == "crashed" and signal.SIGSEGV.name in rows["killed"].raw_status
    assert rows["raises"].termination == "failed" and "a bug" in rows["raises"].raw_status
    assert rows["exits"].termination == "crashed" and "exit code 7" in rows["exits"].raw_status
    assert rows["eats"].termination == "memory_limit"
    assert rows["refuses"].termination == "refused" and "takes nothing" in rows["refuses"].raw_status
    assert rows["newton"].passed and rows["newton"].max_ratio_difference == 0.0
    assert [one.backend for one in found.runs if one.passed] == ["prints", "newton"]
    assert found.certified and [one.backend for one in found.runs if found.success(one)] == ["prints", "newton"]
    page = comparison_html(found)
    assert "SIGSEGV" in page and "<script" not in page


def test_command_line(run, tmp_path):
    page = tmp_path / "c.html"
    code, out, _ = run(
        "compare",
        "equal_beta",
        "one_source",
        "--backends",
        "newton,slsqp",
        "--procedures",
        "joint,two_step",
        "--repeat",
        "2",
        "--json",
        "-",
        "--html",
        page,
    )
    content = json.loads(out)
    assert code == 0 and all(KEYS <= set(one) for one in content["runs"])
    assert [(one["problem"], one["procedure"], one["backend"]) for one in content["runs"]] == [
        (problem, procedure, backend)
        for problem in ("equal_beta", "one_source")
        for procedure in ("joint", "two_step")
        for backend in ("newton", "slsqp")
    ]
    steps = [one for one in content["runs"] if one["procedure"] == "two_step"]
    assert all(one["passed"] and one["max_ratio_difference"] < 1e-5 for one in steps)
    assert all(one["fastest"] <= one["seconds"] <= one["slowest"] for one in content["runs"])
    assert {one["backend"] for one in content["profiles"]} == {"newton", "slsqp"}
    assert "Performance profiles" in page.read_text() and "http://" not in page.read_text().split("<svg")[0]
    code, out, _ = run("compare", "equal_beta", "one_source", "--backends", "newton")
    assert code == 0 and "equal_beta: joint" in out and "2 problems; failures charged 60 s" in out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--backends", "newtn"), "did you mean 'newton'"),
        (("--procedures", "joynt"), "did you mean 'joint'"),
        (("--repeat", "0"), "must be a positive number"),
        (("--time-limit", "-1"), "must be a positive number"),
        (("--html", "/no/such/place/c.html"), "there is no folder"),
    ],
)
def test_bad_input(run, arguments, words):
    code, out, err = run("compare", "equal_beta", *arguments)
    assert code == 2 and out == "" and words in err


def test_an_unavailable_backend_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(BACKENDS._members, "absent", Entry("absent", "absent:X", ("no_such_module",), "install it"))
    with pytest.raises(BackendError, match="install it"):
        compare([load_problem("equal_beta")], backends=["absent"])


class Own:
    """A constraint of a test's own, which another process cannot import by its name."""

    kind, name = "own", "own"

    def rows(self, setting):
        return []


class Newton:
    """The backend newton under another name."""

    name, version = "again", "again 1"

    def refusal(self, form):
        return None

    def solve(self, form, options):
        return replace(load("newton").solve(form, options), backend=self.name)


def test_a_registered_backend_runs_too(monkeypatch):
    monkeypatch.setattr(BACKENDS, "_members", dict(BACKENDS._members))
    BACKENDS.register(Newton())
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")])))
    compared = compare("equal_beta", backends=["again", "newton"])
    assert [one.passed for one in compared.runs] == [True, True]
    assert compared.runs[0].backend_version == "again 1" and compared.runs[0].max_ratio_difference < 1e-9


def test_one_thing_and_many():
    problem = load_problem("one_source")
    runs = {
        kind: compare(problems, backends=backends, procedures=procedures).runs
        for kind, problems, backends, procedures in (
            ("object", problem, "newton", None),
            ("name", "one_source", ["newton"], "joint"),
            ("both", [problem, "one_source"], "newton", ["joint"]),
        )
    }
    assert {kind: len(rows) for kind, rows in runs.items()} == {"object": 1, "name": 1, "both": 2}
    assert all(one.passed and one.ratios == runs["object"][0].ratios for rows in runs.values() for one in rows)
    with pytest.raises(InputError, match="an int is no problem"):
        compare(3, backends="newton")


def under_limit(gigabytes, *arguments):
    """Return a finished command under a limit of its address space, and of its children's."""
    size = int(gigabytes * 1e9)
    return subprocess.run(
        [sys.executable, "-m", "climbopt", *arguments],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_limit_below_that_of_the_runs_is_theirs():
    done = under_limit(4, "compare", "equal_beta", "--backends", "newton", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"][0]["passed"]


def test_processes_that_cannot_start_are_named_once(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(InputError, match="could not begin"):
        compare("equal_beta", backends=["newton", "slsqp"])


def test_what_the_other_process_cannot_import_is_named_once(monkeypatch):
    monkeypatch.setattr(BACKENDS, "_members", dict(BACKENDS._members))
    BACKENDS.register(Newton())  # of a module that is on this process's path alone
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    with pytest.raises(InputError, match="could not begin: exit code 1: ModuleNotFoundError.*that can be imported"):
        compare("equal_beta", backends=["again", "newton"])


def test_what_cannot_travel_is_said():
    class Local(Own):
        pass

    problem = AllocationProblem(family_model(2), 1e9, constraints=(Local(),))
    with pytest.raises(InputError, match="cannot be sent to another process"):
        compare([problem], backends=["newton"])


def fake(problem, backend, seconds, minimised=1.0, passed=True, **more):
    return Run(
        problem,
        "joint",
        backend,
        "solved",
        "",
        passed=passed,
        verdict="KKT point",
        minimised=minimised,
        seconds=seconds,
        **more,
    )


def test_profiles():
    """a: 1, 4 and a failure; b: twice as slow, then fastest, and a worse optimum; c is refused throughout."""
    runs = (
        fake("p", "a", 1.0),
        fake("p", "b", 2.0),
        fake("q", "a", 4.0),
        fake("q", "b", 1.0),
        fake("s", "a", 0.1, passed=False),
        fake("s", "b", 1.0, 2.0),
        fake("s", "d", 3.0),
        Run("p", "joint", "c", "refused", "no"),
        fake("t", "a", 1.0, passed=False),
    )
    found = {one.backend: one for one in profiles(Comparison(runs, 10.0))}
    np.testing.assert_allclose(found["a"].factors, [1.0, 4.0, np.inf])
    np.testing.assert_allclose(found["b"].factors, [1.0, 2.0, np.inf])
    assert (found["a"].successes, found["a"].attempts) == (2, 3)
    assert found["a"].share_within(1) == pytest.approx(1 / 3) and found["b"].share_within(2) == pytest.approx(2 / 3)
    assert found["c"].successes == found["c"].attempts == 0
    assert found["a"].mean_seconds == pytest.approx(shifted_geometric_mean(np.array([1.0, 4.0, 10.0])))
    assert not Comparison(runs, 10.0).certified
