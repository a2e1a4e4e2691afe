"""Collected runs, as text: what became of each."""

from __future__ import annotations

from rich.console import Console

from climbopt.files.collect import Collection
from climbopt.reports.typesetting import TextTable, say, tokens


def print_collection(collection: Collection, console: Console, after: str | None = None) -> None:
    """Print every run that is not usable, or of which something is unknown, what was left out, and what to run next."""
    doubtful = [run for run in collection.runs if run.status != "ok" or run.reason]
    if doubtful:
        table = TextTable("", ("run", "tokens", "status", ""), right=2)
        for run in doubtful:
            table.add_row(run.planned.name, tokens(run.planned.tokens), run.status, run.reason)
        console.print(table)
        console.print()
    for file, reason in collection.ignored.items():
        say(console, f"left out: {file}: {reason}")
    if collection.pattern:
        say(console, f"losses: {collection.pattern}, the last of each run")
    say(console, f"{len(collection.usable)} of {len(collection.runs)} runs are usable")
    if after is not None and collection.usable:
        say(console, f"next: {after}")
