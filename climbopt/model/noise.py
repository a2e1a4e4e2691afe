"""How far a measured loss lies from a model's prediction, by target and by the target's own ratio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from climbopt.foundations.errors import InputError
from climbopt.model.mixture import Indices
from climbopt.model.templates import Array

CLASSES = ("without", "small", "mixed", "alone")
"""Losses of a target with none of its own data, with little, with more beside others' data, and with that alone."""
SMALL = 0.03
"""A ratio below this is small."""


def classes_of(own: Array) -> Indices:
    """Return the position in `CLASSES` of losses with some own ratios."""
    return np.select([own <= 0, own < SMALL, own < 1], [0, 1, 2], 3).astype(np.intp)


@dataclass(frozen=True, eq=False)
class LossNoise:
    """Deviations of measured losses from predictions, and how wide bands must be to hold them.

    Parameters
    ----------
    level : float
        Nominal share of new measurements inside the bands.
    deviations : ndarray, (T, 4)
        Standard deviation in nats of a measured loss about the prediction, by target and class.
    widths : ndarray, (4,)
        Half widths of the bands by class, in standard deviations of deviation and spread together.
    """

    level: float
    deviations: Array
    widths: Array

    def __post_init__(self) -> None:
        for name in ("deviations", "widths"):
            value = np.asarray(getattr(self, name), dtype=float)
            if value.shape[-1] != len(CLASSES) or not (np.isfinite(value) & (value >= 0)).all():
                raise InputError(f"{name} of the noise of losses must be {len(CLASSES)} numbers of 0 or more each")
            object.__setattr__(self, name, value)
        if not 0 < self.level < 1:
            raise InputError(f"the level of bands is {self.level:g}; it is a share between 0 and 1, as 0.9")

    def scale(self, spread: Array, own: Array) -> Array:
        """Return the standard deviation of new measurements, (..., T), for spreads and own ratios of that shape."""
        # Taken as independent, the model's spread and the deviation about its prediction add in squares.
        return np.hypot(spread, self.deviations[np.arange(len(self.deviations)), classes_of(own)])

    def half_widths(self, spread: Array, own: Array) -> Array:
        """Return the half widths of the bands, (..., T), for spreads and own ratios of that shape."""
        return np.asarray(self.widths[classes_of(own)] * self.scale(spread, own))
