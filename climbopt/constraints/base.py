"""What a constraint kind is, what it may read, and the rows it gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal, Protocol

from climbopt.errors import InputError, unknown_name

INFINITY = math.inf


@dataclass(frozen=True)
class Setting:
    """What a constraint may read of its problem.

    Parameters
    ----------
    sources : tuple of str
        Languages that are mixed.
    budget : float
        Tokens of the run.
    supply : mapping of str to float
        Tokens there are, by language.
    groups : mapping of str to tuple of str
        Named lists of languages.
    """

    sources: tuple[str, ...]
    budget: float
    supply: Mapping[str, float]
    groups: Mapping[str, tuple[str, ...]]

    def check_sources(self, names: Iterable[str], of: str) -> None:
        """Refuse a name that is no source; `of` says whose name it is."""
        for name in names:
            if name not in self.sources:
                raise unknown_name(f"language of {of}", name, self.sources)


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
        Infinite where there is no such side.
    per_unit : float
        d bound / d (the number that the user wrote), for shadow prices in the user's unit.
    unit : str
        That unit.
    """

    name: str
    coefficients: Mapping[str, float]
    lower: float = -INFINITY
    upper: float = INFINITY
    per_unit: float = 1.0
    unit: str = "ratio"


class Constraint(Protocol):
    """One constraint of a problem: a frozen dataclass whose fields are the keys of its table in a problem file."""

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """Name in reports; the kind where the user gave none."""
        ...

    def rows(self, setting: Setting) -> list[LinearRow]:
        """Return the rows; raises InputError where the constraint does not fit the problem."""
        ...


@dataclass(frozen=True)
class RatioBounds:
    """Bounds on single ratios; `side` says which bound a member kind sets.

    Parameters
    ----------
    ratios : mapping of str to float
        The bound by language, in [0, 1].
    name : str
        Name in reports; the kind by default.
    """

    ratios: Mapping[str, float]
    name: str = ""
    kind: ClassVar[str]
    side: ClassVar[Literal["lower", "upper"]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.kind)
        for language, ratio in self.ratios.items():
            if not 0 <= ratio <= 1:  # NaN too
                hint = f"; write {ratio / 100:g} for {ratio:g} %" if 1 < ratio <= 100 else ""
                raise InputError(f"{self.name} of '{language}' is {ratio:g}; a {self.kind} is a ratio in [0, 1]{hint}")
        object.__setattr__(self, "ratios", MappingProxyType(
            {language: float(ratio) for language, ratio in self.ratios.items()}))

    def rows(self, setting: Setting) -> list[LinearRow]:
        """Return one row a language."""
        setting.check_sources(self.ratios, self.name)
        return [
            LinearRow(f"{self.name}[{language}]", {language: 1.0},
                      lower=ratio if self.side == "lower" else -INFINITY,
                      upper=ratio if self.side == "upper" else INFINITY)
            for language, ratio in self.ratios.items()
        ]
