"""How sure a fit is: its bands, transfer distinguishable from 0, and the missing run that would help most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from climbopt.fitting.ensemble_fit import EnsembleFit
from climbopt.fitting.estimate import UNIDENTIFIED, Fit
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.processes import Progress
from climbopt.foundations.view import Reported, View
from climbopt.model.ensemble import Model, blocks_of
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array
from climbopt.uncertainty.bands import Bands, bands
from climbopt.uncertainty.covariance import Covariance, covariance, noise_of_losses

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


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(Reported):
    """How sure a fit is.

    Parameters
    ----------
    draws : tuple of MixtureModel
    bands : Bands
    transfers : tuple of Transfer
        At the largest pilot budget.
    missing_runs : tuple of MissingRun
        The most useful first.
    """

    draws: tuple[MixtureModel, ...]
    bands: Bands
    transfers: tuple[Transfer, ...]
    missing_runs: tuple[MissingRun, ...]

    def standard_errors(self) -> dict[str, Array]:
        """Return the standard deviation of every declared parameter over the draws, shaped as the parameter."""
        return {
            name: np.std([draw.parameters[name] for draw in self.draws], axis=0) for name in self.draws[0].parameters
        }

    def view(self) -> View:
        """Return what the runs show; the table has a row for each pair's transfer."""
        shown = [pair for pair in self.transfers if pair.told_from_zero]
        facts = [
            f"transfer distinguishable from 0: {len(shown)} of {len(self.transfers)} pairs",
            f"{len(self.missing_runs)} runs that were not made",
        ]
        heads = ("target", "source", "estimate", "lower", "upper", "told_from_zero")
        return View(
            f"diagnosis of a fit by {len(self.draws)} draws",
            facts,
            lambda: {head: [getattr(pair, head) for pair in self.transfers] for head in heads},
        )


@check_arguments
def diagnose(fitted: Fit | EnsembleFit, draws: Sequence[Model], *, progress: Progress | None = None) -> Diagnosis:
    """Return bands, transfer and missing runs of a fit; of an ensemble, those of the form that fits the runs best.

    Parameters
    ----------
    fitted : Fit or EnsembleFit
    draws : sequence of MixtureModel or Ensemble
        Of its bootstrap, or of its covariance.
    progress : callable, optional
        Called with the numbers of folds of the bands done and to do.
    """
    best = int(np.argmin([form.overall.mae for form in fitted.fits]))
    fitted = fitted.fits[best]
    # A draw of an ensemble holds its forms in the order of the fits.
    models = tuple(blocks_of(draw)[0][best] for draw in draws)
    pilots, estimates = fitted.pilots, covariance(fitted)
    # The measured budget that is nearest to the planned run's.
    largest = int(pilots.tokens.argmax())
    size = None if pilots.params is None else float(pilots.params[largest])
    return Diagnosis(
        models,
        bands(estimates, progress=progress),
        transfers(fitted.model, models, float(pilots.tokens[largest]), params=size),
        missing_runs(estimates),
    )


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
    # The same mixtures judge every candidate, so that their reductions can be compared.
    judged = np.random.default_rng(SEED).dirichlet(np.ones(n), JUDGED)
    largest = int(pilots.tokens.argmax())
    size = None if pilots.params is None else pilots.params[largest]
    judges = estimates.gradients(judged, pilots.tokens[largest], size)
    covariances = [spread.covariance for spread in estimates.spreads]
    before = sum(map(_variance, covariances, judges))
    unidentified = _unidentified(estimates, covariances)
    if before == 0:  # every parameter is known
        return ()
    candidates = [(j,) for j in range(n)] + list(combinations(range(n), 2))
    results = []
    for tokens, members in product(np.unique(pilots.tokens).tolist(), candidates):
        ratios = np.isin(np.arange(n), members) / len(members)
        # That run was made.
        if (np.abs(pilots.ratios - ratios).max(axis=1)[pilots.tokens == tokens] < 1e-6).any():
            continue
        after = _with_run(estimates, ratios, tokens, size)
        reduction = float(1 - sum(map(_variance, after, judges)) / before)
        names = tuple(model.sources[j] for j in members)
        results.append(MissingRun(names, tokens, reduction, unidentified - _unidentified(estimates, after)))
    return tuple(sorted(results, key=lambda run: -run.reduction))


def _variance(covariance: Array, rows: Array) -> float:
    """Return the sum over targets of the mean variance of predictions; what leaves the domain does not count."""
    # Prediction variances g C g'; NaN where a mixture leaves the law's domain.
    each = np.einsum("ijk,kl,ijl->ij", rows, covariance, rows)
    return float(np.nanmean(each, axis=0).sum())


def _with_run(estimates: Covariance, ratios: Array, tokens: float, size: float | None) -> list[Array]:
    """Return the blocks' covariances with one more run, by a rank-one update for each of their targets."""
    gradients = estimates.gradients(ratios[None], tokens, size)
    noise = noise_of_losses(estimates.noise, estimates.fitted.model.own_ratios(ratios)[None])[0]
    # Targets of the model are those of the blocks, end to end.
    ends = np.cumsum([rows.shape[1] for rows in gradients])[:-1]
    results = []
    for spread, rows, deviations in zip(estimates.spreads, gradients, np.split(noise, ends), strict=True):
        updated = spread.covariance
        for row, deviation in zip(rows[0], deviations, strict=True):
            if np.isfinite(row).all() and np.isfinite(deviation):
                # Sherman-Morrison: C - C g g'C / (s^2 + g'C g).
                along = updated @ row
                updated = updated - np.outer(along, along) / (deviation**2 + row @ along)
        results.append(updated)
    return results


def _unidentified(estimates: Covariance, covariances: Sequence[Array]) -> int:
    """Return how many coordinates are about as wide as their prior."""
    return sum(
        int((np.sqrt(np.diag(covariance)) > UNIDENTIFIED * spread.solved.block.spread).sum())
        for spread, covariance in zip(estimates.spreads, covariances, strict=True)
    )
