"""The uncertainty of a fit: bands, transfer and missing runs together, for reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from climbopt.fitting.ensemble_fit import EnsembleFit
from climbopt.fitting.estimate import Fit, Progress
from climbopt.foundations.view import Reported, View
from climbopt.model.ensemble import Model, blocks_of
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array
from climbopt.uncertainty.bands import Bands, bands
from climbopt.uncertainty.covariance import covariance
from climbopt.uncertainty.evidence import MissingRun, Transfer, missing_runs, transfers


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
    best = 0
    if isinstance(fitted, EnsembleFit):
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
