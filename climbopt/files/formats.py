"""Formats of tables: CSV in its dialects, JSON lines and Parquet, each also compressed."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import zlib
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climbopt.files.text import read_bytes, without_repeats
from climbopt.foundations.characters import quoted, shown
from climbopt.foundations.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

TEXT = ("run", "language", "target", "source", "parameter", "path", "becomes")
"""Columns whose cells are text, also that of a language called na, or of a run called 007."""
MISSING = ("", "nan", "NaN", "NA", "null", "None")
"""Cells that are missing numbers."""
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How Excel's and LibreOffice's own files begin."""
_GZIP = b"\x1f\x8b"
_LINES = (".jsonl", ".ndjson", ".json")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?%?")


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Return a CSV, JSON lines or Parquet file as a table; raises InputError where it is none."""
    return parse_table(read_bytes(Path(path)), Path(path))


def parse_table(content: bytes, path: Path) -> pd.DataFrame:
    """Return the table that the bytes of a file hold, by its name's suffix; raises InputError where they hold none."""
    import pandas as pd  # here, so that only reading a table loads pandas

    name = shown(str(path))
    if content.startswith(_GZIP):
        try:
            # By its first bytes, whatever the name; the inner suffix then states the format.
            content, path = gzip.decompress(content), path.with_suffix("") if path.suffix == ".gz" else path
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{name} cannot be decompressed: {error}") from None
    if content.startswith(WORKBOOKS):
        raise InputError(f"{name} is a workbook; save the sheet with the runs as CSV (UTF-8)")
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(BytesIO(content))
            # An index that pandas stored is a column like the others.
            return table if isinstance(table.index, pd.RangeIndex) else table.reset_index()
        text = content.decode("utf-8-sig")
        return _typed(pd.json_normalize(_records(text), sep="/") if path.suffix in _LINES else _frame(text))
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8 text; save it as UTF-8 (or as .parquet)") from None
    except csv.Error as error:
        raise InputError(f"{name} is no CSV table: {error}; give a header and one line per row") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{name} cannot be read as a table: {shown(str(error))}") from None


def _records(text: str) -> list[dict[str, Any]]:
    """Return the objects of JSON lines, or of one JSON array."""
    whole = text.lstrip().startswith("[")
    lines = [text] if whole else [line for line in text.splitlines() if line.strip()]
    content = [json.loads(line, object_pairs_hook=without_repeats) for line in lines]
    records = content[0] if whole and content else content
    if not records or not all(isinstance(record, dict) for record in records):
        raise ValueError("it holds no JSON objects, one per line; give one for each row")
    return list(records)


def _frame(text: str) -> pd.DataFrame:
    """Return CSV as a table of text, without what spreadsheets and pandas add.

    Semicolons or tabs separate columns where the header has no comma; blanks before a field are no part of it. Raises
    csv.Error where a row has other than the header's number of fields: pandas would shift or fill them.
    """
    import pandas as pd

    first = text.split("\n", 1)[0]
    separator = "," if "," in first else max(",;\t", key=first.count)
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    rows: list[list[str]] = []
    last = 0
    for row in filter(None, reader):
        # A field too many or too few shifts the values of a row into other columns.
        if rows and len(row) != len(rows[0]):
            raise csv.Error(f"line {reader.line_num} has {len(row)} fields and the header {len(rows[0])}")
        rows.append(row)
        # Spreadsheets append empty rows.
        last = len(rows) if any(map(str.strip, row)) else last
    rows = _one_header(rows[:last])
    if not rows:
        raise csv.Error("it is empty")
    columns = [k for k in range(len(rows[0])) if any(row[k].strip() for row in rows)]
    if columns and not rows[0][columns[0]].strip() and _counted([row[columns[0]] for row in rows[1:]]):
        columns = columns[1:]  # the index that pandas writes
    names = [rows[0][k].strip() for k in columns]
    for k, name in zip(columns, names, strict=True):
        if not name:
            raise csv.Error(f"column {k + 1} has no name in the header")
        if names.count(name) > 1:
            raise csv.Error(f"two columns are called {quoted(name)}")
    cells = [[row[k] for k in columns] for row in rows[1:]]
    # Locales with a decimal comma separate columns by semicolons.
    if separator != ",":
        cells = [[_with_point(cell) for cell in row] for row in cells]
    return pd.DataFrame(cells, columns=pd.Index(names, dtype=object), dtype=object)


def _one_header(rows: list[list[str]]) -> list[list[str]]:
    """Return rows with the two or three header rows of a pandas pivot as one: kind/language."""
    if len(rows) < 3 or len(set(filter(None, rows[0]))) == len([cell for cell in rows[0] if cell]):
        return rows
    kinds, languages, below = rows[0], rows[1], rows[2]
    index = [k for k, cell in enumerate(below) if cell.strip()] if not all(map(str.strip, below)) else []
    if index and index == list(range(len(index))) and not any(kinds[k].strip() for k in index):
        head = [below[k] if k in index else f"{kinds[k]}/{languages[k]}" for k in range(len(kinds))]
        return [head, *rows[3:]]
    if not languages[0].strip():
        head = [
            f"{kind}/{language}" if language.strip() else kind for kind, language in zip(kinds, languages, strict=True)
        ]
        return [head, *rows[2:]]
    return rows


def _counted(cells: list[str]) -> bool:
    """Return whether cells are 0, 1, 2 and so on."""
    return cells == [str(k) for k in range(len(cells))]


def _with_point(cell: str) -> str:
    """Return a number with a decimal comma as one with a point."""
    return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell.strip()) else cell


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose columns of numbers are numbers; the others stay text."""
    import numpy as np
    import pandas as pd

    for column in table:
        # pandas would read a language na as missing, and a run 007 as 7.
        if str(column).casefold() in TEXT or table[column].dtype.kind in "ifb":
            continue
        cells = table[column].where(~table[column].isin(MISSING), np.nan)
        try:
            table[column] = pd.to_numeric(cells)
        except (TypeError, ValueError):
            continue
    return table
