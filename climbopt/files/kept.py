"""What long work adds to a file as it goes: one JSON line of what it belongs to, then one an entry, in order.

A file that was cut off anywhere is continued from its last whole line. Nothing in it is evaluated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from climbopt.files.text import check_place, read_bytes
from climbopt.foundations.errors import InputError


class KeptFile:
    """Numbered entries in a file, in order; opened to be continued.

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
        Where the file holds entries of something else, or what is no entry.
    """

    def __init__(
        self, path: str | os.PathLike[str], header: Mapping[str, Any], kind: str, plural: str, origin: str
    ) -> None:
        self.path, self._kind = Path(path), kind
        check_place(path)
        first = json.dumps(header, ensure_ascii=False)
        content = read_bytes(self.path) if self.path.exists() else b""
        kept = _whole_lines(content, plural)
        if kept[:1] != [first] and not first.encode().startswith(content):
            raise InputError(
                f"{path} holds {plural} of another {origin}, or no {plural}; name another file, or remove it"
            )
        self.entries = _entries(kept[1:], kind, plural, self.path)
        size = sum(len(line.encode()) + 1 for line in kept)
        with self.path.open("ab") as stream:
            stream.truncate(size)
            if not kept:
                stream.write(first.encode() + b"\n")

    def add(self, k: int, entry: Mapping[str, Any]) -> None:
        """Add entry k, which follows the last one."""
        line = json.dumps({self._kind: k, **entry})
        with self.path.open("ab") as stream:
            stream.write(line.encode() + b"\n")


def read_kept(path: Path, kind: str, plural: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the header of a file and its entries, without a last line that was cut off; {} without a header."""
    lines = _whole_lines(read_bytes(path), plural)
    return _object(lines[0], path) if lines else {}, _entries(lines[1:], kind, plural, path)


def _entries(lines: list[str], kind: str, plural: str, path: Path) -> list[dict[str, Any]]:
    """Return the entries on lines, each of which holds its own number."""
    entries = [_object(line, path) for line in lines]
    for k, entry in enumerate(entries):
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
