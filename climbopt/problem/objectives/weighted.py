"""The weighted sum of losses; the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from climbopt.model.templates import Array
from climbopt.problem.constraints import Setting
from climbopt.problem.objectives.objective import Goal
from climbopt.problem.table import Table


@dataclass(frozen=True)
class Weighted:
    """f = sum of w_i L_i with the problem's weights."""

    kind: ClassVar[str] = "weighted"

    def goal(self, setting: Setting, weights: Array) -> Goal:
        """Return the goal."""
        counted = np.flatnonzero(weights)
        targets = tuple(setting.targets[i] for i in counted.tolist())
        return Goal(targets, Table.build(len(setting.sources), len(targets), loss=weights[counted]))
