"""The columns of one table of runs: what is stated of them, and the roles that their names state."""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from climbopt.files.column_names import PER_RUN, SYNONYMS, role_of, unit_of
from climbopt.files.formats import is_missing
from climbopt.foundations.errors import InputError, listed, quoted, shown
from climbopt.foundations.names import check_name
from climbopt.foundations.quantities import TOKENS
from climbopt.runs.tidy_table import HEADER_ROWS, Array, numbers

if TYPE_CHECKING:
    import pandas as pd

SUMMARIES = frozenset("mean average avg median total totals sum".split())
"""Names of rows that are no runs."""
MOST_EXACT = 2.0**53
"""Whole numbers below this are exact in float64."""
_OPTIONS = {"run": "--index", "tokens": "--tokens-column", "params": "--params-column"}


@dataclass(frozen=True)
class Layout:
    """What is stated of a table's layout; the rest is recognised.

    Parameters
    ----------
    index, tokens_column, params_column : str, optional
        Columns that name the run and state its tokens and its model size.
    ratios, losses : str, optional
        Patterns of the columns of wide tables, with one ``*``: ``train_*``, ``metric/*_loss``.
    by_column : mapping of str to str
        Language by column, which takes precedence over the pattern.
    tokens, params : float, optional
        Of every run, where the table has no such column.
    ignore : sequence of str
        Columns that are left out, by name or with wildcards.

    Raises
    ------
    InputError
        For a pattern without exactly one ``*``.
    """

    index: str | None = None
    ratios: str | None = None
    losses: str | None = None
    by_column: Mapping[str, str] = field(default_factory=dict)
    tokens_column: str | None = None
    params_column: str | None = None
    tokens: float | None = None
    params: float | None = None
    ignore: Sequence[str] = ()

    def __post_init__(self) -> None:
        for pattern in (self.ratios, self.losses):
            if pattern is not None and pattern.count("*") != 1:
                raise InputError(
                    f"'{pattern}' is no pattern of column names; write one * for the language, as in train_*"
                )


