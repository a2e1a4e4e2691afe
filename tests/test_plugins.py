"""Backends of other packages: found by their entry point, installed with pip, broken ones kept apart."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import pytest

from climbopt.backends import BACKENDS
from climbopt.backends.entry import plugins

PLUGIN = Path(__file__).parent / "plugin"
NAME = "frank_wolfe"


def run(*arguments, path, cwd):
    """Return a finished Python program, with a folder before the others on its path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(path), *sys.path]))}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, cwd=cwd, text=True, capture_output=True, timeout=300
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which pip installed the example package, built without network."""
    try:
        builds = tuple(map(int, version("setuptools").split(".")[:2])) >= (70, 1) or find_spec("wheel") is not None
    except PackageNotFoundError:
        builds = False
    if not builds:
        pytest.skip("setuptools 70.1 or newer, which builds a wheel by itself, is not installed")
    source, target = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("installed")
    shutil.copytree(PLUGIN, source, ignore=shutil.ignore_patterns("__pycache__"))
    done = run(
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--disable-pip-version-check",
        "--target",
        target,
        source,
        path="",
        cwd=source,
    )
    assert done.returncode == 0, done.stderr
    return target


def test_installed_plugin_is_listed(installed, tmp_path):
    done = run("-m", "climbopt", "backends", path=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^{NAME} +yes +climbopt-frank-wolfe 0\.1\.0", done.stdout, re.MULTILINE), done.stdout


def test_installed_plugin_solves(installed, tmp_path):
    done = run("-m", "climbopt", "solve", "equal_beta", "--backend", NAME, "--json", "-", path=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["backend"] == NAME and answer["certificate"]["passed"]


def test_installed_plugin_refuses_by_name(installed, tmp_path):
    done = run(
        "-m",
        "climbopt",
        "solve",
        "equal_beta",
        "--procedure",
        "two_step",
        "--backend",
        NAME,
        path=installed,
        cwd=tmp_path,
    )
    assert done.returncode == 2 and "frank_wolfe takes bounds and linear rows only" in done.stderr


def test_installed_plugin_conforms(installed, tmp_path):
    done = run(
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        tmp_path,
        PLUGIN / "test_conformance.py",
        path=installed,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
    assert "zigzag" in done.stdout and re.search(r"\d+ passed, \d+ skipped", done.stdout), done.stdout


def test_plugin_is_not_imported_before_it_is_named(installed, tmp_path):
    done = run(
        "-c",
        "import climbopt, sys; climbopt.solve(climbopt.load_problem('equal_beta')); "
        "sys.exit('climbopt_frank_wolfe' in sys.modules)",
        path=installed,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


MODULE = """
class Other:
    name, version = "other", "1"
    def refusal(self, form): return None
    def solve(self, form, options): raise NotImplementedError
class Empty:
    name = "empty"
"""
BROKEN = {
    "raises": ("raising:X", "ValueError: no good"),
    "leaves": ("leaving:X", "SystemExit"),
    "absent": ("no_such_module:X", "ModuleNotFoundError"),
    "nothing": ("hostile:Nothing", "AttributeError"),
    "malformed": ("hostile", ""),
    "empty": ("hostile:Empty", "has no version, refusal, solve"),
    "misnamed": ("hostile:Other", "calls itself 'other'"),
    "newton": ("hostile:Other", "another backend is called 'newton'"),
}


@pytest.fixture
def hostile(tmp_path):
    """A folder with a package whose entry points are all broken, but for one."""
    for name, text in (
        ("hostile", MODULE),
        ("raising", "raise ValueError('no good')"),
        ("leaving", "raise SystemExit(3)"),
    ):
        (tmp_path / f"{name}.py").write_text(text)
    info = tmp_path / "hostile-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, (target, _) in BROKEN.items()]
    (info / "entry_points.txt").write_text("\n".join(["[climbopt.backends]", "other = hostile:Other", *lines]))
    return tmp_path


def test_broken_plugins_give_their_reasons(hostile, monkeypatch):
    monkeypatch.syspath_prepend(hostile)
    found = {entry.name: entry for entry in plugins(["newton"]) if entry.package == "hostile"}
    assert found.pop("other").missing is None
    assert set(found) == {*BROKEN, "newton (hostile)"} - {"newton"}
    for name, entry in found.items():
        assert BROKEN[name.partition(" ")[0]][1] in entry.missing, name
        assert entry.missing and not entry.by_default


def test_broken_plugins_break_nothing(hostile, tmp_path):
    done = run("-m", "climbopt", "backends", path=hostile, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in (*(set(BROKEN) - {"newton"}), "newton (hostile)"):
        assert re.search(rf"^{re.escape(name)} +no ", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^newton +yes", done.stdout, re.MULTILINE)
    done = run("-m", "climbopt", "solve", "equal_beta", "--backend", "raises", path=hostile, cwd=tmp_path)
    assert done.returncode == 2 and "ValueError: no good" in done.stderr
    assert run("-m", "climbopt", "solve", "equal_beta", path=hostile, cwd=tmp_path).returncode == 0


def test_only_own_backends_are_chosen_unnamed():
    assert not BACKENDS["scip"].by_default and BACKENDS["newton"].by_default
