"""Everything that the runs say about how sure a fit is, in one place for reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from climbopt.fitting.estimate import Fit, Progress
from climbopt.foundations.view import Reported, View
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


def diagnose(fitted: Fit, draws: Sequence[MixtureModel], *, progress: Progress | None = None) -> Diagnosis:
    """Return bands, transfer and missing runs of a fit.

    Parameters
    ----------
    fitted : Fit
    draws : sequence of MixtureModel
        Of its bootstrap, or of its covariance.
    progress : callable, optional
        Called with the numbers of folds of the bands done and to do.
    """
    pilots, found = fitted.pilots, covariance(fitted)
    largest = int(pilots.tokens.argmax())
    size = None if pilots.params is None else float(pilots.params[largest])
    return Diagnosis(
        tuple(draws),
        bands(found, progress=progress),
        transfers(fitted.model, draws, float(pilots.tokens[largest]), params=size),
        missing_runs(found),
    )
