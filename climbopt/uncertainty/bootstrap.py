"""Refits of a fit to its own runs: the bootstrap over whole runs, and the noise that folds of its runs show.

The bootstrap fits again to runs drawn with replacement, under priors drawn anew. The noise of an ensemble is how far
measured losses lie from its predictions, by folds of mixtures of one shape: with e a held-out residual and s the spread
of the prediction over forms and draws, the deviation d of a target and a class of ratios has d^2 = mean(e^2) -
mean(s^2), and no less than the mean square of the fit's own residuals, nor than the variance of replicates, runs that
differ in their seed alone; targets with few losses are shrunk to all targets of the class. The width is the quantile of
|e| / hypot(s, d) that holds the nominal share of the class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from climbopt.fitting.accuracy import predictions
from climbopt.fitting.anchors import anchors
from climbopt.fitting.ceilings import Solved, all_under_ceilings
from climbopt.fitting.ensemble_fit import EnsembleFit
from climbopt.fitting.estimate import Fit, declared_parameters
from climbopt.fitting.least_squares import Block
from climbopt.fitting.levenberg_marquardt import minima
from climbopt.fitting.select import dealt
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import Seed, check_arguments
from climbopt.foundations.processes import Progress, in_chunks
from climbopt.model.ensemble import Ensemble, Model, blocks_of
from climbopt.model.mixture import Indices, MixtureModel
from climbopt.model.noise import CLASSES, LossNoise, classes_of
from climbopt.model.templates import Array
from climbopt.runs.pilots import PilotRuns

DRAWS = 40
"""Draws of an ensemble that are made where no number is stated."""

CHUNK = 20
"""Refits that one process makes at a time, and that a kill can cost it."""

TOLERANCE = 1e-3
"""Of a refit's minimum: below what another draw of the runs changes."""

LEVEL = 0.9
"""Nominal share of new measurements inside a band."""
FOLDS, SEED = 7, 0
LEVELS = 0.005
"""Ratios that differ by less count as the same in a shape."""
SAME = 0.01
"""Budgets that differ by less than this share count as the same."""
SHRUNK = 8.0
"""Losses of all targets that a target's own deviation in a class is shrunk to, as a number of losses."""

Parameters = Mapping[str, Array]
"""Declared parameters by name, as a model takes them."""


@check_arguments
def bootstrap(
    fitted: Fit | EnsembleFit,
    n: int,
    *,
    seed: Seed = 0,
    jobs: int = 1,
    known: Mapping[int, Sequence[Parameters]] | None = None,
    keep: Callable[..., None] | None = None,
    progress: Progress | None = None,
) -> tuple[MixtureModel | Ensemble, ...]:
    """Return models refitted to runs that were drawn with replacement; all forms of an ensemble to the same ones.

    Each draw counts every run as often as it was drawn, draws the priors' means from the priors themselves (or what
    the runs do not show would look certain), and fits again from the full fit's point, ceilings included. Anchors
    (:mod:`climbopt.fitting.anchors`) are in every draw.

    Parameters
    ----------
    fitted : Fit or EnsembleFit
        Of all runs.
    n : int
        Draws.
    seed : int
        Draw k has a generator of its own, (seed, k), so that up to rounding no draw depends on the others or on `jobs`.
    jobs : int
        Processes.
    known : mapping of int to sequence of parameters, optional
        Those of each form, of draws made before, which are not made again.
    keep : callable, optional
        Called with each new draw and its parameters, those of each form in an argument of their own, as soon as they
        are there, in the order of the draws.
    progress : callable, optional
        Called with the numbers of draws done and to do.

    Raises
    ------
    InputError
        Where n is below 1.
    """
    if n < 1:
        raise InputError(f"{n} bootstrap draws were asked for; ask for 1 or more")
    # Draws that a stopped run has left behind are taken as they are.
    drawn = {k: parameters for k, parameters in (known or {}).items() if k < n}
    missing = [k for k in range(n) if k not in drawn]
    refits = partial(_refits, [fit.solved for fit in fitted.fits], anchors(fitted.pilots), seed)
    for k, parameters in zip(missing, in_chunks(jobs, refits, missing, CHUNK), strict=True):
        drawn[k] = parameters
        if keep:
            keep(k, *parameters)
        if progress:
            progress(len(drawn), n)
    return tuple(_drawn(fitted.model, drawn[k]) for k in range(n))


