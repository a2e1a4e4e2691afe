"""Plans of pilot runs: as the table that `fit` reads, as JSON, and as text; and what became of the runs, as text."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from climbopt.files.collect import CollectedRun, Collection
from climbopt.files.jobs import PlannedRun
from climbopt.reports.typesetting import MOST_ROWS, NO_VALUE, Grid, TextTable, say, table_of, tokens as token_words
from climbopt.reports.writers import Value
from climbopt.studies.design.plan import Plan


def planned_runs(plan: Plan) -> list[PlannedRun]:
    """Return the runs of a plan, named as in its table."""
    params = plan.chosen.runs.params
    # The table has rounded ratios and tokens, which are what is trained.
    return [
        PlannedRun(
            str(name),
            float(rows["tokens"].iloc[0]),
            dict(zip(plan.languages, (rows["ratio"] / rows["ratio"].sum()).tolist(), strict=True)),
            dict(zip(plan.languages, rows["supply"].tolist(), strict=True)) if "supply" in rows else {},
            params,
        )
        for name, rows in plan.to_frame().groupby("run", sort=False)
    ]


def plan_json(plan: Plan) -> dict[str, Value]:
    """Return a plan as JSON values: its runs, and the promises of both designs."""
    runs = plan.chosen.runs
    return {
        "format": "climbopt plan 1",
        "languages": list(plan.languages),
        "runs": [
            {
                "tokens": float(tokens),
                "ratios": dict(zip(plan.languages, runs.ratios[k].tolist(), strict=True)),
                "supply": None
                if plan.supplies is None
                else dict(zip(plan.languages, plan.supplies[k].tolist(), strict=True)),
            }
            for k, tokens in enumerate(runs.tokens)
        ],
        "designs": [
            {
                "name": design.name,
                "n_runs": len(design.runs),
                "tokens": design.tokens,
                "expected_error": design.error,
            }
            for design in plan.designs
        ],
        "expected_error_before": plan.before,
        "n_before": plan.n_before,
        "seconds": plan.seconds,
    }


def print_plan(plan: Plan, console: Console, *, listed: bool) -> None:
    """Print the promises of both designs, and the runs unless they went to a file."""
    before = f"{plan.n_before} runs made before" if plan.n_before else "the priors alone"
    rows = [[before, NO_VALUE, NO_VALUE, f"{100 * plan.before:.3f}"]] + [
        [design.name, str(len(design.runs)), token_words(design.tokens), f"{100 * design.error:.3f}"]
        for design in plan.designs
    ]
    runs = plan.chosen.runs
    shown, more = range(min(len(runs), MOST_ROWS)), len(runs) - MOST_ROWS
    grid = Grid(
        "runs",
        ["run", "tokens"],
        [[f"plan-{k + 1:03d}", token_words(float(runs.tokens[k]))] for k in shown],
        plan.languages,
        [[f"{100 * ratio:.1f}" for ratio in runs.ratios[k]] for k in shown],
    )
    say(
        console,
        TextTable(
            f"pilot runs for {len(plan.languages)} languages", ("design", "runs", "tokens", "expected error %"), rows
        ),
        "expected error: of a predicted loss, by the fit's noise and priors, to first order",
        "" if listed else None,
        grid if listed else None,
        f"and {more} more runs; write them all with -o plan.csv" if listed and more > 0 else None,
        f"{plan.seconds:.2f} s",
    )


def print_collection(collection: Collection, console: Console, after: str | None = None) -> None:
    """Print every run that is not usable, or of which something is unknown, what was left out, and what to run next."""
    doubtful = [run for run in collection.runs if run.status != "ok" or run.reason]
    if doubtful:
        columns: dict[str, Callable[[CollectedRun], str]] = {
            "run": lambda run: run.planned.name,
            "tokens": lambda run: token_words(run.planned.tokens),
            "status": lambda run: run.status,
            "": lambda run: run.reason,
        }
        say(console, table_of("", doubtful, columns, right=2), "")
    say(
        console,
        *(f"left out: {file}: {reason}" for file, reason in collection.ignored.items()),
        f"losses: {collection.pattern}, the last of each run" if collection.pattern else None,
        f"{len(collection.usable)} of {len(collection.runs)} runs are usable",
        f"next: {after}" if after is not None and collection.usable else None,
    )
