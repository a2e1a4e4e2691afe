"""Standard output and standard error: where the table, the JSON, the progress and what solvers print go."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from climbopt.bounds import Progress as Bounding
    from climbopt.fitting.estimate import Progress
    from climbopt.reports.json import Value


def console() -> Console:
    """Return the console for standard output; a pipe gets wide lines without colour."""
    from rich.console import Console

    return Console(soft_wrap=True) if sys.stdout.isatty() else Console(width=160, soft_wrap=True)


def report(json: str | None, value: Value, show: Callable[[Console], None]) -> None:
    """Write the JSON where it was asked for; show the table unless standard output is the JSON's."""
    from climbopt.files import write_text
    from climbopt.reports.json import dumps

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
    """Give a function that draws a progress bar on standard error, or None where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def enclosing() -> Iterator[Callable[[Bounding], None] | None]:
    """Give a function that shows where branch and bound has got to, or None where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status("bounding") as status:
        yield lambda at: status.update(f"bounding: {at.lower:.8f} to {at.upper:.8f}, {at.nodes} boxes, {at.open} open, "
                                       f"{at.seconds:.0f} s; Ctrl-C keeps the bound reached")
