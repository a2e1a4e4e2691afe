"""Pooled pairs: the priors of pair parameters, and the noise of losses, learned from the runs themselves.

What one source does for one target is uncertain from few runs; what it does for all of them is less so. With the pair
parameters of a fit, their variances and the declared prior, in units of its spread,

    prior of parameter (i, j):  center + effect of target i + effect of source j + features (i, j) w,   spread

where effects, w and the spread are learned (:mod:`climbopt.fitting.components`) from what the losses alone say of each
pair: the fit's estimate with its prior taken out again. Columns of the design are centered, so that the mean over pairs
stays the declared one: a free mean was worse. The noise of a target's losses is that which its residuals show, over the
degrees of freedom that the fit leaves them, shrunk to that of all targets, apart for losses at a ratio of 0. Fit,
priors and noise are learned in turn. They stay in a fit only where they predict whole mixtures left out better.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from climbopt.fitting.accuracy import prediction_errors, predictions, trained
from climbopt.fitting.anchors import anchors
from climbopt.fitting.ceilings import Solved, all_under_ceilings
from climbopt.fitting.components import components
from climbopt.fitting.ensemble_fit import EnsembleFit, ensemble_of, insane
from climbopt.fitting.estimate import Fit, Pooling, Way, declared_parameters, estimate, with_warnings
from climbopt.fitting.least_squares import Block
from climbopt.fitting.levenberg_marquardt import TOLERANCE, minima
from climbopt.fitting.outliers import outlying
from climbopt.fitting.select import dealt
from climbopt.foundations.errors import InputError
from climbopt.foundations.processes import Progress, counted
from climbopt.model.ensemble import blocks_of
from climbopt.model.mixture import Indices
from climbopt.model.templates import Array
from climbopt.runs.features import Features
from climbopt.runs.pilots import PilotRuns

ROUNDS = 3
"""Of priors, noise and fit in turn."""
ROUGH = 1e-3
"""Tolerance of the minima of all rounds but the last."""
SHRUNK = 8.0
"""Losses that the noise of all targets counts as in that of one, and the assumed noise in that of all."""
LEAST_PRECISION = 1e-6
"""What the losses say of a parameter at the least, in precisions of its declared prior."""
FOLDS = 5
"""Of whole mixtures, with all their budgets."""


def pooled(fitted: Fit, features: Array | None = None) -> Fit:
    """Return the fit with the priors of pairs and the noise of losses learned from its runs.

    Parameters
    ----------
    fitted : Fit
    features : ndarray, (T, S, k), optional
        Numbers of pairs, standardised.
    """
    began, solved = time.perf_counter(), fitted.solved
    for left in reversed(range(ROUNDS)):
        blocks = _with_noise(fitted, _with_priors(fitted, solved, features), _noise(fitted, solved))
        batches, starts = [block.repeated(1) for block in blocks], [part.x[None] for part in solved]
        points = minima(batches, starts, ROUGH if left else TOLERANCE)
        solved = tuple(Solved(block, x) for block, (x,) in zip(blocks, points, strict=True))
    solved = tuple(part for (part,) in all_under_ceilings(batches, points))
    model = replace(fitted.model, parameters=declared_parameters(solved))
    seconds = fitted.seconds + time.perf_counter() - began
    return with_warnings(replace(fitted, model=model, solved=solved, seconds=seconds))


def _with_priors(fitted: Fit, solved: Sequence[Solved], features: Array | None) -> list[Block]:
    """Return the blocks with learned priors of the coordinates of pairs."""
    declared = [replace(part.block, prior_means=None, prior_spreads=None) for part in fitted.solved]
    # The coordinates of all blocks end to end.
    labels = [label for block in declared for label in block.labels]
    center, spread, lower = (
        np.concatenate([getattr(block, name) for block in declared]) for name in ("center", "spread", "lower")
    )
    says = [_by_losses(part, block) for part, block in zip(solved, declared, strict=True)]
    values, noise = np.concatenate(says, axis=1)
    means, spreads = center.copy(), spread.copy()
    for p in declared[0].form.coordinates:
        at = [k for k, (moved, _) in enumerate(labels) if moved.name == p.name]
        if p.per != "pair" or not at:
            continue
        design, groups = _design(fitted.pilots, [labels[k][1] for k in at], features)
        learned = components(values[at], noise[at], design, groups)
        means[at] = np.maximum(center[at] + design @ learned.effects * spread[at], lower[at])
        # One spread for all pairs: blocks of one shape share theirs.
        spreads[at] = float(np.sqrt(learned.variance(design).mean())) * spread[at]
    ends = np.cumsum([block.spread.size for block in declared])[:-1]
    parts = zip(declared, np.split(means, ends), np.split(spreads, ends), strict=True)
    return [replace(block, prior_means=of_block, prior_spreads=by) for block, of_block, by in parts]


def _by_losses(part: Solved, declared: Block) -> tuple[Array, Array]:
    """Return what the losses alone say of each coordinate, in units of its declared prior: value and variance, (p,)."""
    block, unit = part.block, declared.spread
    variance = np.diag(np.linalg.inv(part.jacobian.T @ part.jacobian)) / unit**2
    prior = (block.spread / unit) ** 2
    value, center = (part.x - declared.center) / unit, (block.center - declared.center) / unit
    # Precisions of losses and prior add up to that of the estimate.
    precision = np.maximum(1 / variance - 1 / prior, LEAST_PRECISION)
    return (value / variance - center / prior) / precision, 1 / precision


def _design(pilots: PilotRuns, pairs: Sequence[tuple[str, ...]], features: Array | None) -> tuple[Array, Indices]:
    """Return the centered design of pairs (target, source), (n, k), and the group of each column."""
    i = np.array([pilots.targets.index(target) for target, _ in pairs])
    j = np.array([pilots.sources.index(source) for _, source in pairs])
    parts = [np.eye(len(pilots.targets))[i], np.eye(len(pilots.sources))[j]]
    parts += [] if features is None else [features[i, j]]
    design = np.hstack(parts)
    groups = np.concatenate([np.full(part.shape[1], k, dtype=np.intp) for k, part in enumerate(parts)])
    return design - design.mean(axis=0), groups


def _noise(fitted: Fit, solved: Sequence[Solved]) -> Array:
    """Return the noise of each loss in units of the assumed one, (n, T)."""
    pilots = fitted.pilots
    squares, freedom = np.zeros(pilots.losses.shape), np.zeros(pilots.losses.shape)
    n = len(pilots.runs)
    for first, part in zip(fitted.solved, solved, strict=True):
        block, columns = part.block, [pilots.targets.index(name) for name in part.block.targets]
        # Outlying losses, and those that are not measured, whose scale is infinite, say nothing of the noise.
        counted = block.measured[:n] & ~outlying(first.block, first.x)[:n]
        learned, assumed = (np.where(counted, each.block.rows.scale[:n], 1.0) for each in (part, first))
        squares[:, columns] = np.where(counted, (block.robust_errors(part.x)[:n] * learned / assumed) ** 2, 0.0)
        freedom[:, columns] = np.where(counted, 1 - _leverage(part)[:n], 0.0)
    judged = ~anchors(pilots)[:, None] & (freedom > 0)
    zero = (pilots.ratios_of(pilots.targets) == 0) & np.isin(pilots.targets, pilots.sources)

    def of_all(chosen: Array) -> float:
        return float((squares[chosen].sum() + SHRUNK) / (freedom[chosen].sum() + SHRUNK))

    mixed, pooled_variance = judged & ~zero, of_all(judged & ~zero)
    total, count = (np.where(mixed, values, 0.0).sum(axis=0) for values in (squares, freedom))
    by_target = (total + SHRUNK * pooled_variance) / (count + SHRUNK)
    return np.sqrt(np.where(zero, of_all(judged & zero), by_target))


def _leverage(part: Solved) -> Array:
    """Return the share of each entry's residual that the fit takes up, (n, T), at most 1."""
    used = np.isfinite(part.block.rows.scale)
    # Rows of Q of J = Q R: their squared norms are the diagonal of J (J'J)^-1 J'.
    q = np.linalg.qr(part.jacobian)[0][: int(used.sum())]
    result = np.zeros(used.shape)
    result[used] = np.minimum((q**2).sum(axis=1), 1.0)
    return result


