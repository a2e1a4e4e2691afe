"""Where outputs go: nothing half written, no input replaced, and standard output for the JSON alone."""

import ctypes
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import MODEL, PILOTS

from climbopt import InputError, load_model
from climbopt.cli.streams import solvers_on_standard_error
from climbopt.files import write_text


def test_nothing_is_ever_half_written(tmp_path):
    path = tmp_path / "out.txt"
    write_text(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "before" and [p.name for p in tmp_path.iterdir()] == ["out.txt"]
    with pytest.raises(InputError, match="is a folder"):
        write_text(tmp_path, "x")
    with pytest.raises(InputError, match="cannot write"):
        write_text(tmp_path / "no" / "folder.txt", "x")


def test_a_symbolic_link_is_written_through(tmp_path):
    (tmp_path / "link").symlink_to("target")
    for text in ("made", "replaced"):
        write_text(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == text


def test_permissions_follow_the_umask_and_those_of_the_file_replaced(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "new", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "new").chmod(0o600)
    write_text(tmp_path / "new", "y")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_an_open_pipe_is_written_to(tmp_path):
    reader, writer = os.pipe()
    try:
        write_text(f"/dev/fd/{writer}", "through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_full_disk_is_blamed_on_the_file():
    with pytest.raises(InputError, match="cannot write /dev/full: No space left on device"):
        write_text("/dev/full", "x")


PLACES = ("fifo", "/dev/zero", "folder")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "arguments",
    [
        ("solve", "{}"),
        ("solve", "problem.toml"),
        ("certify", "equal_beta", "--ratios", "{}"),
        ("fit", "{}"),
        ("fit", "pilots.csv", "--losses", "{}", "--tokens", "1e6"),
        ("fit", "pilots.csv", "--fixed", "{}"),
        ("predict", "{}", "pilots.csv"),
        ("predict", "model.toml", "{}"),
        ("derive", "{}"),
        ("solve", "equal_beta", "--robust", "mean", "--draws", "{}"),
        ("plot", "{}", "--kind", "transfer", "-o", "x.svg"),
        ("plan", "--languages", "en,sw", "--budgets", "1e9", "--after", "{}"),
    ],
)
def test_a_device_pipe_or_folder_is_no_input(run, tmp_path, monkeypatch, place, arguments):
    """Nothing waits for a pipe that nobody writes to, or reads a device without end."""
    _places(tmp_path, monkeypatch, place)
    code, out, err = run(*[part.format(place) for part in arguments])
    assert code == 2 and out == "" and err.count("\n") == 1
    assert f"{place} is a {'folder' if place == 'folder' else 'named pipe or a device'}; name a file" in err


@pytest.mark.parametrize("place", ("fifo", "folder"))
@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "pilots.csv", "-o", "{}"),
        ("fit", "pilots.csv", "--json", "{}"),
        ("fit", "pilots.csv", "--bootstrap", "2", "--draws", "{}"),
        ("solve", "equal_beta", "--json", "{}"),
        ("sweep", "equal_beta", "--budgets", "1e9:2e9:2", "-o", "{}"),
        ("compare", "equal_beta", "--html", "{}"),
    ],
)
def test_a_pipe_or_folder_is_no_output(run, tmp_path, monkeypatch, place, arguments):
    _places(tmp_path, monkeypatch, place)
    code, out, err = run(*[part.format(place) for part in arguments])
    assert code == 2 and out == "" and err.count("\n") == 1 and f"cannot write {place}: it is a" in err


def test_draws_go_to_no_device(run):
    code, out, err = run("fit", PILOTS, "--interaction", "none", "--bootstrap", 2, "--draws", os.devnull)
    assert code == 2 and out == "" and "draws go to a file, so that they can be continued" in err


