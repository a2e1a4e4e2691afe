"""Formats of tables: CSV in its dialects, JSON, Parquet and workbooks (.xlsx), each also compressed."""

from __future__ import annotations

import csv
import gzip
import json
import os
import warnings
import zlib
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climbopt.files.cells import framed, rows_of
from climbopt.files.column_names import role_of
from climbopt.files.text import decoded, json_lines, read_bytes, without_repeats
from climbopt.foundations.errors import InputError, listed, quoted, shown

if TYPE_CHECKING:
    import pandas as pd

TEXT = ("run", "language", "target", "source", "parameter", "path", "becomes")
"""Columns whose cells are text, also that of a language called na, or of a run called 007."""
_GZIP = b"\x1f\x8b"
_JSON = (".jsonl", ".ndjson", ".json")
_MISSING = frozenset(("", "nan", "na", "n/a", "#n/a", "null", "none", "-", "--", "<na>"))
"""Cells that are missing numbers, in lower case."""
Row = dict[str, Any]
_SPLIT = ({"columns", "data"}, {"columns", "data", "index"})
"""Keys of a table whose rows are lists."""
_TABLE = {"schema", "data"}
"""Keys of a table with its schema."""
ZIP, OLD = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
"""How files of .xlsx and of .xls begin."""


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
            return _typed(framed(_sheet_rows(content, name)))
        text = decoded(content)
        if path.suffix in _JSON:
            # keys of inner objects are joined by /
            return _typed(pd.json_normalize(_json_rows(text), sep="/"))
        return _typed(framed(*rows_of(text)))
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
    import pandas as pd

    for column in table:
        # pandas would read a language na as missing, and a run 007 as 7.
        if str(column).casefold() not in TEXT and table[column].dtype.kind not in "ifb":
            with suppress(TypeError, ValueError):
                table[column] = pd.to_numeric(table[column].mask(table[column].map(is_missing).astype(bool)))
    return table


def _json_rows(text: str) -> list[Row]:
    """Return the rows of a JSON text: lines, a list, or one object by column or by run, as pandas writes them.

    Raises
    ------
    ValueError
        Where it holds no table, or one that may be by column and by run.
    """
    try:
        content = json.loads(text, object_pairs_hook=without_repeats)
    except json.JSONDecodeError:
        content = json_lines(text)  # more than one value: one per line
    if isinstance(content, dict) and set(content) == _TABLE:
        content = content["data"]
    elif isinstance(content, dict) and set(content) in _SPLIT:
        columns, data = content["columns"], content["data"]
        if not (isinstance(columns, list) and isinstance(data, list)) or any(
            not isinstance(row, list) or len(row) != len(columns) for row in data
        ):
            raise ValueError("its rows in 'data' are no lists as long as 'columns'; write one value per column")
        content = [_named(columns, row) for row in data]
    elif isinstance(content, dict) and content:
        content = _of_object(content)
    if not (isinstance(content, list) and content and all(isinstance(row, dict) for row in content)):
        raise ValueError("it holds no JSON objects, one per line; give one for each row")
    return content


def _named(columns: list[Any], row: list[Any]) -> Row:
    """Return a row by column; levels of a column's name are joined by /."""
    names = ["/".join(map(str, filter(None, name))) if isinstance(name, list) else str(name) for name in columns]
    if len(set(names)) < len(names):
        raise ValueError("two of its columns have one name; rename or drop one")
    return dict(zip(names, row, strict=True))


def _of_object(content: Row) -> list[Row]:
    """Return the rows of one object: by column (lists, or objects by row), by run, or a single row."""
    values = list(content.values())
    if all(isinstance(value, list) for value in values):
        if len({len(value) for value in values}) > 1:
            raise ValueError("its columns are lists of different lengths; give each row a value in every column")
        return [dict(zip(content, row, strict=True)) for row in zip(*values, strict=True)]
    if not all(isinstance(value, dict) for value in values):
        return [content]
    labels = list(dict.fromkeys(label for value in values for label in value))
    # Known names of columns on one level alone tell which level that is.
    by_column, by_run = (any(role_of(name) for name in names) for names in (content, labels))
    if by_column == by_run:
        raise ValueError(
            "its keys may name columns or runs, since "
            + ("both levels do" if by_run else "no key is called tokens, ratio or the like")
            + "; write a list of objects, one for each row"
        )
    if by_run:
        return [_with_run(name, row) for name, row in content.items()]
    rows = [{column: cells.get(label) for column, cells in content.items()} for label in labels]
    # pandas numbers the rows of a table without an index
    numbered = labels == [str(k) for k in range(len(labels))]
    return rows if numbered else [_with_run(label, row) for label, row in zip(labels, rows, strict=True)]


def _with_run(name: str, row: Mapping[str, Any]) -> Row:
    """Return a row with the name of its run, unless a column names it."""
    return dict(row) if any(role_of(key) == "run" for key in row) else {"run": name, **row}


def _sheet_rows(content: bytes, name: str) -> list[list[str]]:
    """Return the cells of the one sheet of a workbook that is not empty, as text; formulas by their stored values.

    Raises
    ------
    InputError
        Where it is no .xlsx, several sheets hold something, a formula was never computed, or openpyxl is missing.
    """
    if content.startswith(OLD):
        raise InputError(f"{name} is a workbook of the old format; save it as .xlsx, or the sheet as CSV (UTF-8)")
    if find_spec("openpyxl") is None:
        raise InputError(
            f"{name} is a workbook, which the package openpyxl reads; pip install 'climbopt[xlsx]', or save the sheet "
            "with the runs as CSV (UTF-8)"
        )
    from openpyxl import load_workbook

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts that are no cells
            # values and formulas are stored side by side, and a workbook is opened for one of them
            values, formulas = (load_workbook(BytesIO(content), data_only=only) for only in (True, False))
    except Exception:  # whatever the package and those below it raise on a damaged file
        raise InputError(f"{name} is no workbook that can be read; save the sheet with the runs as CSV") from None
    # A sheet as rows of text, from its first to its last cell.
    sheets = [
        (sheet, [["" if value is None else str(value) for value in row] for row in sheet.iter_rows(values_only=True)])
        for sheet in values.worksheets
    ]
    full = [(sheet, rows) for sheet, rows in sheets if any(map(any, rows))]
    if len(full) != 1:
        titles = [quoted(sheet.title) for sheet, _ in full]
        raise InputError(
            f"{name} has {f'several sheets with cells, {listed(titles)}' if full else 'no cells'}; give a workbook "
            "with one table, or save the sheet with the runs as CSV (UTF-8)"
        )
    sheet, rows = full[0]
    for cell in chain.from_iterable(formulas[sheet.title].iter_rows()):
        if cell.data_type == "f" and sheet[cell.coordinate].value is None:
            raise InputError(
                f"cell {cell.coordinate} of {name} is a formula without a stored value; open and save the "
                "workbook in a spreadsheet, or write the number"
            )
    return rows
