"""Which solver backends are available, as a table."""

from __future__ import annotations

from rich.console import Console

from climbopt.backends import BACKENDS, Entry, load
from climbopt.foundations.errors import BackendError
from climbopt.reports.typesetting import TextTable


def print_backends(console: Console) -> None:
    """Print each backend: its solver's version, or why it is not available."""
    table = TextTable("backends", ("name", "available", "solver"), left=3)
    for entry in BACKENDS.values():
        table.add_row(entry.name, *_state(entry))
    console.print(table)


def _state(entry: Entry) -> tuple[str, str]:
    """Return whether a backend is available, yes or no, and its solver's version or what is missing."""
    if entry.missing is not None:
        return "no", entry.missing
    try:
        return "yes", load(entry.name).version
    # What is installed may still not load.
    except BackendError as error:
        return "no", str(error)
