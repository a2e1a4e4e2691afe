"""What the runs show and do not: transfer distinguishable from 0, and the missing run that would help most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from climbopt.fitting.estimate import UNIDENTIFIED
from climbopt.foundations.errors import InputError
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array
from climbopt.uncertainty.covariance import Covariance, Spread, noise_of_losses

LEVEL = 0.9
JUDGED = 200
"""Mixtures, drawn uniformly from the simplex, over which the mean variance of a prediction is taken."""
SEED = 0


@dataclass(frozen=True)
class Transfer:
    """How much one source helps a target, over draws of the model.

    Parameters
    ----------
    target, source : str
    estimate, lower, upper : float
        What a ratio of the source adds to z, a ratio of its own unit, in the uniform mixture; and its quantiles.
    told_from_zero : bool
        Whether the quantiles have the same sign.
    """

    target: str
    source: str
    estimate: float
    lower: float
    upper: float
    told_from_zero: bool


@dataclass(frozen=True)
class MissingRun:
    """A run that was not made, and what it would be worth.

    Parameters
    ----------
    languages : tuple of str
        One, or two in equal ratios.
    tokens : float
    reduction : float
        Share by which the mean variance of predictions at the largest pilot budget is expected to fall.
    identifies : int
        Coordinates that the runs do not identify, and would with this one.
    """

    languages: tuple[str, ...]
    tokens: float
    reduction: float
    identifies: int


def transfer(model: MixtureModel, tokens: float, params: float | None = None) -> Array:
    """Return what a ratio of each source adds to each target's z, (T, S): pair(r, r) / r at r = 1 / S.

    In the uniform mixture at a budget; NaN for a language itself.
    """
    share = np.full(len(model.sources), 1.0 / len(model.sources))
    added = np.array(model.at(tokens, params).pairs(share) / share)
    added[model.own_targets, model.own_sources] = np.nan
    return added


def told_from_zero(drawn: Array, level: float = LEVEL) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return the ends between which a share `level` of draws, (n, ...), lies, and whether both have the same sign."""
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high, low * high > 0


def transfers(
    model: MixtureModel,
    draws: Sequence[MixtureModel],
    tokens: float,
    *,
    params: float | None = None,
    level: float = LEVEL,
) -> tuple[Transfer, ...]:
    """Return the :func:`transfer` of every pair at a budget, and whether draws distinguish it from 0.

    Parameters
    ----------
    model : MixtureModel
        The estimate.
    draws : sequence of MixtureModel
        Of the same form.
    tokens : float
    params : float, optional
        Model size, where the law depends on it.
    level : float
        Share of the draws between lower and upper.

    Raises
    ------
    InputError
        Where there are no draws.
    """
    if not draws:
        raise InputError("transfer is distinguishable from 0 over draws alone; give one or more")
    low, high, distinguishable = told_from_zero(np.array([transfer(draw, tokens, params) for draw in draws]), level)
    estimate = transfer(model, tokens, params)
    return tuple(
        Transfer(
            target, source, float(estimate[i, j]), float(low[i, j]), float(high[i, j]), bool(distinguishable[i, j])
        )
        for i, target in enumerate(model.targets)
        for j, source in enumerate(model.sources)
        if j != model.own_source[i]
    )


def missing_runs(estimates: Covariance) -> tuple[MissingRun, ...]:
    """Return every single-language and pair run at the pilots' budgets that was not made, the most useful first.

    A run adds a row to each target's Jacobian at the noise that its residuals show; what is expected to fall is the
    mean variance of the predicted losses over mixtures drawn uniformly from the simplex, at the largest pilot budget.

    Parameters
    ----------
    estimates : Covariance
        Of a fit.
    """
    model, pilots = estimates.fitted.model, estimates.fitted.pilots
    n = len(model.sources)
    judged = np.random.default_rng(SEED).dirichlet(np.ones(n), JUDGED)
    largest = int(pilots.tokens.argmax())
    size = None if pilots.params is None else pilots.params[largest]
    judges = [
        _gradients(estimates, spread, judged, float(pilots.tokens[largest]), size) for spread in estimates.spreads
    ]
    before = sum(_variance(spread.covariance, rows) for spread, rows in zip(estimates.spreads, judges, strict=True))
    if before == 0:  # every parameter is known
        return ()
    candidates = [(j,) for j in range(n)] + list(combinations(range(n), 2))
    results = []
    for tokens in np.unique(pilots.tokens):
        for members in candidates:
            ratios = np.zeros(n)
            ratios[list(members)] = 1.0 / len(members)
            # That run was made.
            if (np.abs(pilots.ratios - ratios).max(axis=1)[pilots.tokens == tokens] < 1e-6).any():
                continue
            after, identified = 0.0, 0
            for spread, rows in zip(estimates.spreads, judges, strict=True):
                covariance = _with_run(estimates, spread, ratios, float(tokens), size)
                after += _variance(covariance, rows)
                identified += _unidentified(spread, spread.covariance) - _unidentified(spread, covariance)
            results.append(
                MissingRun(
                    tuple(model.sources[j] for j in members), float(tokens), float(1 - after / before), identified
                )
            )
    return tuple(sorted(results, key=lambda run: -run.reduction))


def _gradients(estimates: Covariance, spread: Spread, ratios: Array, tokens: float, size: float | None) -> Array:
    """Return the derivatives of the losses of mixtures at one budget by a block's coordinates, (n, T, p)."""
    model = estimates.fitted.model
    n = len(ratios)
    N = np.full(n, np.nan if size is None else size / model.params_unit)
    return spread.gradients(ratios, np.full(n, tokens / model.token_unit), N)


def _variance(covariance: Array, rows: Array) -> float:
    """Return the sum over targets of the mean variance of predictions; what leaves the domain does not count."""
    # Prediction variances g C g'; NaN where a mixture leaves the law's domain.
    each = np.einsum("ijk,kl,ijl->ij", rows, covariance, rows)
    return float(np.nanmean(each, axis=0).sum())


def _with_run(estimates: Covariance, spread: Spread, ratios: Array, tokens: float, size: float | None) -> Array:
    """Return a block's covariance with one more run, by a rank-one update for each of its targets."""
    rows = _gradients(estimates, spread, ratios[None], tokens, size)[0]
    targets = [estimates.fitted.model.targets.index(name) for name in spread.solved.block.targets]
    own = estimates.fitted.model.own_ratios(ratios)[None, targets]
    noise = noise_of_losses(estimates.noise[targets], own)[0]
    covariance = spread.covariance
    for row, deviation in zip(rows, noise, strict=True):
        if np.isfinite(row).all() and np.isfinite(deviation):
            # Sherman-Morrison: C - C g g'C / (s^2 + g'C g).
            along = covariance @ row
            covariance = covariance - np.outer(along, along) / (deviation**2 + row @ along)
    return covariance


def _unidentified(spread: Spread, covariance: Array) -> int:
    """Return how many coordinates are about as wide as their prior."""
    return int((np.sqrt(np.diag(covariance)) > UNIDENTIFIED * spread.solved.block.spread).sum())
