"""Ceilings: no mixture at a pilot budget is predicted far above the losses that were measured.

Nothing measured supports a higher prediction. Wherever on the edges of the simplex one occurs, its excess becomes a
residual, and the block is fitted again. Ceilings decide what the runs leave open and nothing else: where the measured
losses would be fitted worse by more than their noise, the ceilings are made softer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from climbopt.fitting.least_squares import Block, Observations
from climbopt.fitting.levenberg_marquardt import TOLERANCE, minimum
from climbopt.fitting.outliers import outlying
from climbopt.model.templates import Array

CEILING, SPREAD = 1.05, 0.01
"""A prediction above CEILING times a target's largest measured loss counts as a residual, on this scale."""
HIGHEST = CEILING + 3 * SPREAD
"""Multiple of the largest measured loss above which a prediction gets a ceiling, and is reported if it stays."""
ROUNDS = 6
ALLOWED = 9.0
"""Square of the standard deviations by which ceilings may move what the runs determine."""
NOTICED = 4.0
"""The same, past which a warning says so."""
LEAST_VARIANCE = 0.01
"""Of the measured losses' noise, in units of the assumed one."""
SOFTER = (1.0, 4.0, 16.0, 64.0, 256.0)
"""What `SPREAD` is multiplied by until they do not move it further; the last still forbids a loss without limit."""
RESTART = 1e-2
"""Each round restarts this many prior spreads inside the bounds: on them z may be 0, and nothing is predicted."""

Mixtures = tuple[Array, Array, Array]
"""Ratios, (n, S), and D and N in the model's units, (n,) each."""


def under_ceilings(block: Block, x: Array, tolerance: float = TOLERANCE) -> tuple[Block, Array, Mapping[str, float]]:
    """Return the block with the ceilings that its minimum needs, the minimum then, and what stays above.

    Parameters
    ----------
    block : Block
    x : ndarray, (p,)
        A minimum of the block.
    tolerance : float
        As of :func:`minimum`.

    Returns
    -------
    block : Block
    x : ndarray, (p,)
    above : mapping of str to float
        Targets still predicted above `HIGHEST` times their largest measured loss, and the multiple.
    """
    if block.form.interaction.vanishes_without_own_data:
        return block, x, {}
    # Fits start from the minimum without ceilings each time, so that softness alone differs.
    worst, free = worst_losses(block, x), x
    for softness in SOFTER:
        bound, x, above = _bounded(block, free, softness * SPREAD * worst, worst, tolerance)
        if cost_of_ceilings(block, free, x) <= ALLOWED:
            break
    return bound, x, above


def _bounded(
    block: Block, x: Array, spread: Array, worst: Array, tolerance: float
) -> tuple[Block, Array, Mapping[str, float]]:
    """Return what :func:`under_ceilings` does, with ceilings of one standard deviation, (T,)."""
    mixtures, above = above_ceiling(block, x, worst)
    for _ in range(ROUNDS):
        if not above:
            break
        block = with_ceilings(block, mixtures, CEILING * worst, spread)
        x = minimum(block, np.maximum(x, block.lower + RESTART * block.spread), tolerance)
        mixtures, above = above_ceiling(block, x, worst)
    return block, x, above


def cost_of_ceilings(block: Block, free: Array, x: Array) -> float:
    """Return how much worse x fits the measured losses than the free minimum does, in variances of their noise.

    The rise of their sum of squares over its mean at the free minimum: the square of so many standard deviations of
    what the runs determine.
    """
    judged = block.measured & ~outlying(block, free)
    before, after = (float((block.robust_errors(point)[judged] ** 2).sum()) for point in (free, x))
    return max(after - before, 0.0) / max(before / int(judged.sum()), LEAST_VARIANCE)


def above_ceiling(block: Block, x: Array, worst: Array) -> tuple[Mixtures, dict[str, float]]:
    """Return the mixtures predicted furthest above `HIGHEST` times a target's worst loss, and each such target.

    A target comes with the multiple of its worst loss. Looks along every edge of the simplex: for a fixed own ratio
    the least z of a form that is linear or concave in the other ratios is where one source has all the rest.
    """
    # Own ratios 0 and 1e-4 to 0.5, closest near 0, where losses change most.
    own = np.concatenate([[0.0], np.logspace(-4, -0.3, 25)])
    n = len(block.sources)
    edges = np.concatenate([share * np.eye(n)[:, None] + (1 - share) * np.eye(n)[None] for share in own])
    ratios, D, N = at_budgets(block, edges.reshape(-1, n))
    response = block.response(x, D, N)
    multiples = response.losses(response.z(ratios)) / worst
    multiples[np.isnan(multiples)] = np.inf  # z is 0 there
    highest = dict(zip(block.targets, multiples.max(axis=0).tolist(), strict=True))
    largest = multiples.max(axis=1)
    above = np.flatnonzero(largest > HIGHEST)
    # The worst few are enough: another round adds those that are left.
    keep = above[np.argsort(-largest[above])][:n]
    return (
        (ratios[keep], D[keep], N[keep]),
        {name: multiple for name, multiple in highest.items() if multiple > HIGHEST},
    )


def with_ceilings(block: Block, mixtures: Mixtures, ceiling: Array, spread: Array) -> Block:
    """Return the block with a ceiling for each target, (T,), on more mixtures, and its standard deviation, (T,)."""
    ratios, D, N = mixtures
    rows, supply = block.rows, block.supply_at(D)
    added = np.ones((len(ratios), 1))
    return replace(
        block,
        rows=Observations(
            np.vstack([rows.ratios, ratios]),
            np.append(rows.D, D),
            np.append(rows.N, N),
            np.vstack([rows.losses, ceiling * added]),
            np.vstack([rows.scale, spread * added]),
            np.append(rows.ceiling, np.ones(len(ratios), dtype=bool)),
            supply=None if rows.supply is None or supply is None else np.vstack([rows.supply, supply]),
            knee=None if rows.knee is None else np.vstack([rows.knee, np.inf * ceiling * added]),
        ),
    )


def at_budgets(block: Block, mixtures: Array) -> Mixtures:
    """Return each mixture at each budget and size of the measured rows."""
    measured = ~block.rows.ceiling
    sizes = np.nan_to_num(block.rows.N[measured])  # NaN, where no size is stated, would equal no other
    scales = np.unique(np.column_stack([block.rows.D[measured], sizes]), axis=0)
    D, N = np.tile(scales, (len(mixtures), 1)).T
    return np.repeat(mixtures, len(scales), axis=0), D, N


def worst_losses(block: Block, x: Array) -> Array:
    """Return each target's largest measured loss, (T,), those left out that lie far from the law at x."""
    measured = block.measured & ~outlying(block, x)
    worst: Array = np.where(measured, block.rows.losses, -np.inf).max(axis=0)
    return worst
