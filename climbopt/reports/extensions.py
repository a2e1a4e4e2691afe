"""Models with languages that no run has: as JSON and as text."""

from __future__ import annotations

from rich.console import Console

from climbopt.fitting.extension import Extension
from climbopt.foundations.errors import listed
from climbopt.reports.extrapolation import fit_warnings
from climbopt.reports.json_values import Value
from climbopt.reports.typesetting import say


def extension_json(extension: Extension) -> dict[str, Value]:
    """Return the languages, what features did, and the warnings that every answer repeats, as JSON values."""
    errors = extension.errors
    return {
        "format": "climbopt extension 1",
        "new": list(extension.new),
        "known": list(extension.known),
        "targets": [name for name in extension.new if name in extension.model.targets],
        "features": None if errors is None else {"stay": extension.features_stay, "held_out_mae": {**errors}},
        "n_draws": len(extension.draws),
        "warnings": list[Value](fit_warnings(extension.model)),
    }


def print_extension(extension: Extension, console: Console) -> None:
    """Print the same."""
    names, count = listed(list(extension.new), most=8), len(extension.known)
    alone = "" if extension.new[0] in extension.model.targets else ", as sources alone: no source is a target"
    say(console, f"{names}: like {count} known languages, in {len(extension.draws)} draws{alone}")
    if extension.words:
        say(console, extension.words)
