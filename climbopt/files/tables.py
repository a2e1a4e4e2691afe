"""Tables of runs and of known parameters, and writing tables."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from climbopt.files.columns import Layout
from climbopt.files.formats import read_table
from climbopt.files.layouts import understood
from climbopt.files.shipped import find_pilots, find_supply
from climbopt.files.text import write_bytes
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.quantities import NUMBER, RATIO, TOKENS, Unit
from climbopt.runs.features import Features
from climbopt.runs.pilots import Missing, PilotRuns
from climbopt.runs.tidy_table import numbers

if TYPE_CHECKING:
    import pandas as pd


def write_table(path: str | os.PathLike[str], table: pd.DataFrame) -> None:
    """Write a table as Parquet where the file is called so, else as CSV."""
    write_bytes(
        path,
        table.to_parquet(index=False) if Path(path).suffix == ".parquet" else table.to_csv(index=False).encode(),
    )


@check_arguments
def load_pilots(
    path: str | os.PathLike[str] | pd.DataFrame,
    losses: str | os.PathLike[str] | pd.DataFrame | None = None,
    *,
    layout: Layout | None = None,
    missing: Missing = "refuse",
) -> PilotRuns:
    """Return the pilot runs of a table, or those of a shipped problem by its name.

    Parameters
    ----------
    path : path or pandas.DataFrame
        Tidy, one row per run and language, or wide, one row per run; the layout is recognised, and stated in the
        attribute `layout` of the runs.
    losses : path or pandas.DataFrame, optional
        The losses of a wide table that has the ratios alone.
    layout : Layout, optional
        What is not to be recognised: columns, patterns, a budget of all runs.
    missing : {"refuse", "drop"}
        As of :meth:`PilotRuns.from_frame`.

    Raises
    ------
    InputError
        Where a file is no table, holds no runs, or has two readings.

    Examples
    --------
    >>> load_pilots("libreoffice6")
    63 pilot runs with 378 losses
      sources: en, de, nl, es, pt, ru
      tokens: 2.499e+05 to 1.999e+06
    """
    table = read_table(find_pilots(path)) if isinstance(path, str | os.PathLike) else path
    measured = read_table(find_pilots(losses)) if isinstance(losses, str | os.PathLike) else losses
    reading = understood(table, layout, measured, missing=missing)
    return replace(PilotRuns.from_frame(reading.table, missing=missing), layout=reading.note)


def _with_columns(path: str | os.PathLike[str], columns: list[str], what: str, remedy: str) -> pd.DataFrame:
    """Return the table of a file that has just these columns, in this order, and a row at least."""
    table = read_table(path)
    if sorted(table.columns) != sorted(columns):
        raise InputError(
            f"{path} has the columns {', '.join(map(str, table.columns))}; {what} are a table of {', '.join(columns)}"
        )
    if table.empty:
        raise InputError(f"{path} has no rows; {remedy}")
    return table[columns]


def load_supply(path: str | os.PathLike[str]) -> dict[str, float]:
    """Return the available tokens by language, from a table of language and tokens, or of a shipped problem."""
    return _amounts(find_supply(path), "tokens", TOKENS, "supplies", "a supply is 0 or more")


def load_mean_tokens(path: str | os.PathLike[str]) -> dict[str, float]:
    """Return the mean number of tokens of an example by language, from a table of language and tokens."""
    return _amounts(path, "tokens", TOKENS, "mean tokens per example", "a mean is positive")


def load_weights(path: str | os.PathLike[str]) -> dict[str, float]:
    """Return the weights of losses by language, from a table of language and weight."""
    return _amounts(path, "weight", NUMBER, "weights", "a weight is 0 or more")


def _amounts(path: str | os.PathLike[str], column: str, unit: Unit, what: str, allowed: str) -> dict[str, float]:
    """Return numbers of 0 or more in a column of a table, by its column language."""
    amounts = {
        language: unit.read(value, f"{column} of '{language}' in {path}")
        for language, value in _by_language(path, column, what).items()
    }
    for language, number in amounts.items():
        if not number >= 0:
            raise InputError(f"{column} of '{language}' in {path} is {number:g}; {allowed}")
    return amounts


def load_map(path: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Return what became of earlier languages, from a table of language, becomes and optionally share (1 by default).

    A language that was removed has an empty cell; one that was split has a row per part.
    """
    table = read_table(path)
    if sorted(column for column in table.columns if column != "share") != ["becomes", "language"]:
        raise InputError(
            f"{path} has the columns {', '.join(map(str, table.columns))}; a map is a table of language, becomes, and "
            "where languages were split share"
        )
    shares: dict[str, dict[str, float]] = {}
    for row in table.to_dict("records"):
        language, becomes = str(row["language"]), row["becomes"]
        parts = shares.setdefault(language, {})
        # An empty cell is a language that was removed: it has no parts.
        if isinstance(becomes, str) and becomes:
            if becomes in parts:
                raise InputError(f"{path} maps '{language}' to '{becomes}' twice; keep one row")
            share = row.get("share", 1.0)
            # NaN alone differs from itself.
            missing = share is None or share != share or share == ""
            of = f"the share of '{language}' in '{becomes}' in {path}"
            parts[becomes] = 1.0 if missing else RATIO.read(share, of)
    return shares


