"""Sweeps and schedules: as JSON, and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console

from climbopt.model.templates import Array
from climbopt.reports.extrapolation import Reach, cumulative
from climbopt.reports.typesetting import MOST_ROWS, NO_VALUE, Grid, number, say, tokens as token_words
from climbopt.reports.writers import Value
from climbopt.studies.schedule import Schedule
from climbopt.studies.sweep import BAND, Point, Sweep

BAND_NAME = f"{50 * (1 - BAND):.0f} to {50 * (1 + BAND):.0f} %"


def sweep_json(sweep: Sweep, staged: Schedule | None = None) -> dict[str, Value]:
    """Return a sweep as JSON values: points in order, bands where there are draws, stages where requested."""
    sources, bands = sweep.problem.model.sources, sweep.bands()
    return {
        "format": "climbopt sweep 1",
        "problem": sweep.problem.name,
        "procedure": sweep.procedure.name,
        "over": sweep.over,
        "languages": list(sources),
        "draws": None if sweep.draws is None else len(sweep.draws),
        "points": [_point(sweep, point) for point in sweep.points],
        "bands": None
        if bands is None
        else {
            name: {"lower": bands[0][:, j].tolist(), "upper": bands[1][:, j].tolist()} for j, name in enumerate(sources)
        },
        **_reach(sweep).json(),
        "schedule": None
        if staged is None
        else [
            {
                "begin": stage.begin,
                "end": stage.end,
                "ratios": dict(zip(sources, stage.ratios.tolist(), strict=True)),
                "cumulative": dict(zip(sources, stage.cumulative.tolist(), strict=True)),
                "optimal": dict(zip(sources, stage.optimal.tolist(), strict=True)),
                "followed": stage.followed,
                "objective": stage.objective,
                "best": stage.best,
                "static": stage.static,
                "gain": stage.gain,
            }
            for stage in staged.stages
        ],
        "seconds": sweep.seconds,
    }


def schedule_json(staged: Schedule) -> dict[str, Value]:
    """Return a schedule as JSON values: the sweep of its stages' ends, and the stages."""
    return sweep_json(staged.path, staged)


def _reach(sweep: Sweep) -> Reach:
    """Return where the answers of a sweep lie beside the pilots."""
    answers = [point.answer for point in sweep.points if point.answer is not None]
    return replace(
        Reach.of_problem(sweep.problem),
        budgets=[sweep.problem.trained_tokens + point.budget for point in sweep.points if point.result is not None],
        mixtures=[cumulative(answer.problem, answer.ratios) for answer in answers],
    )


def _point(sweep: Sweep, point: Point) -> dict[str, Value]:
    result, pilots, trained = point.answer, sweep.problem.model.pilots, sweep.problem.trained_tokens
    certificate = None if result is None else result.certificate
    return {
        "budget": point.budget,
        "extrapolation": None if pilots is None else pilots.extrapolation(trained + point.budget),
        "bound": point.bound,
        "ratios": None if result is None else result.ratios,
        "losses": None if result is None else result.losses,
        "objective": None if result is None else result.objective,
        "passed": point.passed,
        "verdict": None if certificate is None else certificate.verdict.value,
        "gap": None if certificate is None else certificate.gap,
        "active": []
        if certificate is None
        else [name for name, entry in certificate.multipliers.items() if entry.active and name != "simplex"],
        "refusal": point.refusal,
    }


def print_sweep(sweep: Sweep, console: Console) -> None:
    """Print the ratios in per cent along the path, with their bands, the objective and the verdict."""
    problem, bands = sweep.problem, sweep.bands()
    chosen = _most_moved(sweep.ratios, MOST_ROWS)
    say(
        console,
        Grid(
            f"{problem.name}: {sweep.procedure.name} over {len(sweep.points)} points",
            ["budget", *([sweep.over] if sweep.over else []), problem.goal.label],
            [
                [
                    token_words(point.budget),
                    *([number(point.bound, ".4g")] if sweep.over else []),
                    number(None if point.answer is None else point.answer.objective, ".6f"),
                ]
                for point in sweep.points
            ],
            [problem.model.sources[j] for j in chosen],
            [[number(100 * float(ratios[j]), ".2f") for j in chosen] for ratios in sweep.ratios],
            [_verdict(point) for point in sweep.points],
            []
            if bands is None
            else [
                [NO_VALUE if np.isnan(low[j]) else f"{100 * low[j]:.2f}–{100 * high[j]:.2f}" for j in chosen]
                for low, high in zip(*bands, strict=True)
            ],
            BAND_NAME,
        ),
        *_notes(sweep, len(chosen)),
    )


def _verdict(point: Point) -> str:
    """Return the verdict on a point's answer."""
    if point.result is None:
        return "refused"
    if point.answer is None:
        return "no answer"
    certificate = point.answer.certificate
    return certificate.verdict.value if point.passed else f"NOT certified ({certificate.verdict.value})"


def _notes(sweep: Sweep, shown: int) -> Iterator[str | None]:
    """Yield what the bands are, what the table leaves out, what was refused, and how far points lie off the pilots."""
    if sweep.draws is not None:
        # One NaN ratio marks a point without a certified answer.
        n, missing = len(sweep.draws), int(np.isnan(sweep.draws[:, :, 0]).sum())
        left_out = f"; {missing} of their {n * len(sweep.points)} points have no certified answer and are left out"
        yield f"{BAND_NAME} of {n} draws" + (left_out if missing else "")
    if shown < len(sweep.problem.model.sources):
        yield f"the {shown} languages whose ratios change most; all of them with --json or -o"
    refused = [point for point in sweep.points if point.refusal]
    if refused:
        yield f"{len(refused)} points refused; at {token_words(refused[0].budget)}: {refused[0].refusal}"
    yield _reach(sweep).words()
    yield f"{sweep.seconds:.2f} s"


def print_schedule(staged: Schedule, console: Console) -> None:
    """Print each stage's ratios in per cent, and what the schedule gains at its end over the static optimum."""
    problem = staged.problem
    chosen = _most_moved(np.array([stage.ratios for stage in staged.stages]), MOST_ROWS)
    say(
        console,
        "",
        Grid(
            f"{problem.name}: a run in {len(staged.stages)} stages",
            ["tokens", "to", problem.goal.label, "gain over static", "off the optimum", "path"],
            [
                [
                    token_words(stage.begin),
                    token_words(stage.end),
                    f"{stage.objective:.6f}",
                    f"{stage.gain:.2g}",
                    f"{stage.objective - stage.best:.2g}",
                    "followed" if stage.followed else "nearest",
                ]
                for stage in staged.stages
            ],
            [problem.model.sources[j] for j in chosen],
            [[f"{100 * stage.ratios[j]:.2f}" for j in chosen] for stage in staged.stages],
        ),
    )


def _most_moved(ratios: Array, most: int) -> Sequence[int]:
    """Return the columns to show, in order: all, or those that move most."""
    # Points without a certified answer have no ratios, and move nothing.
    known = ratios[~np.isnan(ratios[:, 0])]
    if not len(known) or ratios.shape[1] <= most:
        return range(min(ratios.shape[1], most))
    # By movement, rounded, and by size where that is equal.
    moved = np.lexsort((-known.max(axis=0), -(known.max(axis=0) - known.min(axis=0)).round(6)))
    result: list[int] = sorted(moved[:most].tolist())
    return result
