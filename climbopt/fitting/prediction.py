"""Predicting a tidy table of mixtures with a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from climbopt.files import ModelLike, as_model, read_table
from climbopt.fitting.accuracy import Errors, prediction_errors, trained
from climbopt.foundations.errors import InputError, unknown_name
from climbopt.model.ensemble import Model
from climbopt.runs.pilots import PilotRuns
from climbopt.runs.tidy_table import run_names

if TYPE_CHECKING:
    import pandas as pd


def predict(
    model: ModelLike,
    mixtures: pd.DataFrame | str | os.PathLike[str],
    supply: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Return a tidy table of mixtures with a column `predicted`: the model's losses, in nats per token.

    Parameters
    ----------
    model : MixtureModel, Ensemble or path
    mixtures : pandas.DataFrame or path
        As pilot runs; losses, or the column loss, may be missing. Its column supply, where it has one, holds for
        its runs.
    supply : mapping of str to float, optional
        Tokens that there are of some sources, instead of the fit's.

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
    return predict_table(as_model(model).with_supply(supply or {}), table)[0]


def predict_table(model: Model, table: pd.DataFrame) -> tuple[pd.DataFrame, Errors | None]:
    """Return the rows of a tidy table with a column `predicted`, and the errors where losses are given.

    Parameters
    ----------
    model : MixtureModel or Ensemble
    table : pandas.DataFrame
        As pilot runs; losses, or the column loss, may be missing. A column `predicted` is replaced.

    Returns
    -------
    table : pandas.DataFrame
        The same rows in the same order; `predicted` is in nats per token, and missing for a language that is no
        target of the model or whose z leaves the law's domain.
    errors : Errors or None
        None where no loss is given.

    Raises
    ------
    InputError
        For a table that is none, a language that the model does not mix but a run does, or a missing model size.
    """
    rows = table.drop(columns="predicted", errors="ignore")
    runs = PilotRuns.from_frame(rows, need_losses=False, missing="drop")
    for name in runs.sources:
        if name not in model.sources:
            raise unknown_name("language with a ratio above 0, of which the model knows nothing:", name, model.sources)
    if model.uses_model_size and runs.params is None:
        raise InputError(f"{model.label} depends on the model size; add a column 'params'")
    response = model.at(runs.tokens, runs.params, runs.supply_of(model.sources))
    ratios = runs.ratios_of(model.sources)
    predicted = response.predicted(ratios)
    place = {name: k for k, name in enumerate(runs.runs)}
    of_run = np.array([place[name] for name in run_names(rows)], dtype=int)
    of_target = rows["language"].astype(str).map({name: i for i, name in enumerate(model.targets)})
    known = of_target.notna().to_numpy()
    values = np.full(len(rows), np.nan)
    values[known] = predicted[of_run[known], of_target[known].to_numpy(dtype=int)]
    shared = [name for name in runs.targets if name in model.targets]
    if not shared:
        return rows.assign(predicted=values), None
    chosen = predicted[:, [model.targets.index(name) for name in shared]]
    measured = runs.losses[:, [runs.targets.index(name) for name in shared]]
    inside = ~np.isnan(chosen)
    judged = trained(runs, shared, model.sources) & inside
    return rows.assign(predicted=values), prediction_errors(chosen, measured, judged, inside)
