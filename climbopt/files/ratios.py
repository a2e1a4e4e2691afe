"""Ratios by language: of a JSON object, of the JSON that a result is written as, or of a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from climbopt.files.formats import read_table
from climbopt.files.schema import checked_value
from climbopt.files.text import read_json
from climbopt.foundations.errors import InputError
from climbopt.foundations.quantities import RATIO
from climbopt.runs.pilots import RATIO_SUM_TOLERANCE


def load_ratios(path: str | os.PathLike[str]) -> dict[str, float]:
    """Return ratios by language; their sum may be off by what rounding to a few digits does.

    Parameters
    ----------
    path : str or path
        JSON: an object from language to ratio, or what solve --json writes. CSV or Parquet: columns language and
        ratio, one row per language.

    Raises
    ------
    InputError
        Where the file holds no ratios, or they do not sum to 1.
    """
    path = Path(path)
    of_table = path.suffix in (".csv", ".parquet")
    ratios = ratios_of_table(path) if of_table else ratios_of_object(read_json(path, "write ratios by language"), path)
    bad = [name for name, ratio in ratios.items() if not 0 <= ratio <= 1]
    if bad:
        raise InputError(f"the ratio of '{bad[0]}' in {path.name} is {ratios[bad[0]]:g}; a ratio lies in [0, 1]")
    total = sum(ratios.values())
    if abs(total - 1) > RATIO_SUM_TOLERANCE:
        raise InputError(
            f"the ratios in {path.name} sum to {total:.6g}; they must sum to 1 (within "
            f"{RATIO_SUM_TOLERANCE}, which is rescaled)"
        )
    return {name: ratio / total for name, ratio in ratios.items()}


def ratios_of_object(content: object, path: Path) -> dict[str, float]:
    """Return the ratios of a JSON object, or of the result that it is."""
    if isinstance(content, Mapping) and "ratios" in content and not isinstance(content["ratios"], int | float | str):
        content = content["ratios"]
        if content is None:
            raise InputError(f"{path} holds no ratios: it is a result without an answer")
    elif isinstance(content, Mapping) and any(isinstance(value, Mapping | list) for value in content.values()):
        raise InputError(f"{path.name} holds no ratios; give what solve --json writes, or ratios by language")
    amounts = checked_value(dict[str, float | str], content, f"the content of {path.name}")
    return {name: RATIO.read(amount, f"the ratio of '{name}' in {path.name}") for name, amount in amounts.items()}


def ratios_of_table(path: Path) -> dict[str, float]:
    """Return the ratios of a table's columns language and ratio."""
    table = read_table(path)
    missing = [column for column in ("language", "ratio") if column not in table]
    if missing:
        raise InputError(f"{path} has no column '{missing[0]}'; give the columns language and ratio")
    repeated = table["language"][table["language"].duplicated()]
    if len(repeated):
        raise InputError(f"{path} has language '{repeated.iloc[0]}' in several rows; give the ratios of one mixture")
    rows = zip(table["language"].astype(str), table["ratio"].tolist(), strict=True)
    return {name: RATIO.read(amount, f"the ratio of '{name}' in {path.name}") for name, amount in rows}
