"""Ceilings: no mixture at a pilot budget is predicted far above the losses that were measured.

Nothing measured supports a higher prediction. Wherever on the edges of the simplex one occurs, its excess becomes a
residual, and the block is fitted again. Ceilings decide what the runs leave open and nothing else: where the measured
losses would be fitted worse by more than their noise, the ceilings are made softer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from climbopt.fitting.least_squares import Block, Observations, stacks, unstacked
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

OWN_RATIOS = (0.0, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.2, 0.5)
"""Where on an edge of the simplex predictions are looked at, from both ends."""

Mixtures = tuple[Array, Array, Array]
"""Ratios, (..., n, S), and D and N in the model's units, (..., n) each."""


@dataclass(frozen=True, eq=False)
class Solved:
    """One block and the best point found for it.

    Parameters
    ----------
    block : Block
        With the ceilings that its minimum needs.
    x : ndarray, (p,)
        Coordinates.
    above_ceiling : mapping of str to float
        Targets of which some mixture is still predicted above `HIGHEST` times their largest measured loss, and the
        multiple.
    strained : tuple of str
        Targets whose parameters the ceilings move by more than the noise.
    """

    block: Block
    x: Array
    above_ceiling: Mapping[str, float] = field(default_factory=dict)
    strained: tuple[str, ...] = ()

    @cached_property
    def jacobian(self) -> Array:
        """The Jacobian of the block's residuals at x."""
        return self.block.jacobian(self.x)

    @property
    def of_losses(self) -> Array:
        """The Jacobian's rows of losses and ceilings, without those of the priors."""
        return self.jacobian[: len(self.jacobian) - self.x.size]

    @property
    def cost(self) -> float:
        """Half the sum of squared residuals."""
        return float(self.block.cost(self.x))

    def like(self, batch: Block) -> Solved:
        """Return the same as a problem of the batch of one target that it was stacked from."""
        above = dict(zip(batch.targets, self.above_ceiling.values(), strict=False))
        return replace(self, block=unstacked(self.block, batch), above_ceiling=above)


def under_ceilings(block: Block, x: Array, tolerance: float = TOLERANCE) -> list[Solved]:
    """Return each problem of a batch under the ceilings that it needs.

    Parameters
    ----------
    block : Block
        A batch.
    x : ndarray, (K, p)
        A minimum of each problem.
    tolerance : float
        As of :func:`minimum`.
    """
    result = [Solved(block.take(k), free) for k, free in enumerate(x)]
    if block.form.interaction.vanishes_without_own_data:
        return result
    worst, left = np.stack([worst_losses(each.block, each.x) for each in result]), np.arange(len(x))
    # Fits start from the minimum without ceilings each time, so that softness alone differs.
    for softness in SOFTER:
        bounded = _bounded(block.take(left), x[left], softness * SPREAD * worst[left], worst[left], tolerance)
        for k, again in zip(left.tolist(), bounded, strict=True):
            result[k] = again
        if bounded[0].block.rows.D.size == block.rows.D.shape[-1]:  # no ceiling was needed
            break
        costs = [cost_of_ceilings(again.block, x[k], again.x) for k, again in zip(left, bounded, strict=True)]
        left = left[np.array(costs) > ALLOWED]
        if not left.size:
            break
    return result


def all_under_ceilings(
    batches: Sequence[Block], points: Sequence[Array], tolerance: float = TOLERANCE
) -> list[list[Solved]]:
    """Return what :func:`under_ceilings` does for several batches of as many problems, those alike as one."""
    result: list[list[Solved]] = [[] for _ in batches]
    for which, batch in stacks(batches):
        bounded = under_ceilings(batch, np.concatenate([points[i] for i in which]), tolerance)
        count = len(bounded) // len(which)
        for place, i in enumerate(which):
            of = bounded[place * count : (place + 1) * count]
            result[i] = of if len(which) == 1 else [each.like(batches[i]) for each in of]
    return result


