"""Files of draws: what the draws belong to, then each draw's parameters, or its optimal ratios along a path."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from climbopt.files.journal import Journal, read_journal
from climbopt.files.models import ENSEMBLE
from climbopt.foundations.errors import InputError, UnknownNameError
from climbopt.foundations.frozen import check_arguments
from climbopt.model.ensemble import Ensemble, Model, blocks_of
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array
from climbopt.model.uses import ONCE, USES

FORMAT, PATHS_FORMAT = "climbopt draws 1", "climbopt paths 1"


def draws_beside(path: Path) -> Path:
    """Return the place of the draws of a model file."""
    return path.parent / f"{path.stem}.draws.jsonl"


def save_draws(model: Ensemble, path: str | os.PathLike[str]) -> None:
    """Write the draws that an ensemble holds."""
    # Blocks of draw k follow those of the model itself and of the draws before it.
    size = len(model.base.blocks)
    file = DrawFile(path, model.base, {})
    for k in range(model.n_draws):
        file.append(k, *(block.parameters for block in model.blocks[(k + 1) * size : (k + 2) * size]))
    file.close()


def remove_other_draws(path: Path, model: Model, origin: Mapping[str, object]) -> None:
    """Remove a file of draws of another fit, of which draws beside this model would be wrong; other files stay."""
    if not path.is_file():
        return
    header, _ = read_journal(path, "draw", "draws")
    # The draws of another file are no draws of climbopt's, and are not ours to remove.
    if header.get("format") == FORMAT and header != json.loads(json.dumps({**_header(model), **origin})):
        path.unlink()


class DrawFile(Journal):
    """Draws of a model's parameters in a file, in order; opened to be continued.

    Parameters
    ----------
    path : path
    model : MixtureModel or Ensemble
        The full fit, whose names and units the draws have.
    origin : mapping of str to value
        What else makes draws the same: the runs' digest, the seed.

    Raises
    ------
    InputError
        Where another process writes to the file, or it holds draws of something else, or something that is not a draw.
    """

    def __init__(self, path: str | os.PathLike[str], model: Model, origin: Mapping[str, object]) -> None:
        super().__init__(path, {**_header(model), **origin}, "draw", "draws", "fit or seed")
        self._of_ensemble = isinstance(model, Ensemble)
        blocks = blocks_of(model)[0]
        # As parameters of the fit's own blocks, which check them.
        self.known = {
            k: tuple(
                replace(block, parameters=parameters).parameters
                for block, parameters in zip(blocks, _values(entry, k, self.path, len(blocks)), strict=True)
            )
            for k, entry in enumerate(self.entries)
        }

    def append(self, k: int, *parameters: Mapping[str, Array]) -> None:
        """Write draw k, which follows the last one: the parameters of the model, or of each block of an ensemble."""
        each = [{"parameters": {name: np.asarray(value).tolist() for name, value in p.items()}} for p in parameters]
        self.write_entry(k, {"forms": each} if self._of_ensemble else each[0])


@check_arguments
def load_draws(path: str | os.PathLike[str]) -> tuple[MixtureModel | Ensemble, ...]:
    """Return the models of a file of draws, without a last line that was cut off.

    Raises
    ------
    InputError
        Where the file holds no draws.
    """
    path = Path(path)
    header, entries = read_journal(path, "draw", "draws")
    if header.get("format") != FORMAT:
        raise InputError(f"{path} is no file of draws; climbopt fit --bootstrap writes one")
    if not entries:
        raise InputError(f"{path} holds no draws yet; climbopt fit --bootstrap makes them")
    try:
        # A header comes from a file: whatever it lacks is one message.
        languages = tuple(map(str, header["sources"])), tuple(map(str, header["targets"]))
        stated = header.get("forms", [header])
        forms = [_form(form, *languages) for form in stated]
        weights = [float(form.get("weight", 1.0)) for form in stated]
    except UnknownNameError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"the first line of {path} is not as climbopt writes it: {error}") from None
    each = (zip(forms, _values(entry, k, path, len(forms)), strict=True) for k, entry in enumerate(entries))
    drawn = [[form(parameters) for form, parameters in parts] for parts in each]
    return tuple(Ensemble(blocks, weights) if "forms" in header else blocks[0] for blocks in drawn)


def _form(
    table: Mapping[str, Any], sources: tuple[str, ...], targets: tuple[str, ...]
) -> Callable[[Mapping[str, Array]], MixtureModel]:
    """Return what makes the model of a form that a header states from its parameters."""
    return partial(
        MixtureModel,
        LAWS[str(table["law"])],
        INTERACTIONS[str(table["interaction"])],
        sources,
        targets,
        token_unit=float(table["token_unit"]),
        params_unit=float(table["params_unit"]),
        use=USES[str(table.get("use", ONCE.name))],
    )


def _header(model: Model) -> dict[str, Any]:
    """Return what every draw of a model shares."""
    blocks, weights = blocks_of(model)
    forms = [
        {
            "law": block.law.name,
            "interaction": block.interaction.name,
            "token_unit": block.token_unit,
            "params_unit": block.params_unit,
            "weight": weight,
            "use": block.use.name,
        }
        for block, weight in zip(blocks, weights, strict=True)
    ]
    names = {"sources": list(model.sources), "targets": list(model.targets)}
    if isinstance(model, Ensemble):
        return {"format": FORMAT, "law": ENSEMBLE, "interaction": ENSEMBLE, **names, "forms": forms}
    only = forms[0]
    return {
        "format": FORMAT,
        # The use `once` is left out, as in model files.
        **{key: only[key] for key in ("law", "interaction", "use") if only[key] != ONCE.name},
        **names,
        **{key: only[key] for key in ("token_unit", "params_unit")},
    }


def _values(entry: Mapping[str, Any], k: int, path: Path, n_forms: int) -> list[dict[str, Array]]:
    """Return the parameters of draw k, those of each form."""
    try:
        forms = entry.get("forms", [entry])
        if len(forms) != n_forms:
            raise InputError(f"draw {k} of {path} has {len(forms)} forms instead of {n_forms}; remove the file")
        return [{name: np.array(values, dtype=float) for name, values in form["parameters"].items()} for form in forms]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"draw {k} of {path} holds something that is not a number; remove the file") from None


def paths_beside(path: Path) -> Path:
    """Return the place of the paths behind a sweep's output."""
    return path.with_name(f"{path.name}.paths.jsonl")


