"""The protocol of objectives, and Goal: an objective as a numeric function of ratios, z and losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

from climbopt.foundations.errors import InputError
from climbopt.model.expressions import Kind, entry
from climbopt.model.outer import Outer
from climbopt.model.templates import Array
from climbopt.problem.constraints import Setting


@dataclass(frozen=True, eq=False)
class Goal:
    """f = linear[r]'r + linear[z]'z + linear[L]'L + constant + curved(y); or, with references, max L_i / reference_i.

    Parameters
    ----------
    names : mapping of kind to tuple of str
        Sources for r, targets for z and L.
    linear : mapping of kind to ndarray
        Coefficients, one per name; 0 for a kind that is left out.
    constant : float
    curved : Outer, optional
    references : ndarray, (T,), optional
        Infinite for targets that do not count.
    unit : str
        Of f, for reports.
    label : str
        What f is, for reports.

    Attributes
    ----------
    counted : tuple of str
        The targets whose z or loss f depends on.
    """

    names: Mapping[Kind, tuple[str, ...]]
    linear: Mapping[Kind, Array] = field(default_factory=dict)
    constant: float = 0.0
    curved: Outer | None = None
    references: Array | None = None
    unit: str = "nats/token"
    label: str = "weighted loss"
    counted: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        used = np.zeros(len(self.names["L"]), dtype=bool)
        for kind in ("z", "L"):
            used |= self.linear.get(kind, np.zeros(used.size)) != 0
        if self.references is not None:
            used |= np.isfinite(self.references)
        read = set() if self.curved is None else {name for kind, name in map(entry, self.curved.entries) if kind != "r"}
        counted = tuple(name for name, has in zip(self.names["L"], used, strict=True) if has or name in read)
        object.__setattr__(self, "counted", counted)

    def value(self, ratios: Array, z: Array, losses: Array) -> Array:
        """Return f of mixtures, (..., S), their z and their losses, (..., T) each; (...)."""
        if self.references is not None:
            finite = np.isfinite(self.references)
            # max over the targets with a finite reference of L_i / reference_i.
            return np.asarray((losses[..., finite] / self.references[finite]).max(axis=-1))
        quantities: dict[Kind, Array] = {"r": ratios, "z": z, "L": losses}
        total = np.full(ratios.shape[:-1], self.constant)
        for kind, coefficients in self.linear.items():
            used = coefficients != 0  # losses with coefficient 0 may be NaN
            total = total + quantities[kind][..., used] @ coefficients[used]
        return total if self.curved is None else total + self.curved.value(self._read(quantities))

    def by_loss(self, ratios: Array, z: Array, losses: Array) -> Array:
        """Return df/dL at one mixture, (T,); 0 for the largest of several losses, which has no derivative."""
        slopes = np.array(self.linear.get("L", np.zeros(losses.size)))
        if self.curved is not None:
            # df/dL_i = linear coefficient + dg/dL_i of the curved part.
            gradient = self.curved.gradient(self._read({"r": ratios, "z": z, "L": losses}))
            for (kind, name), slope in zip(map(entry, self.curved.entries), gradient, strict=True):
                if kind == "L":
                    slopes[self.names["L"].index(name)] += slope
        return slopes

    def _read(self, quantities: Mapping[Kind, Array]) -> Array:
        """Return the entries that the curved part reads, (..., k)."""
        assert self.curved is not None  # callers checked
        return np.stack(
            [quantities[kind][..., self.names[kind].index(name)] for kind, name in map(entry, self.curved.entries)],
            axis=-1,
        )


def names_of(setting: Setting) -> dict[Kind, tuple[str, ...]]:
    """Return the names that each kind of quantity has."""
    return {"r": setting.sources, "z": setting.targets, "L": setting.targets}


class Objective(Protocol):
    """An objective: a frozen dataclass whose fields are the keys of [objective] in a problem file."""

    kind: ClassVar[str]

    def goal(self, setting: Setting, weights: Array) -> Goal:
        """Return the goal; weights (T,) are the problem's, summing to 1."""
        ...


def by_target(values: Mapping[str, float] | None, setting: Setting, weights: Array, of: str) -> Array:
    """Return references, (T,): required for every target with a weight, infinite where the weight is 0."""
    setting.check_targets(values or {}, of)
    result = np.full(len(setting.targets), np.inf)
    for i, target in enumerate(setting.targets):
        if weights[i] > 0:
            value = (values or {}).get(target)
            if value is None:
                raise InputError(f"{of} has none for '{target}'; give one for every target with a weight")
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"{of} is {value:g} for '{target}'; it is a loss above 0, in nats per token")
            result[i] = value
    return result
