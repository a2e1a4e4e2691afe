"""Prediction bands: the parameters' spread and the residuals' noise, widened by what folds inside the runs show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from climbopt.fitting.estimate import Fit, estimate
from climbopt.fitting.select import FOLDS, folds_of
from climbopt.foundations.errors import InputError, listed
from climbopt.foundations.frozen import Seed, check_arguments
from climbopt.foundations.processes import Progress, counted
from climbopt.foundations.view import Columns, View, Viewed
from climbopt.model.templates import Array
from climbopt.runs.pilots import PilotRuns
from climbopt.uncertainty.bootstrap import LEVEL, covering
from climbopt.uncertainty.covariance import KINDS, Covariance, covariance, kinds_of, noise_of_losses


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Viewed):
    """Predicted losses of mixtures with their bands.

    Parameters
    ----------
    targets : tuple of str
    losses, lower, upper : ndarray, (n, T)
        Nats per token.
    spread : ndarray, (n, T)
        Standard error of the prediction itself, without the noise of a measurement.
    """

    targets: tuple[str, ...]
    losses: Array
    lower: Array
    upper: Array
    spread: Array

    def view(self) -> View:
        """Return the counts; the table has a row for each mixture and target."""
        n, n_targets = self.losses.shape
        columns: Columns = {
            "mixture": np.repeat(np.arange(n), n_targets).tolist(),
            "language": list(self.targets) * n,
            **{name: getattr(self, name).ravel().tolist() for name in ("losses", "lower", "upper", "spread")},
        }
        facts = [f"targets: {listed(self.targets)}"]
        return View(f"predicted losses of {n} mixtures with bands", facts, lambda: columns)


@dataclass(frozen=True, eq=False, repr=False)
class Bands(Viewed):
    """How wide a band is for each kind of loss.

    Parameters
    ----------
    uncertainty : Covariance
    level : float
        Nominal share of new measurements inside.
    widths : ndarray, (3,)
        Half widths in standard deviations by kind of loss (`KINDS`): the normal distribution's, or more where the
        folds showed more.
    coverage : ndarray, (3,)
        Share of the folds' held-out losses inside the unwidened bands, by kind; NaN for a kind without any.
    """

    uncertainty: Covariance
    level: float
    widths: Array
    coverage: Array

    def predict(self, ratios: ArrayLike, tokens: ArrayLike, params: ArrayLike | None = None) -> Prediction:
        """Return the losses of mixtures, with a band that a new measurement of each lies in.

        Parameters
        ----------
        ratios : array, (n, S)
            In the order of the model's sources.
        tokens : float or array, (n,)
        params : float or array, (n,), optional
            Model size, where the law depends on it.
        """
        ratios = np.atleast_2d(np.asarray(ratios, dtype=float))
        losses, spread = _spread(self.uncertainty, ratios, tokens, params)
        own = self.uncertainty.fitted.model.own_ratios(ratios)
        half = self.widths[kinds_of(own)] * np.hypot(spread, noise_of_losses(self.uncertainty.noise, own))
        return Prediction(self.uncertainty.fitted.model.targets, losses, losses - half, losses + half, spread)

    def view(self) -> View:
        """Return the level; the table has a row for each kind of loss."""
        table: Columns = {
            "losses": list(KINDS),
            "half_width_in_sd": self.widths.tolist(),
            "coverage_before_widening": self.coverage.tolist(),
        }
        facts = [f"{kind}: {width:.3f} standard deviations" for kind, width in zip(KINDS, self.widths, strict=True)]
        return View(f"{100 * self.level:.0f} % prediction bands", facts, lambda: table)


@check_arguments
def bands(
    estimates: Covariance,
    *,
    level: float = LEVEL,
    folds: int = FOLDS,
    seed: Seed = 0,
    progress: Progress | None = None,
) -> Bands:
    """Return prediction bands, widened where folds inside the runs show that they are too narrow.

    Each fold of whole runs is predicted by a fit to the others with that fit's own covariance and noise. Where fewer
    than `level` of the held-out losses of a kind lie in their bands, the width is the quantile that covers as many.

    Parameters
    ----------
    estimates : Covariance
        Of the fit.
    level : float
        In (0, 1).
    folds : int
    seed : int
        Of the permutation that deals runs into folds.
    progress : callable, optional
        Called with the numbers of folds done and to do.

    Raises
    ------
    InputError
        For a level outside (0, 1), or fewer than two different runs.
    """
    if not 0 < level < 1:
        raise InputError(f"the level of bands is {level:g}; it is a share between 0 and 1, as 0.9")
    pilots = estimates.fitted.pilots
    number = folds_of(pilots, folds, seed)
    scores = np.full(pilots.losses.shape, np.nan)
    for k in counted(range(int(number.max()) + 1), progress):
        inside, outside = pilots.select(number != k), pilots.select(number == k)
        # The covariance and the noise of the other folds: those of all runs have seen this one.
        there = covariance(_fitted_like(estimates.fitted, inside))
        losses, spread = _spread(there, outside.ratios, outside.tokens, outside.params)
        own = there.fitted.model.own_ratios(outside.ratios)
        # Held-out errors in standard deviations of prediction and measurement together.
        scores[number == k] = np.abs(outside.losses - losses) / np.hypot(spread, noise_of_losses(there.noise, own))
    normal = float(ndtri(0.5 + level / 2))
    # Pooled over targets: one target alone has too few held-out losses of a kind.
    kinds = kinds_of(pilots.ratios_of(pilots.targets))
    by_kind = [scores[(kinds == k) & np.isfinite(scores)] for k in range(len(KINDS))]
    return Bands(
        estimates,
        level,
        np.array([np.fmax(normal, covering(score, level)) for score in by_kind]),
        np.array([np.mean(score <= normal) if score.size else np.nan for score in by_kind]),
    )


def _fitted_like(fitted: Fit, pilots: PilotRuns) -> Fit:
    """Return the same form fitted to some of the runs, with what was known."""
    try:
        return estimate(pilots, *fitted.model.form, n_starts=1, fixed=fitted.fixed)
    except InputError as error:
        raise InputError(
            f"bands hold out a fold of whole runs at a time, and without one {error}, or fit without "
            "bands (no --bootstrap)"
        ) from None


def _spread(estimates: Covariance, ratios: Array, tokens: ArrayLike, params: ArrayLike | None) -> tuple[Array, Array]:
    """Return losses and their standard errors, (n, T) each."""
    # Delta method: g C g' per mixture and target.
    errors = [
        np.sqrt(np.einsum("ijk,kl,ijl->ij", rows, spread.covariance, rows))
        for rows, spread in zip(estimates.gradients(ratios, tokens, params), estimates.spreads, strict=True)
    ]
    return estimates.fitted.model.at(tokens, params).predicted(ratios), np.concatenate(errors, axis=1)
