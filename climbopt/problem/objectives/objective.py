"""The protocol of objectives, and Goal: an objective as functions of ratios, z and losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from climbopt.foundations.errors import InputError
from climbopt.model.templates import Array
from climbopt.problem.constraints import Setting
from climbopt.problem.table import Table


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


def by_target(values: Mapping[str, float] | None, setting: Setting, weights: Array, of: str) -> Array:
    """Return references, (T,): required for every target with a weight, infinite where the weight is 0."""
    setting.check_targets(values or {}, of)
    result = np.full(len(setting.targets), np.inf)
    for i, target in enumerate(setting.targets):
        # Infinite elsewhere, which marks targets that do not count.
        if weights[i] > 0:
            value = (values or {}).get(target)
            if value is None:
                raise InputError(f"{of} has none for '{target}'; give one for every target with a weight")
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"{of} is {value:g} for '{target}'; it is a loss above 0, in nats per token")
            result[i] = value
    return result
