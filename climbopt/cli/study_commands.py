"""The subcommands that take many solves or draw their results: sweep, plan and plot."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
import typer

import climbopt
from climbopt.cli.arguments import (
    BACKEND,
    DRAWS,
    FORCE,
    JOBS,
    JSON,
    PROBLEM,
    SEED,
    TOLERANCE,
    names,
    pair,
    quantity,
    spaced,
)
from climbopt.cli.pilot_options import MAP, earlier_runs
from climbopt.cli.streams import check_places, complain, progress, report, solvers_on_standard_error
from climbopt.foundations.errors import InputError
from climbopt.foundations.quantities import NUMBER, PARAMS, RATIO, TOKENS

if TYPE_CHECKING:
    from climbopt.files import PathFile
    from climbopt.studies.design.criteria import Criterion

BUDGETS = Annotated[
    str | None,
    typer.Option(
        metavar="FROM:TO:COUNT", help="Tokens, evenly spaced on a logarithmic scale; the problem's own by default."
    ),
]
OVER = Annotated[
    str | None,
    typer.Option(metavar="NUMBER=FROM:TO:COUNT", help="A number of a constraint, evenly spaced: floor.sw=0:10%:11."),
]
STAGES = Annotated[int | None, typer.Option(help="Also a schedule of so many stages over the budgets.")]
POINTS_OUTPUT = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE.csv", help="Write the points, one row per point and language."),
]

Grid = tuple[list[float] | None, tuple[str, list[float]] | None]
"""Budgets, and the name of a constraint's number with its values; None for what does not vary."""


def sweep(
    problem: PROBLEM,
    budgets: BUDGETS = None,
    over: OVER = None,
    stages: STAGES = None,
    draws: DRAWS = None,
    backend: BACKEND = None,
    tolerance: TOLERANCE = 1e-6,
    jobs: JOBS = 1,
    output: POINTS_OUTPUT = None,
    json: JSON = None,
) -> None:
    """Solve along a path of budgets, or of one constraint's number."""
    from climbopt.files import files_of, find_problem, write_text
    from climbopt.procedures.result import resolve
    from climbopt.reports.sweeps import print_schedule, print_sweep, sweep_json

    inputs = [*files_of(find_problem(problem)), *([] if draws is None else [draws])]
    check_places(inputs, json, output)
    if backend is not None:
        climbopt.BACKENDS[backend]
    tokens, numbers = _grid(budgets, over, stages)
    (loaded, procedure), options = resolve(problem), climbopt.Options(tolerance)
    origin: dict[str, object] = {"budgets": tokens, "over": numbers, "backend": backend, "tolerance": tolerance}
    # Draws take long: their paths are stored beside the output, and a second run goes on where the first stopped.
    place = output or (None if json in (None, "-") else Path(str(json)))
    file = None if draws is None or place is None else _path_file(place, inputs, loaded, (tokens, numbers), origin)
    with solvers_on_standard_error(json), progress("points") as count:
        path = _resumable(
            file,
            lambda: climbopt.sweep(
                loaded,
                tokens,
                numbers,
                procedure=procedure,
                draws=draws or (),
                backend=backend,
                options=options,
                jobs=jobs,
                stored=file,
                progress=count,
            ),
        )
    # Even on a logarithmic scale, as the budgets of the sweep are.
    ends = np.geomspace(tokens[0], tokens[-1], stages).tolist() if stages is not None and tokens is not None else []
    staged = climbopt.schedule(loaded, ends, backend=backend, options=options) if ends else None
    if output is not None:
        write_text(output, path.to_frame().to_csv(index=False))
    report(
        json,
        sweep_json(path, staged),
        lambda to: print_sweep(path, to),
        *([] if staged is None else [lambda to: print_schedule(staged, to)]),
    )
    if file is not None:
        file.remove()
    # Points that no mixture meets are an answer; points without a certificate are not.
    raise typer.Exit(0 if all(point.passed for point in path.points if point.result is not None) else 1)


def _grid(budgets: str | None, over: str | None, stages: int | None) -> Grid:
    """Return the budgets of a sweep, and the constraint's number with its values."""
    tokens = None if budgets is None else spaced("--budgets", budgets, logarithmic=True)
    if tokens is None and over is None:
        raise InputError("a sweep needs --budgets FROM:TO:COUNT, --over NUMBER=FROM:TO:COUNT, or both")
    if stages is not None and (tokens is None or stages < 2):
        raise InputError("--stages is 2 or more, and needs --budgets: its stages end between the first and the last")
    if over is None:
        return tokens, None
    name, values = pair("--over", over, "NUMBER=FROM:TO:COUNT", "floor.sw=0:10%:11")
    return tokens, (name, spaced("--over", values))


