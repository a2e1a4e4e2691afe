"""A comparison as tables, as JSON and as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from io import StringIO

from rich.console import Console

from climbopt.foundations.view import html_table
from climbopt.reports.typesetting import TextTable, number, say
from climbopt.reports.writers import Value
from climbopt.studies.comparison.backend_runs import Comparison, Profile, Run, profiles

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
PROFILE_COLUMNS = ("backend", "solved", "taken", "mean seconds", *(f"within {factor}x" for factor in FACTORS))


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
    return {
        "problem": run.problem,
        "procedure": run.procedure,
        "backend": run.backend,
        "backend_version": run.backend_version,
        "objective": run.objective,
        "max_ratio_difference": run.max_ratio_difference,
        **dict.fromkeys(("stationarity", "primal", "dual", "complementarity")),
        **run.residuals,
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
    spread = "" if run.fastest == run.slowest else f" ({number(run.fastest, '.3f')}–{number(run.slowest, '.3f')})"
    words = run.verdict if run.passed else f"NOT certified: {run.verdict}"
    return [
        run.backend,
        number(run.objective, ".8f"),
        # Against the best certified answer; a run that is not certified may lie below it.
        _size(None if best is None or run.objective is None else run.objective - best),
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
        rows = [cells(run, _best(runs))[:-1] for run in runs if run.termination != "refused"]
        say(
            console,
            TextTable(f"{problem}: {procedure}", COLUMNS[:-1], rows, right=1),
            "the solvers' own words:",
            *(f"  {run.backend}{' refused' if run.termination == 'refused' else ''}: {run.raw_status}" for run in runs),
            "",
        )
    if len(groups) > 1:
        title = f"{len(groups)} problems; failures charged {comparison.time_limit:g} s"
        console.print(TextTable(title, PROFILE_COLUMNS, list(map(_profile_cells, profiles(comparison)))))


def _profile_cells(profile: Profile) -> list[str]:
    """Return a backend's row of the profiles: its successes, mean time and shares within factors of the fastest."""
    return [
        profile.backend,
        str(profile.successes),
        str(profile.attempts),
        number(profile.mean_seconds, ".4f"),
        *(f"{100 * profile.share_within(factor):.0f} %" for factor in FACTORS),
    ]


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
        # Runs without a verdict have no row: their words stand below.
        rows = [(cells(run, _best(runs)), not run.passed) for run in runs if run.verdict]
        parts += [f"<h2>{escape(problem)}: {escape(procedure)}</h2>", html_table(COLUMNS, rows)]
        parts += [
            f"<p class='quiet'>{escape(run.backend)} {escape(run.termination)}: {escape(run.raw_status)}</p>"
            for run in runs
            if run.verdict is None
        ]
    if len(comparison.groups) > 1:
        measured = profiles(comparison)
        rows = [(_profile_cells(profile), False) for profile in measured]
        parts += ["<h2>Performance profiles</h2>", html_table(PROFILE_COLUMNS, rows), _drawn(measured)]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _drawn(measured: Sequence[Profile]) -> str:
    """Return the profiles as SVG, or a word on why they are not drawn."""
    try:
        from climbopt.reports.plots import profile_figure
    except ImportError:
        return "<p class='quiet'>Not drawn: matplotlib is not installed (pip install 'climbopt[plots]').</p>"
    stream = StringIO()
    profile_figure(measured).savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    # Without the XML declaration, which has no place inside HTML.
    return svg[svg.index("<svg") :]
