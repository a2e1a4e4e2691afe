"""Decisions, and their runs as they go: as JSON values, as text, and as a folder that holds all that they rest on."""

from __future__ import annotations

import io
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from climbopt.files import (
    ANSWER_NAME,
    PILOTS_NAME,
    PROBLEM_NAME,
    commented,
    new_folder,
    problem_table,
    save_model_of,
    write_table,
    write_text,
)
from climbopt.foundations.errors import listed
from climbopt.foundations.view import percentages
from climbopt.reports.certificates import assessment_parts
from climbopt.reports.extrapolation import Reach
from climbopt.reports.fits import print_fit
from climbopt.reports.results import print_result, range_words, ranges_json, result_json
from climbopt.reports.typesetting import (
    NO_VALUE,
    Part,
    TextTable,
    language_table,
    number,
    percent,
    say,
    table_of,
    tokens,
)
from climbopt.reports.writers import Value, dumps
from climbopt.runs.pilots import PilotRuns
from climbopt.uncertainty.decision import MODEL_NAME, Decision
from climbopt.uncertainty.watch import Watch

MIXTURE_NAME, REPORT_NAME = "mixture.csv", "report.txt"
"""Further files of a decision's folder."""
PICTURES = ("allocation", "ranges", "fit")
"""Pictures of a decision's folder, each a file x.svg."""
COLUMNS = 100
"""Width of the report in the folder."""


def decision_json(decision: Decision) -> dict[str, Value]:
    """Return a decision as JSON values: those of its result, with ranges, bands of losses and the mixture."""
    answered = decision.result.allocation is not None
    bands = decision.bands if answered else {}
    return {
        **result_json(decision.result, decision.assessment),
        **ranges_json(decision.ranges or None),
        "bands": {name: {"lower": lower, "upper": upper} for name, (lower, upper) in bands.items()},
        "mixture": _rows(decision.mixture() if answered else {}),
        "fit": {
            "n_runs": decision.fitted.n_runs,
            "n_losses": decision.fitted.n_losses,
            "mae": decision.fitted.overall.mae,
            "forms": dict(decision.fitted.model.forms),
        },
    }


def print_decision(decision: Decision, console: Console, folder: Path | None = None) -> None:
    """Print a decision: fit, ratios with what they mean, baselines, certificate and verdict, and what to run next."""
    fitted, result = decision.fitted, decision.result
    forms = ", ".join(f"{label} ({weight:.2f})" for label, weight in fitted.model.forms.items())
    say(
        console,
        f"ensemble of {forms}",
        f"mean error {fitted.overall.mae:.4f} nats over {fitted.n_losses} losses of {fitted.n_runs} runs, "
        f"R2 {number(fitted.overall.r2, '.4f')}",
        None if fitted.pooling is None else fitted.pooling.words,
        "",
        *([] if result.allocation is None else _answer(decision, folder)),
    )
    if result.allocation is None:
        print_result(result, console)
    if folder is not None:
        names = f"{MODEL_NAME}, {MIXTURE_NAME}, {ANSWER_NAME}, {REPORT_NAME}, pictures"
        again, export = ["solve", str(folder)], ["export", str(folder), "--to", "megatron", "-o", "blend.json"]
        # What plans more pilots stands with the verdict.
        further = [
            f"  again, after editing {PROBLEM_NAME}: {shlex.join(['climbopt', *again])}",
            f"  next: {shlex.join(['climbopt', *export])}",
        ]
        say(console, f"{folder}: {PROBLEM_NAME} to edit, {names}", *(further if decision.stands else []))


def runs_in_words(runs: PilotRuns) -> str:
    """Return how many runs there are, of how many languages, and at which budgets."""
    least, largest = tokens(float(runs.tokens.min())), tokens(float(runs.tokens.max()))
    budgets = least if least == largest else f"{least} to {largest}"
    n_losses = int(np.isfinite(runs.losses).sum())
    return f"{len(runs.runs)} runs of {len(runs.languages)} languages at {budgets} tokens, {n_losses} losses"


def _answer(decision: Decision, folder: Path | None) -> list[Part]:
    """Return the ratios with what they mean, the certificate, the baselines and the verdict as parts of a report."""
    goal, problem, result = decision.problem.goal, decision.problem, decision.result
    verdict = "a decision: certified, no ratio far beyond the pilots', little to lose to a baseline"
    return [
        _table(decision),
        "",
        f"{goal.label} {number(result.objective, '.5f')} {goal.unit}".rstrip(),
        Reach.of_problem(problem, result.ratios).words(),
        f"certificate {'passed' if result.passed else 'NOT passed'}: {result.certificate.verdict.value}",
        *assessment_parts(decision.assessment, None if folder is None else str(folder / PILOTS_NAME)),
        Text(verdict, "bold green") if decision.stands else None,
    ]


def _table(decision: Decision) -> TextTable:
    """Return the table of languages: ratios with their ranges, tokens, epochs, and losses with their bands."""
    problem, result, near = decision.problem, decision.result, decision.ranges
    mixture = decision.mixture()
    epochs: dict[Any, Any] = dict(zip(mixture["language"], mixture.get("epochs", ()), strict=False))
    columns: dict[str, Callable[[str], str]] = {
        "language": str,
        "ratio %": lambda name: percent(result.ratios.get(name), ".2f"),
        **({"range %": lambda name: range_words(near.get(name), ".1f")} if near else {}),
        "tokens": lambda name: tokens(result.ratios[name] * problem.budget) if name in result.ratios else NO_VALUE,
        **({"epochs": lambda name: number(epochs.get(name), ".2f")} if epochs else {}),
        "loss": lambda name: number(result.losses.get(name), ".4f"),
        "90 % band": lambda name: "{:.3f}–{:.3f}".format(*decision.bands[name]) if name in decision.bands else NO_VALUE,
    }
    names = list(dict.fromkeys([*problem.model.sources, *problem.model.targets]))
    return language_table(f"{problem.name}: {tokens(problem.budget)} tokens", names, result.ratios, columns)


