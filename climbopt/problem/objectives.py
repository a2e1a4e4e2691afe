"""Objectives: the kinds of what is minimised, listed in OBJECTIVES, each as functions of ratios, z and losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import ClassVar, Protocol

import numpy as np
import sympy as sp
from scipy.sparse import diags_array

from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import Converted, check_arguments, optional
from climbopt.foundations.quantities import NUMBER, Amount, OptionalByName
from climbopt.foundations.registry import Registry
from climbopt.model.expressions import entry, parse_expression
from climbopt.model.outer import PowerMean
from climbopt.model.templates import Array
from climbopt.problem.constraints import Reference, Setting, optional_reference
from climbopt.problem.constraints.custom import checked
from climbopt.problem.table import Ordering, Table


@dataclass(frozen=True, eq=False)
class Goal:
    """f: the one function of a table over (r, z, L), or the largest of several.

    Parameters
    ----------
    targets : tuple of str
        The targets whose z or loss f depends on; one that it does not, where it is of ratios alone.
    table : Table
        Over the ratios, and z and losses of these targets.
    unit : str
        Of f, for reports.
    label : str
        What f is, for reports.
    largest : bool
        Whether f is the largest of the functions, of which there is one per target.
    """

    targets: tuple[str, ...]
    table: Table
    unit: str = "nats/token"
    label: str = "weighted loss"
    largest: bool = False


class Objective(Protocol):
    """An objective: a frozen dataclass whose fields are the keys of [objective] in a problem file."""

    kind: ClassVar[str]

    def goal(self, setting: Setting, weights: Array) -> Goal:
        """Return the goal; weights (T,) are the problem's, summing to 1."""


@dataclass(frozen=True)
class Weighted:
    """f = sum of w_i L_i with the problem's weights; the default."""

    kind: ClassVar[str] = "weighted"

    def goal(self, setting: Setting, weights: Array) -> Goal:
        """Return the goal."""
        counted = np.flatnonzero(weights)
        targets = tuple(setting.targets[i] for i in counted.tolist())
        return Goal(targets, Table.build(len(setting.sources), len(targets), loss=weights[counted]))


@dataclass(frozen=True)
class References:
    """Reference losses, by which losses are divided: stated by target, or computed from a reference mixture.

    Parameters
    ----------
    losses : mapping of str to float, optional
        Nats per token, for every target with a weight.
    reference : str or mapping of str to float, optional
        Instead: "uniform" (the default), "natural" (by supply), or ratios by source that sum to 1.
    """

    losses: OptionalByName = Converted(optional(NUMBER.by_name), None)
    reference: Converted[str | Mapping[str, Amount] | None, Reference | None] = Converted(optional_reference, None)

    def __post_init__(self) -> None:
        if self.losses is not None and self.reference is not None:
            raise InputError("an objective has either 'losses' by target or a 'reference' mixture, not both")

    def references(self, setting: Setting, weights: Array) -> Array:
        """Return the reference losses, (T,); infinite for targets of weight 0, which marks that they do not count."""
        if self.losses is None:
            losses = setting.reference_losses(self.reference or "uniform", "the objective")
            return np.where(weights > 0, losses, np.inf)
        setting.check_targets(self.losses, "the objective's losses")
        result = np.full(len(setting.targets), np.inf)
        for i in np.flatnonzero(weights > 0).tolist():
            target = setting.targets[i]
            if target not in self.losses:
                raise InputError(
                    f"the objective's losses has none for '{target}'; give one for every target with a weight"
                )
            result[i] = self.losses[target]
            if not result[i] > 0:
                raise InputError(
                    f"the objective's losses is {result[i]:g} for '{target}'; it is a loss above 0, in nats per token"
                )
        return result


@dataclass(frozen=True)
class Minimax(References):
    """f = max over the targets with a weight of L_i / reference_i: the largest ratio of a loss to its reference.

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


@check_arguments
@dataclass(frozen=True)
class WeightedPowerMean(References):
    """f = (sum of w_i (L_i / reference_i)^power)^(1/power): between the weighted sum and the largest.

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


@dataclass(frozen=True)
class CustomObjective:
    """f = an expression of ratios, z, losses and the budget, such as ``0.5 * L[en] + L[sw]**2``, without the weights.

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


OBJECTIVES: Registry[type[Objective]] = Registry(
    "objective", (Weighted, Minimax, WeightedPowerMean, CustomObjective), key=attrgetter("kind")
)


def objective_of(objective: Objective | sp.Basic | str, of: str) -> Objective:
    """Return an objective from an object, the name of a kind, or an expression or its text (the kind custom).

    Examples
    --------
    >>> objective_of("minimax", "objective"), objective_of("L[en] + r[sw]", "objective")
    (Minimax(losses=None, reference=None), CustomObjective(expression='L[en] + r[sw]'))
    """
    if isinstance(objective, str) and objective in OBJECTIVES and objective != CustomObjective.kind:
        return OBJECTIVES[objective]()
    if isinstance(objective, str | sp.Basic):
        return CustomObjective(objective)
    if isinstance(objective, type) or not hasattr(objective, "goal"):
        raise InputError(
            f"{of} is {objective!r}; give an objective such as climbopt.Minimax(), its name ({', '.join(OBJECTIVES)}), "
            "or an expression such as climbopt.L['en'] + 2 * climbopt.L['sw']"
        )
    return objective