def _path_file(
    place: Path, inputs: list[Path], problem: climbopt.AllocationProblem, grid: Grid, origin: dict[str, object]
) -> PathFile | None:
    """Return the file beside the output that holds the draws' paths until it is written; None beside a pipe."""
    from climbopt.files import PathFile, is_special, paths_beside, read_bytes, sha256

    if any(map(is_special, [place, *inputs])):
        return None
    tokens, numbers = grid
    # Points of the grid; what does not vary counts once.
    shape = len(tokens or [1]) * len(numbers[1] if numbers else [1]), len(problem.model.sources)
    return PathFile(paths_beside(place), shape, {"inputs": [sha256(read_bytes(path)) for path in inputs], **origin})


def _resumable(file: PathFile | None, solve_path: Callable[[], climbopt.Sweep]) -> climbopt.Sweep:
    """Return a sweep; where it is refused, a file without paths is removed, which would block a corrected sweep."""
    try:
        path = solve_path()
    except InputError:
        if file is not None and not file.known:
            file.remove()
        raise
    # Refused points are no failures of the sweep, but a sweep of them alone is no answer.
    if all(point.result is None for point in path.points):
        if file is not None:
            file.remove()
        raise InputError(f"every point is refused, the first for this reason: {path.points[0].refusal}")
    return path


PILOT_BUDGETS = Annotated[
    str, typer.Option(metavar="TOKENS", help="Tokens that a run may have, with commas between them.")
]
FLOOR = Annotated[
    float,
    typer.Option(
        parser=quantity("--floor", RATIO), metavar="RATIO", help="Least ratio of every language in every run."
    ),
]
PLAN_MODEL = Annotated[
    Path | None, typer.Option(metavar="MODEL.toml", help="Plan for the parameters of a model, instead of the priors.")
]
AFTER = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="PILOTS",
        help="Runs already made; repeated for earlier tables, after today's. With --map a single one is earlier.",
    ),
]
PLAN_PARAMS = Annotated[
    float | None,
    typer.Option(parser=quantity("--params", PARAMS), metavar="SIZE", help="Model size, for laws that depend on it."),
]
TARGET_BUDGET = Annotated[
    float | None,
    typer.Option(
        parser=quantity("--target-budget", TOKENS),
        metavar="TOKENS",
        help="Of the run that the pilots are for: plan for predictions there, and where its decision can lie.",
    ),
]
PLAN_SUPPLY = Annotated[
    Path | None, typer.Option("--supply", metavar="FILE", help="CSV of language, tokens: the supplies of that run.")
]
CUT_SUPPLY = Annotated[
    bool, typer.Option("--cut-supply", help="Draw each pilot from supplies cut down in proportion to its budget.")
]
CRITERION = Annotated[
    str,
    typer.Option(metavar="I|D", help="I: the mean variance of predictions; D: the parameters' joint uncertainty."),
]
PLAN_OUTPUT = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="plan.csv", help="Write the runs; fit reads them once losses are filled in."
    ),
]


@dataclass(frozen=True)
class JobOptions:
    """The folder of jobs that a plan is written as: the options of these names."""

    export: Annotated[
        str | None,
        typer.Option(
            metavar="TRAINER",
            help="Write a folder instead: a configuration per run for this trainer, a manifest and job scripts.",
        ),
    ] = None
    paths: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the data lie: CSV of language, path."),
    ] = None
    command: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="What trains one run, with {config}, {tokens}, {run} and {logs}, for the job scripts."
        ),
    ] = None
    force: FORCE = False

    def writer(self, folder: Path | None) -> Callable[[climbopt.Plan, Sequence[Path]], None] | None:
        """Return what writes the jobs of a plan, which replaces none of the inputs; None where no jobs are requested.

        Raises
        ------
        InputError
            Where they could not be written: before the plan is made.
        """
        from climbopt.files import check_folder, load_paths, new_folder, write_table
        from climbopt.files.jobs import PLAN_NAME, RUN_NAME, train_words, write_jobs
        from climbopt.files.trainers import TRAINERS
        from climbopt.reports.plans import planned_runs

        if self.export is None:
            return None
        if folder is None:
            raise InputError("--export writes a folder; name it by -o FOLDER")
        check_folder(folder, force=self.force)
        if self.command is not None:
            train_words(self.command)
        trainer, paths = TRAINERS[self.export], {} if self.paths is None else load_paths(self.paths)

        def write(planned: climbopt.Plan, inputs: Sequence[Path]) -> None:
            with new_folder(folder, force=self.force, inputs=inputs) as place:
                write_table(place / PLAN_NAME, planned.to_frame())
                notes = write_jobs(place, planned_runs(planned), trainer, paths, self.command)
            start = shlex.quote(str(folder / RUN_NAME))
            complain(*notes, f"start the runs by {start}, then: {shlex.join(['climbopt', 'collect', str(folder)])}")

        return write