def _drawn(model: MixtureModel | Ensemble, parameters: Sequence[Parameters]) -> MixtureModel | Ensemble:
    """Return the model of a fit with the parameters of a draw, those of each form."""
    blocks, weights = blocks_of(model)
    drawn = [replace(block, parameters=of) for block, of in zip(blocks, parameters, strict=True)]
    return drawn[0] if isinstance(model, MixtureModel) else Ensemble(drawn, weights)


def _refits(
    forms: Sequence[Sequence[Solved]], sure: NDArray[np.bool_], seed: int, draws: Sequence[int]
) -> list[list[dict[str, Array]]]:
    """Return the parameters of some draws, those of each form; all forms of a draw count the same runs.

    Runs that are `sure`, (n,), count once in every draw.
    """
    share = ~sure / np.count_nonzero(~sure)
    by_form = []
    for solved in forms:
        generators = [np.random.default_rng([seed, k]) for k in draws]  # anew, so that all forms count the same runs
        # Drawing n runs with replacement counts each so many times.
        counts = sure + np.array([rng.multinomial(np.count_nonzero(share), share) for rng in generators])
        # Priors' means are drawn from the priors themselves, (K, p) for each block.
        drawn = [np.array([rng.standard_normal(part.x.size) for rng in generators]) for part in solved]
        means = [part.block.center + part.block.spread * noise for part, noise in zip(solved, drawn, strict=True)]
        by_form.append(refitted(solved, counts, means))
    return [list(of_draw) for of_draw in zip(*by_form, strict=True)]


def refitted(solved: Sequence[Solved], counts: Indices, means: Sequence[Array] | None = None) -> list[dict[str, Array]]:
    """Return the declared parameters of a form fitted from its point, with each run counted so many times.

    Parameters
    ----------
    solved : sequence of Solved
        The blocks of a form.
    counts : ndarray of int, (K, n)
        For each of K refits.
    means : sequence of ndarray, (K, p), optional
        The priors' means of each block; their centers by default.
    """
    means = [np.tile(part.block.center, (len(counts), 1)) for part in solved] if means is None else means
    batches = [_counted(part.block, counts, of) for part, of in zip(solved, means, strict=True)]
    free = minima(batches, [np.tile(part.x, (len(counts), 1)) for part in solved], TOLERANCE)
    bounded = all_under_ceilings(batches, free, TOLERANCE)
    return [
        declared_parameters([replace(part, x=of.x) for part, of in zip(solved, draw, strict=True)])
        for draw in zip(*bounded, strict=True)
    ]


def _counted(block: Block, counts: Indices, means: Array) -> Block:
    """Return a batch of a block with each run counted so many times, (K, n), and priors with other means."""
    batch = block.repeated(len(counts))
    times = np.ones((len(counts), block.rows.ceiling.size, 1))
    times[:, ~block.rows.ceiling, 0] = counts
    rows, root = batch.rows, np.sqrt(np.maximum(times, 1.0))
    # a run drawn t times counts t times: scale and knee go with sqrt(t), which multiplies its cost by t
    # Runs that were not drawn are left out by an infinite scale.
    scale = np.where(times > 0, rows.scale / root, np.inf)
    return batch.on(replace(rows, scale=scale, knee=rows.knee * root), means)


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
    by_form = in_chunks(jobs, partial(_counting, counts), fitted.fits, 1, progress)
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
    return dealt(group.ravel(), folds, SEED)


def _counting(counts: Indices, fits: Sequence[Fit]) -> list[list[MixtureModel]]:
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
