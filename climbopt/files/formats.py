"""Formats of tables: CSV in its dialects, JSON, Parquet and workbooks, each also compressed."""

from __future__ import annotations

import csv
import gzip
import os
import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from climbopt.files.cells import framed
from climbopt.files.delimited import rows_of
from climbopt.files.json_tables import json_table
from climbopt.files.text import decoded, read_bytes
from climbopt.files.workbooks import OLD, ZIP, sheet_rows
from climbopt.foundations.characters import shown
from climbopt.foundations.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

TEXT = ("run", "language", "target", "source", "parameter", "path", "becomes")
"""Columns whose cells are text, also that of a language called na, or of a run called 007."""
_GZIP = b"\x1f\x8b"
_JSON = (".jsonl", ".ndjson", ".json")
_MISSING = frozenset(("", "nan", "na", "n/a", "#n/a", "null", "none", "-", "--", "<na>"))
"""Cells that are missing numbers, in lower case."""


def is_missing(cell: object) -> bool:
    """Return whether a cell is a missing number: empty, or a word for it."""
    return cell is None or cell != cell or (isinstance(cell, str) and cell.strip().casefold() in _MISSING)


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Return a CSV, JSON, Parquet or .xlsx file as a table; raises InputError where it is none."""
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
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(BytesIO(content))
            # An index that pandas stored is a column like the others.
            return table if isinstance(table.index, pd.RangeIndex) else table.reset_index()
        if content.startswith((ZIP, OLD)):
            return _typed(framed(sheet_rows(content, name)))
        text = decoded(content)
        return _typed(json_table(text) if path.suffix in _JSON else framed(*rows_of(text)))
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8 text; save it as UTF-8 (or as .parquet)") from None
    except csv.Error as error:
        raise InputError(f"{name} is no CSV table: {error}; give a header and one line per row") from None
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{name} cannot be read as a table: {shown(str(error))}") from None


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose columns of numbers are numbers; the others stay text."""
    import numpy as np
    import pandas as pd

    for column in table:
        # pandas would read a language na as missing, and a run 007 as 7.
        if str(column).casefold() in TEXT or table[column].dtype.kind in "ifb":
            continue
        cells = table[column].where(~table[column].map(is_missing), np.nan)
        try:
            table[column] = pd.to_numeric(cells)
        except (TypeError, ValueError):
            continue
    return table
