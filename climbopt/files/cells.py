"""Rows of cells, of a text or a workbook, as a table: headers of one row or more, and what spreadsheets add."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

from climbopt.files.column_names import COUNTS, role_of
from climbopt.foundations.characters import quoted, shown
from climbopt.foundations.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Rows = list[list[str]]
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?%?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?%?")
_GROUPED = re.compile("[1-9][0-9]{0,2}([,.' \u00a0\u202f])[0-9]{3}(?:\\1[0-9]{3})*")
"""A whole number whose thousands are set apart."""


def framed(rows: Rows, decimal_commas: bool = False) -> pd.DataFrame:
    """Return rows of equal length as a table of text, without what spreadsheets and pandas add.

    Empty rows at the end, empty columns and the index that pandas writes are left out; a header of two or three rows
    becomes one of kind/language.

    Raises
    ------
    csv.Error
        For a column without a name, or two of one name.
    InputError
        For a count that may be read in two ways.
    """
    import pandas as pd

    # Spreadsheets append empty rows.
    last = max((k for k, row in enumerate(rows, 1) if any(map(str.strip, row))), default=0)
    rows = rows[:last]
    columns = [k for k in range(len(rows[0]) if rows else 0) if any(row[k].strip() for row in rows)]
    rows = _one_header([[row[k] for k in columns] for row in rows])
    if not rows:
        raise csv.Error("it is empty")
    if columns and not rows[0][0].strip() and _numbered([row[0] for row in rows[1:]]):
        columns, rows = columns[1:], [row[1:] for row in rows]  # the index that pandas writes
    names = [cell.strip() for cell in rows[0]]
    if all(map(_NUMBER.fullmatch, names)):
        raise csv.Error("its first line is numbers and no header that names the columns")
    for k, name in zip(columns, names, strict=True):
        if not name:
            raise csv.Error(f"column {k + 1} has no name in the header")
        if names.count(name) > 1:
            raise csv.Error(f"two columns are called {quoted(name)}")
    counts = [role_of(name) in COUNTS for name in names]
    cells = [
        [_count(cell, name) if count else cell for cell, name, count in zip(row, names, counts, strict=True)]
        for row in rows[1:]
    ]
    # Locales with a decimal comma separate columns by semicolons.
    if decimal_commas:
        cells = [[c.replace(",", ".") if _DECIMAL_COMMA.fullmatch(c.strip()) else c for c in row] for row in cells]
    return pd.DataFrame(cells, columns=pd.Index(names, dtype=object), dtype=object)


def _one_header(rows: Rows) -> Rows:
    """Return rows with a header of two or three rows, such as that of a pivot, as one: kind/language.

    A cell of kinds that is empty continues the one before it, as merged cells of a spreadsheet do.
    """
    if len(rows) > 2 and rows[0][0].strip() and not any(map(str.strip, rows[0][1:])) and all(map(str.strip, rows[1])):
        rows = rows[1:]  # a title above the table
    if len(rows) < 3:
        return rows
    kinds, languages, below = ([cell.strip() for cell in row] for row in rows[:3])
    # Each cell of the first row names a column of its own.
    if all(kinds) and len(set(kinds)) == len(kinds):
        return rows
    # The first column of a pivot is its index, whose name stands in a row of its own.
    index = [k for k, cell in enumerate(below) if cell]
    if len(index) < len(below) and index == list(range(len(index))) and index and not any(kinds[k] for k in index):
        start = len(index)  # the third row of a pivot names its index
        return [[*below[:start], *_joined(kinds[start:], languages[start:])], *rows[3:]]
    if not languages[0] or not any(map(_NUMBER.fullmatch, languages)):
        return [_joined(kinds, languages), *rows[2:]]
    return rows


def _joined(kinds: list[str], languages: list[str]) -> list[str]:
    """Return the names of columns under two rows of a header."""
    names, kind = [], ""
    for stated, language in zip(kinds, languages, strict=True):
        # A property of the run beside the last group belongs to no group.
        own = not stated and languages.count(language) == 1 and role_of(language) in ("tokens", "params", "seed")
        kind = "" if own else stated or kind
        names.append(f"{kind}/{language}" if kind and language else language or stated)
    return names


def _numbered(cells: list[str]) -> bool:
    """Return whether cells are 0, 1, 2 and so on."""
    return cells == [str(k) for k in range(len(cells))]


def _count(cell: str, column: str) -> str:
    """Return a count without what sets its thousands apart; 500,000 may be a fraction too, and is refused."""
    grouped = _GROUPED.fullmatch(cell.strip())
    if grouped is None:
        return cell
    # Text in other locales sets thousands apart by a point, a blank or an apostrophe.
    digits = re.sub(r"[^0-9]", "", cell)
    if grouped[1] in ",." and len(digits) <= 6:
        raise InputError(
            f"column {quoted(column)} has {quoted(shown(cell))}, which may be {digits} or a fraction; write {digits} "
            "without a separator, or the fraction with a unit, such as 1.5B"
        )
    return digits
