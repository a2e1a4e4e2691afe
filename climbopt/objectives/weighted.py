"""The weighted sum of losses; the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from climbopt.constraints import Setting
from climbopt.objectives.base import Goal, names_of
from climbopt.templates import Array


@dataclass(frozen=True)
class Weighted:
    """f = sum of w_i L_i with the problem's weights."""

    kind: ClassVar[str] = "weighted"

    def goal(self, setting: Setting, weights: Array) -> Goal:
        """Return the goal."""
        return Goal(names_of(setting), {"L": weights})