def plan(
    languages: Annotated[str, typer.Option(metavar="NAMES", help="Names with commas between them.")],
    budgets: PILOT_BUDGETS,
    runs: Annotated[
        int | None, typer.Option(help="As few as promise no larger an error than CLIMB's design, by default.")
    ] = None,
    floor: FLOOR = 0.0,
    model: PLAN_MODEL = None,
    after: AFTER = None,
    by_source: MAP = None,
    law: Annotated[str, typer.Option(metavar="NAME", help="Loss law, where no model is given.")] = "power",
    interaction: Annotated[str, typer.Option(metavar="NAME", help="Interaction, where no model is given.")] = "gated",
    params: PLAN_PARAMS = None,
    target_budget: TARGET_BUDGET = None,
    supply: PLAN_SUPPLY = None,
    cut_supply: CUT_SUPPLY = False,
    criterion: CRITERION = "I",
    seed: SEED = 0,
    *,
    jobs: JobOptions,
    output: PLAN_OUTPUT = None,
    json: JSON = None,
) -> None:
    """Choose pilot runs by an optimal design; its expected error is shown beside that of CLIMB's design."""
    from climbopt.files import load_supply, write_text
    from climbopt.reports.plans import plan_json, print_plan

    inputs = [path for path in (model, *(after or ()), by_source, supply, jobs.paths) if path is not None]
    check_places(inputs, json, None if jobs.export is not None else output)
    write = jobs.writer(output)
    if criterion not in ("D", "I"):
        raise InputError(f"--criterion is '{criterion}'; it is D or I")
    asked = names("--languages", languages)
    made = earlier_runs(after or (), by_source, asked)
    with progress("plan") as count:
        planned = climbopt.plan(
            asked,
            [TOKENS.read(part, "--budgets") for part in budgets.split(",")],
            runs,
            floor=floor,
            model=model,
            after=made,
            law=law,
            interaction=interaction,
            params=params,
            target_budget=target_budget,
            supply=None if supply is None else load_supply(supply),
            cut_supply=cut_supply,
            criterion=cast("Criterion", criterion),
            seed=seed,
            progress=count,
        )
    if write is not None:
        write(planned, inputs)
    elif output is not None:
        write_text(output, planned.to_frame().to_csv(index=False))
    report(json, plan_json(planned), lambda to: print_plan(planned, to, listed=output is None))


def plot(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A model (fit, transfer), a problem (transfer, allocation, ranges, marginal), JSON of solve or sweep, "
            "or ratios as JSON or CSV (allocation).",
        ),
    ],
    kind: Annotated[str, typer.Option(metavar="KIND", help="fit, transfer, allocation, ranges, sweep or marginal.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="x.png, x.svg or x.pdf.")],
    pilots: Annotated[Path | None, typer.Option(metavar="PILOTS", help="Measured runs, for fit.")] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            parser=quantity("--budget", TOKENS), metavar="TOKENS", help="For transfer and for problems, such as 1T."
        ),
    ] = None,
    draws: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Draws of the model, for transfer: greys what is not distinguishable from 0.",
        ),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(
            parser=quantity("--width", NUMBER), metavar="INCHES", help="3.4 for one column of a paper, 7 for two."
        ),
    ] = None,
) -> None:
    """Draw a picture of a fit, a model, an answer or a sweep."""
    check_places([file, pilots, draws], None, output)
    if draws is not None and kind != "transfer":
        raise InputError("--draws is for --kind transfer; a sweep's bands are in its JSON (climbopt sweep --draws)")
    if output.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"a picture is written as .png, .svg or .pdf, and not as '{output.name}'")
    if budget is not None and not 0 < budget < np.inf:
        raise InputError(f"--budget is {budget:g}; it is a positive number of tokens")
    if width is not None and not 2 <= width <= 20:
        raise InputError(f"--width is {width:g}; it is 2 to 20 inches")
    if find_spec("matplotlib") is None:
        raise InputError("pictures need matplotlib, which is not installed; pip install 'climbopt[plots]'")
    # Imported late: it needs matplotlib, whose absence has its own sentence above.
    from climbopt.reports.pictures import Request, draw, save

    save(draw(kind, Request(file, pilots, budget, width, draws)), output)
