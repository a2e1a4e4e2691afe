"""A run beside its decision: as JSON values and as text."""

from __future__ import annotations

from rich.console import Console

from climbopt.foundations.errors import listed
from climbopt.foundations.view import percentages
from climbopt.reports.decisions import decision_json
from climbopt.reports.json_values import Value
from climbopt.reports.typesetting import TextTable, say, tokens
from climbopt.uncertainty.decision import Decision
from climbopt.uncertainty.watch import Watch, predicted


def watch_json(watch: Watch, again: Decision | None) -> dict[str, Value]:
    """Return a run beside its decision as JSON values; `again` is what would be decided now, or null."""
    columns = watch.view().columns()
    return {
        "format": "climbopt watch 1",
        "problem": watch.problem.name,
        "tokens": watch.moments[-1].tokens,
        "budget": watch.problem.budget,
        "losses": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
        "outside": dict(watch.outside),
        "drawn": {name: {"drawn": drawn, "planned": plan} for name, (drawn, plan) in watch.drawn().items()},
        "again": None if again is None else {**decision_json(again), "gain": watch.gain(again)},
    }


def print_watch(watch: Watch, again: Decision | None, console: Console) -> None:
    """Print the last losses beside their bands, tokens drawn beside those planned, and what would be decided now."""
    title = f"{watch.problem.name}: {tokens(watch.moments[-1].tokens)} of {tokens(watch.problem.budget)} tokens"
    drawn = watch.drawn()
    heads = "language", "loss", "predicted", "90 % band", "inside", *(["drawn", "planned"] if drawn else []), ""
    table = TextTable(title, heads, right=1)
    for name in watch.measured:
        # Of each target the last moment at which its loss was logged.
        k = watch.last(name)
        low, high = watch.bands[k][name]
        inside, n = watch.inside(name)
        table.add_row(
            name,
            f"{watch.moments[k].losses[name]:.4f}",
            f"{predicted(watch, name):.4f}",
            f"{low:.3f}–{high:.3f}",
            f"{inside} of {n}",
            *([tokens(amount) for amount in drawn.get(name, (0.0, 0.0))] if drawn else []),
            "OUTSIDE" if name in watch.outside else "",
        )
    console.print(table)
    console.print()
    if watch.outside:
        say(console, f"outside the bands: {listed(list(watch.outside))}", "bold red")
    else:
        say(console, "every loss is inside its band", "bold green")
    say(console, "bands are those of runs that end there; a learning rate that is still high lies above them")
    if again is not None:
        verdict = "a decision" if again.stands else f"NOT a decision: {again.doubt}"
        say(
            console,
            f"with the run's own losses, for the {tokens(again.problem.budget)} tokens that are left: {verdict}",
        )
        say(console, f"  before: {percentages(watch.ratios)}")
        if again.result.allocation is not None:
            say(console, f"  now: {percentages(again.ratios)}")
            goal = again.problem.goal
            say(
                console,
                f"  {goal.label} at the end: {again.result.objective:.4f} {goal.unit}, {watch.gain(again):.4f} less "
                "than with the ratios before",
            )