class PathFile(Journal):
    """Optimal ratios along the path of each drawn model in a file, in order; opened to be continued.

    Parameters
    ----------
    path : path
    shape : (int, int)
        Points and sources.
    origin : mapping of str to JSON value
        What makes paths the same: the digests of the problem and the draws, the points, the solver.

    Raises
    ------
    InputError
        Where another process writes to the file, or it holds paths of something else, or something that is not a path.
    """

    def __init__(self, path: str | os.PathLike[str], shape: tuple[int, int], origin: Mapping[str, Any]) -> None:
        super().__init__(path, {"format": PATHS_FORMAT, **origin}, "draw", "paths", "sweep")
        self.known = {k: _ratios(entry, k, shape, self.path) for k, entry in enumerate(self.entries)}

    def append(self, k: int, ratios: Array) -> None:
        """Write the path of draw k, (n_points, S), which follows the last one; a point without an answer is null."""
        self.write_entry(k, {"ratios": [None if np.isnan(row).any() else row.tolist() for row in ratios]})


def _ratios(entry: Mapping[str, Any], k: int, shape: tuple[int, int], path: Path) -> Array:
    """Return the ratios of draw k, (n_points, S); NaN at a point without an answer."""
    try:
        # null stands for a point without an answer.
        ratios = np.array([[np.nan] * shape[1] if row is None else row for row in entry["ratios"]], dtype=float)
    except (KeyError, TypeError, ValueError):
        ratios = np.zeros(0)
    if ratios.shape != shape:
        raise InputError(f"the path of draw {k} in {path} is not as climbopt writes it; remove the file")
    return ratios
