"""What is installed: the wheel alone, outside a checkout, without a network."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from email.parser import Parser
from zipfile import ZipFile

import pytest
from conftest import PROBLEMS

import climbopt

ROOT = PROBLEMS.parent
SOURCES = ("climbopt", "problems", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds what the wheel holds."""
    pytest.importorskip("setuptools", reason="the wheel is built by setuptools, which make setup installs")
    folder = tmp_path_factory.mktemp("package")
    for name in SOURCES:
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__", "*.draws.jsonl")
        (shutil.copytree if source.is_dir() else shutil.copy)(
            source, folder / name, **({"ignore": ignored} if source.is_dir() else {})
        )
    build = "import setuptools.build_meta as b; b.build_wheel('dist')"
    subprocess.run([sys.executable, "-W", "ignore", "-c", build], cwd=folder, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def command(installed, folder, *words):
    """Run the command line of the installed package in a folder; return its standard output."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "80"}
    arguments = [sys.executable, "-P", "-m", "climbopt", *words]
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_metadata(installed):
    (info,) = installed.glob("*.dist-info")
    metadata = Parser().parsestr((info / "METADATA").read_text())
    assert metadata["Version"] == climbopt.__version__ and metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Author"] == "climbopt contributors"
    assert {entry.split(",")[0] for entry in metadata.get_all("Project-URL")} >= {"Repository", "Documentation"}
    assert "Apache License" in (info / "licenses" / "LICENSE").read_text()


def test_the_version_stands_in_one_place():
    assert "version" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_package_is_in_the_wheel(installed):
    packages = {path.parent.relative_to(ROOT) for path in (ROOT / "climbopt").rglob("__init__.py")}
    assert {path.parent.relative_to(installed) for path in (installed / "climbopt").rglob("__init__.py")} == packages


def test_the_first_command_of_the_readme_works_outside_a_checkout(installed, tmp_path):
    """It resolves the runs of a shipped problem by name, in the wheel."""
    where = "import climbopt; print(climbopt.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    shown = subprocess.run(
        [sys.executable, "-P", "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith(str(installed))
    first = re.search(r"^\$ climbopt (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    words = first[1].split()
    assert words[:4] == ["decide", "scarce6", "--supply", "scarce6"]
    command(installed, tmp_path, "init", *words[1:4])  # reads the same inputs in no time
    assert "pt = 150_000" in (tmp_path / "problem.toml").read_text()
    assert "378 losses of 63 runs" in command(installed, tmp_path, "fit", "libreoffice6", "--law", "power")
