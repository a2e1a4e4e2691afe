"""The protocol of constraints, the data that they read, and the rows that they return."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeVar

import numpy as np
import sympy as sp

from climbopt.foundations.errors import InputError, refuse_unknown
from climbopt.foundations.frozen import Converted
from climbopt.foundations.quantities import RATIO, Amount, ByName
from climbopt.model.templates import Array
from climbopt.runs.pilots import RATIO_SUM_TOLERANCE

INFINITY = math.inf

Reference = str | Mapping[str, float]
"""A mixture to compare with: "uniform", "natural" (by supply), or ratios by source."""


def reference_mixture(reference: str | Mapping[str, Amount], of: str) -> Reference:
    """Return the name of a reference mixture, or its ratios as numbers."""
    return reference if isinstance(reference, str) else RATIO.by_name(reference, of)


def optional_reference(reference: str | Mapping[str, Amount] | None, of: str) -> Reference | None:
    """Return the same, or None for None."""
    return None if reference is None else reference_mixture(reference, of)


@dataclass(frozen=True)
class Setting:
    """The part of a problem that a constraint reads.

    Parameters
    ----------
    sources : tuple of str
        Languages that are mixed.
    budget : float
        Tokens of the run.
    supply : mapping of str to float
        Available tokens, by language.
    groups : mapping of str to tuple of str
        Named lists of languages.
    targets : tuple of str
        Languages whose loss is modelled.
    losses : callable
        Returns the losses (T,) of a mixture (S,).
    has_z : bool
        Whether each target has an effective ratio z; in an ensemble of forms it has none.
    """

    sources: tuple[str, ...]
    budget: float
    supply: Mapping[str, float]
    groups: Mapping[str, tuple[str, ...]]
    targets: tuple[str, ...] = ()
    losses: Callable[[Array], Array] = lambda ratios: np.zeros(0)
    has_z: bool = True

    def check_sources(self, names: Iterable[str], of: str) -> None:
        """Refuse a name that is no source; `of` names its owner in the message."""
        refuse_unknown(f"language of {of}", names, self.sources)

    def check_targets(self, names: Iterable[str], of: str) -> None:
        """Refuse a name that is no target; `of` names its owner in the message."""
        refuse_unknown(f"language of {of}", names, self.targets)

    def mixture(self, reference: Reference, of: str) -> Array:
        """Return the ratios of a reference mixture, (S,); `of` names its owner in messages."""
        if isinstance(reference, str):
            refuse_unknown(f"reference of {of}", [reference], ("uniform", "natural"))
            # Equal, or in proportion to the supplies; normalised below.
            equal = reference == "uniform"
            ratios = np.ones(len(self.sources)) if equal else self.supplies(f"the reference 'natural' of {of}")
        else:
            self.check_sources(reference, f"the reference of {of}")
            # Files hold rounded ratios: a sum within the tolerance is rescaled to 1.
            total = sum(reference.values())
            if not all(0 <= ratio <= 1 for ratio in reference.values()) or abs(total - 1) > RATIO_SUM_TOLERANCE:
                raise InputError(
                    f"the reference of {of} sums to {total:.6g}; write ratios in [0, 1] that "
                    "sum to 1 (a language left out has 0)"
                )
            ratios = np.array([float(reference.get(name, 0.0)) for name in self.sources])
        return np.asarray(ratios / ratios.sum())

    def supplies(self, of: str) -> Array:
        """Return the available tokens of every source, (S,), 0 for an empty source; `of` names who requires them."""
        missing = [name for name in self.sources if name not in self.supply]
        if missing:
            raise InputError(f"{of} needs the supply of {', '.join(missing)}; add it to [supply]")
        if not any(self.supply.values()):
            raise InputError(f"{of} needs data, and every supply in [supply] is 0; give at least one source tokens")
        return np.array([self.supply[name] for name in self.sources], dtype=float)

    def reference_losses(self, reference: Reference, of: str) -> Array:
        """Return the losses of a reference mixture, (T,); refuses a mixture outside the law's domain."""
        losses = self.losses(self.mixture(reference, of))
        # Not above 0: NaN outside the law's domain, or a loss that nothing can be divided by.
        outside = [name for name, loss in zip(self.targets, losses, strict=True) if not loss > 0]
        if outside:
            raise InputError(
                f"the reference of {of} gives {', '.join(outside)} no loss above 0; choose a mixture "
                "with data for every target"
            )
        return losses


