"""The subcommand that adds languages without runs to a model: extend."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from climbopt.cli.arguments import JSON, SEED, names
from climbopt.cli.fit_commands import supplies_of
from climbopt.cli.streams import check_places, report
from climbopt.foundations.characters import shown

if TYPE_CHECKING:
    from climbopt.fitting.extension import Extension


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
    from climbopt.files import draws_beside, files_of, load_draws, load_model, pairs_beside
    from climbopt.fitting.extension import extend as extend_model
    from climbopt.reports.fits import extension_json, print_extension

    before, after = draws_beside(model), draws_beside(output)
    inputs = [*files_of(model), *(path for path in (before, features, supply) if path is not None and path.exists())]
    check_places(inputs, json, output, pairs_beside(output), after)
    draws = load_draws(before) if before.exists() else ()
    supplies = supplies_of(supply)
    languages = [name for text in new for name in names("LANGUAGE", text)]
    extension = extend_model(load_model(model), languages, draws, features=features, supply=supplies, seed=seed)
    _save(extension, model, inputs, output, seed)
    report(json, extension_json(extension), lambda to: print_extension(extension, to))


def _save(extension: Extension, of: Path, inputs: Sequence[Path], output: Path, seed: int) -> None:
    """Write an extended model, with where it came from, and its draws beside it."""
    from climbopt.files import DrawFile, draws_beside, read_bytes, remove_other_draws, save_model, sha256
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
    save_model(model, output)
