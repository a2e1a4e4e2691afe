"""Predicting a tidy table of mixtures with a model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from climbopt.files import DrawsLike, Layout, ModelLike, Reading, as_draws, as_model, read_table, understood
from climbopt.fitting.accuracy import Errors, prediction_errors, trained
from climbopt.foundations.errors import InputError, refuse_unknown
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.quantities import TOKENS, Amount
from climbopt.model.ensemble import Ensemble, Model, check_draws, mean_of
from climbopt.model.noise import SMALL
from climbopt.model.templates import Array
from climbopt.runs.pilots import PilotRuns
from climbopt.runs.tidy_table import run_names

if TYPE_CHECKING:
    import pandas as pd


PREDICTIONS = ("predicted", "lower", "upper")
"""Columns that predictions add to a table."""


@check_arguments
def predict(
    model: ModelLike,
    mixtures: pd.DataFrame | str | os.PathLike[str],
    supply: Mapping[str, Amount] | None = None,
    draws: DrawsLike = (),
) -> pd.DataFrame:
    """Return a tidy table of mixtures with a column `predicted`: the model's losses, in nats per token.

    Where the model is an ensemble that states its noise, columns `lower` and `upper` hold the band that a new
    measurement of each loss lies in.

    Parameters
    ----------
    model : MixtureModel, Ensemble or path
    mixtures : pandas.DataFrame or path
        As pilot runs, tidy or wide; losses may be missing. Its column supply, where a tidy one has it, holds for its
        runs.
    supply : mapping of str to float, optional
        Available tokens of some sources, in place of the supplies of the fit.
    draws : sequence of Ensemble or path
        Of the model's fit; predictions are then means over the model and them.

    Raises
    ------
    InputError
        As of :func:`predict_table`.

    Examples
    --------
    >>> import climbopt, pandas
    >>> rows = pandas.DataFrame({"run": "mine", "tokens": 4e6, "language": ["en", "pt"], "ratio": [0.4, 0.6]})
    >>> climbopt.predict("problems/libreoffice6/model.toml", rows)["predicted"].round(3).tolist()
    [1.225, 1.243]
    """
    table = read_table(mixtures) if isinstance(mixtures, str | os.PathLike) else mixtures
    if not hasattr(table, "columns"):
        raise InputError(
            f"a {type(table).__name__} is no table of mixtures; give a pandas DataFrame with the columns run, tokens, "
            "language and ratio, or with a row per run, or the path of such a table"
        )
    supplies = TOKENS.by_name(supply or {}, "supply")
    return predict_table(as_model(model), tidy_mixtures(table).table, as_draws(draws), supplies).table


def tidy_mixtures(table: pd.DataFrame, layout: Layout | None = None, losses: pd.DataFrame | None = None) -> Reading:
    """Return a table of mixtures as a tidy one, with a line on how it was interpreted; a tidy one is left as it is.

    Parameters
    ----------
    table : pandas.DataFrame
    layout : Layout, optional
    losses : pandas.DataFrame, optional
        Of a wide table that has the ratios alone.

    Raises
    ------
    InputError
        Where the table has no reading, or two.
    """
    if layout is None and losses is None and {"run", "tokens", "language", "ratio"} <= set(table.columns):
        return Reading(table, "")
    return understood(table, layout, losses, missing="drop", need_losses=False)


@dataclass(frozen=True)
class ErrorGroup:
    """How well the losses of some budgets and own ratios are predicted.

    Parameters
    ----------
    beyond : bool
        Whether the budgets lie outside the pilots'.
    own : str
        The range of the targets' own ratios.
    n, n_inside : int
        Losses, and those inside their bands.
    mae, bias : float
        Mean absolute and mean error of the predictions, nats.
    half_width : float
        Median of half the bands' widths, nats.
    """

    beyond: bool
    own: str
    n: int
    n_inside: int
    mae: float
    bias: float
    half_width: float


@dataclass(frozen=True, eq=False)
class PredictedTable:
    """Predictions of a tidy table of mixtures.

    Parameters
    ----------
    table : pandas.DataFrame
        The same rows in the same order, with `predicted` in nats per token, missing for a language that is no target of
        the model or whose z leaves the law's domain; and `lower` and `upper` where the model has bands.
    errors : Errors or None
        None where no loss is stated.
    level : float or None
        Nominal share of new measurements inside the bands; None without bands.
    n_inside, n_judged : int
        Stated losses inside their bands, and those that have one.
    groups : tuple of ErrorGroup
        The same by budget and own ratio, with their errors.
    """

    table: pd.DataFrame
    errors: Errors | None
    level: float | None = None
    n_inside: int = 0
    n_judged: int = 0
    groups: tuple[ErrorGroup, ...] = ()


def predict_table(
    model: Model, table: pd.DataFrame, draws: Sequence[Model] = (), supply: Mapping[str, float] | None = None
) -> PredictedTable:
    """Return the predictions of a tidy table, and the errors where losses are stated.

    Parameters
    ----------
    model : MixtureModel or Ensemble
    table : pandas.DataFrame
        As pilot runs; losses, or the column loss, may be missing. Columns `predicted`, `lower` and `upper`
        are replaced.
    draws : sequence of Ensemble
        Of the model's fit; predictions are then means over the model and them.
    supply : mapping of str to float, optional
        Available tokens of some sources, in place of the supplies of the fit.

    Raises
    ------
    InputError
        For what is no table, a language that the model does not mix but a run does, or a missing model size.
    """
    import pandas as pd  # here: only a table needs it

    rows = table.drop(columns=list(PREDICTIONS), errors="ignore")
    runs = PilotRuns.from_frame(rows, need_losses=False, missing="drop")
    refuse_unknown(
        "language with a ratio above 0, of which the model knows nothing:", runs.sources, known=model.sources
    )
    if model.uses_model_size and runs.params is None:
        raise InputError(f"{model.label} depends on the model size; add a column 'params'")
    ratios = runs.ratios_of(model.sources)
    model = _with_draws(model, draws).with_supply(supply or {})
    predicted = model.at(runs.tokens, runs.params, runs.supply_of(model.sources)).predicted(ratios)
    noise, half = model.noise if isinstance(model, Ensemble) else None, np.full(predicted.shape, np.nan)
    if isinstance(model, Ensemble) and noise is not None:
        spread = model.spread(ratios, runs.tokens, runs.params, runs.supply_of(model.sources))
        half = noise.half_widths(spread, runs.ratios_of(model.targets))
    # Each row's run and target, to place the (n, T) predictions back into the tidy table; no target is -1.
    of_run = pd.Index(runs.runs).get_indexer(pd.Index(run_names(rows)))
    of_target = pd.Index(model.targets).get_indexer(pd.Index(rows["language"].astype(str)))

    def column(values: Array) -> Array:
        return np.where(of_target >= 0, values[of_run, of_target], np.nan)

    bounds = {} if noise is None else {"lower": column(predicted - half), "upper": column(predicted + half)}
    written = rows.assign(predicted=column(predicted), **bounds)
    level = None if noise is None else noise.level
    shared = [name for name in runs.targets if name in model.targets]
    if not shared:
        return PredictedTable(written, None, level)
    at = [model.targets.index(name) for name in shared]
    chosen, measured = predicted[:, at], runs.losses[:, [runs.targets.index(name) for name in shared]]
    inside = ~np.isnan(chosen)
    errors = prediction_errors(chosen, measured, trained(runs, shared, model.sources) & inside, inside)
    judged = inside & ~np.isnan(measured) & (noise is not None)
    held = judged & (np.abs(chosen - measured) <= half[:, at])
    groups = _groups(model, runs, shared, np.where(judged, chosen - measured, np.nan), half[:, at])
    return PredictedTable(written, errors, level, int(held.sum()), int(judged.sum()), groups)


def _groups(
    model: Model, runs: PilotRuns, targets: Sequence[str], errors: Array, half: Array
) -> tuple[ErrorGroup, ...]:
    """Return the groups of errors, (n, T), NaN where none is judged, that hold any."""
    low, high = (0.0, np.inf) if model.pilots is None else model.pilots.tokens
    outside = (runs.tokens < low) | (runs.tokens > high)
    own = runs.ratios_of(targets)
    ranges = {f"{SMALL:g} or more": own >= SMALL, f"below {SMALL:g}": (own > 0) & (own < SMALL), "0": own == 0}
    groups = []
    for beyond in (False, True):
        for name, here in ranges.items():
            chosen = here & (outside == beyond)[:, None] & ~np.isnan(errors)
            if chosen.any():
                of, width = errors[chosen], half[chosen]
                held, mae = int((np.abs(of) <= width).sum()), float(np.abs(of).mean())
                groups.append(ErrorGroup(beyond, name, of.size, held, mae, float(of.mean()), float(np.median(width))))
    return tuple(groups)


def _with_draws(model: Model, draws: Sequence[Model]) -> Model:
    """Return the mean of a model and its draws; the model itself where there are none."""
    if not draws:
        return model
    if isinstance(model, Ensemble):
        return model.with_draws(draws)
    check_draws(model, draws)
    return mean_of((model, *draws))
