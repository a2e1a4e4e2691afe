"""PilotRuns: measured runs, checked once and stored as arrays with names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from climbopt.foundations.errors import InputError, listed, refuse_unknown
from climbopt.foundations.view import Columns, View, Viewed
from climbopt.runs.pilot_range import PilotRange
from climbopt.runs.tidy_table import Array, TidyTable

if TYPE_CHECKING:
    import pandas as pd

RATIO_SUM_TOLERANCE = 0.005
"""Largest deviation of a run's sum of ratios from 1; within it ratios are rescaled."""
EXACT_SUM = 1e-9
"""Sums nearer to 1 than this are not counted as rescaled."""


Missing = Literal["refuse", "drop"]
"""Treatment of missing losses: the table is refused, or these losses are dropped."""


@dataclass(frozen=True, eq=False, repr=False)
class PilotRuns(Viewed):
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
        Total budget of each run, in tokens.
    losses : ndarray, (n, n_targets)
        Nats per token; NaN where it is missing.
    params : ndarray, (n,), or None
        Model size of each run, where the table states it.
    supply : ndarray, (n, n_sources), or None
        Different tokens that each run had of each source, where the table states them.
    n_rescaled : int
        Number of runs whose ratios summed to nearly 1 and were divided by their sum.
    missing : tuple of (str, str)
        Run and language of each missing loss of a target.
    layout : str
        How the table's layout was interpreted; empty for a tidy one under the standard names.
    """

    runs: tuple[str, ...]
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    ratios: Array
    tokens: Array
    losses: Array
    params: Array | None = None
    n_rescaled: int = 0
    missing: tuple[tuple[str, str], ...] = ()
    supply: Array | None = None
    layout: str = ""

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, need_losses: bool = True, missing: Missing = "refuse") -> PilotRuns:
        """Return the runs of a tidy table: one row per run and language.

        Parameters
        ----------
        frame : pandas.DataFrame
            Columns run, tokens, language, ratio, loss; optional seed, params. Every language in every run. Rows
            that share a run name but differ in seed are different runs.
        need_losses : bool
            Whether a table without a single loss is refused.
        missing : {"refuse", "drop"}
            Treatment of missing losses of a language that has others. With "drop" a run keeps its other losses; where
            losses are needed, a run without any is dropped. A language without a single loss is not a target.

        Raises
        ------
        InputError
            Names the run, language and value at fault, what is allowed and what to do.
        """
        table = TidyTable(frame, need_losses)
        runs, languages = table.runs, table.languages
        ratios = table.by_language("ratio")
        totals = ratios.sum(axis=1)
        off = np.abs(totals - 1)
        if off.max() > RATIO_SUM_TOLERANCE:
            worst = int(off.argmax())
            raise InputError(
                f"the ratios of run '{runs[worst]}' sum to {totals[worst]:.6g}; a run's ratios sum to 1 "
                f"(within {RATIO_SUM_TOLERANCE}, which is rescaled); correct them"
            )
        losses = table.by_language("loss") if "loss" in frame else np.full(ratios.shape, np.nan)
        measured = ~np.isnan(losses)
        if need_losses and not measured.any():
            raise InputError("the table holds no loss at all; fill the column 'loss' (nats per token)")
        gaps = _gaps(measured, runs, languages, missing)
        # Mixtures to be predicted need no loss; runs to be fitted need one.
        usable = measured.any(axis=1) | (not need_losses)
        used, targets = np.any(ratios[usable] > 0, axis=0), measured.any(axis=0)
        return cls(
            runs=tuple(runs[k] for k in np.flatnonzero(usable)),
            sources=tuple(languages[j] for j in np.flatnonzero(used)),
            targets=tuple(languages[j] for j in np.flatnonzero(targets)),
            ratios=(ratios / totals[:, None])[usable][:, used],
            tokens=table.by_run("tokens")[usable],
            losses=losses[usable][:, targets],
            params=table.by_run("params")[usable] if "params" in frame else None,
            n_rescaled=int((off[usable] > EXACT_SUM).sum()),
            missing=gaps,
            supply=table.by_language("supply")[usable][:, used] if "supply" in frame else None,
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """Sources, then the targets that are no source."""
        return tuple(dict.fromkeys(self.sources + self.targets))

    @property
    def mixtures(self) -> NDArray[np.intp]:
        """For each run the number of its mixture, whatever its budget, counted in the order of the table; (n,)."""
        # Rounded: rescaling leaves differences in the last digits between runs of one mixture.
        return _numbered(self.ratios.round(9))

    @property
    def replicates(self) -> NDArray[np.intp]:
        """For each run the number of its mixture, budget, size and supplies, in the order of the table; (n,)."""
        columns = (self.ratios, self.tokens, self.params, self.supply)
        # A supply that is not stated equals itself, which NaN does not.
        return _numbered(np.column_stack([np.nan_to_num(column, nan=-1.0) for column in columns if column is not None]))

    @property
    def replicate_errors(self) -> Array:
        """Distances of losses from the mean of their replicates, (n, T), times sqrt(k / (k - 1)) of k; NaN of one.

        Their mean square is the variance over seeds, which no model of ratios and budgets can explain.
        """
        group, measured = self.replicates, ~np.isnan(self.losses)
        # Rows of member are groups: sums over a group are products with it.
        member = (group == np.arange(group.max() + 1)[:, None]).astype(float)
        count = (member @ measured)[group]
        mean = (member @ np.where(measured, self.losses, 0.0))[group] / np.maximum(count, 1)
        # Mean squares about the mean of k runs are (k - 1) / k of the variance.
        apart: Array = (self.losses - mean) * np.sqrt(count / np.maximum(count - 1, 1))
        return np.where(count > 1, apart, np.nan)

    @property
    def range(self) -> PilotRange:
        """The least and the largest budget, model size where the runs state it, and ratio of each source."""
        params = None if self.params is None else (float(self.params.min()), float(self.params.max()))
        ends = zip(self.ratios.min(axis=0).tolist(), self.ratios.max(axis=0).tolist(), strict=True)
        # rescaling may leave a ratio outside [0, 1] by rounding
        ratios = {name: (max(low, 0.0), min(high, 1.0)) for name, (low, high) in zip(self.sources, ends, strict=True)}
        return PilotRange((float(self.tokens.min()), float(self.tokens.max())), params, ratios)

    def select(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> PilotRuns:
        """Return the runs at `rows` (indices, repeats allowed, or a mask), with the same sources and targets."""
        index = np.arange(len(self.runs))[rows]
        return PilotRuns(
            tuple(self.runs[k] for k in index),
            self.sources,
            self.targets,
            self.ratios[index],
            self.tokens[index],
            self.losses[index],
            None if self.params is None else self.params[index],
            self.n_rescaled,
            self.missing,
            None if self.supply is None else self.supply[index],
            self.layout,
        )

    def ratios_of(self, names: Sequence[str]) -> Array:
        """Return the ratios of `names` in every run, (n, len(names)); 0 for a language that no run draws from."""
        return self._columns_of(self.ratios, names, 0.0)

    def supply_of(self, names: Sequence[str]) -> Array | None:
        """Return the supplies of `names` in every run, (n, len(names)); NaN for a language that no run draws from."""
        return None if self.supply is None else self._columns_of(self.supply, names, np.nan)

    def _columns_of(self, values: Array, names: Sequence[str], otherwise: float) -> Array:
        """Return the columns of values by source, (n, n_sources), for some names; one value for those of no source."""
        # The last column stands for names that are no source.
        padded = np.column_stack([values, np.full(len(self.runs), otherwise)])
        # take, and not an index: rows stay contiguous, on whose layout the last digits of sums depend.
        return padded.take([self.sources.index(name) if name in self.sources else -1 for name in names], axis=1)

    def view(self) -> View:
        """Return the counts and the ranges; the table is the tidy one that :meth:`from_frame` reads."""
        measured = int(np.isfinite(self.losses).sum())
        facts = [f"sources: {listed(self.sources)}", f"tokens: {self.tokens.min():.4g} to {self.tokens.max():.4g}"]
        facts += [] if self.sources == self.targets else [f"targets: {listed(self.targets)}"]
        facts += [] if self.params is None else [f"params: {self.params.min():.4g} to {self.params.max():.4g}"]
        facts += [f"{len(self.missing)} losses are missing"] if self.missing else []
        facts += [self.layout] if self.layout else []
        return View(f"{len(self.runs)} pilot runs with {measured} losses", facts, self._columns)

    def _columns(self) -> Columns:
        """Return one row per run and language."""
        languages = self.languages
        n, ratios = len(languages), self.ratios_of(languages)
        losses = np.full(ratios.shape, np.nan)
        losses[:, [languages.index(name) for name in self.targets]] = self.losses
        columns = {
            "run": np.repeat(self.runs, n),
            "tokens": np.repeat(self.tokens, n),
            "params": None if self.params is None else np.repeat(self.params, n),
            "language": np.tile(languages, len(self.runs)),
            "ratio": ratios,
            "loss": losses,
            "supply": self.supply_of(languages),
        }
        return {name: values.ravel().tolist() for name, values in columns.items() if values is not None}


def _gaps(
    measured: NDArray[np.bool_], runs: list[str], languages: list[str], missing: Missing
) -> tuple[tuple[str, str], ...]:
    """Return run and language of the missing losses of languages that have others."""
    refuse_unknown("treatment of missing losses", [missing], get_args(Missing))
    gaps = tuple((runs[k], languages[j]) for k, j in np.argwhere(~measured & measured.any(axis=0)).tolist())
    if gaps and missing == "refuse":
        run, language = gaps[0]
        raise InputError(
            f"missing losses: {len(gaps)}, the first that of language '{language}' in run '{run}'; fill "
            "them in, or leave them out (--missing drop, in Python missing='drop')"
        )
    return gaps


def _numbered(rows: Array) -> NDArray[np.intp]:
    """Return for each row the number of its value, counted in the order of appearance; (n,)."""
    _, first, group = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    # np.unique numbers values in sorted order; ranks of their first rows number them by appearance.
    return np.asarray(np.argsort(np.argsort(first))[group.ravel()])
