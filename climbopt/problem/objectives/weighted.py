"""The weighted sum of losses; the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from climbopt.model.templates import Array
from climbopt.problem.constraints import Setting
from climbopt.problem.objectives.objective import Goal, names_of


@dataclass(frozen=True)
class Weighted:
    """f = sum of w_i L_i with the problem's weights."""

    kind: ClassVar[str] = "weighted"

    def goal(self, setting: Setting, weights: Array) -> Goal:
        """Return the goal."""
        return Goal(names_of(setting), {"L": weights})
