"""A comparison as tables, as JSON, as one HTML page, and its performance profiles as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, cast

import numpy as np
from rich.console import Console

from climbopt.reports.json_values import Value
from climbopt.reports.typesetting import new_table, number, say
from climbopt.studies.comparison.backend_runs import Comparison, Run
from climbopt.studies.comparison.profiles import Profile, profiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (
    "backend",
    "objective",
    "off by",
    "max diff in r",
    "stationarity",
    "primal",
    "multipliers",
    "seconds",
    "evaluations",
    "verdict",
    "the solver's own words",
)
FACTORS = (1, 2, 5, 10, 100)
PROFILE_END = 1000.0
"""Largest factor drawn."""
STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 2, 1, 2)))


def comparison_json(comparison: Comparison) -> dict[str, Value]:
    """Return a comparison as JSON values."""
    return {
        "format": "climbopt comparison 1",
        "runs": [_run_json(run) for run in comparison.runs],
        "profiles": [
            {
                "backend": profile.backend,
                "successes": profile.successes,
                "attempts": profile.attempts,
                "mean_seconds": profile.mean_seconds,
                "share_within": {str(factor): profile.share_within(factor) for factor in FACTORS},
            }
            for profile in profiles(comparison)
        ],
        "time_limit": comparison.time_limit,
    }


def _run_json(run: Run) -> dict[str, Value]:
    conditions: dict[str, Value] = dict.fromkeys(("stationarity", "primal", "dual", "complementarity"))
    conditions |= dict(run.residuals)
    return {
        "problem": run.problem,
        "procedure": run.procedure,
        "backend": run.backend,
        "backend_version": run.backend_version,
        "objective": run.objective,
        "max_ratio_difference": run.max_ratio_difference,
        **conditions,
        "multiplier_disagreement": run.multiplier_disagreement,
        "multipliers": dict(run.multipliers),
        "verdict": run.verdict,
        "passed": run.passed,
        "seconds": run.seconds,
        "fastest": run.fastest,
        "slowest": run.slowest,
        "iterations": run.iterations,
        "evaluations": run.evaluations,
        "lower_bound": run.lower_bound,
        "bound": run.bound,
        "termination": run.termination,
        "raw_status": run.raw_status,
        "ratios": None if run.ratios is None else dict(run.ratios),
    }


def cells(run: Run, best: float | None) -> list[str]:
    """Return a run's row, one text per column."""
    # Refused or ended without an answer: there are no numbers.
    if run.verdict is None:
        return [run.backend, *[""] * (len(COLUMNS) - 3), run.termination, run.raw_status]
    # Against the best certified answer; a run that is not certified may lie below it.
    excess = None if best is None or run.objective is None else run.objective - best
    spread = "" if run.fastest == run.slowest else f" ({number(run.fastest, '.3f')}–{number(run.slowest, '.3f')})"
    words = run.verdict if run.passed else f"NOT certified: {run.verdict}"
    return [
        run.backend,
        number(run.objective, ".8f"),
        _size(excess),
        _size(run.max_ratio_difference),
        _size(run.residuals.get("stationarity")),
        _size(run.residuals.get("primal")),
        _size(run.multiplier_disagreement),
        number(run.seconds, ".3f") + spread,
        number(run.evaluations, "d"),
        words if run.termination == "solved" else f"{words}; {run.termination}",
        run.raw_status,
    ]


def _size(value: float | None) -> str:
    """Return the size of a difference that should be 0."""
    return "0" if value == 0 else number(value, ".0e")


