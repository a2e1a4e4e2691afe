"""PilotRange: the budgets, model sizes and ratios at which the runs of a model were measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import FrozenMap

Ends = tuple[float, float]
"""Least and largest."""

EXACT_RATIO = 1e-6
"""A ratio at most this far outside the pilots' range counts as inside."""


@dataclass(frozen=True)
class PilotRange:
    """The budgets, the model sizes and the ratios of the runs that a model was fitted to.

    Parameters
    ----------
    tokens : (float, float)
        Least and largest budget, in tokens.
    params : (float, float), optional
        Least and largest model size, where the runs state it.
    ratios : mapping of str to (float, float), optional
        Least and largest ratio in any run, by source; None in models that do not record it.

    Raises
    ------
    InputError
        Unless each pair is ordered, and of positive numbers, or of ratios in [0, 1].

    Examples
    --------
    >>> measured = PilotRange((1e9, 4e9))
    >>> measured.extrapolation(1e10), measured.extrapolation(5e8), measured.extrapolation(2e9)
    (2.5, 2.0, 1.0)
    """

    tokens: Ends
    params: Ends | None = None
    ratios: Mapping[str, Ends] | None = None

    def __post_init__(self) -> None:
        for name, ends in (("tokens", self.tokens), ("params", self.params)):
            if ends is not None and not (len(ends) == 2 and 0 < ends[0] <= ends[1] < math.inf):
                raise InputError(
                    f"{name} of the pilots are {list(ends)}; give the least and the largest, two positive "
                    "numbers in this order"
                )
        for source, ends in (self.ratios or {}).items():
            if not (len(ends) == 2 and 0 <= ends[0] <= ends[1] <= 1):
                raise InputError(
                    f"the ratios of '{source}' in the pilots are {list(ends)}; give the least and the largest, two "
                    "ratios in this order"
                )
        if self.ratios is not None:
            object.__setattr__(self, "ratios", FrozenMap({name: (*ends,) for name, ends in self.ratios.items()}))

    def extrapolation(self, tokens: float) -> float:
        """Return the budget over the largest pilot's, or the smallest pilot's over the budget; at least 1."""
        return _outside(self.tokens, tokens)

    def size_extrapolation(self, params: float | None) -> float | None:
        """Return the same factor for a model size; None where it, or the pilots' size, is unknown."""
        return None if params is None or self.params is None else _outside(self.params, params)

    def outside(self, ratios: Mapping[str, float]) -> dict[str, float]:
        """Return how far ratios lie below the least (negative) or above the largest of the pilots, where they do."""
        known = self.ratios or {}
        # Distance from the interval, signed: 0 inside.
        beyond = {
            name: ratio - min(max(ratio, known[name][0]), known[name][1])
            for name, ratio in ratios.items()
            if name in known
        }
        return {name: far for name, far in beyond.items() if abs(far) > EXACT_RATIO}


def _outside(ends: Ends, value: float) -> float:
    # Symmetric in logarithms: twice the largest is as far outside as half of the smallest.
    return max(value / ends[1], ends[0] / value, 1.0)
