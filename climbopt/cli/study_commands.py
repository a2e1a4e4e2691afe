"""The subcommands that take many solves or draw what came of them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
import typer

from climbopt.cli.streams import JSON, PROBLEM, check_places, progress, report, solvers_on_standard_error
from climbopt.foundations.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from climbopt.files import PathFile
    from climbopt.studies.design.exchange import Criterion

MOST_VALUES = 100_000
"""Of FROM:TO:COUNT."""


def sweep(
    problem: PROBLEM,
    budgets: Annotated[
        str | None,
        typer.Option(
            metavar="FROM:TO:COUNT", help="Tokens, evenly spaced on a logarithmic scale; the problem's own by default."
        ),
    ] = None,
    over: Annotated[
        str | None,
        typer.Option(metavar="NUMBER=FROM:TO:COUNT", help="A number of a constraint, evenly: floor.sw=0:0.1:11."),
    ] = None,
    stages: Annotated[int | None, typer.Option(help="Also a schedule of so many stages over the budgets.")] = None,
    draws: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl", help="Draws of the model, which fit --bootstrap writes: bands of the ratios."
        ),
    ] = None,
    backend: Annotated[str | None, typer.Option(help="Solver backend; see climbopt backends.")] = None,
    tolerance: Annotated[float, typer.Option(help="Of the certificate's scaled residuals.")] = 1e-6,
    jobs: Annotated[int, typer.Option(min=1, help="Processes for the draws.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.csv", help="Write the points, one row a point and language."),
    ] = None,
    json: JSON = None,
) -> None:
    """Solve along a path of budgets, or of one constraint's number."""
    from climbopt.backends import BACKENDS, Options
    from climbopt.files import files_of, find_problem, load_draws, load_problem, write_text
    from climbopt.reports.sweeps import print_schedule, print_sweep, sweep_json, sweep_table
    from climbopt.studies.schedule import schedule
    from climbopt.studies.sweep import sweep as swept

    inputs = [*files_of(find_problem(problem)), *([] if draws is None else [draws])]
    check_places(inputs, json, output)
    if backend is not None:
        BACKENDS[backend]
    tokens, numbers = _grid(budgets, over, stages)
    loaded, options = load_problem(problem), Options(tolerance)
    drawn = () if draws is None else load_draws(draws)
    shape = len(tokens or [1]) * len(numbers[1] if numbers else [1]), len(loaded.model.sources)
    kept = (
        None
        if draws is None
        else _kept(
            output,
            json,
            inputs,
            shape,
            {"budgets": tokens, "over": numbers, "backend": backend, "tolerance": tolerance},
        )
    )
    try:
        with solvers_on_standard_error(json), progress("points") as told:
            found = swept(
                loaded,
                tokens,
                numbers,
                draws=drawn,
                backend=backend,
                options=options,
                jobs=jobs,
                kept=kept,
                progress=told,
            )
    except InputError:
        if kept is not None and not kept.known:  # or it would stand in the way of a right one
            kept.remove()
        raise
    if all(point.result is None for point in found.points):
        if kept is not None:
            kept.remove()
        raise InputError(f"every point is refused, the first for this reason: {found.points[0].refusal}")
    staged = (
        None
        if stages is None or tokens is None
        else schedule(loaded, np.geomspace(tokens[0], tokens[-1], stages).tolist(), backend=backend, options=options)
    )
    if output is not None:
        write_text(output, sweep_table(found).to_csv(index=False))

    def show(to: Console) -> None:
        print_sweep(found, to)
        if staged is not None:
            print_schedule(staged, to)

    report(json, sweep_json(found, staged), show)
    if kept is not None:
        kept.remove()
    raise typer.Exit(0 if all(point.passed for point in found.points if point.result is not None) else 1)


def _grid(
    budgets: str | None, over: str | None, stages: int | None
) -> tuple[list[float] | None, tuple[str, list[float]] | None]:
    """Return the budgets, and the constraint's number with its values, that a sweep is asked for."""
    tokens = None if budgets is None else _spaced("--budgets", budgets, logarithmic=True)
    if tokens is None and over is None:
        raise InputError("a sweep needs --budgets FROM:TO:COUNT, --over NUMBER=FROM:TO:COUNT, or both")
    if stages is not None and (tokens is None or stages < 2):
        raise InputError("--stages is 2 or more, and needs --budgets: its stages end between the first and the last")
    if over is None:
        return tokens, None
    name, equals, values = over.partition("=")
    if not equals:
        raise InputError(f"--over {over!r} has no values; write for example --over floor.sw=0:0.1:11")
    return tokens, (name, _spaced("--over", values))


def _kept(
    output: Path | None, json: str | None, inputs: list[Path], shape: tuple[int, int], origin: dict[str, object]
) -> PathFile | None:
    """Return the file beside the output that holds the draws' paths until it is written; None without a place."""
    from climbopt.files import PathFile, is_special, paths_beside, read_bytes, sha256

    place = output or (None if json in (None, "-") else Path(str(json)))
    if place is None or any(map(is_special, [place, *inputs])):
        return None
    return PathFile(paths_beside(place), shape, {"inputs": [sha256(read_bytes(one)) for one in inputs], **origin})


