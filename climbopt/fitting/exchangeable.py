"""A new member of a group whose known members are exchangeable, or alike to a known degree.

    y_i = mean + g_i + e_i,   cov(g) = K v,   e_i independent of variance v

With K = 0 members are exchangeable, and a new one is predicted by the mean of the known ones. The prediction is the
best linear unbiased one, the same weights for every number of a member. Its distribution is that of the residuals of
the known members, stretched so that in each direction 90 % of new members lie between its quantiles as far as a
Student-t distribution says: the variance is learned from the n known members alone.

Source
------
Robinson, That BLUP is a good thing (1991), for prediction and its variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from climbopt.foundations.errors import InputError
from climbopt.model.templates import Array

FEWEST = 3
"""Known members: of two the t distribution has one degree of freedom, and no mean."""
LEVEL = 0.95
"""Quantile at which stretched residuals are as far out as the t distribution."""


@dataclass(frozen=True, eq=False)
class NewMember:
    """The distribution of a new member given n known ones.

    Parameters
    ----------
    weights : ndarray, (n,)
        Of the known members in the prediction; they sum to 1.
    residuals : ndarray, (n, n)
        Maps the numbers of known members to their residuals.
    stretch : float
        By which residuals are multiplied.

    Examples
    --------
    >>> values = np.array([1.0, 2.0, 3.0, 4.0])
    >>> member = new_member(4)
    >>> round(float(member.predicted(values)), 12), [round(float(member.like(values, i)), 2) for i in range(4)]
    (2.5, [-0.27, 1.58, 3.42, 5.27])
    """

    weights: Array
    residuals: Array
    stretch: float

    def predicted(self, values: Array) -> Array:
        """Return the prediction for values of the known members, (n, ...)."""
        return np.asarray(self.weights @ values)

    def like(self, values: Array, i: int) -> Array:
        """Return the prediction with the stretched residual of known member i."""
        return np.asarray(self.predicted(values) + self.stretch * (self.residuals[i] @ values))


def new_member(n: int, kinship: Array | None = None) -> NewMember:
    """Return the distribution of a new member given n known ones.

    Parameters
    ----------
    n : int
    kinship : ndarray, (n + 1, n + 1), optional
        K, the new member last; 0 by default.

    Raises
    ------
    InputError
        For fewer than `FEWEST` known members.
    """
    if n < FEWEST:
        raise InputError(
            f"{n} known languages show nothing of how far languages differ; a new one needs {FEWEST} at the least"
        )
    alike = np.zeros((n + 1, n + 1)) if kinship is None else kinship
    among, new, own = alike[:n, :n], alike[:n, n], alike[n, n]
    precision = np.linalg.inv(among + np.eye(n))
    # Generalised least squares: the mean has weights V^-1 1 / (1' V^-1 1).
    by_one = precision.sum(axis=1)
    of_mean = by_one / by_one.sum()
    without_mean = precision - np.outer(by_one, of_mean)
    # The variance of the error, in units of that of e: of the new g and e, and of the mean's estimate.
    error = 1 + own - new @ precision @ new + (1 - new @ by_one) ** 2 / by_one.sum()
    # Residuals V^-1 (y - mean 1) have the covariance V^-1 - V^-1 1 1' V^-1 / (1' V^-1 1).
    left = np.trace(without_mean) / n
    wider = stdtrit(n - 1, LEVEL) / ndtri(LEVEL)
    return NewMember(
        of_mean + new @ without_mean, np.asarray(without_mean, dtype=np.float64), float(wider * np.sqrt(error / left))
    )