def _best(runs: Sequence[Run]) -> float | None:
    return min((run.objective for run in runs if run.passed and run.objective is not None), default=None)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a table for each problem and procedure, and over several of them the profiles."""
    groups = comparison.groups
    for (problem, procedure), runs in groups.items():
        rows = new_table(f"{problem}: {procedure}", *COLUMNS[:-1], right=1)
        refused = [run for run in runs if run.termination == "refused"]
        for run in runs:
            if run not in refused:
                rows.add_row(*cells(run, _best(runs))[:-1])
        console.print(rows)
        say(console, "the solvers' own words:")
        for run in runs:
            say(console, f"  {run.backend}{' refused' if run in refused else ''}: {run.raw_status}")
        console.print()
    if len(groups) > 1:
        console.print(_profile_table(profiles(comparison), len(groups), comparison.time_limit))


def _profile_table(measured: Sequence[Profile], n_problems: int, time_limit: float) -> object:
    """Return the table of success rates, mean times and shares within factors of the fastest."""
    rows = new_table(
        f"{n_problems} problems; failures charged {time_limit:g} s",
        "backend",
        "solved",
        "taken",
        "mean seconds",
        *(f"within {factor}x" for factor in FACTORS),
    )
    for profile in measured:
        rows.add_row(
            profile.backend,
            str(profile.successes),
            str(profile.attempts),
            number(profile.mean_seconds, ".4f"),
            *(f"{100 * profile.share_within(factor):.0f} %" for factor in FACTORS),
        )
    return rows


def profile_figure(measured: Sequence[Profile], ax: Axes | None = None) -> Figure:
    """Return the performance profiles as a figure, readable in grey; needs matplotlib (extra plots)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained") if ax is None else cast("Figure", ax.figure)
    axes = figure.subplots() if ax is None else ax
    for position, profile in enumerate(measured):
        solved = profile.factors[np.isfinite(profile.factors)]
        heights = np.arange(1, solved.size + 1) / max(profile.factors.size, 1)
        # A step at each factor, drawn on to the end of the axis.
        x = np.concatenate([[1.0], solved, [PROFILE_END]])
        y = np.concatenate([[0.0], heights, [heights[-1] if solved.size else 0.0]])
        axes.step(x, y, where="post", linestyle=STYLES[position % len(STYLES)], linewidth=1.8, label=profile.backend)
    axes.set_xscale("log")
    axes.set(
        xlim=(1, PROFILE_END),
        ylim=(0, 1.02),
        xlabel="time over the fastest backend's time",
        ylabel="share of problems solved",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="lower right")
    return figure


def comparison_html(comparison: Comparison) -> str:
    """Return one HTML page without any outside reference; with matplotlib, the profiles are drawn in it."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>climbopt compare</title><style>"
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#222}"
        "table{border-collapse:collapse;margin:.5rem 0 1.5rem;width:100%}th,td{padding:.25rem .6rem;"
        "text-align:right;border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}"
        "th:first-child,td:first-child,th:last-child,td:last-child{text-align:left}"
        ".bad{color:#a00000;font-weight:600}.quiet{color:#666}</style></head><body><h1>climbopt compare</h1>"
        "<p>Every number is recomputed at the repaired point; no solver's own claim is shown but its words.</p>"
    ]
    for (problem, procedure), runs in comparison.groups.items():
        parts.append(f"<h2>{escape(problem)}: {escape(procedure)}</h2>")
        parts.append(
            _html_table(
                COLUMNS,
                [cells(run, _best(runs)) for run in runs if run.verdict],
                [not run.passed for run in runs if run.verdict],
            )
        )
        parts += [
            f"<p class='quiet'>{escape(run.backend)} {escape(run.termination)}: {escape(run.raw_status)}</p>"
            for run in runs
            if run.verdict is None
        ]
    measured = profiles(comparison)
    if len(comparison.groups) > 1:
        parts.append("<h2>Performance profiles</h2>")
        parts.append(
            _html_table(
                ("backend", "solved", "taken", "mean seconds", *(f"within {factor}x" for factor in FACTORS)),
                [
                    [
                        profile.backend,
                        str(profile.successes),
                        str(profile.attempts),
                        number(profile.mean_seconds, ".4f"),
                        *(f"{100 * profile.share_within(factor):.0f} %" for factor in FACTORS),
                    ]
                    for profile in measured
                ],
                [False] * len(measured),
            )
        )
        parts.append(_drawn(measured))
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]], bad: Sequence[bool]) -> str:
    """Return a table; rows that are bad stand out."""
    lines = ["<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += [
        f"<tr{' class=bad' if wrong else ''}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row, wrong in zip(rows, bad, strict=True)
    ]
    return "\n".join([*lines, "</table>"])


def _drawn(measured: Sequence[Profile]) -> str:
    """Return the profiles as SVG, or a word on why they are not drawn."""
    try:
        figure = profile_figure(measured)
    except ImportError:
        return "<p class='quiet'>Not drawn: matplotlib is not installed (pip install 'climbopt[plots]').</p>"
    stream = StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    # Without the XML declaration, which has no place inside HTML.
    return svg[svg.index("<svg") :]
