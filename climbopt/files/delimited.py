"""Text whose rows are lines: CSV in its dialects, and tables of Markdown."""

from __future__ import annotations

import csv
import re
from io import StringIO

SEPARATORS = ",;\t|"
"""The comma first, where two separate the columns equally well."""
COMMENT = "#"
_RULE = re.compile(r":?-+:?")
"""A cell of the line below a header in Markdown."""


def rows_of(text: str) -> tuple[list[list[str]], bool]:
    """Return the cells of each row, and whether numbers may have decimal commas, as where no comma separates columns.

    The separator is that which cuts every row into as many cells as the header, the most where several do. Blanks
    before a cell are no part of it; empty lines, and lines that begin with # and are no row, are left out.

    Raises
    ------
    csv.Error
        Names the first line that has more or fewer cells than the header.
    """
    cut = {separator: _cut(text, separator) for separator in SEPARATORS if separator in text}
    whole = [separator for separator, rows in cut.items() if _width(rows) > 1]
    if whole:
        separator = max(whole, key=lambda each: _width(cut[each]))
    else:
        # No separator cuts every row alike: that of the header is the likeliest, and its error is the one to be shown.
        first = text.split("\n", 1)[0]
        separator = "," if "," in first else max(SEPARATORS, key=first.count)
    rows = cut[separator] if separator in cut else _cut(text, separator)
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


_Rows = list[tuple[int, list[str]]]


def _cut(text: str, separator: str) -> _Rows | csv.Error:
    """Return the rows that a separator cuts a text into, with their lines' numbers, or why it does not."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        return error
    return _without_comments(rows)


def _without_comments(rows: _Rows) -> _Rows:
    """Return rows without comments; of a header that is written as one, without its #."""
    first = next((k for k, (_, row) in enumerate(rows) if not row[0].startswith(COMMENT)), None)
    if first is None:
        return rows
    width, head = len(rows[first][1]), rows[:first]
    if head and len(head[-1][1]) == width > 1:
        number, row = head[-1]
        head = [(number, [row[0].removeprefix(COMMENT).lstrip(), *row[1:]])]
    else:
        head = []
    return [*head, *(each for each in rows[first:] if not each[1][0].startswith(COMMENT) or len(each[1]) == width)]


def _width(rows: _Rows | csv.Error) -> int:
    """Return the number of cells in every row; 0 where they differ."""
    widths = set() if isinstance(rows, csv.Error) else {len(row) for _, row in rows}
    return widths.pop() if len(widths) == 1 else 0
