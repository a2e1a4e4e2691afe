"""Folders of several files: written whole, and never over what somebody else has put there."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from climbopt.files.text import check_places, written
from climbopt.foundations.characters import shown
from climbopt.foundations.errors import InputError

FORCE = "name another folder, or add --force (in Python force=True), which replaces files of the same names"


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
    place = Path(os.path.realpath(path))
    within = place if place.is_dir() else place.parent
    if not within.is_dir():
        raise InputError(f"cannot write the folder {shown(str(path))}: there is no folder {within}; make it first")
    if not os.access(within, os.W_OK) or not os.access(place.parent, os.W_OK):
        raise InputError(f"cannot write the folder {shown(str(path))}: {within} is not writable; choose another place")
    first = next(iter(sorted(os.listdir(place))), None) if place.is_dir() else None
    if first is not None and not force:
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
