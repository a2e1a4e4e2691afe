"""The subcommands that describe what there is: equations and solver backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import climbopt
from climbopt.cli.streams import console
from climbopt.foundations.errors import BackendError

if TYPE_CHECKING:
    from climbopt.backends import Entry


def derive(
    path: Annotated[
        str,
        typer.Argument(metavar="MODEL_OR_PROBLEM", help="A model or problem file, or the name of a shipped problem."),
    ],
    latex: Annotated[bool, typer.Option("--latex", help="LaTeX instead of text.")] = False,
) -> None:
    """Print the equations a model or problem rests on."""
    print(climbopt.derive(path, latex=latex, columns=console().width))


def backends() -> None:
    """List the solver backends."""
    from climbopt.backends import BACKENDS
    from climbopt.reports.typesetting import TextTable

    rows = [[entry.name, *_availability(entry)] for entry in BACKENDS.values()]
    console().print(TextTable("backends", ("name", "available", "solver"), rows, left=3))


def _availability(entry: Entry) -> tuple[str, str]:
    """Return whether a backend is available, yes or no, and its solver's version or what is missing."""
    from climbopt.backends import load

    if entry.missing is not None:
        return "no", entry.missing
    try:
        return "yes", load(entry.name).version
    # What is installed may still not load.
    except BackendError as error:
        return "no", str(error)
