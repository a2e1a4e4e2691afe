"""Files of draws: what the draws belong to, then each draw's parameters, as they are made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from climbopt.files.journal import Journal, read_journal
from climbopt.foundations.errors import InputError
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array

FORMAT = "climbopt draws 1"


def draws_beside(path: Path) -> Path:
    """Return the place of the draws of a model file."""
    return path.parent / f"{path.stem}.draws.jsonl"


class DrawFile:
    """Draws of a model's parameters in a file, in order; opened to be continued.

    Parameters
    ----------
    path : path
    model : MixtureModel
        The full fit, whose names and units the draws have.
    origin : mapping of str to value
        What else makes draws the same: the runs' digest, the seed.

    Raises
    ------
    InputError
        Where another process writes to the file, or it holds draws of something else, or something that is not a draw.
    """

    def __init__(self, path: str | os.PathLike[str], model: MixtureModel, origin: Mapping[str, object]) -> None:
        self._model = model
        self._journal = Journal(path, {**_header(model), **origin}, "draw", "draws", "fit or seed")
        self.known = {k: _checked(model, entry, k, self._journal.path) for k, entry in enumerate(self._journal.entries)}

    def append(self, k: int, parameters: Mapping[str, Array]) -> None:
        """Write draw k, which follows the last one."""
        self._journal.append(
            k,
            {"parameters": {p.name: np.asarray(parameters[p.name]).tolist() for p in self._model.templates.parameters}},
        )

    def close(self) -> None:
        """Let other processes write to the file."""
        self._journal.close()


def load_draws(path: str | os.PathLike[str]) -> tuple[MixtureModel, ...]:
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
        sources, targets = (tuple(map(str, header[key])) for key in ("sources", "targets"))
        law, interaction = LAWS[str(header["law"])], INTERACTIONS[str(header["interaction"])]
        units = float(header["token_unit"]), float(header["params_unit"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the first line of {path} is not as climbopt writes it: {error}") from None
    return tuple(
        MixtureModel(law, interaction, sources, targets, _values(entry, k, path), *units)
        for k, entry in enumerate(entries)
    )


def _header(model: MixtureModel) -> dict[str, Any]:
    """Return what every draw of a model shares."""
    return {
        "format": FORMAT,
        "law": model.law.name,
        "interaction": model.interaction.name,
        "sources": list(model.sources),
        "targets": list(model.targets),
        "token_unit": model.token_unit,
        "params_unit": model.params_unit,
    }


def _values(entry: Mapping[str, Any], k: int, path: Path) -> dict[str, Array]:
    """Return the parameters of draw k."""
    try:
        return {name: np.array(values, dtype=float) for name, values in entry["parameters"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"draw {k} of {path} holds something that is not a number; remove the file") from None


def _checked(model: MixtureModel, entry: Mapping[str, Any], k: int, path: Path) -> Mapping[str, Array]:
    """Return the parameters of draw k, checked against the model."""
    return MixtureModel(
        model.law,
        model.interaction,
        model.sources,
        model.targets,
        _values(entry, k, path),
        model.token_unit,
        model.params_unit,
    ).parameters
