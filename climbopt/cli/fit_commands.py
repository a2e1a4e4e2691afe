"""The subcommands between measured runs and a model: fit and predict."""

from __future__ import annotations

import shlex
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from climbopt.cli.streams import JSON, check_places, console, progress, report, warn
from climbopt.foundations.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from climbopt.files import DrawFile, WideNames
    from climbopt.fitting.estimate import Fit, Fixed
    from climbopt.runs.pilots import Missing
    from climbopt.uncertainty.diagnosis import Diagnosis


def fit(
    pilots: Annotated[
        Path,
        typer.Argument(
            metavar="PILOTS", help="Tidy CSV or Parquet: run, tokens, language, ratio, loss; optional seed, params."
        ),
    ],
    law: Annotated[str, typer.Option(help="Loss law, or auto to choose by cross-validation.")] = "power",
    interaction: Annotated[
        str | None,
        typer.Option(help="Interaction, or auto. By default gated, or with another law the first that it takes."),
    ] = None,
    losses: Annotated[
        Path | None,
        typer.Option(metavar="LOSSES", help="Wide tables: PILOTS holds a column a source, this one a column a target."),
    ] = None,
    tokens: Annotated[float | None, typer.Option(help="Of every run of wide tables.")] = None,
    params: Annotated[float | None, typer.Option(help="Model size of every run of wide tables.")] = None,
    index: Annotated[str, typer.Option(help="Column of wide tables that names the run.")] = "index",
    ratio_columns: Annotated[
        str, typer.Option(metavar="PATTERN", help="Names of ratio columns; * is the language.")
    ] = "*",
    loss_columns: Annotated[str, typer.Option(metavar="PATTERN", help="Names of loss columns.")] = "*",
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=LANGUAGE", help="A column that no pattern names; may be repeated."),
    ] = None,
    missing: Annotated[
        str,
        typer.Option(
            metavar="refuse|drop",
            help="What becomes of a table with missing losses: it "
            "is refused, or they are left out and counted "
            "(a run keeps its other losses).",
        ),
    ] = "refuse",
    fixed: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Parameters that are known, such as supplies U: CSV of parameter, language, value."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="MODEL.toml", help="Write the model.")
    ] = None,
    bootstrap: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Also refit to N draws of whole runs: bands, transfer told from 0, missing runs."
        ),
    ] = None,
    draws: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl", help="Where the draws go, and are taken up again; by default beside the model."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes for the bootstrap.")] = 1,
    json: JSON = None,
) -> None:
    """Fit a model to pilot runs."""
    from dataclasses import replace

    from climbopt.files import (
        DrawFile,
        WideNames,
        draws_beside,
        load_fixed,
        pairs_beside,
        read_bytes,
        save_model,
        sha256,
    )
    from climbopt.fitting.fit import fit as fit_runs
    from climbopt.reports.diagnoses import diagnosis_json, print_diagnosis
    from climbopt.reports.fits import fit_json, print_fit
    from climbopt.runs.pilots import PilotRuns

    if draws is not None and bootstrap is None:
        raise InputError("--draws is where the bootstrap's draws go; add --bootstrap N")
    if bootstrap is not None and output is not None:
        draws = draws or draws_beside(output)
    inputs = [path for path in (pilots, losses, fixed) if path is not None]
    check_places(inputs, json, output, None if output is None else pairs_beside(output), draws)
    names = WideNames(index, ratio_columns, loss_columns, dict(map(_named_column, name or [])))
    content = read_bytes(pilots)
    table = _table(content, pilots, losses, names, tokens, params)
    runs = PilotRuns.from_frame(table, missing=cast("Missing", missing))
    known: Fixed = {} if fixed is None else load_fixed(fixed)
    if runs.n_rescaled:
        print(f"{runs.n_rescaled} runs whose ratios summed to nearly 1 were rescaled", file=sys.stderr)
    if runs.missing:
        run, language = runs.missing[0]
        print(
            f"missing losses left out: {len(runs.missing)}, the first that of language '{language}' in run '{run}'",
            file=sys.stderr,
        )
    with progress("fit") as told:
        fitted = fit_runs(runs, law, interaction, fixed=known, progress=told)
    provenance = {
        "file": pilots.name,
        "sha256": sha256(content),
        "date": date.today().isoformat(),
        "command": _command(),
    }
    provenance |= {} if draws is None else {"draws": draws.name}
    fitted = replace(fitted, model=replace(fitted.model, provenance=provenance))
    kept = None
    if draws is not None:
        origin: dict[str, object] = {"sha256": sha256(table.to_csv(index=False).encode()), "seed": seed}
        origin |= {"fixed": fitted.fixed} if fitted.fixed else {}
        kept = DrawFile(draws, fitted.model, origin)  # refuses before all writing
    if output is not None:
        save_model(fitted.model, output)
    found = None if bootstrap is None else _diagnosis(fitted, bootstrap, seed, jobs, kept)

    def show(to: Console) -> None:
        print_fit(fitted, to)
        if found is not None:
            print_diagnosis(found, to)

    report(json, fit_json(fitted) | ({} if found is None else diagnosis_json(found)), show)


