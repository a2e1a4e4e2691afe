"""Files of draws: one JSON line of what the draws belong to, then one a draw, in their order; only ever added to.

A file that was cut off anywhere is continued from its last whole line. Nothing in it is evaluated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from climbopt.errors import InputError
from climbopt.files.text import check_place, read_bytes
from climbopt.interactions import INTERACTIONS
from climbopt.laws import LAWS
from climbopt.model import MixtureModel
from climbopt.templates import Array

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
        Where the file holds draws of something else, or what is no draw.
    """

    def __init__(self, path: str | os.PathLike[str], model: MixtureModel, origin: Mapping[str, str | int]) -> None:
        self._path, self._model = Path(path), model
        check_place(path)
        header = json.dumps({**_header(model), **origin}, ensure_ascii=False)
        content = read_bytes(self._path) if self._path.exists() else b""
        kept = _whole_lines(content)
        if kept[:1] != [header] and not header.encode().startswith(content):
            raise InputError(f"{path} holds draws of another fit or seed, or no draws; name another file, or remove it")
        self.known = {k: _parameters(model, line, k, self._path) for k, line in enumerate(kept[1:])}
        size = sum(len(line.encode()) + 1 for line in kept)
        with self._path.open("ab") as stream:
            stream.truncate(size)
            if not kept:
                stream.write(header.encode() + b"\n")

    def keep(self, k: int, parameters: Mapping[str, Array]) -> None:
        """Add draw k, which follows the last one."""
        line = json.dumps({"draw": k, "parameters": {p.name: np.asarray(parameters[p.name]).tolist()
                                                     for p in self._model.templates.parameters}})
        with self._path.open("ab") as stream:
            stream.write(line.encode() + b"\n")


def load_draws(path: str | os.PathLike[str]) -> tuple[MixtureModel, ...]:
    """Return the models of a file of draws, without a last line that was cut off.

    Raises
    ------
    InputError
        Where the file holds no draws.
    """
    path = Path(path)
    lines = _whole_lines(read_bytes(path))
    header = _object(lines[0], path) if lines else {}
    if header.get("format") != FORMAT:
        raise InputError(f"{path} is no file of draws; climbopt fit --bootstrap writes one")
    if len(lines) < 2:
        raise InputError(f"{path} holds no draws yet; climbopt fit --bootstrap makes them")
    try:
        sources, targets = (tuple(map(str, header[key])) for key in ("sources", "targets"))
        law, interaction = LAWS[str(header["law"])], INTERACTIONS[str(header["interaction"])]
        units = float(header["token_unit"]), float(header["params_unit"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the first line of {path} is not as climbopt writes it: {error}") from None
    return tuple(MixtureModel(law, interaction, sources, targets, _values(line, k, path), *units)
                 for k, line in enumerate(lines[1:]))


def _header(model: MixtureModel) -> dict[str, Any]:
    """Return what every draw of a model shares."""
    return {"format": FORMAT, "law": model.law.name, "interaction": model.interaction.name,
            "sources": list(model.sources), "targets": list(model.targets), "token_unit": model.token_unit,
            "params_unit": model.params_unit}


def _whole_lines(content: bytes) -> list[str]:
    """Return the lines that end; raises InputError where they are no text."""
    try:
        return content[:content.rfind(b"\n") + 1].decode("utf-8").split("\n")[:-1]
    except UnicodeDecodeError:
        raise InputError("a file of draws is not UTF-8 text; name another file") from None


def _object(line: str, path: Path) -> dict[str, Any]:
    """Return the object that a line holds."""
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a line that is no JSON object: {line[:40]!r}; name another file, or remove it")
    return value


def _values(line: str, k: int, path: Path) -> dict[str, Array]:
    """Return the parameters on the line of draw k."""
    value = _object(line, path)
    if value.get("draw") != k or not isinstance(value.get("parameters"), dict):
        raise InputError(f"line {k + 2} of {path} is not draw {k}; remove the file and make the draws anew")
    try:
        return {name: np.array(given, dtype=float) for name, given in value["parameters"].items()}
    except (TypeError, ValueError):
        raise InputError(f"draw {k} of {path} holds what is no number; remove the file and make them anew") from None


def _parameters(model: MixtureModel, line: str, k: int, path: Path) -> Mapping[str, Array]:
    """Return the parameters of draw k, checked against the model."""
    return MixtureModel(model.law, model.interaction, model.sources, model.targets, _values(line, k, path),
                        model.token_unit, model.params_unit).parameters
