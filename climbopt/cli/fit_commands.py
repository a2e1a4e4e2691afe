"""The subcommands between measured runs and a model: fit, predict and extend."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import climbopt
from climbopt.cli.arguments import JOBS, JSON, SEED, names
from climbopt.cli.pilot_options import MAP, SUPPLY, TABLES, LayoutOptions, TableOptions, read_tables
from climbopt.cli.streams import check_places, console, progress, remark, report, warn
from climbopt.foundations.errors import InputError, shown

if TYPE_CHECKING:
    import pandas as pd

    from climbopt.files import DrawFile
    from climbopt.model.ensemble import Model
    from climbopt.runs.features import Features

LAW = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Fit one form, with this loss law, or auto to choose by cross-validation. By default an ensemble of forms "
        "is fitted; with --interaction alone the law is power.",
    ),
]
INTERACTION = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Fit one form, with this interaction, or auto. With --law alone it is gated, or the first that the law "
        "takes.",
    ),
]
FIXED = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Parameters that are known: CSV of parameter, language, value."),
]
USE = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How repeated tokens count: once, saturating, information, hurting, diluting, or auto. "
        "By default diluting where supplies are known.",
    ),
]
POOL = Annotated[
    bool,
    typer.Option(
        "--pool",
        help="Learn the priors of transfer between pairs, and the noise, from the runs, and use them where that "
        "predicts mixtures left out better.",
    ),
]
FEATURES = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="What learned priors may depend on: CSV of language, or of source and target, and a column per feature. "
        "With --pool, which it implies.",
    ),
]
BOOTSTRAP = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Refit to N draws of whole runs: bands, which transfer is distinguishable from 0, missing runs. Of an "
        "ensemble with -o, 40 are made in any case.",
    ),
]
DRAWS_OUTPUT = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.jsonl",
        help="Where the draws go, and are resumed from; by default beside the model.",
    ),
]


def fit(
    pilots: TABLES,
    *,
    law: LAW = None,
    interaction: INTERACTION = None,
    use: USE = None,
    supply: SUPPLY = None,
    fixed: FIXED = None,
    pool: POOL = False,
    features: FEATURES = None,
    layout: TableOptions,
    by_source: MAP = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="MODEL.toml", help="Write the model.")
    ] = None,
    bootstrap: BOOTSTRAP = None,
    draws: DRAWS_OUTPUT = None,
    seed: SEED = 0,
    jobs: JOBS = 1,
    json: JSON = None,
) -> None:
    """Fit a model to pilot runs: an ensemble of forms, or the one that is named."""
    from climbopt.files import DrawFile, draws_beside, find_pilots, load_fixed, pairs_beside, remove_other_draws
    from climbopt.fitting.estimate import with_provenance
    from climbopt.uncertainty.bootstrap import DRAWS

    if draws is not None and bootstrap is None:
        raise InputError("--draws is where the bootstrap's draws go; add --bootstrap N")
    # Without a law and an interaction an ensemble is fitted, whose model states its noise.
    if output is not None and (bootstrap is not None or (law is None and interaction is None)):
        draws = draws or draws_beside(output)
    places = list(map(find_pilots, pilots))
    # Before the fit: hours of work must not end at a folder that is not writable.
    inputs = [*places, layout.losses, fixed, features, supply, by_source]
    check_places(inputs, json, output, None if output is None else pairs_beside(output), draws)
    known, supplies = {} if fixed is None else load_fixed(fixed), supplies_of(supply)
    read = read_tables(places, layout, by_source)
    with progress("fit") as count:
        fitted = climbopt.fit(
            read.runs,
            law,
            interaction,
            use=use,
            supply=supplies,
            fixed=known,
            pool=priors_of(pool, features),
            jobs=jobs,
            progress=count,
        )
    fitted = with_provenance(fitted, {**provenance(places, read.content, draws), **fitted.model.provenance})
    origin = _origin(fitted, read.table, seed)
    if draws is not None and bootstrap is None:
        remove_other_draws(draws, fitted.model, origin)  # made for an earlier model of this file
    draw_file = None if draws is None else DrawFile(draws, fitted.model, origin)  # refuses before all writing
    fitted, drawn = _drawn_and_saved(
        fitted, bootstrap or (0 if draws is None else DRAWS), seed, jobs, draw_file, output
    )
    _report(fitted, None if bootstrap is None else drawn, json)


def _drawn_and_saved(
    fitted: climbopt.Fit | climbopt.EnsembleFit,
    n: int,
    seed: int,
    jobs: int,
    file: DrawFile | None,
    output: Path | None,
) -> tuple[climbopt.Fit | climbopt.EnsembleFit, tuple[Model, ...]]:
    """Write a fit's model, and return the fit with n draws; an ensemble's model states its noise, learned with them."""
    from climbopt.uncertainty.bootstrap import loss_noise

    # One form's model stands in its file already, should the draws be interrupted.
    if output is not None and isinstance(fitted, climbopt.Fit):
        climbopt.save_model(fitted.model, output)
    drawn: tuple[Model, ...] = ()
    if n:
        known, keep = (None, None) if file is None else (file.known, file.append)
        with progress("bootstrap") as count:
            drawn = climbopt.bootstrap(fitted, n, seed=seed, jobs=jobs, known=known, keep=keep, progress=count)
    if isinstance(fitted, climbopt.Fit):
        return fitted, drawn
    if n:
        with progress("folds") as count:
            noise = loss_noise(fitted, drawn, jobs=jobs, progress=count)
        fitted = replace(fitted, model=replace(fitted.model, noise=noise))
    if output is not None:
        climbopt.save_model(fitted.model, output)
    return fitted, drawn


def provenance(places: Sequence[Path], content: bytes, draws: Path | None) -> dict[str, str]:
    """Return where a model came from: the tables, the day, the command, and the file of draws."""
    from climbopt.files import sha256

    file, *earlier = (shown(place.name) for place in places)
    return {
        "file": file,
        "sha256": sha256(content),
        "date": date.today().isoformat(),
        **({"earlier": ", ".join(earlier)} if earlier else {}),
        "command": shown(shlex.join(["climbopt", *sys.argv[1:]])),
        **({} if draws is None else {"draws": shown(draws.name)}),
    }


def priors_of(pool: bool, features: Path | None) -> bool | Features:
    """Return whether priors are learned, or the features that they may depend on."""
    from climbopt.files import load_features

    return pool if features is None else load_features(features)


def supplies_of(supply: Path | None) -> dict[str, float] | None:
    """Return the tokens by language of a file of supplies, if there is one."""
    from climbopt.files import load_supply

    return None if supply is None else load_supply(supply)


def _report(fitted: climbopt.Fit | climbopt.EnsembleFit, draws: Sequence[Model] | None, json: str | None) -> None:
    """Write a fit's JSON and show its tables; with draws also its diagnosis, of an ensemble's best form."""
    from climbopt.reports.fits import diagnosis_json, fit_json, print_diagnosis, print_fit

    if draws is None:
        return report(json, fit_json(fitted), lambda to: print_fit(fitted, to))
    with progress("folds") as count:
        diagnosis = climbopt.diagnose(fitted, draws, progress=count)
    report(
        json,
        fit_json(fitted) | diagnosis_json(diagnosis, ensemble=fitted.model.mean is not None),
        lambda to: print_fit(fitted, to),
        lambda to: print_diagnosis(diagnosis, to),
    )


def _origin(fitted: climbopt.Fit | climbopt.EnsembleFit, table: pd.DataFrame, seed: int) -> dict[str, object]:
    """Return what makes draws the same, beside the model's form and names."""
    from climbopt.files import sha256

    origin: dict[str, object] = {"sha256": sha256(table.to_csv(index=False).encode()), "seed": seed}
    # A fit with other parameters fixed, or other priors, has other draws.
    if fitted.fixed:
        origin["fixed"] = fitted.fixed
    if fitted.pooling is not None and fitted.pooling.way != "declared":
        origin["pooling"] = [fitted.pooling.way, *fitted.pooling.errors.values()]
    return origin


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file.")],
    mixtures: Annotated[
        Path, typer.Argument(metavar="MIXTURES", help="A table as that of pilots, tidy or wide; losses are optional.")
    ],
    *,
    supply: SUPPLY = None,
    layout: LayoutOptions,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE.csv", help="Write the rows with a column predicted; also .parquet."
        ),
    ] = None,
) -> None:
    """Predict the losses of mixtures."""
    from climbopt.files import draws_beside, files_of, read_table, write_table
    from climbopt.fitting.prediction import predict_table, tidy_mixtures
    from climbopt.reports.extrapolation import Reach, fit_warnings
    from climbopt.reports.fits import print_prediction

    check_places([*files_of(model), mixtures, layout.losses], None, output)
    stated = None if layout == LayoutOptions() else layout.layout
    loaded, draws_file = climbopt.load_model(model), draws_beside(model)
    draws = climbopt.load_draws(draws_file) if isinstance(loaded, climbopt.Ensemble) and draws_file.exists() else ()
    reading = tidy_mixtures(read_table(mixtures), stated, None if layout.losses is None else read_table(layout.losses))
    if reading.note:
        remark(reading.note)
    predicted = predict_table(loaded, reading.table, draws, supplies_of(supply))
    at = Reach.of_runs(loaded, predicted.table)
    if output is not None:
        write_table(output, predicted.table)
    warn([*fit_warnings(loaded), *at.warnings()])
    print_prediction(predicted, console(), listed=output is None, outside=at.words())


