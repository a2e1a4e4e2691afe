"""Effects of groups, and how much of a set of uncertain numbers they explain: a regression whose shrinkage is learned.

    t_n = y_n + noise,   y_n = sum_k Z_nk w_k + e_n,   w_k ~ N(0, variance of k's group),   e_n ~ N(0, residual)

with known variances of the noise. Variances of groups and the residual maximise the restricted likelihood, by the
expectation-maximisation algorithm, with a few observations' weight on where they start.

Source
------
Fay and Herriot, Estimates of income for small places (1979), for the model; Harville, Maximum likelihood approaches to
variance component estimation (1977), for the restricted likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from climbopt.model.mixture import Indices
from climbopt.model.templates import Array

STEPS = 60
"""Of the algorithm; variances change by less than a per cent in the last ones."""
WEIGHT = 4.0
"""Observations that a variance's start counts as."""
OF_EFFECTS, OF_RESIDUAL = 0.1, 1.0
"""Where the variances start."""


@dataclass(frozen=True, eq=False)
class Components:
    """What a regression learned.

    Parameters
    ----------
    effects : ndarray, (k,)
        Estimates of w.
    covariance : ndarray, (k, k)
        Of their errors.
    variances : ndarray, (n_groups,)
    residual : float
    """

    effects: Array
    covariance: Array
    variances: Array
    residual: float

    def variance(self, design: Array) -> Array:
        """Return the variances of y about Z w for rows of a design, (n, k): of what w is, and of what it leaves."""
        return np.asarray(self.residual + np.einsum("ij,jk,ik->i", design, self.covariance, design))


def components(values: Array, noise: Array, design: Array, groups: Indices) -> Components:
    """Return the regression of uncertain numbers on a design.

    Parameters
    ----------
    values, noise : ndarray, (n,)
        t and the variances of its noise.
    design : ndarray, (n, k)
    groups : ndarray of int, (k,)
        The group of each column, from 0.

    Examples
    --------
    Two groups of four that differ by far more than their members are told apart:

    >>> values, design = np.array([2.0, 2.1, 1.9, 2.0, -2.0, -2.1, -1.9, -2.0]), np.repeat(np.eye(2), 4, axis=0)
    >>> components(values, np.full(8, 0.01), design, np.zeros(2, dtype=int)).effects.round(1)
    array([ 1.8, -1.8])
    """
    size = np.bincount(groups)
    learned = Components(
        np.zeros(len(groups)), np.zeros((len(groups),) * 2), np.full(size.size, OF_EFFECTS), OF_RESIDUAL
    )
    for _ in range(STEPS):
        total = learned.residual + noise
        precision = design.T @ (design / total[:, None]) + np.diag(1 / learned.variances[groups])
        covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
        effects = covariance @ (design.T @ (values / total))
        # Of what is left of t, the share that is e and not noise; with its own variance, and that of Z w.
        share = learned.residual / total
        square = (share * (values - design @ effects)) ** 2 + learned.residual * (1 - share)
        square += share**2 * np.einsum("ij,jk,ik->i", design, covariance, design)
        by_group = np.bincount(groups, effects**2 + np.diag(covariance))
        learned = Components(
            effects,
            covariance,
            (by_group + WEIGHT * OF_EFFECTS) / (size + WEIGHT),
            float((square.sum() + WEIGHT * OF_RESIDUAL) / (values.size + WEIGHT)),
        )
    return learned
