"""Bounds on a sum of ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from climbopt.foundations.errors import InputError, refuse_unknown
from climbopt.foundations.frozen import Converted, check_arguments, optional
from climbopt.foundations.quantities import RATIO, OptionalNumber
from climbopt.problem.constraints.constraint import INFINITY, LinearRow, Setting


@check_arguments
@dataclass(frozen=True)
class Group:
    """lower <= sum of r_i over the members <= upper.

    Parameters
    ----------
    members : sequence of str, or str
        Languages, or the name of a group of the problem.
    lower, upper : float or str, optional
        In [0, 1], 0.2 or "20%"; at least one is required.
    name : str
        Name in reports.

    Examples
    --------
    >>> setting = Setting(("en", "es", "pt"), 1e9, {}, {"romance": ("es", "pt")})
    >>> dict(Group("romance", upper=0.4).rows(setting)[0].coefficients)
    {'es': 1.0, 'pt': 1.0}
    """

    members: Sequence[str] | str
    lower: OptionalNumber = Converted(optional(RATIO.read), None)
    upper: OptionalNumber = Converted(optional(RATIO.read), None)
    name: str = "group"
    kind: ClassVar[str] = "group"

    def __post_init__(self) -> None:
        if not isinstance(self.members, str):
            object.__setattr__(self, "members", tuple(self.members))
            if not self.members or len(set(self.members)) < len(self.members):
                raise InputError(
                    f"members of {self.name} are {list(self.members)}; list one or more languages, each once"
                )
        if self.lower is None and self.upper is None:
            raise InputError(f"{self.name} has neither lower nor upper; give at least one of them")
        for side in ("lower", "upper"):
            value = getattr(self, side)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{side} of {self.name} is {value:g}; a sum of ratios lies in [0, 1]")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise InputError(f"{self.name} has lower {self.lower:g} above upper {self.upper:g}; swap or widen them")

    def rows(self, setting: Setting) -> list[LinearRow]:
        """Return the row."""
        members = self.members
        if isinstance(members, str):
            refuse_unknown(f"group of {self.name}", [members], setting.groups)
            members = setting.groups[members]
        setting.check_sources(members, self.name)
        return [
            LinearRow(
                self.name,
                dict.fromkeys(members, 1.0),
                -INFINITY if self.lower is None else self.lower,
                INFINITY if self.upper is None else self.upper,
            )
        ]