class Columns:
    """The columns of one table, and the roles that their names state."""

    def __init__(self, table: pd.DataFrame, layout: Layout, title: str) -> None:
        self.title = title
        # Levels of a frame's columns are parts of one name.
        levels = (column if isinstance(column, tuple) else (column,) for column in table)
        names = ["/".join(part for part in map(str, level) if part) for level in levels]
        for column in names:
            check_name(column.strip() or column, f"a column of {title}")
        table = table.set_axis(names, axis=1)
        self.ignored = [c for c in names if any(fnmatch.fnmatchcase(c, pattern) for pattern in layout.ignore)]
        self.table, self.names = table.drop(columns=self.ignored), [c for c in names if c not in self.ignored]
        stated = {"run": layout.index, "tokens": layout.tokens_column, "params": layout.params_column}
        self.roles: dict[str, str] = {}
        for role in SYNONYMS:
            # A column that the user names has that role, whatever others are called.
            if stated.get(role) in self.table:
                self.roles[role] = str(stated[role])
            # Where --index is stated, no other column is taken for the name of the run.
            elif role != "run" or layout.index is None:
                self.roles |= self._named(role, [column for column in stated.values() if column])
        if layout.index is not None and "run" not in self.roles:
            raise InputError(
                f"there is no column '{layout.index}' in {title}, whose columns are {self.shown}; state the column "
                "that names the run (--index)"
            )

    def _named(self, role: str, taken: Sequence[str]) -> dict[str, str]:
        """Return the column whose name states a role, if there is one; two are refused."""
        named = [column for column in self._stating(role) if column not in taken]
        # The standard name wins over its synonyms.
        candidates = [column for column in named if column.casefold() == role] or named
        if len(candidates) > 1:
            remedies = [f"{_OPTIONS.get(role, '--ignore')} {shlex.quote(shown(column))}" for column in candidates]
            raise InputError(
                f"columns {listed([quoted(column) for column in candidates], ' and ')} of {self.title} may each be the "
                f"{role}; add {' or '.join(remedies)}"
            )
        return {role: candidates[0]} if candidates else {}

    @property
    def shown(self) -> str:
        """The columns' names as they are shown."""
        return listed([shown(column) for column in self.names])

    def per_language(self, taken: Iterable[str] = ()) -> list[str]:
        """Return the columns that state no property of a run."""
        used = {column for role in PER_RUN for column in (*self._stating(role), self.roles.get(role))} | set(taken)
        return [column for column in self.names if column not in used]

    def _stating(self, role: str) -> list[str]:
        """Return the columns whose names state a role; one of fractions names no runs: id may be Indonesian."""
        named = {column: self.table[column] for column in self.names if role_of(column) == role}
        return [
            column
            for column, cells in named.items()
            if role != "run" or cells.dtype.kind != "f" or (cells.dropna() % 1 == 0).all()
        ]

    def counts(self, role: str, stated: float | None) -> Array | None:
        """Return the tokens or params of each row; None where nothing states them.

        A number that is stated too and is another is refused: two budgets would become one.
        """
        if role not in self.roles:
            return None if stated is None else np.full(len(self.table), stated)
        column = self.roles[role]
        # tokens_b counts in billions
        values = numbers(self.table[column].rename(role)) * TOKENS.read(f"1{unit_of(column)}", "the unit")
        differs = values != stated
        if stated is not None and differs.any():
            raise InputError(
                f"--{role} says {stated:g}, and column {quoted(column)} has {values[differs][0]:g}; leave out "
                f"--{role}, or add --ignore {shlex.quote(shown(column))}"
            )
        return values

    def by_run(self, languages: Mapping[str, str], kind: str) -> pd.DataFrame:
        """Return columns as numbers under the names of their languages, by run; text is refused."""
        return (
            self.table[list(languages)]
            .apply(lambda column: self.numbers_of(str(column.name), kind))
            .set_axis(self.run_names())
            .rename(columns=dict(languages))
        )

    def numbers_of(self, column: str, kind: str) -> Array:
        """Return a column as floats, read as numbers of a kind are; text is refused with its row."""
        cells = self.table[column]
        values = numbers(cells.rename(kind))
        text = np.isnan(values) & ~cells.map(is_missing).to_numpy(dtype=bool)
        if text.any():
            row = int(text.argmax())
            run = f" (run {quoted(self.stated_runs[row])})" if "run" in self.roles else ""
            raise InputError(
                f"column {quoted(column)} of {self.title} has {quoted(str(cells.iloc[row]))} in row "
                f"{row + HEADER_ROWS}, which is no number{run}; write a plain decimal number, with a point, or "
                f"leave the column out (--ignore {shlex.quote(shown(column))})"
            )
        return values

    @property
    def stated_runs(self) -> list[str]:
        """The name of each row's run as its column has it, else its number."""
        numbered = [str(number) for number in range(1, len(self.table) + 1)]
        return _run_index(self.table[self.roles["run"]]) if "run" in self.roles else numbered

    def run_names(self) -> list[str]:
        """Return the name of each row's run: its number where no column names it.

        Where names repeat the seed is part of them, and where they still do the tokens: a run at several budgets.
        """
        names = self.stated_runs
        for row, name in enumerate(names if "run" in self.roles else ()):
            check_name(name, f"column '{shown(self.roles['run'])}' of {self.title} in row {row + HEADER_ROWS}")
            refuse_summary(name, self.title)
        # Rows of one name are told apart by the seed first, as trackers repeat a configuration.
        if "seed" in self.roles and len(set(names)) < len(names):
            seeds = _run_index(self.table[self.roles["seed"]])
            names = [f"{name}, seed {seed}" for name, seed in zip(names, seeds, strict=True)]
        tokens = self.counts("tokens", None) if len(set(names)) < len(names) else None
        return names if tokens is None else [at_budget(*pair) for pair in zip(names, tokens.tolist(), strict=True)]


def at_budget(run: str, tokens: float) -> str:
    """Return the name of a run that is one of several budgets under one name."""
    return f"{run}, {tokens:.12g} tokens"


def refuse_summary(run: str, title: str) -> None:
    """Refuse a row below the runs that states their mean or sum, which would be one more run."""
    if run.casefold() in SUMMARIES:
        raise InputError(
            f"run {quoted(run)} of {title} may be a row below the runs that sums them up, or a run; drop that row, or "
            "rename the run"
        )


def _run_index(column: pd.Series[Any]) -> list[str]:
    """Return the names of runs; 3 and 3.0 are one number, however either table writes them."""
    # pandas reads whole numbers as floats where another cell is empty.
    if column.dtype.kind == "f" and (column % 1 == 0).all() and (column.abs() < MOST_EXACT).all():
        column = column.astype(int)
    return column.astype(str).tolist()
