"""Effective tokens: how much of a language alone has the loss that a mixture gives it.

With law(1, D) the loss of the language alone on D tokens of its own, none repeated and without a head start, the
effective tokens D_e solve law(1, D_e) = L, and D_e / D is the effective ratio. Every law that falls in D has one, and
so has the mean of several: none where L is below what any amount of the language alone reaches.
"""

from __future__ import annotations

import numpy as np

from climbopt.model.ensemble import Responses
from climbopt.model.mixture import Response
from climbopt.model.templates import Array

REACH = 100 * np.log(10)
"""The root is looked for up to this logarithm of D_e / D, on both sides of 0."""
STEPS = 64
"""Halvings of the bracket, to the rounding of its logarithms."""


def effective_tokens(response: Response | Responses, ratios: Array) -> Array:
    """Return the effective tokens of each target, (..., S) to (..., T); NaN where there are none.

    D z where the form takes z for the effective ratio; else by bisection in log D_e.

    Parameters
    ----------
    response : Response or Responses
        A model, or an ensemble, at one budget.
    ratios : ndarray, (..., S)

    Notes
    -----
    The language alone is the model's own, also for a target that is no source and that no run shows alone.

    Examples
    --------
    >>> import climbopt
    >>> model = climbopt.load_problem("one_source").model
    >>> effective_tokens(model.at(3e9), np.array([1.0])).round()
    array([3.e+09])
    """
    first = response.parts[0]
    budget = float(first.D) * first.model.token_unit
    if isinstance(response, Response) and response.model.templates.gives_effective_ratio:
        z = response.z(ratios)
        return np.where(z > 0, budget * z, np.nan)
    losses = response.predicted(ratios)

    def exceeds(log_share: Array) -> Array:
        return np.asarray(response.losses_alone(budget * np.exp(log_share)) - losses)

    low, high = np.full(losses.shape, -REACH), np.full(losses.shape, REACH)
    # A law that does not fall from above L to below it, and one that is NaN, has no root.
    crosses = (exceeds(low) > 0) & (exceeds(high) < 0)
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        above = exceeds(middle) > 0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(crosses, budget * np.exp(0.5 * (low + high)), np.nan)
