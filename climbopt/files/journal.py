"""Journal: a file that long computations append to, one JSON line for what it belongs to, then one per entry.

A file that was cut off anywhere is continued from its last whole line. Nothing in it is evaluated.
"""

import json
import os
import weakref
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from climbopt.files.text import check_place, is_special, read_bytes, written
from climbopt.foundations.errors import InputError

try:
    import fcntl
except ImportError:  # not a POSIX system: journals are not locked there
    fcntl = None  # type: ignore[assignment]


class Journal:
    """Numbered entries in a file, in order; opened to be continued, by one process at a time.

    Parameters
    ----------
    path : path
    header : mapping of str to JSON value
        What the entries belong to.
    kind, plural : str
        What an entry is called, in the file and in messages.
    origin : str
        What else differs where the header does, in messages.

    Raises
    ------
    InputError
        Where another process has the file open, or the file holds entries of something else, or something that is
        not an entry.
    """

    def __init__(
        self, path: str | os.PathLike[str], header: Mapping[str, Any], kind: str, plural: str, origin: str
    ) -> None:
        self.path, self._kind = Path(path), kind
        check_place(self.path)
        if is_special(self.path):
            raise InputError(f"{path} is a device or a pipe; {plural} go to a file, so that they can be continued")
        self._stream = _locked(self.path, plural)
        # The lock goes with the object, even where nobody closes it.
        self._release = weakref.finalize(self, self._stream.close)
        try:
            self.entries = self._continued(json.dumps(header, ensure_ascii=False), plural, origin)
        except BaseException:
            # A traceback that somebody keeps would hold the lock; a file without a first line is nothing.
            if os.fstat(self._stream.fileno()).st_size:
                self.close()
            else:
                self.remove()
            raise

    def write_entry(self, k: int, entry: Mapping[str, Any]) -> None:
        """Write entry k, which follows the previous entry."""
        self._write(json.dumps({self._kind: k, **entry}))

    def close(self) -> None:
        """Let other processes write to the file, as the end of this object or process does."""
        self._release()

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)  # before others may open it
        self.close()

    def _continued(self, header: str, plural: str, origin: str) -> list[dict[str, Any]]:
        """Return the entries that are there; what follows the last whole line is cut off."""
        content = read_bytes(self.path)
        lines = _whole_lines(content, plural)
        # A file that was cut off inside its first line is continued too.
        if lines[:1] != [header] and not header.encode().startswith(content):
            raise InputError(
                f"{self.path} holds {plural} of another {origin}, or no {plural}; name another file, or remove it"
            )
        entries = _entries(lines[1:], self._kind, plural, self.path)
        # A last line without its end was cut off while it was written.
        self._stream.truncate(sum(len(line.encode()) + 1 for line in lines))
        if not lines:
            self._write(header)
        return entries

    def _write(self, line: str) -> None:
        with written(self.path):
            rest = line.encode() + b"\n"
            while rest:  # an unbuffered write may take a part
                rest = rest[self._stream.write(rest) :]


def _locked(path: Path, plural: str) -> FileIO:
    """Return a file opened to be appended to, which no other process has; the lock ends with the process."""
    while True:
        with written(path):
            stream = path.open("ab", buffering=0)
        try:
            if fcntl is not None:
                # Not blocking: a second process is told so, and does not wait for hours.
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            raise InputError(
                f"{path} is in use by another climbopt process, which writes {plural} to it; wait until that has "
                "ended, or name another file"
            ) from None
        except OSError:
            pass  # a file system without locks
        # The lock is on an open file, which its last owner may have removed in between.
        if path.exists() and os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            return stream
        stream.close()  # its last owner removed it meanwhile


def read_journal(path: Path, kind: str, plural: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the header of a file and its entries, without a last line that was cut off; {} without a header."""
    lines = _whole_lines(read_bytes(path), plural)
    return _object(lines[0], path) if lines else {}, _entries(lines[1:], kind, plural, path)


def _entries(lines: list[str], kind: str, plural: str, path: Path) -> list[dict[str, Any]]:
    """Return the entries on lines, each of which holds its own number."""
    entries = [_object(line, path) for line in lines]
    for k, entry in enumerate(entries):
        # A number that is missing means that lines were removed or joined.
        if entry.get(kind) != k:
            raise InputError(f"line {k + 2} of {path} is not {kind} {k}; remove the file and make the {plural} anew")
    return entries


def _whole_lines(content: bytes, plural: str) -> list[str]:
    """Return the lines that end; raises InputError where they are no text."""
    try:
        return content[: content.rfind(b"\n") + 1].decode("utf-8").split("\n")[:-1]
    except UnicodeDecodeError:
        raise InputError(f"a file of {plural} is not UTF-8 text; name another file") from None


def _object(line: str, path: Path) -> dict[str, Any]:
    """Return the object that a line holds."""
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a line that is no JSON object: {line[:40]!r}; name another file, or remove it")
    return value
