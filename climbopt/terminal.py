"""What every subcommand shares: the console, progress on standard error, and where results are written."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from climbopt.bounds import Progress
    from climbopt.fitting.estimate import Progress as Counted
    from climbopt.reports.json import Value

PROBLEM = Annotated[str, typer.Argument(metavar="PROBLEM", help="A problem file, or the name of a shipped problem.")]
JSON = Annotated[str | None, typer.Option("--json", metavar="FILE", help="Write JSON; - for standard output alone.")]


def command() -> str:
    """Return the command line as typed, with its program's name alone."""
    return shlex.join(["climbopt", *sys.argv[1:]])


def console() -> Console:
    """Return the console for standard output; a pipe gets wide lines without colour."""
    from rich.console import Console

    return Console(soft_wrap=True) if sys.stdout.isatty() else Console(width=160, soft_wrap=True)


def check_places(*outputs: str | Path | None) -> None:
    """Refuse an output that could not be written, before the work."""
    from climbopt.files import check_place

    for place in outputs:
        if place is not None and str(place) != "-":
            check_place(place)


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
def enclosing() -> Iterator[Callable[[Progress], None] | None]:
    """Give a function that shows where branch and bound has got to, or None where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status("bounding") as status:
        yield lambda at: status.update(f"bounding: {at.lower:.8f} to {at.upper:.8f}, {at.nodes} boxes, {at.open} open, "
                                       f"{at.seconds:.0f} s; Ctrl-C keeps the bound reached")


@contextmanager
def progress(label: str) -> Iterator[Counted | None]:
    """Give a function that draws a progress bar on standard error, or None where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
