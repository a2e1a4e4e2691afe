"""Whether learned priors and features stay in a fit: only where they predict whole mixtures left out better."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from climbopt.fitting.accuracy import prediction_errors, predictions, trained
from climbopt.fitting.ensemble_fit import EnsembleFit, ensemble_of, insane
from climbopt.fitting.estimate import Fit, Pooling, Progress, Way, estimate, with_warnings
from climbopt.fitting.pooling import pooled
from climbopt.fitting.select import dealt
from climbopt.foundations.errors import InputError
from climbopt.model.ensemble import blocks_of
from climbopt.model.templates import Array
from climbopt.runs.features import Features

FOLDS = 5
"""Of whole mixtures, with all their budgets."""

AnyFit = TypeVar("AnyFit", Fit, EnsembleFit)


def with_pooling(fitted: AnyFit, pool: bool | Features, progress: Progress | None = None) -> AnyFit:
    """Return a fit with learned priors of pairs where these predict mixtures left out better, and what was compared.

    Parameters
    ----------
    fitted : Fit or EnsembleFit
    pool : bool or Features
        Whether to learn them; features of its languages or pairs, that they may depend on.
    progress : callable, optional
        Called with the numbers of folds done and to do.

    Raises
    ------
    InputError
        Where a language or pair has no features.
    """
    if not pool:
        return fitted
    ways: dict[Way, Array | None] = {"pooled": None}
    if isinstance(pool, Features):
        ways["features"] = pool.design(fitted.model.targets, fitted.model.sources)
    began = time.perf_counter()
    try:
        errors = _held_out_errors(fitted, ways, progress)
    except InputError:  # the runs without a fold are too few
        return replace(fitted, pooling=Pooling("declared", {}))
    # The first of equals: the fewest things learned.
    best = min(errors, key=lambda way: errors[way])
    chosen = Pooling(best, errors)
    result = fitted if best == "declared" else _learned(fitted, ways[best])
    return replace(result, pooling=chosen, seconds=fitted.seconds + time.perf_counter() - began)


def _learned(fitted: AnyFit, features: Array | None) -> AnyFit:
    """Return a fit with learned priors; those of an ensemble's forms that are not sane with them stay as declared."""
    if isinstance(fitted, Fit):
        return pooled(fitted, features)
    learned = [(one, pooled(one, features)) for one in fitted.fits]
    fits = tuple(one if insane(again.model, one.pilots) else again for one, again in learned)
    return with_warnings(replace(fitted, model=ensemble_of(fits, fitted.model.weights), fits=fits))


def _held_out_errors(
    fitted: Fit | EnsembleFit, ways: Mapping[Way, Array | None], progress: Progress | None
) -> dict[Way, float]:
    """Return the errors on mixtures left out, with declared priors and each other way; all learned without them."""
    pilots, weights = fitted.pilots, blocks_of(fitted.model)[1]
    fold = dealt(pilots.mixtures, FOLDS, 0)
    n = int(fold.max()) + 1
    if n < 2:
        raise InputError("one mixture cannot be left out")
    predicted: dict[Way, Array] = {way: np.full(pilots.losses.shape, np.nan) for way in ("declared", *ways)}
    for k in range(n):
        inside, outside = pilots.select(fold != k), pilots.select(fold == k)
        again = [estimate(inside, *fit.model.form, n_starts=1, fixed=fit.fixed) for fit in fitted.fits]
        predicted["declared"][fold == k] = predictions(ensemble_of(again, weights), outside)
        for way, features in ways.items():
            predicted[way][fold == k] = predictions(
                ensemble_of([pooled(fit, features) for fit in again], weights), outside
            )
        if progress:
            progress(k + 1, n)
    judged = trained(pilots, pilots.targets, pilots.sources)
    return {
        # What leaves the law's domain is infinitely wrong.
        way: prediction_errors(np.where(np.isnan(losses), np.inf, losses), pilots.losses, judged, judged).mae
        for way, losses in predicted.items()
    }
