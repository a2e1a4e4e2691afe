"""Mixtures in the truncated simplex: every ratio between its bounds, their sum 1; drawn without rejection."""

from __future__ import annotations

import numpy as np

from climbopt.foundations.errors import InputError
from climbopt.model.templates import Array

SWEEPS = 60
"""Times that every ratio is drawn anew where upper bounds can be active."""


def mixtures(lower: Array, upper: Array, n: int, rng: np.random.Generator, *, concentration: float = 1.0) -> Array:
    """Return n mixtures of the truncated simplex, (n, S).

    With lower bounds alone, lower + (1 - sum lower) d with d from a symmetric Dirichlet distribution, which with
    concentration 1 is uniform: the normalised exponentials of Devroye, Non-Uniform Random Variate Generation (1986),
    section V.2. Where an upper bound can be active, uniform by a Gibbs sampler over pairs: given their sum s, ratio i
    of a pair (i, j) is uniform on [max(lower_i, s - upper_j), min(upper_i, s - lower_j)], so that no draw is thrown
    away (Geman and Geman 1984; hit-and-run along edges, Smith, Operations Research 32, 1984). Each mixture is the end
    of its own chain of `SWEEPS` sweeps, whose ends are uniform only in the limit.

    Parameters
    ----------
    lower, upper : ndarray, (S,)
        Bounds in [0, 1].
    n : int
    rng : numpy.random.Generator
    concentration : float
        Of the Dirichlet distribution; below 1 most of a mixture is in few languages. Lower bounds only.

    Raises
    ------
    InputError
        Where no mixture meets the bounds.

    Examples
    --------
    >>> drawn = mixtures(np.full(3, 0.1), np.ones(3), 5, np.random.default_rng(0))
    >>> drawn.shape, bool((drawn >= 0.1).all()), bool(np.allclose(drawn.sum(axis=1), 1))
    ((5, 3), True, True)
    """
    lower, upper = np.asarray(lower, dtype=float), np.asarray(upper, dtype=float)
    spare = 1.0 - lower.sum()
    if (lower > upper).any() or spare < -1e-12 or upper.sum() < 1 - 1e-12:
        raise InputError(
            f"no mixture meets the bounds: the lower ones sum to {lower.sum():.6g}, the upper ones to "
            f"{upper.sum():.6g}; they must not be above and below 1"
        )
    if (upper >= lower + spare).all():
        return np.asarray(lower + spare * rng.dirichlet(np.full(lower.size, concentration), size=n))
    room = upper - lower
    drawn = np.tile(lower + spare / room.sum() * room, (n, 1))
    half = lower.size // 2
    for _ in range(2 * SWEEPS):
        order = rng.permutation(lower.size)
        i, j = order[:half], order[half : 2 * half]
        total = drawn[:, i] + drawn[:, j]
        least, most = np.maximum(lower[i], total - upper[j]), np.minimum(upper[i], total - lower[j])
        # Rounding can put the ends a little out of order.
        drawn[:, i] = rng.uniform(least, np.maximum(least, most))
        drawn[:, j] = total - drawn[:, i]
    return drawn