@dataclass(frozen=True)
class LinearRow:
    """lower <= sum of coefficients times ratios <= upper.

    Parameters
    ----------
    name : str
        ``constraint[language]``, or the constraint's own name where it has one row.
    coefficients : mapping of str to float
        By source.
    lower, upper : float
        Infinite where there is no limit.
    per_unit : float
        d bound / d (the number that the user wrote), for shadow prices in the user's unit.
    unit : str
        That unit.
    at_zero : float or None
        The bound that corresponds to 0 of that number; None where there is no such number.
    """

    name: str
    coefficients: Mapping[str, float]
    lower: float = -INFINITY
    upper: float = INFINITY
    per_unit: float = 1.0
    unit: str = "ratio"
    at_zero: float | None = 0.0


@dataclass(frozen=True)
class ExpressionRow:
    """lower <= an expression of ratios, z and losses <= upper; the other fields are those of LinearRow.

    Parameters
    ----------
    expression : sympy.Expr
        Over the symbols of `climbopt.model.expressions` and numbers.
    """

    name: str
    expression: sp.Expr
    lower: float = -INFINITY
    upper: float = INFINITY
    per_unit: float = 1.0
    unit: str = "unit of its bound"
    at_zero: float | None = 0.0


@dataclass(frozen=True)
class DistanceRow:
    """The sum of |r_j - center_j| over the sources is at most `upper`.

    Parameters
    ----------
    name : str
    center : mapping of str to float
        A mixture, by source.
    upper : float
    lower, per_unit, unit, at_zero : as of LinearRow
        The same for every distance.
    """

    name: str
    center: Mapping[str, float]
    upper: float
    lower: ClassVar[float] = -INFINITY
    per_unit: ClassVar[float] = 1.0
    unit: ClassVar[str] = "unit of distance"
    at_zero: ClassVar[float] = 0.0


Row = LinearRow | ExpressionRow | DistanceRow


class Constraint(Protocol):
    """One constraint of a problem: a frozen dataclass whose fields are the keys of its table in a problem file."""

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """Name in reports; the kind by default."""

    def rows(self, setting: Setting) -> Sequence[Row]:
        """Return the rows; raises InputError where the constraint does not fit the problem."""


Values = TypeVar("Values")


def mapping_or_keywords(
    values: Values | None, keywords: Mapping[str, Amount], of: str
) -> Values | Mapping[str, Amount]:
    """Return the numbers by language, from a mapping or from keywords; both at once are refused."""
    if values is not None and keywords:
        raise InputError(f"a {of} has its numbers by keyword and in its first argument too; write all of them in one")
    return keywords if values is None else values


@dataclass(frozen=True, init=False)
class RatioBounds:
    """Bounds on single ratios; `side` is the bound that a kind sets.

    Parameters
    ----------
    ratios : mapping of str to float or str, optional
        The bound by language, in [0, 1]: 0.2 or "20%".
    name : str
        Name in reports; the kind by default.
    **languages : float or str
        Further bounds, by language: ``Floor(pt=0.15)``. Names that cannot be keywords go into `ratios`.
    """

    ratios: ByName = Converted(RATIO.by_name)
    name: str = ""
    kind: ClassVar[str]
    side: ClassVar[Literal["lower", "upper"]]

    def __init__(self, ratios: Mapping[str, Amount] | None = None, name: str = "", **languages: Amount) -> None:
        object.__setattr__(self, "ratios", mapping_or_keywords(ratios, languages, self.kind))
        object.__setattr__(self, "name", name or self.kind)
        for language, ratio in self.ratios.items():
            if not 0 <= ratio <= 1:  # NaN too
                hint = f"; write {ratio / 100:g} for {ratio:g} %" if 1 < ratio <= 100 else ""
                raise InputError(f"{self.name} of '{language}' is {ratio:g}; a {self.kind} is a ratio in [0, 1]{hint}")

    def rows(self, setting: Setting) -> list[LinearRow]:
        """Return one row per language."""
        setting.check_sources(self.ratios, self.name)
        return [
            LinearRow(
                f"{self.name}[{language}]",
                {language: 1.0},
                lower=ratio if self.side == "lower" else -INFINITY,
                upper=ratio if self.side == "upper" else INFINITY,
            )
            for language, ratio in self.ratios.items()
        ]
