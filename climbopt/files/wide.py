"""Wide tables of pilot runs: one row per run, one column per source or target, joined on a named index column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from climbopt.files.tables import MISSING
from climbopt.foundations.characters import shown
from climbopt.foundations.errors import InputError, unknown_name
from climbopt.foundations.names import check_name
from climbopt.runs.pilots import Missing
from climbopt.runs.tidy_table import HEADER_ROWS

if TYPE_CHECKING:
    import pandas as pd

MOST_EXACT = 2.0**53
"""Whole numbers below this are exact in float64."""


@dataclass(frozen=True)
class WideNames:
    """How columns of wide tables are called: which is the index, and what language a column stands for.

    Parameters
    ----------
    index : str
        Column that names the run, in both tables.
    ratios, losses : str
        Patterns with one ``*``, which stands for the language: ``train_*``, ``metric/*_loss``.
    by_column : mapping of str to str
        Language by column, which takes precedence over the pattern.

    Raises
    ------
    InputError
        For a pattern without exactly one ``*``.
    """

    index: str = "index"
    ratios: str = "*"
    losses: str = "*"
    by_column: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for pattern in (self.ratios, self.losses):
            if pattern.count("*") != 1:
                raise InputError(
                    f"'{pattern}' is no pattern of column names; write one * for the language, as in train_*"
                )

    def of(self, table: pd.DataFrame, pattern: str, title: str) -> dict[str, str]:
        """Return the language of each column but the index; a column that stands for none is refused."""
        before, after = pattern.split("*")
        names: dict[str, str] = {}
        for column in map(str, table.columns):
            if column == self.index:
                continue
            fits = column.startswith(before) and column.endswith(after) and len(column) > len(before) + len(after)
            if column not in self.by_column and not fits:
                raise InputError(
                    f"column '{column}' of {title} does not match '{pattern}'; drop it, name it, or correct the pattern"
                )
            name = self.by_column.get(column, column[len(before) : len(column) - len(after)])
            check_name(name, f"the language of column '{shown(column)}' of {title}")
            if name in names.values():
                raise InputError(f"two columns of {title} stand for '{name}'; drop or name one of them")
            names[column] = name
        return names


def tidy(
    mixtures: pd.DataFrame,
    losses: pd.DataFrame,
    names: WideNames,
    *,
    tokens: float,
    params: float | None = None,
    missing: Missing = "refuse",
) -> pd.DataFrame:
    """Return wide tables of ratios and losses as one tidy table, for :meth:`PilotRuns.from_frame`.

    Parameters
    ----------
    mixtures, losses : pandas.DataFrame
        One row per run. A ratio column that is 0 everywhere will be no source, a loss column that is empty everywhere
        no target. Numbers in the index column are compared as numbers.
    names : WideNames
    tokens, params : float
        Of every run.
    missing : {"refuse", "drop"}
        Whether a run without a row of losses is refused, or has none.

    Raises
    ------
    InputError
        For columns without a name, duplicate runs or runs in one table only, and tables that share no language.
    """
    import pandas as pd  # here, so that only reading a table loads pandas

    ratios, measured = (
        _by_run(table, names, pattern, title)
        for table, pattern, title in ((mixtures, names.ratios, "the mixtures"), (losses, names.losses, "the losses"))
    )
    for name in names.by_column:
        if name not in mixtures and name not in losses:
            raise unknown_name("column", name, [*mixtures.columns, *losses.columns])
    without = measured.index.difference(ratios.index)
    if len(without):
        raise InputError(f"{_runs(without)} stands among the losses and not among the mixtures; give its ratios")
    without = ratios.index.difference(measured.index)
    if len(without) and missing == "refuse":
        raise InputError(
            f"{_runs(without)} has no losses; add them, or leave such runs out (--missing drop, in Python "
            "missing='drop')"
        )
    if not set(ratios) & set(measured):
        examples = [", ".join(map(str, table.columns[:3])) for table in (ratios, measured)]
        raise InputError(
            f"no language stands in both tables: the mixtures have {examples[0]}, the losses {examples[1]}; "
            "state how columns are named"
        )
    languages = list(dict.fromkeys([*ratios, *measured]))
    wide = {
        "ratio": ratios.reindex(columns=languages, fill_value=0.0),
        "loss": measured.reindex(index=ratios.index, columns=languages),
    }
    long = pd.DataFrame({key: table.stack(future_stack=True) for key, table in wide.items()})
    long = long.rename_axis(["run", "language"]).reset_index()
    return long.assign(tokens=tokens, **({} if params is None else {"params": params}))


def _runs(names: pd.Index[str]) -> str:
    """Return a phrase that names the first of several runs, and their number."""
    return f"run '{names[0]}'" + (f" (the first of {len(names)} such runs)" if len(names) > 1 else "")


def _by_run(table: pd.DataFrame, names: WideNames, pattern: str, title: str) -> pd.DataFrame:
    """Return a wide table with languages as columns, indexed by run."""
    if names.index not in table:
        raise InputError(
            f"there is no column '{names.index}' in {title}, whose columns are {', '.join(map(str, table.columns))}; "
            "state the column that names the run (--index)"
        )
    columns = names.of(table, pattern, title)
    for row, name in enumerate(runs := _index(table[names.index])):
        check_name(name, f"column '{names.index}' of {title} in row {row + HEADER_ROWS}")
    by_run = table.set_axis(runs).drop(columns=names.index).rename(columns=columns)
    twice = by_run.index[by_run.index.duplicated()]
    if len(twice):
        raise InputError(f"run '{twice[0]}' stands twice in {title}; keep one row per run")
    return by_run.replace(list(MISSING), np.nan)


def _index(column: pd.Series[Any]) -> list[str]:
    """Return the names of runs; 3 and 3.0 are one number, however either table writes them."""
    if column.dtype.kind == "f" and (column % 1 == 0).all() and (column.abs() < MOST_EXACT).all():
        column = column.astype(int)
    return column.astype(str).tolist()