def load_paths(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return where the data of each language lie, from a table of language and path."""
    return {language: str(place) for language, place in _by_language(path, "path", "paths").items()}


def _by_language(path: str | os.PathLike[str], column: str, what: str) -> dict[str, object]:
    """Return a column of a table by its column language, which may hold no language twice."""
    table = _with_columns(path, ["language", column], what, "write one row per language")
    for language in table["language"][table["language"].duplicated()]:
        raise InputError(f"{path} has '{language}' twice; keep one row")
    return dict(zip(table["language"].astype(str), table[column].tolist(), strict=True))


def load_fixed(path: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Return known parameters by name and language, from a table of parameter, language and value."""
    remedy = "write one row per known parameter and language, or leave the file out"
    table = _with_columns(path, ["parameter", "language", "value"], "known parameters", remedy)
    fixed: dict[str, dict[str, float]] = {}
    for (name, language, value), number in zip(table.to_numpy(dtype=object), numbers(table["value"]), strict=True):
        if math.isnan(number):
            raise InputError(f"'{name}' of '{language}' in {path} is {value!r}; write a number, or leave the row out")
        if language in fixed.setdefault(name, {}):
            raise InputError(f"{path} has '{name}' of '{language}' twice; keep one row")
        fixed[name][language] = float(number)
    return fixed


def load_features(path: str | os.PathLike[str]) -> Features:
    """Return features of languages, from a table of language and features, or of pairs, of source, target and features.

    Raises
    ------
    InputError
        Where a column is missing, a row stands twice, or a cell is empty.
    """
    table = read_table(path)
    columns = [str(column) for column in table.columns]
    # The keys tell a table of languages from one of pairs.
    keys = next((key for key in (["language"], ["source", "target"]) if set(key) <= set(columns)), None)
    names = [column for column in columns if column not in (keys or [])]
    if keys is None or not set(names) - {"language", "source", "target"}:
        raise InputError(
            f"{path} has the columns {', '.join(columns)}; features are a table of language, or of source and target, "
            "and a column per feature"
        )
    rows: dict[tuple[str, ...], tuple[float | str, ...]] = {}
    for row in table.to_dict("records"):
        key = tuple(str(row[name]) for name in keys)
        if key in rows:
            raise InputError(f"{path} has '{' to '.join(key)}' twice; keep one row")
        rows[key] = tuple(_feature(row[name], f"'{name}' of '{' to '.join(key)}' in {path}") for name in names)
    return Features(tuple(names), rows)


def _feature(value: object, of: str) -> float | str:
    """Return a cell as a number where it is one, else as a word."""
    word = str(value).strip()
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if math.isinf(number):
        raise InputError(f"{of} is {word}; write a finite number or a word")
    # Empty cells of a table are NaN, which is no word either.
    if not word or (math.isnan(number) and not isinstance(value, str)):
        raise InputError(f"{of} is empty; write a number or a word")
    return word if math.isnan(number) else number
