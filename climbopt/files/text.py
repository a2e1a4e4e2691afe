"""Reading and writing whole files and folders: clear refusals, nothing half written or over the work of others."""

import codecs
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from climbopt.foundations.errors import InputError, shown

FORCE = "name another folder, or add --force (in Python force=True), which replaces files of the same names"


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text to a file, all of it or nothing."""
    write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write bytes to a file, all of them or nothing; raises InputError where the folder does not take it.

    A file that is there keeps its permissions, a symbolic link its place. An open pipe, the terminal and /dev/null are
    written to directly.
    """
    path = Path(path)
    check_place(path)
    with written(path):
        if is_special(path):
            path.write_bytes(content)
            return
        # The target of a link is replaced, and not the link.
        place = _real(path)
        # In the same folder, so that the replacement is one rename; random, so that two processes do not meet.
        temporary = place.with_name(f".climbopt-{secrets.token_hex(8)}")
        try:
            with temporary.open("xb") as stream:
                stream.write(content)
            if place.exists():
                shutil.copymode(place, temporary)
            # Atomic within a folder: readers see the old file or the new one.
            temporary.replace(place)
        # Ctrl-C too must leave no temporary file.
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn an OSError, such as that of a full disk, into the refusal that names the file that was to be written."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {shown(str(path))}: {error.strerror or error}; choose another place") from None


def _real(path: Path) -> Path:
    """Return where a path leads to."""
    return Path(os.path.realpath(path))


def is_special(path: Path) -> bool:
    """Return whether a path is a pipe, a device or the like, which holds nothing that could be replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _is_open_pipe(path: Path) -> bool:
    """Return whether a path is a pipe that the process was started with, such as /dev/stdin or a shell's <(...)."""
    return path.is_fifo() and (not _real(path).exists() or path.parts[:2] == ("/", "dev"))


def check_place(path: str | os.PathLike[str]) -> None:
    """Refuse a place that a file cannot be written to, before the work whose result it is to hold."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"cannot write {shown(str(path))}: it is a folder; name a file in it")
    if is_special(path):
        if not (path.is_char_device() or _is_open_pipe(path)):
            raise InputError(f"cannot write {shown(str(path))}: it is a named pipe or a device; name a file")
        return
    folder = _real(path).parent
    if not folder.is_dir():
        raise InputError(f"cannot write {shown(str(path))}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write {shown(str(path))}: the folder {folder} is not writable; choose another place")


def check_places(outputs: Iterable[str | os.PathLike[str]], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse outputs that could not be written, that are an input, or of which two are one file."""
    # By real paths: links and relative names may be one file.
    taken = {_real(Path(path)): "is an input" for path in inputs}
    for path in map(Path, outputs):
        check_place(path)
        if not is_special(path):
            if _real(path) in taken:
                raise InputError(f"cannot write {shown(str(path))}: it {taken[_real(path)]}; choose another place")
            taken[_real(path)] = "is another output too"


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes, or say why there are none; reading a device or a named pipe may never end."""
    if path.is_dir():
        raise InputError(f"{shown(str(path))} is a folder; name a file in it")
    if not path.exists():
        raise InputError(f"there is no file {shown(str(path))}; check the name")
    if is_special(path) and not _is_open_pipe(path):
        raise InputError(f"{shown(str(path))} is a named pipe or a device; name a file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {shown(str(path))}: {error.strerror}") from None


def read_json(path: Path, remedy: str) -> Any:
    """Return what a JSON file holds, or say why there is none and what to give."""
    try:
        return json.loads(read_text(path), parse_constant=_refuse_constant, object_pairs_hook=without_repeats)
    except ValueError as error:
        raise InputError(f"{shown(str(path))} is no JSON: {error}; {remedy}") from None
    except RecursionError:
        raise InputError(f"{shown(str(path))} is nested too deeply to be read; {remedy}") from None


def read_object(path: str | os.PathLike[str], remedy: str = "give what --json has written") -> dict[str, Any]:
    """Return the object that a JSON file holds; by default one that the command line has written."""
    content = read_json(Path(path), remedy)
    if not isinstance(content, dict):
        raise InputError(f"{shown(str(path))} holds no JSON object; {remedy}")
    return content


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; of a repeated key Python's reader would take the last value in silence."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in content if names.count(name) > 1)
        raise ValueError(f"it has the key '{shown(repeated)}' more than once")
    return content


def json_lines(text: str, *, cut_off: bool = False) -> list[dict[str, Any]]:
    r"""Return the objects of JSON lines; empty lines are left out.

    Parameters
    ----------
    text : str
    cut_off : bool
        Whether a last line that is no JSON is left out: a process that was killed leaves a part of one.

    Raises
    ------
    ValueError
        Names the line that is no object of JSON, or has a key twice.

    Examples
    --------
    >>> json_lines('{"step": 1}\n{"step": 2, "lo', cut_off=True)
    [{'step': 1}]
    """
    # at \n alone: strings of JSON may hold other ends of lines
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    records: list[dict[str, Any]] = []
    for number, line in lines:
        try:
            record = json.loads(line, object_pairs_hook=without_repeats)
        except (json.JSONDecodeError, RecursionError):
            if cut_off and number == lines[-1][0]:
                break
            raise ValueError(f"line {number} is no JSON; write one object per line") from None
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is no JSON object; write one per line")
        records.append(record)
    return records


def _refuse_constant(name: str) -> None:
    """Refuse NaN and the infinities, which Python's reader takes."""
    raise ValueError(f"{name} is no number in JSON")


