"""Files of paths: what the drawn paths of a sweep belong to, then each draw's optimal ratios, as they are solved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from climbopt.files.journal import Journal
from climbopt.foundations.errors import InputError
from climbopt.model.templates import Array

FORMAT = "climbopt paths 1"


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
        super().__init__(path, {"format": FORMAT, **origin}, "draw", "paths", "sweep")
        self.known = {k: _ratios(entry, k, shape, self.path) for k, entry in enumerate(self.entries)}

    def append(self, k: int, ratios: Array) -> None:
        """Write the path of draw k, (n_points, S), which follows the last one; a point without an answer is null."""
        self.write_entry(k, {"ratios": [None if np.isnan(row).any() else row.tolist() for row in ratios]})


def _ratios(entry: Mapping[str, Any], k: int, shape: tuple[int, int], path: Path) -> Array:
    """Return the ratios of draw k, (n_points, S); NaN at a point without an answer."""
    try:
        # null stands for a point without an answer.
        rows = [[np.nan] * shape[1] if row is None else row for row in entry["ratios"]]
        ratios = np.array(rows, dtype=float)
    except (KeyError, TypeError, ValueError):
        ratios = np.zeros(0)
    if ratios.shape != shape:
        raise InputError(f"the path of draw {k} in {path} is not as climbopt writes it; remove the file")
    return ratios
