"""Any expression of ratios, z, losses and the budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import sympy as sp

from climbopt.foundations.errors import InputError
from climbopt.model.expressions import entry, parse_expression
from climbopt.model.templates import Array
from climbopt.problem.constraints import Setting
from climbopt.problem.constraints.custom import checked
from climbopt.problem.objectives.objective import Goal
from climbopt.problem.table import Ordering


@dataclass(frozen=True)
class CustomObjective:
    """f = an expression such as ``0.5 * L[en] + L[sw]**2``; the problem's weights are not in it.

    Parameters
    ----------
    expression : str or sympy.Expr
        As of the constraint kind custom, without a comparison.
    """

    expression: str | sp.Basic
    kind: ClassVar[str] = "custom"

    def goal(self, setting: Setting, weights: Array) -> Goal:
        """Return the goal."""
        try:
            stated = (
                parse_expression(self.expression, setting.groups)
                if isinstance(self.expression, str)
                else sp.sympify(self.expression, strict=True)
            )
            expression = checked(stated, setting, "the objective")
        except InputError as error:
            raise InputError(f"the objective: {error}") from None
        if not expression.free_symbols:
            raise InputError("the objective holds no ratio, z or loss; write for example L[en] + 2 * L[sw]")
        read = {language for kind, language in map(entry, expression.free_symbols) if kind != "r"}
        # In the order of the model; a table needs one target even where f is of ratios alone.
        targets = tuple(name for name in setting.targets if name in read) or setting.targets[:1]
        return Goal(targets, Ordering(setting.sources, targets).table([expression]), unit="", label="objective")
