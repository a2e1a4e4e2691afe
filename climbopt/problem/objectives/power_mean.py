"""A weighted power mean of losses divided by references: between the weighted sum and the largest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from climbopt.foundations.errors import InputError
from climbopt.model.outer import PowerMean
from climbopt.model.templates import Array
from climbopt.problem.constraints import Setting
from climbopt.problem.objectives.objective import Goal
from climbopt.problem.objectives.references import References
from climbopt.problem.table import Ordering, Table


@dataclass(frozen=True)
class WeightedPowerMean(References):
    """f = (sum of w_i (L_i / reference_i)^power)^(1/power).

    Parameters
    ----------
    power : float
        1 is the weighted mean; the larger, the more the worst-off language counts.
    losses, reference
        As of References.
    """

    power: float = 2.0
    kind: ClassVar[str] = "power_mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        # Below 1 the mean is no norm, and not convex in the losses.
        if not (math.isfinite(self.power) and self.power >= 1):
            raise InputError(
                f"the power of the mean is {self.power:g}; it is 1 or more (for the largest loss alone "
                "take the objective 'minimax')"
            )

    def goal(self, setting: Setting, weights: Array) -> Goal:
        """Return the goal."""
        counted = np.flatnonzero(weights > 0)
        targets = tuple(setting.targets[i] for i in counted.tolist())
        mean = PowerMean(targets, weights[counted], self.references(setting, weights)[counted], float(self.power))
        curved = {0: Ordering(setting.sources, targets).place(mean)}
        table = Table.build(len(setting.sources), len(targets), curved=curved)
        return Goal(targets, table, "of its reference", f"power mean ({self.power:g}) of losses")
