"""Tables in JSON: lines, a list of rows, or one object by column or by run, as pandas writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from climbopt.files.column_names import role_of
from climbopt.files.text import json_lines, without_repeats

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
_SPLIT = ({"columns", "data"}, {"columns", "data", "index"})
"""Keys of a table whose rows are lists."""
_TABLE = {"schema", "data"}
"""Keys of a table with its schema."""


def json_table(text: str) -> pd.DataFrame:
    """Return the table of a JSON text; keys of inner objects are joined by /.

    Raises
    ------
    ValueError
        Where it holds no table, or one that may be by column and by run.
    """
    import pandas as pd

    try:
        content = json.loads(text, object_pairs_hook=without_repeats)
    except json.JSONDecodeError:
        content = json_lines(text)  # more than one value: one per line
    return pd.json_normalize(_rows(content), sep="/")


def _rows(content: object) -> list[Row]:
    """Return the rows that a value of JSON states."""
    rows: list[Any] = []
    if isinstance(content, list):
        rows = content
    elif isinstance(content, dict) and set(content) == _TABLE:
        rows = content["data"] if isinstance(content["data"], list) else []
    elif isinstance(content, dict) and set(content) in _SPLIT:
        columns, data = content["columns"], content["data"]
        if not (isinstance(columns, list) and isinstance(data, list)) or any(
            not isinstance(row, list) or len(row) != len(columns) for row in data
        ):
            raise ValueError("its rows in 'data' are no lists as long as 'columns'; write one value per column")
        rows = [_named(columns, row) for row in data]
    elif isinstance(content, dict) and content:
        rows = _of_object(content)
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it holds no JSON objects, one per line; give one for each row")
    return rows


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
    if labels == [str(k) for k in range(len(labels))]:
        return rows
    return [_with_run(label, row) for label, row in zip(labels, rows, strict=True)]


def _with_run(name: str, row: Mapping[str, Any]) -> Row:
    """Return a row with the name of its run, unless a column names it."""
    return dict(row) if any(role_of(key) == "run" for key in row) else {"run": name, **row}
