"""Tables: CSV and Parquet."""

from __future__ import annotations

import csv
import os
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from climbopt.files.shipped import find_pilots
from climbopt.files.text import read_bytes, write_bytes
from climbopt.foundations.characters import quoted
from climbopt.foundations.errors import InputError
from climbopt.foundations.quantities import TOKENS
from climbopt.runs.pilots import Missing, PilotRuns

if TYPE_CHECKING:
    import pandas as pd


NAMES = ("run", "language", "target", "source", "parameter")
NUMBERS = ("tokens", "ratio", "loss", "seed", "params", "predicted", "value")
"""Columns in which an empty cell is a missing number; elsewhere text is text, also that of a language called na."""
MISSING = ("", "nan", "NaN", "NA", "null")
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How Excel's and LibreOffice's own files begin."""


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Return a CSV or Parquet file as a table; raises InputError where it is none."""
    return parse_table(read_bytes(Path(path)), Path(path))


def parse_table(content: bytes, path: Path) -> pd.DataFrame:
    """Return the table that the bytes of a CSV or Parquet file hold; raises InputError where they hold none."""
    import pandas as pd  # here, so that only reading a table loads pandas

    if content.startswith(WORKBOOKS):
        raise InputError(f"{path} is a workbook; save the sheet with the runs as CSV (UTF-8)")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(BytesIO(content))
        return pd.read_csv(
            StringIO(_plain(content.decode("utf-8-sig"))),
            dtype=dict.fromkeys(NAMES, str),
            keep_default_na=False,
            na_values={column: list(MISSING) for column in NUMBERS},
        )
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8 (or as .parquet)") from None
    except (csv.Error, pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise InputError(f"{path} is no CSV table: {str(error).strip()}; give a header and one line per row") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from None


def _plain(text: str) -> str:
    """Return CSV with commas, without what spreadsheets add: nameless columns and last rows that hold nothing.

    Semicolons or tabs separate columns where the header has no comma; blanks before a field are no part of it. Raises
    csv.Error where a row has other than the header's number of fields: pandas would shift or fill them.
    """
    first = text.split("\n", 1)[0]
    separator = "," if "," in first else max(",;\t", key=first.count)
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    rows: list[list[str]] = []
    last = 0
    for row in filter(None, reader):
        if rows and len(row) != len(rows[0]):
            raise csv.Error(f"line {reader.line_num} has {len(row)} fields and the header {len(rows[0])}")
        rows.append(row)
        last = len(rows) if any(map(str.strip, row)) else last
    rows = rows[:last]
    columns = [k for k in range(len(rows[0]) if rows else 0) if any(row[k].strip() for row in rows)]
    names = [rows[0][k] for k in columns]
    for k, name in zip(columns, names, strict=True):
        if not name.strip():
            raise csv.Error(f"column {k + 1} has no name in the header")
        if names.count(name) > 1:
            raise csv.Error(f"two columns are called {quoted(name)}")
    plain = StringIO()
    csv.writer(plain).writerows([row[k] for k in columns] for row in rows)
    return plain.getvalue()


def write_table(path: str | os.PathLike[str], table: pd.DataFrame) -> None:
    """Write a table as Parquet where the file is called so, else as CSV."""
    parquet = Path(path).suffix == ".parquet"
    write_bytes(path, table.to_parquet(index=False) if parquet else table.to_csv(index=False).encode())


def load_pilots(path: str | os.PathLike[str], *, missing: Missing = "refuse") -> PilotRuns:
    """Return the pilot runs of a tidy CSV or Parquet file, or those of a shipped problem by its name.

    `missing` losses are treated as in :meth:`PilotRuns.from_frame`.

    Raises
    ------
    InputError
        Where the file is none, or holds no runs.
    """
    return PilotRuns.from_frame(read_table(find_pilots(path)), missing=missing)


def load_supply(path: str | os.PathLike[str]) -> dict[str, float]:
    """Return the tokens that there are by language, from a table of language and tokens."""
    table, columns = read_table(path), ["language", "tokens"]
    if sorted(table.columns) != sorted(columns):
        raise InputError(
            f"{path} has the columns {', '.join(map(str, table.columns))}; supplies are a table of {', '.join(columns)}"
        )
    if table.empty:
        raise InputError(f"{path} has no rows; write one row per language")
    supply: dict[str, float] = {}
    for language, tokens in table[columns].itertuples(index=False):
        if language in supply:
            raise InputError(f"{path} has '{language}' twice; keep one row")
        supply[str(language)] = TOKENS.read(tokens, f"tokens of '{language}' in {path}")
        if not supply[str(language)] >= 0:
            raise InputError(f"tokens of '{language}' in {path} is {tokens}; a supply is 0 or more")
    return supply


def load_fixed(path: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Return known parameters by name and language, from a table of parameter, language and value."""
    import pandas as pd

    table, columns = read_table(path), ["parameter", "language", "value"]
    if sorted(table.columns) != sorted(columns):
        raise InputError(
            f"{path} has the columns {', '.join(map(str, table.columns))}; known parameters are a table "
            f"of {', '.join(columns)}"
        )
    if table.empty:
        raise InputError(f"{path} has no rows; write one row per known parameter and language, or leave the file out")
    fixed: dict[str, dict[str, float]] = {}
    for name, language, value in table[columns].itertuples(index=False):
        number = pd.to_numeric(value, errors="coerce")
        if pd.isna(number):
            raise InputError(f"'{name}' of '{language}' in {path} is {value!r}; write a number, or leave the row out")
        if language in fixed.setdefault(name, {}):
            raise InputError(f"{path} has '{name}' of '{language}' twice; keep one row")
        fixed[name][language] = float(number)
    return fixed
