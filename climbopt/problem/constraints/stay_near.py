"""An upper bound of the distance from a reference mixture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import Converted
from climbopt.foundations.quantities import RATIO, Amount, Number
from climbopt.problem.constraints.constraint import DistanceRow, Reference, Setting, reference_mixture


@dataclass(frozen=True)
class StayNear:
    """The sum of |r_i - reference_i| is at most `distance`: half of it is the share of data that changes.

    Parameters
    ----------
    distance : float
        In (0, 2].
    reference : str or mapping of str to float
        "uniform", "natural" (by supply), or ratios by source that sum to 1.
    name : str
        Name in reports.

    Examples
    --------
    >>> setting = Setting(("en", "sw"), 1e9, {}, {})
    >>> dict(StayNear(0.2, "uniform").rows(setting)[0].center)
    {'en': 0.5, 'sw': 0.5}
    """

    distance: Number = Converted(RATIO.read)
    reference: Converted[str | Mapping[str, Amount], Reference] = Converted(reference_mixture)
    name: str = "stay_near"
    kind: ClassVar[str] = "stay_near"

    def __post_init__(self) -> None:
        if not 0 < self.distance <= 2:
            raise InputError(
                f"the distance of {self.name} is {self.distance:g}; it is above 0 and at most 2, the "
                "distance of mixtures that share nothing"
            )

    def rows(self, setting: Setting) -> list[DistanceRow]:
        """Return the row."""
        center = setting.mixture(self.reference, self.name)
        return [DistanceRow(self.name, dict(zip(setting.sources, center.tolist(), strict=True)), float(self.distance))]
