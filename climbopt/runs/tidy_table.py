"""TidyTable: a table with one row per run and language, checked, and its columns as arrays."""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from climbopt.foundations.errors import InputError, look_alike, quoted, refuse_unknown, shown
from climbopt.foundations.names import check_name
from climbopt.foundations.quantities import PARAMS, RATIO, TOKENS

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("run", "tokens", "language", "ratio")
OPTIONAL = ("loss", "seed", "params", "supply")
LEAST_COUNT = {"tokens": 1e4, "params": 1e3}
"""A smaller value is taken for a count written in thousands, millions or billions."""
UNITS = {"tokens": TOKENS, "params": PARAMS, "ratio": RATIO, "supply": TOKENS}
"""Columns whose numbers may be written with a suffix: 5B, 20%."""
HEADER_ROWS = 2
"""Number of the first row below the header, as spreadsheets and editors count."""

Array = NDArray[np.float64]


class TidyTable:
    """Runs by languages.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns run, tokens, language, ratio; optional loss, seed, params. Every language in every run. Rows that
        share a run name but differ in seed are different runs.
    need_losses : bool
        Whether the column loss is required.

    Raises
    ------
    InputError
        Names the run, language and value at fault, what is allowed and what to do.
    """

    def __init__(self, frame: pd.DataFrame, need_losses: bool) -> None:
        _check_columns(frame, (*REQUIRED, "loss") if need_losses else REQUIRED)
        _check_names(frame)
        self._frame = frame
        self._run_of, self._language_of = run_names(frame), frame["language"].astype(str).tolist()
        self.runs, self.languages = (list(dict.fromkeys(names)) for names in (self._run_of, self._language_of))
        # Row and column of each entry in the (runs, languages) arrays.
        places = ({name: k for k, name in enumerate(names)} for names in (self.runs, self.languages))
        self._run, self._language = (
            np.array([place[name] for name in names], dtype=np.intp)
            for place, names in zip(places, (self._run_of, self._language_of), strict=True)
        )
        self._check_pairs()

    def by_language(self, column: str) -> Array:
        """Return a column, (n_runs, n_languages); negative values, losses of 0 and missing ratios are refused.

        A missing loss is NaN.
        """
        values = self._numbers(column)
        bad = np.isinf(values) | (values <= 0 if column == "loss" else (values < 0) | np.isnan(values))
        for row in np.flatnonzero(bad)[:1]:
            allowed = "a positive number" if column == "loss" else "a number, 0 or more, and none may be missing"
            raise InputError(
                f"{column} of {self._row(row)} is {values[row]:g}; a {column} is {allowed}; "
                "correct or drop the whole run"
            )
        table = np.full((len(self.runs), len(self.languages)), np.nan)
        table[self._run, self._language] = values
        return table

    def by_run(self, column: str) -> Array:
        """Return a column that has one positive value per run, (n_runs,)."""
        values = self._numbers(column)
        for row in np.flatnonzero(~(np.isfinite(values) & (values > 0)))[:1]:
            raise InputError(f"{column} of run '{self._run_of[row]}' is {values[row]:g}; it must be a positive number")
        if values.min() < LEAST_COUNT[column]:
            row = int(np.argmin(values))
            raise InputError(
                f"{column} of run '{self._run_of[row]}' is {values[row]:g}; no run has less than "
                f"{LEAST_COUNT[column]:.0f}, and {column} are absolute counts: write 5e8, not 0.5 billion"
            )
        result = np.empty(len(self.runs))
        result[self._run] = values
        # the last row of each run was stored: any other value of that run differs from it
        for row in np.flatnonzero(result[self._run] != values)[:1]:
            raise InputError(
                f"run '{self._run_of[row]}' has two different {column}: {values[row]:g} and "
                f"{result[self._run[row]]:g}; give runs of different {column} different names"
            )
        return result

    def _numbers(self, column: str) -> Array:
        """Return a column as floats; text is refused with its row."""
        values = numbers(self._frame[column])
        # NaN from something that was there: text, a time or a truth value.
        for row in np.flatnonzero(np.isnan(values) & self._frame[column].notna().to_numpy())[:1]:
            raise InputError(
                f"{column} '{shown(str(self._frame[column].iloc[row]))}' of {self._row(row)} is no number; write a "
                "plain decimal number, with a point"
            )
        return values

    def _row(self, row: int) -> str:
        """Return the language and run of a row, for messages."""
        return f"language '{self._language_of[row]}' in run '{self._run_of[row]}'"

    def _check_pairs(self) -> None:
        """Refuse a language that occurs twice in a run, or is missing from a run."""
        rows = np.zeros((len(self.runs), len(self.languages)), dtype=int)
        np.add.at(rows, (self._run, self._language), 1)
        for k, j in np.argwhere(rows > 1)[:1]:
            raise InputError(
                f"language '{self.languages[j]}' stands twice in run '{self.runs[k]}'; keep one row, rename one run, "
                "or tell runs of one name apart by a column 'seed'"
            )
        # A pair that is absent may be spelled differently elsewhere, which is the better message.
        present = rows > 0
        self._check_spellings("run", present.T, self.runs, self._run)
        self._check_spellings("language", present, self.languages, self._language)
        for k, j in np.argwhere(~present)[:1]:
            raise InputError(
                f"language '{self.languages[j]}' is missing from run '{self.runs[k]}'; give every language in every "
                "run (ratio 0 where it was left out)"
            )

    def _check_spellings(
        self, column: str, present: NDArray[np.bool_], names: list[str], index: NDArray[np.intp]
    ) -> None:
        """Refuse two names that look alike and never occur together; present: (n, names)."""
        # two spellings of a name split its rows: neither then occurs everywhere; the rarer one is named first
        partial = sorted(np.flatnonzero(~present.all(axis=0)), key=lambda k: present[:, k].sum())
        for rare, other in combinations(partial, 2):
            if look_alike(names[rare], names[other]) and not (present[:, rare] & present[:, other]).any():
                raise InputError(
                    f"column '{column}' has {quoted(names[rare])} in row {(index == rare).argmax() + HEADER_ROWS}, and "
                    f"{quoted(names[other])} elsewhere, which looks like it; write one name"
                )


