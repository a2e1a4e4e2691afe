"""Bounds on any weighted sum of ratios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import Converted, optional
from climbopt.foundations.quantities import NUMBER, RATIO, ByName, OptionalNumber
from climbopt.problem.constraints.constraint import INFINITY, LinearRow, Setting


@dataclass(frozen=True)
class Linear:
    """lower <= sum of coefficients_i r_i <= upper.

    Parameters
    ----------
    coefficients : mapping of str to float
        By source.
    lower, upper : float, optional
        At least one is required.
    name : str
        Name in reports.

    Examples
    --------
    >>> setting = Setting(("en", "sw"), 1e9, {}, {})
    >>> Linear({"sw": 1.0, "en": -0.5}, lower=0.0).rows(setting)[0].lower
    0.0
    """

    coefficients: ByName = Converted(NUMBER.by_name)
    lower: OptionalNumber = Converted(optional(RATIO.read), None)
    upper: OptionalNumber = Converted(optional(RATIO.read), None)
    name: str = "linear"
    kind: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        # Coefficients of 0 would hide a row of one ratio, which is a bound.
        nonzero = {language: value for language, value in self.coefficients.items() if value != 0}
        if not nonzero:
            raise InputError(f"the coefficients of {self.name} are {dict(self.coefficients)}; give one that is not 0")
        object.__setattr__(self, "coefficients", nonzero)
        if self.lower is None and self.upper is None:
            raise InputError(f"{self.name} has neither 'lower' nor 'upper'; add one")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise InputError(f"{self.name} asks for {self.lower:g} to {self.upper:g}; lower must not be above upper")

    def rows(self, setting: Setting) -> list[LinearRow]:
        """Return the row."""
        setting.check_sources(self.coefficients, self.name)
        # Normalised to a largest coefficient of 1; per_unit restores prices per unit of the user's bound.
        scale = max(map(abs, self.coefficients.values()))
        return [
            LinearRow(
                self.name,
                {language: value / scale for language, value in self.coefficients.items()},
                -INFINITY if self.lower is None else self.lower / scale,
                INFINITY if self.upper is None else self.upper / scale,
                1 / scale,
                "unit of its bound",
            )
        ]