def save_decision(
    decision: Decision, folder: str | os.PathLike[str], *, force: bool = False, inputs: Iterable[Path] = ()
) -> None:
    """Write the folder of a decision; see :meth:`Decision.save`. Files among the inputs are never replaced."""
    problem, model = decision.problem, decision.problem.model
    table = {"name": problem.name, **problem_table(problem, MODEL_NAME)}
    # The default, which a file to be edited need not mention.
    if table["objective"] == {"kind": "weighted"}:
        del table["objective"]
    with new_folder(folder, force=force, inputs=inputs) as place:
        save_model_of(problem, place / MODEL_NAME)
        write_table(place / PILOTS_NAME, decision.fitted.pilots.to_frame())
        write_text(place / ANSWER_NAME, dumps(decision_json(decision)) + "\n")
        write_text(place / REPORT_NAME, _report(decision))
        if decision.result.allocation is not None:
            import pandas as pd

            write_table(place / MIXTURE_NAME, pd.DataFrame(decision.mixture()))
            _draw(decision, place)
        write_text(place / PROBLEM_NAME, commented(table, model.sources, model.targets))


def _report(decision: Decision) -> str:
    """Return the fit and the answer in full, as fit and solve print them."""
    stream = io.StringIO()
    console = Console(file=stream, width=COLUMNS)
    print_fit(decision.fitted, console)
    console.print()
    print_result(decision.result, console, decision.ranges or None, decision.assessment)
    return stream.getvalue()


def _draw(decision: Decision, place: Path) -> None:
    """Write the pictures, where matplotlib is installed."""
    if find_spec("matplotlib") is None:
        return
    from climbopt.reports.pictures import figure_of, save

    for kind in PICTURES:
        if kind != "ranges" or decision.ranges:
            save(figure_of(decision, kind), place / f"{kind}.svg")


def watch_json(watch: Watch, again: Decision | None) -> dict[str, Value]:
    """Return a run beside its decision as JSON values; `again` is what would be decided now, or null."""
    return {
        "format": "climbopt watch 1",
        "problem": watch.problem.name,
        "tokens": watch.moments[-1].tokens,
        "budget": watch.problem.budget,
        "losses": _rows(watch.view().columns()),
        "outside": dict(watch.outside),
        "drawn": {name: {"drawn": drawn, "planned": plan} for name, (drawn, plan) in watch.drawn().items()},
        "again": None if again is None else {**decision_json(again), "gain": watch.gain(again)},
    }


def print_watch(watch: Watch, again: Decision | None, console: Console) -> None:
    """Print the last losses beside their bands, tokens drawn beside those planned, and what would be decided now."""
    drawn, nothing = watch.drawn(), (0.0, 0.0)
    # Of each target the last moment at which its loss was logged.
    last = {name: readings[-1] for name, readings in watch.readings.items()}
    columns: dict[str, Callable[[str], str]] = {
        "language": str,
        "loss": lambda name: f"{last[name].loss:.4f}",
        # The middle of its band.
        "predicted": lambda name: f"{(last[name].lower + last[name].upper) / 2:.4f}",
        "90 % band": lambda name: f"{last[name].lower:.3f}–{last[name].upper:.3f}",
        "inside": lambda name: f"{sum(not one.beyond for one in watch.readings[name])} of {len(watch.readings[name])}",
    }
    if drawn:
        columns["drawn"] = lambda name: tokens(drawn.get(name, nothing)[0])
        columns["planned"] = lambda name: tokens(drawn.get(name, nothing)[1])
    columns[""] = lambda name: "OUTSIDE" if name in watch.outside else ""
    title = f"{watch.problem.name}: {tokens(watch.moments[-1].tokens)} of {tokens(watch.problem.budget)} tokens"
    say(
        console,
        table_of(title, last, columns, right=1),
        "",
        Text(f"outside the bands: {listed(list(watch.outside))}", "bold red")
        if watch.outside
        else Text("every loss is inside its band", "bold green"),
        "bands are those of runs that end there; a learning rate that is still high lies above them",
        *([] if again is None else _now(watch, again)),
    )


def _now(watch: Watch, again: Decision) -> list[Part]:
    """Return what would be decided now beside the ratios before, as parts of a report."""
    verdict = "a decision" if again.stands else f"NOT a decision: {again.doubt}"
    left, goal = tokens(again.problem.budget), again.problem.goal
    before: list[Part] = [
        f"with the run's own losses, for the {left} tokens that are left: {verdict}",
        f"  before: {percentages(watch.ratios)}",
    ]
    if again.result.allocation is None:
        return before
    end = f"{again.result.objective:.4f} {goal.unit}, {watch.gain(again):.4f} less"
    return [
        *before,
        f"  now: {percentages(again.ratios)}",
        f"  {goal.label} at the end: {end} than with the ratios before",
    ]


def _rows(columns: Mapping[str, Sequence[Value]]) -> list[Value]:
    """Return the rows of a table as JSON values."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
