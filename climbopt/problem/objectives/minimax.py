"""The largest ratio of a loss to its reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.sparse import diags_array

from climbopt.model.templates import Array
from climbopt.problem.constraints import Setting
from climbopt.problem.objectives.objective import Goal
from climbopt.problem.objectives.references import References
from climbopt.problem.table import Table


@dataclass(frozen=True)
class Minimax(References):
    """f = max over the targets with a weight of L_i / reference_i.

    Solved as min t with L_i <= t reference_i. Parameters are those of References.
    """

    kind: ClassVar[str] = "minimax"

    def goal(self, setting: Setting, weights: Array) -> Goal:
        """Return the goal."""
        references = self.references(setting, weights)
        counted = np.flatnonzero(np.isfinite(references))
        targets, k = tuple(setting.targets[i] for i in counted.tolist()), counted.size
        # One function per target, L_i / reference_i; the goal is the largest of them.
        table = Table.build(len(setting.sources), k, k, loss=diags_array(1.0 / references[counted]))
        return Goal(targets, table, "of its reference", "largest loss", largest=True)
