"""Workbooks of spreadsheets (.xlsx), read by openpyxl: the one sheet that holds a table."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING

from climbopt.foundations.characters import quoted
from climbopt.foundations.errors import InputError, listed

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

ZIP, OLD = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
"""How files of .xlsx and of .xls begin."""


def sheet_rows(content: bytes, name: str) -> list[list[str]]:
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
    full = [sheet for sheet in values.worksheets if _cells(sheet)]
    if len(full) != 1:
        sheets = [quoted(sheet.title) for sheet in full]
        raise InputError(
            f"{name} has {f'several sheets with cells, {listed(sheets)}' if full else 'no cells'}; give a workbook "
            "with one table, or save the sheet with the runs as CSV (UTF-8)"
        )
    sheet, stated = full[0], formulas[full[0].title]
    for row in stated.iter_rows():
        for cell in row:
            if cell.data_type == "f" and sheet[cell.coordinate].value is None:
                raise InputError(
                    f"cell {cell.coordinate} of {name} is a formula without a stored value; open and save the "
                    "workbook in a spreadsheet, or write the number"
                )
    return _cells(sheet)


def _cells(sheet: Worksheet) -> list[list[str]]:
    """Return the rows of a sheet as text, from its first to its last cell; empty where it has none."""
    rows = [[_text(value) for value in row] for row in sheet.iter_rows(values_only=True)]
    return rows if any(map(any, rows)) else []


def _text(value: object) -> str:
    """Return a cell as text; a float in full precision."""
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