def _bounded(block: Block, x: Array, spread: Array, worst: Array, tolerance: float) -> list[Solved]:
    """Return what :func:`under_ceilings` does, with ceilings of one standard deviation, (K, T)."""
    x, above, grid = x.copy(), np.zeros(worst.shape), _edges(block)
    on = np.arange(len(x))
    for added in range(ROUNDS + 1):
        multiples = _multiples(block.take(on), x[on], grid, worst[on])
        above[on] = multiples.max(axis=1)
        largest = multiples.max(axis=2)
        # The worst few are enough: another round adds those that are left.
        highest = np.argsort(-largest, axis=1)[:, : len(block.sources)]
        high = np.take_along_axis(largest, highest, axis=1) > HIGHEST
        on, highest, high = on[high[:, 0]], highest[high[:, 0]], high[high[:, 0]]
        highest, high = highest[:, high.any(axis=0)], high[:, high.any(axis=0)]
        if not on.size or added == ROUNDS:
            break
        at = np.zeros((len(x), high.shape[1]), dtype=np.intp)
        scale = np.full((*at.shape, worst.shape[1]), np.inf)
        at[on], scale[on] = highest, np.where(high[..., None], spread[on][:, None], np.inf)
        block = with_ceilings(block, (grid[0][at], grid[1][at], grid[2][at]), CEILING * worst, scale)
        here = block.take(on)
        x[on] = minimum(here, np.maximum(x[on], block.lower + RESTART * block.spread), tolerance)
    names = block.targets
    return [
        Solved(block.take(k), point, {name: m for name, m in zip(names, of.tolist(), strict=True) if m > HIGHEST})
        for k, (point, of) in enumerate(zip(x, above, strict=True))
    ]


def cost_of_ceilings(block: Block, free: Array, x: Array) -> float:
    """Return how much worse x fits the measured losses than the free minimum does, in variances of their noise.

    The rise of their sum of squares over its mean at the free minimum: the square of so many standard deviations of
    what the runs determine.
    """
    judged = block.measured & ~outlying(block, free)
    before, after = (float((block.robust_errors(point)[judged] ** 2).sum()) for point in (free, x))
    return max(after - before, 0.0) / max(before / int(judged.sum()), LEAST_VARIANCE)


def _edges(block: Block) -> Mixtures:
    """Return mixtures along every edge of the simplex, at the least and largest budgets of each model size.

    For a fixed own ratio the least z of a form that is linear or concave in the other ratios is where one source has
    all the rest.
    """
    n = len(block.sources)
    edges = np.concatenate([share * np.eye(n)[:, None] + (1 - share) * np.eye(n)[None] for share in OWN_RATIOS])
    return at_budgets(block, np.unique(edges.reshape(-1, n), axis=0))


def _multiples(block: Block, x: Array, mixtures: Mixtures, worst: Array) -> Array:
    """Return the losses predicted in a batch over each target's worst measured one, (K, n, T); infinite where none."""
    ratios, D, N = mixtures
    response = block.response(x, D, N)
    multiples: Array = response.losses(response.z(np.broadcast_to(ratios, (len(x), *ratios.shape)))) / worst[:, None]
    return np.where(np.isnan(multiples), np.inf, multiples)  # z is 0 there


def with_ceilings(block: Block, mixtures: Mixtures, ceiling: Array, spread: Array) -> Block:
    """Return the block with a ceiling for each target, (..., T), on more mixtures.

    `spread` is its standard deviation, (..., T) or (..., n, T); infinite where there is no ceiling.
    """
    ratios, D, N = mixtures
    shape = (*D.shape, len(block.targets))
    spread = spread if spread.ndim == ratios.ndim else spread[..., None, :]
    losses, scale = (np.broadcast_to(array, shape) for array in (ceiling[..., None, :], spread))
    more = Observations(
        ratios, D, N, losses, scale, np.ones(D.shape, dtype=bool), block.supply_at(D), np.full(shape, np.inf)
    )
    return block.on(Observations.joined([block.rows, more], D.ndim - 1), block.prior_means)


def at_budgets(block: Block, mixtures: Array) -> Mixtures:
    """Return each mixture at the least and largest budget of the measured rows of each model size."""
    runs = block.rows.runs
    D, N = runs.D, np.nan_to_num(runs.N)  # NaN, where no size is stated, would equal no other
    scales = np.array([(end(D[size == N]), size) for size in np.unique(N) for end in (np.min, np.max)])
    D, N = np.tile(np.unique(scales, axis=0), (len(mixtures), 1)).T
    return np.repeat(mixtures, len(D) // len(mixtures), axis=0), D, N


def worst_losses(block: Block, x: Array) -> Array:
    """Return each target's largest measured loss, (T,), those left out that lie far from the law at x."""
    measured = block.measured & ~outlying(block, x)
    return np.asarray(np.where(measured, block.rows.losses, -np.inf).max(axis=0))
