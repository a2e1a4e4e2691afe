"""PilotRange: the budgets and model sizes that a model's parameters were measured at."""

from __future__ import annotations

import math
from dataclasses import dataclass

from climbopt.foundations.errors import InputError

Ends = tuple[float, float]
"""Least and largest."""


@dataclass(frozen=True)
class PilotRange:
    """The budgets, and the model sizes, of the runs that a model was fitted to.

    Parameters
    ----------
    tokens : (float, float)
        Least and largest budget, in tokens.
    params : (float, float), optional
        Least and largest model size, where the runs state it.

    Raises
    ------
    InputError
        Where they are no two positive numbers in this order.

    Examples
    --------
    >>> measured = PilotRange((1e9, 4e9))
    >>> measured.extrapolation(1e10), measured.extrapolation(5e8), measured.extrapolation(2e9)
    (2.5, 2.0, 1.0)
    """

    tokens: Ends
    params: Ends | None = None

    def __post_init__(self) -> None:
        for name, ends in (("tokens", self.tokens), ("params", self.params)):
            if ends is not None and not (len(ends) == 2 and 0 < ends[0] <= ends[1] < math.inf):
                raise InputError(
                    f"{name} of the pilots are {list(ends)}; give the least and the largest, two positive "
                    "numbers in this order"
                )

    def extrapolation(self, tokens: float) -> float:
        """Return the budget over the largest pilot's, or the smallest pilot's over the budget; 1 between them."""
        return _outside(self.tokens, tokens)

    def size_extrapolation(self, params: float | None) -> float | None:
        """Return the same of a model size; None where it, or the pilots' own, is not known."""
        return None if params is None or self.params is None else _outside(self.params, params)


def _outside(ends: Ends, value: float) -> float:
    return max(value / ends[1], ends[0] / value, 1.0)
