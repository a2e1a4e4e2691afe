"""Streams that subcommands share: where tables, JSON, progress and the output of solvers go."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, cast

from climbopt.foundations.characters import shown
from climbopt.foundations.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from climbopt.certification.global_bound import Progress as Bounds
    from climbopt.fitting.estimate import Progress
    from climbopt.reports.writers import Value


NARROWEST = 40
"""Columns below which text is not set; a narrower terminal breaks the lines itself."""


def check_places(inputs: Iterable[Path | None], json: str | None, *outputs: Path | None) -> None:
    """Refuse, before the work, outputs that could not be written or would replace an input or each other."""
    from climbopt.files import check_places

    # --json - is standard output, and no file.
    files = [path for path in (*outputs, None if json in (None, "-") else Path(str(json))) if path is not None]
    if Path("-") in files:
        raise InputError("only --json - writes to standard output; name a file")
    check_places(files, [path for path in inputs if path is not None])


def console() -> Console:
    """Return the console for standard output, as wide as the terminal; a pipe gets 80 columns (or COLUMNS)."""
    from rich.console import Console

    return Console(width=_width())


def _width() -> int:
    return max(shutil.get_terminal_size().columns, NARROWEST)


def complain(*messages: str) -> None:
    """Print refusals, warnings or what is to be done on standard error."""
    remark(*(f"climbopt: {message}" for message in messages))


def remark(*messages: str) -> None:
    """Print messages on standard error; each wraps on a terminal, and is one line where programs read it."""
    # Escaped: messages quote names and numbers from files.
    lines = [shown(line) for message in messages for line in message.split("\n")]
    if sys.stderr.isatty():
        from climbopt.reports.typesetting import wrapped

        lines = [part for line in lines for part in wrapped(line, _width(), hanging=2)]
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def warn(sentences: Iterable[str]) -> None:
    """Print warnings on standard error."""
    complain(*(f"warning: {sentence}" for sentence in sentences))


def report(json: str | None, value: Mapping[str, Value], show: Callable[[Console], None]) -> None:
    """Write the JSON to its file; show the table unless standard output is the JSON's.

    What the JSON has under `warnings` is printed on standard error too.
    """
    from climbopt.files import write_text
    from climbopt.reports.writers import dumps

    warn(cast("list[str]", value.get("warnings", [])))
    if json == "-":
        print(dumps(value))
        return
    if json is not None:
        write_text(json, dumps(value) + "\n")
    show(console())


@contextmanager
def solvers_on_standard_error(json: str | None) -> Iterator[None]:
    """Send what a solver prints to standard error where standard output is the JSON's, native code's prints too."""
    if json != "-":
        yield
        return
    sys.stdout.flush()
    # Descriptors, since native solvers write past Python's sys.stdout.
    standard_output = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if os.name == "posix":
            ctypes.CDLL(None).fflush(None)  # C has a buffer of its own
        os.dup2(standard_output, 1)
        os.close(standard_output)


@contextmanager
def progress(label: str) -> Iterator[Progress | None]:
    """Yield a function that draws a progress bar on standard error, or None where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def bounding() -> Iterator[Callable[[Bounds], None] | None]:
    """Yield a function that shows the progress of a global bound, or None where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status("bounding") as status:
        yield lambda at: status.update(
            f"bounding: {at.lower:.8f} to {at.upper:.8f}, boxes {at.nodes} ({at.open} open), {at.seconds:.0f} s; "
            "Ctrl-C keeps it"
        )
