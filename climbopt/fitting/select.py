"""Choosing an interaction by cross-validation over whole runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from climbopt.errors import InputError
from climbopt.fitting.estimate import Progress, fit
from climbopt.interactions import INTERACTIONS, Interaction
from climbopt.laws import Law
from climbopt.pilots import PilotRuns
from climbopt.templates import Array

FOLDS = 7
TIE = 1.0
"""Scores closer than this many standard errors of their paired difference are a tie, which the simpler form wins."""


@dataclass(frozen=True)
class Score:
    """How well a law and an interaction predict runs that they were not fitted to.

    Parameters
    ----------
    law, interaction : str
    mae, mre : float
        Mean absolute (nats) and relative error over losses with a ratio above 0, whole runs held out.
    spearman : float
        Mean over targets of the rank correlation on the same losses.
    zero_shot_mae : float or None
        Mean absolute error over losses at a ratio of 0; None where the form predicts none.
    n_parameters : int
        Parameters of the full fit.
    """

    law: str
    interaction: str
    mae: float
    mre: float
    spearman: float
    zero_shot_mae: float | None
    n_parameters: int


def cross_validate(pilots: PilotRuns, law: Law, interactions: Sequence[Interaction] = tuple(INTERACTIONS.values()), *,
                   folds: int = FOLDS, seed: int = 0, progress: Progress | None = None
                   ) -> tuple[Interaction, tuple[Score, ...]]:
    """Return the interaction to use, and every form's score, best first.

    Runs are dealt into folds by a seeded permutation; each fold is predicted by a fit to the others. The least
    error wins, unless a form with fewer parameters ties with it.

    Parameters
    ----------
    pilots : PilotRuns
    law : Law
    interactions : sequence of Interaction
        The candidates.
    folds : int
        At most the number of runs.
    seed : int
        Of the permutation.
    progress : callable, optional
        Told how many fits are done.

    Raises
    ------
    InputError
        Where there are fewer than two runs, or no candidate can be fitted.
    """
    n = len(pilots.runs)
    folds = min(folds, n)
    if folds < 2:
        raise InputError("cross-validation needs at least two runs")
    fold = np.random.default_rng(seed).permutation(n) % folds
    errors: dict[str, Array] = {}
    scores: list[Score] = []
    for number, interaction in enumerate(interactions):
        predicted = np.full(pilots.losses.shape, np.nan)
        for k in range(folds):
            model = fit(pilots.select(fold != k), law, interaction, n_starts=1).model
            held_out = pilots.select(fold == k)
            response = model.at(held_out.tokens, held_out.params)
            predicted[fold == k] = response.losses(response.z(held_out.ratios))
            if progress:
                progress(number * folds + k + 1, len(interactions) * folds)
        errors[interaction.name] = np.abs(predicted - pilots.losses)
        scores.append(_score(pilots, law, interaction, predicted))
    chosen = _chosen(pilots, scores, errors)
    ranked = tuple(sorted(scores, key=lambda score: score.mae))
    return next(one for one in interactions if one.name == chosen), ranked


def _score(pilots: PilotRuns, law: Law, interaction: Interaction, predicted: Array) -> Score:
    """Return the score of held-out predictions; one outside the law's domain counts as infinitely wrong."""
    from scipy.stats import spearmanr  # here: scipy.stats is slow to load, and only scores need it

    trained = pilots.ratios_of(pilots.targets) > 0
    error = np.abs(predicted - pilots.losses)
    error = np.where(np.isnan(error), np.inf, error)
    ranks = [spearmanr(predicted[trained[:, i], i], pilots.losses[trained[:, i], i]).statistic
             for i in range(len(pilots.targets)) if trained[:, i].sum() > 2]
    zero_shot = error[~trained & ~np.isnan(predicted)]
    shapes = {"target": len(pilots.targets), "source": len(pilots.sources),
              "pair": len(pilots.targets) * len(pilots.sources)}
    return Score(law.name, interaction.name, float(error[trained].mean()),
                 float((error / pilots.losses)[trained].mean()), float(np.mean(ranks)) if ranks else float("nan"),
                 float(zero_shot.mean()) if zero_shot.size else None,
                 sum(shapes[p.per] for p in law.parameters + interaction.parameters))


def _chosen(pilots: PilotRuns, scores: list[Score], errors: dict[str, Array]) -> str:
    """Return the name of the best form, or of a simpler one that ties with it (paired over runs)."""
    best = min(scores, key=lambda score: score.mae)
    if not np.isfinite(best.mae):
        raise InputError("no interaction predicts the held-out runs inside the law's domain; add runs")
    trained = pilots.ratios_of(pilots.targets) > 0
    for score in sorted(scores, key=lambda score: score.n_parameters):
        difference = np.where(trained, errors[score.interaction] - errors[best.interaction], 0.0)
        per_run = difference.sum(axis=1) / np.maximum(trained.sum(axis=1), 1)
        if np.isfinite(per_run).all() and per_run.mean() <= TIE * per_run.std(ddof=1) / np.sqrt(len(per_run)):
            return score.interaction
    return best.interaction
