"""Journals: one writer at a time, and a lock that no crash leaves behind."""

import errno
import os
import subprocess
import sys

import pytest

from climbopt import InputError
from climbopt.files.journal import Journal, read_journal


def opened(path):
    return Journal(path, {"of": "x"}, "draw", "draws", "fit")


def test_one_writer_at_a_time(tmp_path):
    path = tmp_path / "d.jsonl"
    first = opened(path)
    first.write_entry(0, {"a": 1})
    with pytest.raises(InputError, match="in use by another climbopt process"):
        opened(path)
    first.write_entry(1, {"a": 2})
    first.close()
    second = opened(path)
    assert [entry["a"] for entry in second.entries] == [1, 2]
    second.write_entry(2, {"a": 3})
    assert [entry["draw"] for entry in read_journal(path, "draw", "draws")[1]] == [0, 1, 2]


def test_a_killed_writer_leaves_no_lock(tmp_path):
    path = tmp_path / "d.jsonl"
    code = (
        "import sys, time; from climbopt.files.journal import Journal; "
        "j = Journal(sys.argv[1], {'of': 'x'}, 'draw', 'draws', 'fit'); j.write_entry(0, {'a': 1}); "
        "print('open', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(InputError, match="in use by another"):
            opened(path)
    finally:
        process.kill()
        process.communicate()
    assert len(opened(path).entries) == 1


def test_a_refused_journal_is_not_locked(tmp_path):
    """Whoever keeps the error, with its traceback, must not keep the file."""
    path = tmp_path / "d.jsonl"
    opened(path).close()
    with pytest.raises(InputError, match="of another fit") as kept:
        Journal(path, {"of": "y"}, "draw", "draws", "fit")
    assert opened(path).entries == [] and kept.value is not None


def test_a_journal_that_its_owner_removed_is_made_anew(tmp_path, monkeypatch):
    """Between opening and locking, the file may vanish: what is then written must not go to a file without a name."""
    import fcntl

    path, lock = tmp_path / "d.jsonl", fcntl.flock

    def removed_before(stream, how):
        monkeypatch.setattr(fcntl, "flock", lock)
        path.unlink()
        lock(stream, how)

    monkeypatch.setattr(fcntl, "flock", removed_before)
    opened(path).write_entry(0, {"a": 1})
    assert len(read_journal(path, "draw", "draws")[1]) == 1


def test_a_full_disk_is_blamed_on_the_journal(tmp_path):
    journal = opened(tmp_path / "d.jsonl")
    journal._stream.close()
    journal._stream = open("/dev/full", "ab", buffering=0)
    with pytest.raises(InputError, match=f"cannot write .*d.jsonl: {os.strerror(errno.ENOSPC)}"):
        journal.write_entry(0, {"a": 1})
    journal._stream.close()
