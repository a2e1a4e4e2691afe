"""PilotRuns: measured runs, checked once and kept as arrays keyed by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from climbopt.errors import InputError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

RATIO_SUM_TOLERANCE = 0.005
"""Furthest that a run's ratios may sum from 1; nearer ones are rescaled."""
EXACT_SUM = 1e-9
"""Sums nearer to 1 than this are not counted as rescaled."""
LEAST_COUNT = {"tokens": 1e4, "params": 1e3}
"""Less than this is no run, but a count written in thousands, millions or billions."""

_REQUIRED = ("run", "tokens", "language", "ratio")
_OPTIONAL = ("loss", "seed", "params")

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PilotRuns:
    """Runs of known mixture and budget, with the losses measured on each target.

    Parameters
    ----------
    runs : tuple of str
        Names, (n,).
    sources : tuple of str
        Languages with a ratio above 0 in some run.
    targets : tuple of str
        Languages with a measured loss.
    ratios : ndarray, (n, n_sources)
        Rows sum to 1.
    tokens : ndarray, (n,)
        Each run's whole budget, in tokens.
    losses : ndarray, (n, n_targets)
        Nats per token.
    params : ndarray, (n,), or None
        Model size of each run, where the table states it.
    n_rescaled : int
        Runs whose ratios summed to something near 1 and were divided by it.
    """

    runs: tuple[str, ...]
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    ratios: Array
    tokens: Array
    losses: Array
    params: Array | None = None
    n_rescaled: int = 0

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, need_losses: bool = True) -> PilotRuns:
        """Return the runs of a tidy table: one row a run and language.

        Parameters
        ----------
        frame : pandas.DataFrame
            Columns run, tokens, language, ratio, loss; optional seed, params. Every language in every run.
        need_losses : bool
            Whether a table without a single loss is refused.

        Raises
        ------
        InputError
            Names the run, language and value at fault, what is allowed and what to do.
        """
        _check_columns(frame, need_losses)
        languages = list(dict.fromkeys(frame["language"].astype(str)))
        runs = list(dict.fromkeys(frame["run"].astype(str)))
        _check_pairs(frame, runs, languages)
        ratios = _number_table(frame, "ratio", runs, languages, missing_is_absent=False)
        totals = ratios.sum(axis=1)
        off = np.abs(totals - 1)
        if off.max() > RATIO_SUM_TOLERANCE:
            worst = int(off.argmax())
            raise InputError(f"the ratios of run '{runs[worst]}' sum to {totals[worst]:.6g}; a run's ratios sum to 1 "
                             f"(within {RATIO_SUM_TOLERANCE}, which is rescaled); correct them")
        losses = (_number_table(frame, "loss", runs, languages, missing_is_absent=True) if "loss" in frame
                  else np.full(ratios.shape, np.nan))
        used, measured = np.any(ratios > 0, axis=0), np.any(~np.isnan(losses), axis=0)
        if need_losses and not measured.any():
            raise InputError("the table holds no loss at all; fill the column 'loss' (nats per token)")
        return cls(
            runs=tuple(runs),
            sources=tuple(languages[j] for j in np.flatnonzero(used)),
            targets=tuple(languages[j] for j in np.flatnonzero(measured)),
            ratios=(ratios / totals[:, None])[:, used],
            tokens=_per_run(frame, "tokens", runs),
            losses=losses[:, measured],
            params=_per_run(frame, "params", runs) if "params" in frame else None,
            n_rescaled=int((off > EXACT_SUM).sum()),
        )

    def select(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> PilotRuns:
        """Return the runs at `rows` (indices, repeats allowed, or a mask), with the same sources and targets."""
        index = np.arange(len(self.runs))[rows]
        return PilotRuns(tuple(self.runs[k] for k in index), self.sources, self.targets, self.ratios[index],
                         self.tokens[index], self.losses[index],
                         None if self.params is None else self.params[index], self.n_rescaled)

    def ratios_of(self, names: Sequence[str]) -> Array:
        """Return the ratios of `names` in every run, (n, len(names)); 0 for a language that no run draws from."""
        table = np.zeros((len(self.runs), len(names)))
        for column, name in enumerate(names):
            if name in self.sources:
                table[:, column] = self.ratios[:, self.sources.index(name)]
        return table


def _check_columns(frame: pd.DataFrame, need_losses: bool) -> None:
    """Refuse missing and unknown columns, and a table without rows."""
    required = (*_REQUIRED, "loss") if need_losses else _REQUIRED
    missing = [name for name in required if name not in frame]
    if missing:
        raise InputError(f"the table has no column {', '.join(map(repr, missing))}; a tidy pilot table has the columns "
                         f"{', '.join(required)}, optionally seed and params, one row a run and language")
    known = {*_REQUIRED, *_OPTIONAL}
    for name in frame:
        if name not in known:
            raise unknown_name("column", name, [*_REQUIRED, *_OPTIONAL])
    if frame.empty:
        raise InputError("the table has no rows; give one row a run and language")
    for name in ("run", "language"):
        empty = (frame[name].isna() | (frame[name].astype(str).str.strip() == "")).to_numpy()
        if empty.any():
            raise InputError(f"column '{name}' is empty in row {int(empty.argmax()) + 2}; name every {name}")


def _check_pairs(frame: pd.DataFrame, runs: list[str], languages: list[str]) -> None:
    """Refuse a language that stands twice in a run, or is missing from one."""
    keys = frame["run"].astype(str) + "\0" + frame["language"].astype(str)
    if keys.duplicated().any():
        run, language = keys[keys.duplicated()].iloc[0].split("\0")
        raise InputError(f"language '{language}' stands twice in run '{run}'; keep one row (or rename one run)")
    if len(frame) != len(runs) * len(languages):
        present = set(keys)
        run, language = next((run, language) for run in runs for language in languages
                             if f"{run}\0{language}" not in present)
        raise InputError(f"language '{language}' is missing from run '{run}'; give every language in every run "
                         "(ratio 0 where it was left out)")


def numbers(column: pd.Series[float]) -> Array:
    """Return a column as floats, (n,); NaN for what is no number: text, times and truth values."""
    import pandas as pd  # here, so that only reading a table loads pandas

    if column.dtype.kind in "bmM":
        return np.full(len(column), np.nan)
    values: Array = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    return values


def _numbers(frame: pd.DataFrame, column: str) -> Array:
    """Return a column as floats; what is no number is refused with its row."""
    values = numbers(frame[column])
    text = np.isnan(values) & frame[column].notna().to_numpy()
    if text.any():
        row = int(np.argmax(text))
        raise InputError(f"{column} '{frame[column].iloc[row]}' of {_row_name(frame, row)} is no number; "
                         "write a plain decimal number")
    return values


def _row_name(frame: pd.DataFrame, row: int) -> str:
    """Return the words that name one row."""
    return f"language '{frame['language'].iloc[row]}' in run '{frame['run'].iloc[row]}'"


def _number_table(frame: pd.DataFrame, column: str, runs: list[str], languages: list[str], *,
                  missing_is_absent: bool) -> Array:
    """Return a column as an array (runs, languages); negative values, losses of 0 and missing values are refused.

    With `missing_is_absent` a language whose values are all missing is left as NaN.
    """
    values = _numbers(frame, column)
    positive = column == "loss"
    bad = np.isinf(values) | (values <= 0 if positive else values < 0)
    position = {name: k for k, name in enumerate(languages)}
    of_language = frame["language"].astype(str).map(position).to_numpy()
    if missing_is_absent:
        present = np.zeros(len(languages), dtype=bool)
        present[of_language[~np.isnan(values)]] = True
        bad |= np.isnan(values) & present[of_language]
    else:
        bad |= np.isnan(values)
    if bad.any():
        row = int(np.argmax(bad))
        more = " (a language without a single loss is no target)" if missing_is_absent else ""
        allowed = "a positive number" if positive else "a number, 0 or more"
        raise InputError(f"{column} of {_row_name(frame, row)} is {values[row]:g}; a {column} is {allowed}, "
                         f"and none may be missing{more}; correct or drop the whole run")
    table = np.full((len(runs), len(languages)), np.nan)
    of_run = frame["run"].astype(str).map({name: k for k, name in enumerate(runs)}).to_numpy()
    table[of_run, of_language] = values
    return table


def _per_run(frame: pd.DataFrame, column: str, runs: list[str]) -> Array:
    """Return a column that has one positive value a run, (n,)."""
    values = _numbers(frame, column)
    bad = ~(np.isfinite(values) & (values > 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"{column} of run '{frame['run'].iloc[row]}' is {values[row]:g}; it must be a positive number")
    if values.min() < LEAST_COUNT[column]:
        row = int(np.argmin(values))
        raise InputError(f"{column} of run '{frame['run'].iloc[row]}' is {values[row]:g}; no run has less than "
                         f"{LEAST_COUNT[column]:.0f}, and {column} are absolute counts: write 5e8, not 0.5 billion")
    of_run = frame["run"].astype(str).map({name: k for k, name in enumerate(runs)}).to_numpy()
    result = np.empty(len(runs))
    result[of_run] = values
    differs = result[of_run] != values
    if differs.any():
        row = int(np.argmax(differs))
        name = frame["run"].iloc[row]
        raise InputError(f"run '{name}' has two different {column}: {values[row]:g} and "
                         f"{result[of_run[row]]:g}; give runs of different {column} different names")
    return result
