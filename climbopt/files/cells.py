"""Rows of cells: those of a text, CSV in its dialects or a table of Markdown, and rows as a table with one header."""

from __future__ import annotations

import csv
import re
from io import StringIO
from typing import TYPE_CHECKING

from climbopt.files.column_names import COUNTS, role_of
from climbopt.foundations.errors import InputError, quoted, shown

if TYPE_CHECKING:
    import pandas as pd

Rows = list[list[str]]
_Numbered = list[tuple[int, list[str]]]
"""Rows with the numbers of their lines."""
SEPARATORS = ",;\t|"
"""The comma first, where two separate the columns equally well."""
COMMENT = "#"
_RULE = re.compile(r":?-+:?")
"""A cell of the line below a header in Markdown."""
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?%?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?%?")
_GROUPED = re.compile("[1-9][0-9]{0,2}([,.' \u00a0\u202f])[0-9]{3}(?:\\1[0-9]{3})*")
"""A whole number whose thousands are set apart."""


def rows_of(text: str) -> tuple[Rows, bool]:
    """Return the cells of each row, and whether numbers may have decimal commas, as where no comma separates columns.

    The separator is that which cuts every row into as many cells as the header, the most where several do. Blanks
    before a cell are no part of it; empty lines, and lines that begin with # and are no row, are left out.

    Raises
    ------
    csv.Error
        Names the first line that has more or fewer cells than the header.
    """
    first = text.split("\n", 1)[0]
    cut = {separator: _cut(text, separator) for separator in SEPARATORS if separator in text or separator == ","}
    # Where none cuts every row alike, that of the header is the likeliest, and its error is the one to be shown.
    separator = max(cut, key=lambda each: (_width(cut[each]), each == "," and each in first, first.count(each)))
    rows = cut[separator]
    if isinstance(rows, csv.Error):
        raise rows
    for number, row in rows:
        # A cell too many or too few shifts the values of a row into other columns.
        if len(row) != len(rows[0][1]):
            raise csv.Error(f"line {number} has {len(row)} fields and the header {len(rows[0][1])}")
    if rows and len(rows[0][1]) == 1:
        raise csv.Error("it has one column; separate columns by commas, semicolons, tabs or bars")
    cells = [row for _, row in rows]
    # Rows of Markdown begin and end with a bar: their outer cells are empty in every row, and left out later.
    if separator == "|":
        cells = [[cell.strip() for cell in row] for row in cells]
        cells = [row for row in cells if not all(map(_RULE.fullmatch, filter(None, row))) or not any(row)]
    return cells, separator != ","


def _cut(text: str, separator: str) -> _Numbered | csv.Error:
    """Return the rows that a separator cuts a text into, with their lines' numbers, or why it does not."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        return error
    return _without_comments(rows)


def _without_comments(rows: _Numbered) -> _Numbered:
    """Return rows without comments; of a header that is written as one, without its #."""
    first = next((k for k, (_, row) in enumerate(rows) if not row[0].startswith(COMMENT)), None)
    if first is None:
        return rows
    width = len(rows[first][1])
    head = [
        (number, [row[0].removeprefix(COMMENT).lstrip(), *row[1:]])
        for number, row in rows[:first][-1:]
        if len(row) == width > 1
    ]
    return [*head, *(each for each in rows[first:] if not each[1][0].startswith(COMMENT) or len(each[1]) == width)]


def _width(rows: _Numbered | csv.Error) -> int:
    """Return the number of cells in every row; 0 where they differ, or are one."""
    widths = set() if isinstance(rows, csv.Error) else {len(row) for _, row in rows}
    return max(widths) if len(widths) == 1 and widths != {1} else 0


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
    rows = rows[: max((k for k, row in enumerate(rows, 1) if any(map(str.strip, row))), default=0)]
    columns = [k for k in range(len(rows[0]) if rows else 0) if any(row[k].strip() for row in rows)]
    rows = _one_header([[row[k] for k in columns] for row in rows])
    if not rows:
        raise csv.Error("it is empty")
    if columns and not rows[0][0].strip() and [row[0] for row in rows[1:]] == list(map(str, range(len(rows) - 1))):
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
