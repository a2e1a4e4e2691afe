"""Ceilings: no mixture at a pilot budget is predicted far above the losses that were measured.

Nothing measured supports a higher prediction. Wherever on the edges of the simplex one occurs, its excess becomes a
residual, and the block is fitted again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from climbopt.fitting.least_squares import Block, Observations
from climbopt.fitting.levenberg_marquardt import TOLERANCE, minimum
from climbopt.model.templates import Array

CEILING, SPREAD = 1.05, 0.01
"""A prediction above CEILING times a target's largest measured loss counts as a residual, on this scale."""
HIGHEST = CEILING + 3 * SPREAD
"""Multiple of the largest measured loss above which a prediction gets a ceiling, and is reported if it stays."""
ROUNDS = 6
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
    mixtures, above = above_ceiling(block, x)
    for _ in range(ROUNDS):
        if not above:
            break
        block = with_ceilings(block, mixtures)
        x = minimum(block, np.maximum(x, block.lower + RESTART * block.spread), tolerance)
        mixtures, above = above_ceiling(block, x)
    return block, x, above


def above_ceiling(block: Block, x: Array) -> tuple[Mixtures, dict[str, float]]:
    """Return the mixtures predicted furthest above `HIGHEST` times a target's worst loss, and each such target.

    A target comes with the multiple of its worst loss. Looks along every edge of the simplex: for a fixed own ratio
    the least z of a form that is linear or concave in the other ratios is where one source has all the rest.
    """
    own = np.concatenate([[0.0], np.logspace(-4, -0.3, 25)])
    n = len(block.sources)
    edges = np.concatenate([share * np.eye(n)[:, None] + (1 - share) * np.eye(n)[None] for share in own])
    ratios, D, N = at_budgets(block, edges.reshape(-1, n))
    response = block.response(x, D, N)
    multiples = response.losses(response.z(ratios)) / _worst_losses(block)
    multiples[np.isnan(multiples)] = np.inf  # z is 0 there
    highest = dict(zip(block.targets, multiples.max(axis=0).tolist(), strict=True))
    largest = multiples.max(axis=1)
    above = np.flatnonzero(largest > HIGHEST)
    keep = above[np.argsort(-largest[above])][:n]
    return (
        (ratios[keep], D[keep], N[keep]),
        {name: multiple for name, multiple in highest.items() if multiple > HIGHEST},
    )


def with_ceilings(block: Block, mixtures: Mixtures) -> Block:
    """Return the block with a ceiling of `CEILING` times each target's worst loss on more mixtures."""
    ratios, D, N = mixtures
    worst, rows = _worst_losses(block), block.rows
    supply = block.supply_at(D)
    added = np.ones((len(ratios), 1))
    return replace(
        block,
        rows=Observations(
            np.vstack([rows.ratios, ratios]),
            np.append(rows.D, D),
            np.append(rows.N, N),
            np.vstack([rows.losses, CEILING * worst * added]),
            np.vstack([rows.scale, SPREAD * worst * added]),
            np.append(rows.ceiling, np.ones(len(ratios), dtype=bool)),
            supply=None if rows.supply is None or supply is None else np.vstack([rows.supply, supply]),
        ),
    )


def at_budgets(block: Block, mixtures: Array) -> Mixtures:
    """Return each mixture at each budget and size of the measured rows."""
    measured = ~block.rows.ceiling
    sizes = np.nan_to_num(block.rows.N[measured])  # NaN, where no size is stated, would equal no other
    scales = np.unique(np.column_stack([block.rows.D[measured], sizes]), axis=0)
    D, N = np.tile(scales, (len(mixtures), 1)).T
    return np.repeat(mixtures, len(scales), axis=0), D, N


def _worst_losses(block: Block) -> Array:
    """Return each target's largest measured loss, (T,)."""
    worst: Array = np.nanmax(block.rows.losses[~block.rows.ceiling], axis=0)
    return worst