def run_names(frame: pd.DataFrame) -> list[str]:
    """Return the name of each row's run; with the seed where a run name has several."""
    names = frame["run"].astype(str)
    if "seed" not in frame:
        return names.tolist()
    seeds = frame["seed"].map(_seed_name)
    several = (seeds.groupby(names).transform("nunique") > 1).to_numpy()
    return names.where(~several, names + ", seed " + seeds).tolist()


def _seed_name(seed: object) -> str:
    """Return a seed as text; an integer reads the same in a column of floats."""
    if isinstance(seed, float):
        return str(int(seed)) if seed.is_integer() else "none" if np.isnan(seed) else str(seed)
    return str(seed)


def numbers(column: pd.Series[float]) -> Array:
    """Return a column as floats, (n,), by its name with units (5B, 20%); NaN for text, times and truth values."""
    import pandas as pd  # here, so that only reading a table loads pandas

    # pandas would turn truth values, times and durations into numbers.
    if column.dtype.kind in "bmM":
        return np.full(len(column), np.nan)
    values: Array = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float).copy()
    unit = UNITS.get(str(column.name))
    if unit is not None:
        for row in np.flatnonzero(np.isnan(values) & column.notna().to_numpy()):
            with suppress(InputError):  # unreadable text stays NaN
                values[row] = unit.read(column.iloc[row], "it")
    return values


def _check_columns(frame: pd.DataFrame, required: tuple[str, ...]) -> None:
    """Refuse missing and unknown columns, and a table without rows."""
    missing = [name for name in required if name not in frame]
    for name, column in product(missing, map(str, frame.columns)):
        if look_alike(name, column):
            raise InputError(f"column {quoted(column)} is to be called '{name}'; rename it")
    if missing:
        raise InputError(
            f"the table has no column {', '.join(map(repr, missing))}; its columns are "
            f"{', '.join(shown(str(column)) for column in frame.columns)}. A tidy pilot table has "
            f"{', '.join(required)}, optionally seed and params, one row per run and language; load_pilots and "
            "the commands also read wide tables, one row per run, with columns such as ratio_en and loss_en"
        )
    refuse_unknown("column", map(str, frame.columns), (*REQUIRED, *OPTIONAL))
    if frame.empty:
        raise InputError("the table has no rows; give one per run and language")


def _check_names(frame: pd.DataFrame) -> None:
    """Refuse empty names, and names with invisible or ambiguous characters."""
    for column in ("run", "language"):
        # Each name once: tables repeat them in every row.
        names = frame[column].set_axis(range(HEADER_ROWS, HEADER_ROWS + len(frame))).drop_duplicates()
        for row, name in names.items():
            check_name("" if name is None or name != name else str(name), f"column '{column}' in row {row}")