def plan(
    languages: Annotated[str, typer.Option(help="Names with commas between them.")],
    budgets: Annotated[str, typer.Option(help="Tokens that a run may have, with commas between them.")],
    runs: Annotated[
        int | None, typer.Option(help="As few as promise no larger an error than CLIMB's design, by default.")
    ] = None,
    floor: Annotated[float, typer.Option(help="Least ratio of every language in every run.")] = 0.0,
    model: Annotated[
        Path | None,
        typer.Option(metavar="MODEL.toml", help="Plan for the parameters of a model, instead of the priors."),
    ] = None,
    after: Annotated[Path | None, typer.Option(metavar="PILOTS", help="Runs already made.")] = None,
    law: Annotated[str, typer.Option(help="Loss law, where no model is given.")] = "power",
    interaction: Annotated[str, typer.Option(help="Interaction, where no model is given.")] = "gated",
    params: Annotated[float | None, typer.Option(help="Model size, for laws that depend on it.")] = None,
    criterion: Annotated[
        str, typer.Option(help="I: the mean variance of predictions; D: the parameters' joint uncertainty.")
    ] = "I",
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="plan.csv", help="Write the runs; fit reads them once losses are filled in."
        ),
    ] = None,
    json: JSON = None,
) -> None:
    """Choose pilot runs: an optimal design, with its expected error beside that of CLIMB's."""
    from climbopt.files import load_model, load_pilots, write_text
    from climbopt.model.interactions import INTERACTIONS
    from climbopt.model.laws import LAWS
    from climbopt.reports.plans import plan_json, plan_table, print_plan
    from climbopt.studies.design.plan import plan as planned

    check_places([path for path in (model, after) if path is not None], json, output)
    if criterion not in ("D", "I"):
        raise InputError(f"--criterion is '{criterion}'; it is D or I")
    try:
        tokens = [float(part) for part in budgets.split(",")]
    except ValueError:
        raise InputError(f"--budgets {budgets!r} are no numbers; write for example 0.5e9,1e9,2e9") from None
    with progress("plan") as told:
        found = planned(
            [name.strip() for name in languages.split(",") if name.strip()],
            tokens,
            runs,
            floor=floor,
            model=None if model is None else load_model(model),
            after=None if after is None else load_pilots(after),
            law=LAWS[law],
            interaction=INTERACTIONS[interaction],
            params=params,
            criterion=cast("Criterion", criterion),
            seed=seed,
            progress=told,
        )
    if output is not None:
        write_text(output, plan_table(found).to_csv(index=False))
    report(json, plan_json(found), lambda to: print_plan(found, to, listed=output is None))


def plot(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A model (fit, transfer), a problem (transfer, "
            "allocation, ranges, marginal), or JSON of solve or "
            "sweep.",
        ),
    ],
    kind: Annotated[str, typer.Option(help="fit, transfer, allocation, ranges, sweep or marginal.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="x.png, x.svg or x.pdf.")],
    pilots: Annotated[Path | None, typer.Option(help="Measured runs, for fit.")] = None,
    budget: Annotated[float | None, typer.Option(help="Tokens, for transfer and for problems.")] = None,
    draws: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Draws of the model, for transfer: greys what cannot be told from 0."),
    ] = None,
    width: Annotated[float | None, typer.Option(help="Inches: 3.4 for one column of a paper, 7 for two.")] = None,
) -> None:
    """Draw a picture of a fit, a model, an answer or a sweep."""
    check_places([path for path in (file, pilots, draws) if path is not None], None, output)
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
    from climbopt.reports.pictures import Asked, draw, save

    save(draw(kind, Asked(file, pilots, budget, width, draws)), output)


def _spaced(option: str, text: str, *, logarithmic: bool = False) -> list[float]:
    """Return the numbers that FROM:TO:COUNT stands for."""
    try:
        begin, end, count = text.split(":")
        ends, n = (float(begin), float(end)), int(count)
    except ValueError:
        raise InputError(
            f"{option} has the values {text!r}; write FROM:TO:COUNT, for example "
            f"{'1e9:1e13:20' if logarithmic else '0:0.1:11'}"
        ) from None
    if not 1 <= n <= MOST_VALUES or not np.isfinite(ends).all() or (logarithmic and min(ends) <= 0):
        raise InputError(
            f"{option} has the values {text!r}; COUNT is 1 to {MOST_VALUES}, and the ends are finite"
            + (" and above 0" if logarithmic else "")
        )
    result: list[float] = (np.geomspace if logarithmic else np.linspace)(*ends, n).tolist()
    return result


STUDIES = (sweep, plan, plot)
"""Subcommands, in the order of the help."""
