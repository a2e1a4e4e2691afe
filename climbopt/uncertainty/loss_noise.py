"""The noise of an ensemble: how far measured losses lie from its predictions, by folds of mixtures of one shape.

With e a held-out residual and s the spread of the prediction over forms and draws, the deviation d of a target and a
class of ratios has d^2 = mean(e^2) - mean(s^2), and no less than the mean square of the fit's own residuals, nor than
the variance of replicates, runs that differ in their seed alone; targets with few losses are shrunk to all targets of
the class. The width is the quantile of |e| / hypot(s, d) that holds the
nominal share of the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from climbopt.fitting.accuracy import predictions
from climbopt.fitting.anchors import anchors
from climbopt.fitting.ensemble_fit import EnsembleFit
from climbopt.fitting.estimate import Fit, Progress
from climbopt.foundations.processes import in_chunks
from climbopt.model.ensemble import Ensemble, Model
from climbopt.model.mixture import Indices, MixtureModel
from climbopt.model.noise import CLASSES, LossNoise, classes_of
from climbopt.model.templates import Array
from climbopt.runs.pilots import PilotRuns
from climbopt.uncertainty.bootstrap import refitted

LEVEL = 0.9
"""Nominal share of new measurements inside a band."""
FOLDS, SEED = 7, 0
LEVELS = 0.005
"""Ratios that differ by less count as the same in a shape."""
SAME = 0.01
"""Budgets that differ by less than this share count as the same."""
SHRUNK = 8.0
"""Losses of all targets that a target's own deviation in a class is shrunk to, as a number of losses."""


def loss_noise(
    fitted: EnsembleFit,
    draws: Sequence[Model] = (),
    *,
    level: float = LEVEL,
    folds: int = FOLDS,
    jobs: int = 1,
    progress: Progress | None = None,
) -> LossNoise:
    """Return the noise of an ensemble's predictions; see the module for the formulas.

    Parameters
    ----------
    fitted : EnsembleFit
    draws : sequence of Ensemble
        Of its bootstrap; spreads are those over forms and draws.
    level : float
        In (0, 1).
    folds : int
        Of whole shapes; at most the number of different ones.
    jobs : int
        Processes.
    progress : callable, optional
        Called with the numbers of forms done and to do.
    """
    pilots, model = fitted.pilots, fitted.model
    errors = np.abs(held_out(fitted, folds, jobs, progress) - pilots.losses)
    floors = fitted.predicted - pilots.losses, pilots.replicate_errors
    with_draws = model.with_draws(draws) if draws else model
    spread = with_draws.spread(pilots.ratios, pilots.tokens, pilots.params, pilots.supply)
    own = pilots.ratios_of(model.targets)
    classes = np.where(np.isfinite(errors), classes_of(own), -1)
    deviations, raw = (
        np.column_stack([_deviations(errors, floors, taken_off, classes == c) for c in range(len(CLASSES))])
        for taken_off in (spread, np.zeros(spread.shape))
    )
    noise = LossNoise(level, _filled(deviations, raw), np.ones(len(CLASSES)))
    scores = errors / noise.scale(spread, own)
    normal = float(ndtri(0.5 + level / 2))
    widths = np.array([covering(scores[classes == c], level) for c in range(len(CLASSES))])
    return replace(noise, widths=np.where(np.isfinite(widths), widths, max(normal, float(np.nanmax(widths)))))


