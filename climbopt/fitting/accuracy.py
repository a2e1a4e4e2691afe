"""How far predictions are from measured losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climbopt.model.ensemble import Model
from climbopt.model.templates import Array, form_label
from climbopt.model.uses import ONCE
from climbopt.runs.pilots import PilotRuns

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Errors:
    """How far predictions are from measured losses with a ratio above 0, or of a target that is never trained on.

    Parameters
    ----------
    mae, mre : float
        Mean absolute error in nats, and mean relative error; NaN where there is no such loss.
    r2 : float
        Coefficient of determination; NaN where the measured losses are all the same.
    zero_shot_mae : float or None
        Mean absolute error over the other losses, at a ratio of 0; None where none was used.
    """

    mae: float
    mre: float
    r2: float
    zero_shot_mae: float | None


@dataclass(frozen=True)
class Score:
    """How well a form predicts runs that it was not fitted to.

    Parameters
    ----------
    law, interaction, use : str
    mae, mre : float
        Mean absolute (nats) and relative error over losses with a ratio above 0, whole runs held out; infinite
        where a prediction leaves the law's domain or the form cannot be fitted.
    spearman : float
        Mean over targets of the rank correlation on the same losses; NaN where no target has one.
    zero_shot_mae : float or None
        Mean absolute error over losses at a ratio of 0; None where the form predicts none.
    n_parameters : int
        Parameters of the full fit.
    refused : str or None
        Why the form cannot be fitted to these runs; None where it can.
    by_scale : float or None
        Mean absolute error at the largest model size (or budget, where all sizes are the same), predicted from the
        smaller ones; None where all runs have one scale or the form predicts none.
    by_mixture, by_region : float or None
        Mean absolute error of the chosen form where whole mixtures, with all their budgets, or regions of the simplex,
        the runs in which one source has the largest ratio, are held out; None of other forms.
    """

    law: str
    interaction: str
    mae: float
    mre: float
    spearman: float
    zero_shot_mae: float | None
    n_parameters: int
    refused: str | None = None
    by_scale: float | None = None
    use: str = ONCE.name
    by_mixture: float | None = None
    by_region: float | None = None

    @property
    def label(self) -> str:
        """Names of the form's parts, as reports write them."""
        return form_label(self.law, self.interaction, self.use)


def trained(runs: PilotRuns, targets: Sequence[str], sources: Sequence[str]) -> Mask:
    """Return which losses are judged as trained, (n, T): measured ones with a ratio above 0, and all of no source's."""
    with_data = (runs.ratios_of(targets) > 0) | np.array([name not in sources for name in targets], dtype=bool)
    return np.asarray(with_data & ~np.isnan(runs.losses[:, [runs.targets.index(name) for name in targets]]))


def prediction_errors(predicted: Array, measured: Array, trained: Mask, used: Mask) -> Errors:
    """Return the errors of predictions, (n, T), over the entries that are `trained`; other measured ones are zero-shot.

    R2 is taken about each target's own mean, so that differences between targets explain nothing.
    """
    error = np.abs(predicted - measured)
    # Per target; with a common mean, differences between languages would raise R2.
    mean = np.where(trained, measured, 0.0).sum(axis=0) / np.maximum(trained.sum(axis=0), 1)
    variance = float(((measured - mean) ** 2)[trained].sum())
    zero_shot = error[used & ~trained & ~np.isnan(measured)]
    return Errors(
        _mean(error[trained]),
        _mean((error / measured)[trained]),
        1.0 - float((error[trained] ** 2).sum()) / variance if variance > 0 else float("nan"),
        _mean(zero_shot) if zero_shot.size else None,
    )


def predictions(model: Model, runs: PilotRuns) -> Array:
    """Return a model's predictions of the losses of runs, (n, T)."""
    return model.at(runs.tokens, runs.params, runs.supply).predicted(runs.ratios)


def _mean(values: Array) -> float:
    """Return the mean; NaN of no value at all."""
    return float(values.mean()) if values.size else float("nan")