def _with_noise(fitted: Fit, blocks: Sequence[Block], noise: Array) -> list[Block]:
    """Return blocks whose losses have a noise, (n, T), in units of the assumed one; knees stay where they were."""
    result = []
    for block in blocks:
        by = np.ones(block.rows.scale.shape)
        by[: len(noise)] = noise[:, [fitted.pilots.targets.index(name) for name in block.targets]]
        rows = replace(block.rows, scale=block.rows.scale * by, knee=block.rows.knee / by)
        result.append(replace(block, rows=rows))
    return result


def with_pooling(
    fitted: Fit | EnsembleFit, pool: bool | Features, progress: Progress | None = None
) -> Fit | EnsembleFit:
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


def _learned(fitted: Fit | EnsembleFit, features: Array | None) -> Fit | EnsembleFit:
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
    for k in counted(range(n), progress):
        inside, outside = pilots.select(fold != k), pilots.select(fold == k)
        again = [estimate(inside, *fit.model.form, n_starts=1, fixed=fit.fixed) for fit in fitted.fits]
        predicted["declared"][fold == k] = predictions(ensemble_of(again, weights), outside)
        for way, features in ways.items():
            predicted[way][fold == k] = predictions(
                ensemble_of([pooled(fit, features) for fit in again], weights), outside
            )
    judged = trained(pilots, pilots.targets, pilots.sources)
    return {
        # What leaves the law's domain is infinitely wrong.
        way: prediction_errors(np.where(np.isnan(losses), np.inf, losses), pilots.losses, judged, judged).mae
        for way, losses in predicted.items()
    }
