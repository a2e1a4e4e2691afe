"""The largest ratio of a loss to its reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from climbopt.model.templates import Array
from climbopt.problem.constraints import Setting
from climbopt.problem.objectives.objective import Goal, names_of
from climbopt.problem.objectives.references import References


@dataclass(frozen=True)
class Minimax(References):
    """f = max over the targets with a weight of L_i / reference_i.

    Solved as min t with L_i <= t reference_i. Parameters are those of References.
    """

    kind: ClassVar[str] = "minimax"

    def goal(self, setting: Setting, weights: Array) -> Goal:
        """Return the goal."""
        return Goal(
            names_of(setting),
            references=self.references(setting, weights),
            unit="of its reference",
            label="largest loss",
        )