def decoded(content: bytes) -> str:
    """Return text without its byte order mark: UTF-8, or UTF-16 where the mark says so, as spreadsheets write it.

    Raises
    ------
    UnicodeDecodeError
        For any other encoding.
    """
    text = content.decode("utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    if "\0" in text:
        # as of UTF-16 without its mark, and of UTF-32
        raise UnicodeDecodeError("utf-8", content, 0, len(content), "null characters")
    return text


def read_text(path: Path) -> str:
    """Return a file's text without its byte order mark, or say why there is none."""
    try:
        text = decoded(read_bytes(path))
    except UnicodeDecodeError:
        raise InputError(f"{shown(str(path))} is not UTF-8 text; save it as UTF-8") from None
    if not text.strip():
        raise InputError(f"{shown(str(path))} is empty")
    return text


def check_folder(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Return where a folder is to be written; refuse a place that does not take it, before the work.

    Raises
    ------
    InputError
        Where the place is a file, holds something and is not forced, or its parent cannot be written to.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"cannot write the folder {shown(str(path))}: it is a file; name a folder")
    place = _real(path)
    within = place if place.is_dir() else place.parent
    if not within.is_dir():
        raise InputError(f"cannot write the folder {shown(str(path))}: there is no folder {within}; make it first")
    if not os.access(within, os.W_OK) or not os.access(place.parent, os.W_OK):
        raise InputError(f"cannot write the folder {shown(str(path))}: {within} is not writable; choose another place")
    for first in sorted(os.listdir(place)) if place.is_dir() and not force else ():
        raise InputError(f"the folder {shown(str(path))} holds something already ('{shown(first)}'); {FORCE}")
    return place


@contextmanager
def new_folder(path: str | os.PathLike[str], *, force: bool = False, inputs: Iterable[Path] = ()) -> Iterator[Path]:
    """Yield an empty folder to write to, which takes the place of `path` once all is written; else nothing remains.

    Parameters
    ----------
    path : path
        New or empty; with `force` files in it are replaced by new ones of the same names, and others stay.
    force : bool
    inputs : iterable of Path
        Files that are never replaced.
    """
    place = check_folder(path, force=force)
    # Beside its place, so that the move is a rename within one file system.
    temporary = place.with_name(f".climbopt-{secrets.token_hex(8)}")
    with written(place):
        temporary.mkdir()
    try:
        yield temporary
        with written(place):
            _move(temporary, place, list(inputs))
    except InputError as error:
        if str(temporary) not in str(error):
            raise
        # Such as that of a full disk, which names the file that was written.
        raise InputError(str(error).replace(str(temporary), str(place))) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move(temporary: Path, place: Path, inputs: list[Path]) -> None:
    """Move a folder to its place, or its files into the folder that is there."""
    # The folder is new or empty: one rename, which happens whole or not at all.
    if not place.is_dir() or not any(place.iterdir()):
        temporary.replace(place)
        return
    files = [part.relative_to(temporary) for part in sorted(temporary.rglob("*")) if not part.is_dir()]
    # Folders that the files need, where no file stands in their place.
    for folder in sorted({(place / file).parent for file in files}):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"cannot write {shown(str(folder))}: it is a file, and a folder is to be there")
        folder.mkdir(parents=True, exist_ok=True)
    # All of them, before the first file is replaced.
    check_places([place / file for file in files], inputs)
    for file in files:
        (temporary / file).replace(place / file)
