"""Robust losses: what is far from the law, by the noise that the other losses show, hardly moves it.

The knee of a target's losses (:meth:`Block.robust_errors`) is `KNEE` times their noise, or `KNEE_ALONE` times where
there is one source; the noise is learned with the parameters, in turn. A table without a loss past its knee is fitted
by plain least squares. Where plain least squares meets some loss badly, outlying runs may have moved it; the search
then starts from minima of halves of the runs, some of which hold none of the outlying ones. Where it sets no loss
apart from all others, the form is at fault and no run, and the minimum is that nearest to plain least squares.

Source
------
Huber, Robust statistics (1981), section 7.8: scale and parameters in turn; Rousseeuw and Leroy, Robust regression and
outlier detection (1987), chapter 5: starts from random subsets.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from climbopt.fitting.least_squares import Block
from climbopt.fitting.levenberg_marquardt import minimum
from climbopt.model.templates import Array

KNEE = 8.0
"""Noises of its target past which a loss pulls less and less."""
KNEE_ALONE = 1.345
"""The same for runs of one source, whose law of budget and size alone is known well: Huber's constant."""
FAR, GAP = 1.5, 4.0
"""A loss is outlying this many times `KNEE` noises away where all others of the target are nearer by the factor `GAP`.

Of one source it need not be nearer: what is far is then no fault of the form."""
MOST = 0.1
"""Largest share of a target's losses that may be outlying; more are what the form cannot express."""
NORMAL = 1.4826
"""Standard deviation of a normal distribution over the median of its absolute values."""
LEAST_NOISE = 1.0
"""Noise, in units of the assumed scale, below which no estimate goes: few losses can be met by chance."""
BAD = 3.0
"""Noise of a plain fit, in the same units, that outlying runs may be the cause of."""
HALVES = 8
"""Starts from a random half of the runs: with 3 outlying runs, 2 of 3 such tables have a half without them."""
START_TOLERANCE = 1e-3
"""Of a start's minimum."""
ROUNDS = 6
SETTLED = 0.1
"""The noise has settled where no target's changes by more than this share."""


def robust_minimum(block: Block, x: Array, start: Array) -> tuple[Block, Array]:
    """Return the block with the knees of its losses, and its minimum.

    Parameters
    ----------
    block : Block
    x : ndarray, (p,)
        A minimum of plain least squares.
    start : ndarray, (p,)
        Where the search in halves of the runs begins.
    """
    noise = noise_of(block, x)
    if (np.abs(block.scaled_errors(x)) <= _knee(block) * noise).all() and (noise <= BAD).all():
        return block, x
    # All candidates are compared by one cost, with the tightest knees, so that no noisy start wins by its own noise.
    least = with_knees(block, np.full(noise.shape, LEAST_NOISE))
    halves = minimum(_halves(block), np.tile(start, (HALVES, 1)), START_TOLERANCE)
    points = minimum(least.repeated(HALVES + 1), np.vstack([x, halves]), START_TOLERANCE)
    best = min(points, key=least.cost)
    bent, robust = _in_turn(block, best)
    # No loss stands apart: what is far is what the form cannot express, and halves of the runs must not decide.
    return (bent, robust) if outlying(bent, robust).any() else _in_turn(block, x)


def _in_turn(block: Block, x: Array) -> tuple[Block, Array]:
    """Return the block with the knees of its losses and its minimum, from x, with noise and parameters in turn."""
    noise = noise_of(block, x)
    for _ in range(ROUNDS):
        bent = with_knees(block, noise)
        x, before = minimum(bent, x), noise
        noise = noise_of(block, x)
        if (np.abs(noise - before) <= SETTLED * before).all():
            break
    return bent, x


def _halves(block: Block) -> Block:
    """Return a batch of the block with random halves of its runs left out."""
    generator, n = np.random.default_rng(0), len(block.rows.D)
    out = np.array([generator.permutation(n) < n // 2 for _ in range(HALVES)])
    batch = block.repeated(HALVES)
    return batch.on(replace(batch.rows, scale=np.where(out[..., None], np.inf, batch.rows.scale)), batch.prior_means)


def noise_of(block: Block, x: Array) -> Array:
    """Return the noise of each target's measured losses about the model, in units of their assumed scale, (T,)."""
    errors = np.abs(block.scaled_errors(x))
    # The median is unmoved by outliers that are fewer than half of the losses.
    medians = [np.median(errors[rows, i]) if rows.any() else 0.0 for i, rows in enumerate(block.measured.T)]
    return np.asarray(np.maximum(NORMAL * np.array(medians), LEAST_NOISE))


def _knee(block: Block) -> float:
    """Return the knee of a block's losses, in noises."""
    return KNEE if len(block.sources) > 1 else KNEE_ALONE


def with_knees(block: Block, noise: Array) -> Block:
    """Return the block with the knees of its losses for the noise of its targets, (T,); ceilings have none."""
    knee = np.where(block.rows.ceiling[:, None], np.inf, _knee(block) * noise)
    return replace(block, rows=replace(block.rows, knee=knee))


def outlying(block: Block, x: Array) -> NDArray[np.bool_]:
    """Return which measured losses lie far from the law at x, and from all others of their target, (n, T)."""
    result = np.zeros(block.measured.shape, dtype=bool)
    if np.isinf(block.rows.knee).all():
        return result
    distance = np.abs(block.scaled_errors(x)) / noise_of(block, x) / KNEE
    for i, measured in enumerate(block.measured.T):
        result[measured, i] = apart(distance[measured, i], FAR, GAP if len(block.sources) > 1 else 1.0)
    return result & np.isfinite(block.rows.knee)


def apart(distances: Array, least: float, gap: float = GAP) -> NDArray[np.bool_]:
    """Return which of some distances, (n,), are at least `least`, and larger than all others by the factor `gap`."""
    order = np.argsort(-distances)
    falling = distances[order]
    most = int(MOST * len(falling))
    # A gap in the sorted distances, within the largest share that may be outlying; the last such gap counts.
    cuts = np.flatnonzero((falling[:most] >= least) & (falling[:most] >= gap * falling[1 : most + 1]))
    result = np.zeros(len(distances), dtype=bool)
    result[order[: cuts[-1] + 1 if cuts.size else 0]] = True
    return result