def _table(
    content: bytes, pilots: Path, losses: Path | None, names: WideNames, tokens: float | None, params: float | None
) -> pd.DataFrame:
    """Return a tidy table, or two wide ones as one."""
    from climbopt.files import WideNames, parse_table, read_bytes, tidy

    table = parse_table(content, pilots)
    if losses is not None:
        if tokens is None:
            raise InputError("wide tables do not say how many tokens a run had; add --tokens")
        return tidy(table, parse_table(read_bytes(losses), losses), names, tokens=tokens, params=params)
    if tokens is not None or params is not None or names != WideNames():
        raise InputError("--tokens, --params, --index and the names of columns are for wide tables; add --losses")
    return table


def _diagnosis(fitted: Fit, n: int, seed: int, jobs: int, kept: DrawFile | None) -> Diagnosis:
    """Return how sure a fit is, by a bootstrap whose draws are kept in a file, if there is one."""
    from climbopt.uncertainty.bootstrap import bootstrap
    from climbopt.uncertainty.diagnosis import diagnose

    with progress("bootstrap") as told:
        draws = bootstrap(
            fitted,
            n,
            seed=seed,
            jobs=jobs,
            known=None if kept is None else kept.known,
            keep=None if kept is None else kept.append,
            progress=told,
        )
    with progress("folds") as told:
        return diagnose(fitted, draws, progress=told)


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file.")],
    mixtures: Annotated[Path, typer.Argument(metavar="MIXTURES", help="Tidy, as the pilots; loss is optional.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE.csv", help="Write the rows with a column predicted; also .parquet."
        ),
    ] = None,
) -> None:
    """Predict the losses of mixtures."""
    from climbopt.files import files_of, load_model, read_table, write_table
    from climbopt.fitting.prediction import predict_table
    from climbopt.reports.extrapolation import extrapolation_warnings, extrapolation_words
    from climbopt.reports.fits import print_prediction
    from climbopt.runs.pilots import numbers

    check_places([*files_of(model), mixtures], None, output)
    loaded = load_model(model)
    table, errors = predict_table(loaded, read_table(mixtures))
    budgets, sizes = (numbers(table[column]).tolist() if column in table else [] for column in ("tokens", "params"))
    if output is not None:
        write_table(output, table)
    warn(extrapolation_warnings(loaded, budgets, sizes))
    print_prediction(
        table, errors, console(), listed=output is None, outside=extrapolation_words(loaded, budgets, sizes)
    )


def _named_column(text: str) -> tuple[str, str]:
    """Return the column and the language that COLUMN=LANGUAGE stands for."""
    column, equals, language = text.rpartition("=")
    if not equals or not column or not language:
        raise InputError(f"--name {text!r} is no COLUMN=LANGUAGE; write for example --name loss_english=en")
    return column, language


def _command() -> str:
    """Return the command line as typed, with its program's name alone."""
    return shlex.join(["climbopt", *sys.argv[1:]])


FITTING = (fit, predict)
"""Subcommands, in the order of the help."""
