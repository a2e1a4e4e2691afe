"""Choosing an interaction by cross-validation over whole runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climbopt.errors import InputError
from climbopt.fitting.accuracy import Mask, prediction_errors, trained
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
    """

    law: str
    interaction: str
    mae: float
    mre: float
    spearman: float
    zero_shot_mae: float | None
    n_parameters: int
    refused: str | None = None


def cross_validate(pilots: PilotRuns, law: Law, interactions: Sequence[Interaction] = tuple(INTERACTIONS.values()), *,
                   folds: int = FOLDS, seed: int = 0, progress: Progress | None = None
                   ) -> tuple[Interaction, tuple[Score, ...]]:
    """Return the interaction to use, and every form's score, best first.

    Runs are dealt into folds by a seeded permutation, those of one mixture, budget and size (they differ in their
    seed) into the same one; each fold is predicted by a fit to the others. The least error wins, unless a form
    with fewer parameters ties with it. A form that cannot be fitted to the runs is skipped; its score says why.

    Parameters
    ----------
    pilots : PilotRuns
    law : Law
    interactions : sequence of Interaction
        The candidates.
    folds : int
        At most the number of different runs.
    seed : int
        Of the permutation.
    progress : callable, optional
        Told how many fits are done.

    Raises
    ------
    InputError
        Where there are fewer than two different runs, or no candidate can be fitted.
    """
    group, fold = _replicates(pilots), folds_of(pilots, folds, seed)
    folds = int(fold.max()) + 1
    errors: dict[str, Array] = {}
    scores: list[Score] = []
    for number, interaction in enumerate(interactions):
        predicted = np.full(pilots.losses.shape, np.nan)
        refused = None
        for k in range(folds):
            try:
                model = fit(pilots.select(fold != k), law, interaction, n_starts=1).model
            except InputError as error:
                refused = str(error)
                break
            held_out = pilots.select(fold == k)
            response = model.at(held_out.tokens, held_out.params)
            predicted[fold == k] = response.losses(response.z(held_out.ratios))
            if progress:
                progress(number * folds + k + 1, len(interactions) * folds)
        errors[interaction.name] = np.abs(predicted - pilots.losses)
        scores.append(_score(pilots, law, interaction, predicted, refused))
    chosen = _chosen(pilots, scores, errors, group)
    ranked = tuple(sorted(scores, key=lambda score: score.mae))
    return next(one for one in interactions if one.name == chosen), ranked


def folds_of(pilots: PilotRuns, folds: int = FOLDS, seed: int = 0) -> NDArray[np.intp]:
    """Return each run's fold, (n,): dealt by a seeded permutation, replicates into the same one.

    Raises
    ------
    InputError
        Where there are fewer than two different runs.
    """
    group = _replicates(pilots)
    n = int(group.max()) + 1
    folds = min(folds, n)
    if folds < 2:
        raise InputError("cross-validation needs at least two runs that differ in more than their seed")
    dealt: NDArray[np.intp] = (np.random.default_rng(seed).permutation(n) % folds)[group]
    return dealt


def _replicates(pilots: PilotRuns) -> NDArray[np.intp]:
    """Return for each run the number of its mixture, budget and size, counted in the order of the table; (n,)."""
    columns = [pilots.ratios, pilots.tokens, *([] if pilots.params is None else [pilots.params])]
    _, first, group = np.unique(np.column_stack(columns), axis=0, return_index=True, return_inverse=True)
    numbers: NDArray[np.intp] = np.argsort(np.argsort(first))[group.ravel()]
    return numbers


def _score(pilots: PilotRuns, law: Law, interaction: Interaction, predicted: Array, refused: str | None) -> Score:
    """Return the score of held-out predictions; one outside the law's domain counts as infinitely wrong."""
    judged = trained(pilots, pilots.targets, pilots.sources)
    inside = ~np.isnan(predicted)
    errors = prediction_errors(np.where(inside, predicted, np.inf), pilots.losses, judged, inside)
    shapes = {"target": len(pilots.targets), "source": len(pilots.sources),
              "pair": len(pilots.targets) * len(pilots.sources)}
    return Score(law.name, interaction.name, errors.mae, errors.mre, _spearman(pilots, predicted, judged & inside),
                 errors.zero_shot_mae, sum(shapes[p.per] for p in law.parameters + interaction.parameters), refused)


def _spearman(pilots: PilotRuns, predicted: Array, judged: Mask) -> float:
    """Return the mean over targets of the rank correlation; NaN where none has three losses that differ."""
    from scipy.stats import spearmanr  # here: scipy.stats is slow to load, and only scores need it

    ranks = []
    for i in range(len(pilots.targets)):
        pairs = predicted[judged[:, i], i], pilots.losses[judged[:, i], i]
        if len(pairs[0]) > 2 and all(np.ptp(values) > 0 for values in pairs):
            ranks.append(spearmanr(*pairs).statistic)
    return float(np.mean(ranks)) if ranks else float("nan")


def _chosen(pilots: PilotRuns, scores: list[Score], errors: dict[str, Array], group: NDArray[np.intp]) -> str:
    """Return the name of the best form, or of a simpler one that ties with it (paired over different runs)."""
    best = min(scores, key=lambda score: score.mae)
    if not np.isfinite(best.mae):
        reasons = [score.refused for score in scores if score.refused]
        raise InputError(reasons[0] if len(reasons) == len(scores) else
                         "no interaction predicts the held-out runs inside the law's domain; add runs")
    judged = trained(pilots, pilots.targets, pilots.sources)
    for score in sorted(scores, key=lambda score: score.n_parameters):
        difference = np.where(judged, errors[score.interaction] - errors[best.interaction], 0.0)
        per_run = difference.sum(axis=1) / np.maximum(judged.sum(axis=1), 1)
        each = np.bincount(group, per_run) / np.bincount(group)
        if np.isfinite(each).all() and each.mean() <= TIE * each.std(ddof=1) / np.sqrt(len(each)):
            return score.interaction
    return best.interaction
