"""Which solver backends are available: as JSON values, and as a table."""

from __future__ import annotations

from rich.console import Console

from climbopt.backends import BACKENDS, load
from climbopt.foundations.errors import BackendError
from climbopt.reports.json_values import Value
from climbopt.reports.typesetting import new_table


def backends_json() -> list[Value]:
    """Return each backend: its name, its solver's version, or why it is not available."""
    rows: list[Value] = []
    for entry in BACKENDS.values():
        reason, version = entry.missing, None
        if reason is None:
            try:
                version = load(entry.name).version
            except BackendError as error:
                reason = str(error)
        rows.append({"name": entry.name, "available": reason is None, "version": version, "reason": reason})
    return rows


def print_backends(console: Console) -> None:
    """Print each backend: its solver's version, or why it is not available."""
    table = new_table("backends", "name", "available", "solver", left=3)
    for row in backends_json():
        if isinstance(row, dict):
            table.add_row(
                str(row["name"]),
                "yes" if row["available"] else "no",
                str(row["version"] if row["available"] else row["reason"]),
            )
    console.print(table)