def held_out(fitted: EnsembleFit, folds: int = FOLDS, jobs: int = 1, progress: Progress | None = None) -> Array:
    """Return the ensemble's predictions of each run by fits to the runs of other folds, (n, T); NaN of anchors.

    Runs of the largest budget are predicted without any run of that budget, since bands are for larger budgets too; not
    where most runs have it, or one other budget alone is left.
    """
    pilots = fitted.pilots
    number = np.where(anchors(pilots), -1, folds_of_shapes(pilots, folds))
    judged = number >= 0
    top = judged & (pilots.tokens >= (1 - SAME) * pilots.tokens[judged].max())
    smaller = pilots.tokens[judged & ~top]
    # One budget alone does not show how losses fall with it, and few runs show nothing.
    top &= bool(smaller.size and smaller.max() > smaller.min() / (1 - SAME) and smaller.size >= np.count_nonzero(top))
    out = number == np.arange(number.max() + 1)[:, None]
    counts = np.vstack([~out, ~out & ~top]).astype(np.intp)
    by_form = in_chunks(jobs, partial(_refits, counts), fitted.fits, 1, progress)
    predicted = np.full(pilots.losses.shape, np.nan)
    for left_out, models in zip(np.vstack([out & ~top, out & top]), zip(*by_form, strict=True), strict=True):
        if left_out.any():
            predicted[left_out] = predictions(Ensemble(models, fitted.model.weights), pilots.select(left_out))
    return predicted


def folds_of_shapes(pilots: PilotRuns, folds: int = FOLDS) -> Indices:
    """Return each run's fold, (n,): whole shapes, the mixtures of the same ratios in any order, at all budgets.

    A design has few levels of a ratio, and folds that share them say nothing of the ratios between. Runs of a single
    language, the corners that all else lies between, are left out one budget at a time. Shapes are dealt by a seeded
    permutation.
    """
    alone = pilots.ratios.max(axis=1) > 1 - LEVELS
    # Sorted ratios are the shape; a corner keeps its language, and its budget below.
    shape = np.where(alone[:, None], pilots.ratios, np.sort(pilots.ratios, axis=1))
    budget = np.where(alone, pilots.tokens, 0.0)
    _, group = np.unique(np.column_stack([np.round(shape / LEVELS), budget]), axis=0, return_inverse=True)
    n = int(group.max()) + 1
    return np.asarray((np.random.default_rng(SEED).permutation(n) % min(folds, n))[group.ravel()])


def _refits(counts: Indices, fits: Sequence[Fit]) -> list[list[MixtureModel]]:
    """Return forms fitted with each run counted so many times, (K, n)."""
    return [[replace(fitted.model, parameters=of) for of in refitted(fitted.solved, counts)] for fitted in fits]


def _deviations(errors: Array, floors: tuple[Array, Array], spread: Array, chosen: NDArray[np.bool_]) -> Array:
    """Return the deviation of each target in a class, (T,), no less than its floors: errors that are there in any case.

    NaN where no target has a loss of the class.
    """
    if not chosen.any():
        return np.full(chosen.shape[1], np.nan)

    def mean_square(values: Array) -> Array:
        known = chosen & ~np.isnan(values)
        count, total = known.sum(axis=0), np.where(known, values**2, 0.0).sum(axis=0)
        # Shrunk to the class: as if SHRUNK further losses had the mean square of all targets.
        return np.asarray((total + SHRUNK * total.sum() / max(count.sum(), 1)) / (count + SHRUNK))

    # Held-out errors contain the model's own spread, which the bands add again.
    least = np.max([mean_square(floor) for floor in floors], axis=0)
    return np.asarray(np.sqrt(np.maximum(mean_square(errors) - mean_square(spread), least)))


def _filled(deviations: Array, raw: Array) -> Array:
    """Return deviations of all classes: one without losses has the larger raw one of its neighbours.

    `raw` are those with no spread taken off: how far forms differ at a ratio of 0 says nothing of small ratios.
    """
    result = deviations.copy()
    empty = np.isnan(deviations).all(axis=0)
    known = np.flatnonzero(~empty)
    for c in np.flatnonzero(empty):
        near = known[np.abs(known - c) == 1]
        result[:, c] = raw[:, near if near.size else known[:1]].max(axis=1)
    return result


def covering(scores: Array, level: float) -> float:
    """Return the quantile of scores that holds the nominal share of one more; NaN of none."""
    if not scores.size:
        return np.nan
    # Conformal rank: of n + 1 exchangeable scores the share `level` lies at or below it.
    rank = min(int(np.ceil(level * (scores.size + 1))), scores.size)
    return float(np.sort(scores)[rank - 1])