def _places(folder, monkeypatch, place):
    """Make a folder with the files that commands name."""
    monkeypatch.chdir(folder)
    shutil.copy(PILOTS, "pilots.csv")
    shutil.copy(MODEL, "model.toml")
    os.mkfifo("fifo")
    Path("folder").mkdir()
    Path("problem.toml").write_text(f'model = "{place}"\nbudget = 4e6\n')


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "pilots.csv", "-o", "pilots.csv"), "cannot write pilots.csv: it is an input"),
        (("fit", "pilots.csv", "-o", "link.toml"), "cannot write link.toml: it is an input"),
        (("fit", "p.pairs.parquet", "-o", "p.toml"), "cannot write p.pairs.parquet: it is an input"),
        (("fit", "pilots.csv", "-o", "new", "--json", "new"), "cannot write new: it is another output too"),
        (("fit", "pilots.csv", "-o", "-"), "only --json - writes to standard output; name a file"),
        (("predict", "model.toml", "pilots.csv", "-o", "model.toml"), "cannot write model.toml: it is an input"),
        (("predict", "model.toml", "pilots.csv", "-o", "./pilots.csv"), "cannot write pilots.csv: it is an input"),
        (("solve", "problem.toml", "--json", "problem.toml"), "cannot write problem.toml: it is an input"),
        (("solve", "problem.toml", "--json", "model.toml"), "cannot write model.toml: it is an input"),
        (("certify", "problem.toml", "--ratios", "r.json", "--json", "r.json"), "cannot write r.json: it is an input"),
        (("compare", "problem.toml", "--html", "problem.toml"), "cannot write problem.toml: it is an input"),
    ],
)
def test_no_output_replaces_an_input_or_another(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    shutil.copy(PILOTS, "pilots.csv")
    shutil.copy(MODEL, "model.toml")
    Path("link.toml").symlink_to("pilots.csv")
    Path("problem.toml").write_text('model = "model.toml"\nbudget = 4e6\n')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code, _, err = run(*arguments)
    assert code == 2 and message in err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_hash_is_that_of_the_bytes_read(run, tmp_path):
    """A pipe can be read only once."""
    content = Path(PILOTS).read_bytes()
    read, write = os.pipe()
    os.write(write, content)
    os.close(write)
    code, *_ = run("fit", f"/dev/fd/{read}", "--interaction", "none", "-o", tmp_path / "m.toml")
    os.close(read)
    assert code == 0 and load_model(tmp_path / "m.toml").provenance["sha256"] == hashlib.sha256(content).hexdigest()


def test_what_native_code_prints_stays_out_of_the_json(capfd):
    libc = ctypes.CDLL(None)
    with solvers_on_standard_error("-"):
        libc.puts(b"native")
        print("python")
    print("json")
    out, err = capfd.readouterr()
    assert out == "json\n" and sorted(err.split()) == ["native", "python"]
    with solvers_on_standard_error(None):
        print("table")
    assert capfd.readouterr().out == "table\n"


def test_a_full_device_is_one_message():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "climbopt", "backends"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "climbopt: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_json_without_numbers_is_refused(run, tmp_path, number):
    path = tmp_path / "r.json"
    path.write_text(f'{{"en": {number}}}')
    code, out, err = run("certify", "one_source", "--ratios", path)
    assert code == 2 and out == "" and f"{number} is no number in JSON" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("solve", "equal_beta"),
        ("solve", "libreoffice6", "--procedure", "uniform"),
        ("certify", "one_source"),
        ("fit", PILOTS, "--interaction", "none"),
        ("sweep", "equal_beta", "--budgets", "1e9:2e9:2"),
        ("plan", "--languages", "en,sw", "--budgets", "1e9", "--runs", "8"),
        ("compare", "equal_beta", "--backends", "newton"),
    ],
)
def test_json_is_strict_and_alone_on_standard_output(run, arguments):
    def refuse(name):
        raise AssertionError(name)

    code, out, _ = run(*arguments, "--json", "-")
    assert code in (0, 1) and isinstance(json.loads(out, parse_constant=refuse), dict)