def extend(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file; draws beside it are extended too.")],
    new: Annotated[list[str], typer.Argument(metavar="LANGUAGE...", help="Languages that the model does not have.")],
    *,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What tells which languages the new ones are like: CSV of language, or of source and target, and a "
            "column per feature. It counts where known languages, each left out, are then predicted better.",
        ),
    ] = None,
    supply: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="How many different tokens each new language has: CSV of language, tokens; needed where the model "
            "counts repeated tokens.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="MODEL.toml", help="Write the model, and its draws beside it.")
    ],
    seed: SEED = 0,
    json: JSON = None,
) -> None:
    """Add languages that no run has to a model, from what its other languages are like."""
    from climbopt.files import draws_beside, files_of, pairs_beside
    from climbopt.reports.fits import extension_json, print_extension

    before, after = draws_beside(model), draws_beside(output)
    inputs = [*files_of(model), *(path for path in (before, features, supply) if path is not None and path.exists())]
    check_places(inputs, json, output, pairs_beside(output), after)
    extension = climbopt.extend(
        model,
        [name for text in new for name in names("LANGUAGE", text)],
        before if before.exists() else (),
        features=features,
        supply=supplies_of(supply),
        seed=seed,
    )
    _save(extension, model, inputs, output, seed)
    report(json, extension_json(extension), lambda to: print_extension(extension, to))


def _save(extension: climbopt.Extension, of: Path, inputs: Sequence[Path], output: Path, seed: int) -> None:
    """Write an extended model, with where it came from, and its draws beside it."""
    from climbopt.files import DrawFile, draws_beside, read_bytes, remove_other_draws, sha256
    from climbopt.model.ensemble import blocks_of

    place = draws_beside(output)
    origin = {
        "model": shown(of.name),
        "date": date.today().isoformat(),
        "command": shown(shlex.join(["climbopt", *sys.argv[1:]])),
        "draws": shown(place.name),
    }
    model = replace(extension.model, provenance={**extension.model.provenance, **origin})
    made_of = {"sha256": sha256(b"".join(map(read_bytes, inputs))), "seed": seed}
    remove_other_draws(place, model, made_of)
    file = DrawFile(place, model, made_of)  # refuses a file of anything else
    for k in range(len(file.known), len(extension.draws)):
        file.append(k, *(block.parameters for block in blocks_of(extension.draws[k])[0]))
    file.close()
    climbopt.save_model(model, output)
