"""Constraint kinds: one file each, listed in CONSTRAINTS."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, count
from operator import attrgetter
from typing import TypeAlias, TypeGuard

import sympy as sp

from climbopt.foundations.errors import InputError
from climbopt.foundations.registry import Registry
from climbopt.problem.constraints.cap import Cap
from climbopt.problem.constraints.constraint import (
    Constraint,
    DistanceRow,
    ExpressionRow,
    LinearRow,
    Reference,
    Row,
    Setting,
    optional_reference,
    reference_mixture,
)
from climbopt.problem.constraints.custom import Custom
from climbopt.problem.constraints.floor import Floor
from climbopt.problem.constraints.group import Group
from climbopt.problem.constraints.linear_constraint import Linear
from climbopt.problem.constraints.loss_ceiling import LossCeiling
from climbopt.problem.constraints.stay_near import StayNear
from climbopt.problem.constraints.supply import Supply

CONSTRAINTS: Registry[type[Constraint]] = Registry(
    "constraint kind", (Floor, Cap, Group, Supply, StayNear, LossCeiling, Linear, Custom), key=attrgetter("kind")
)

Asked: TypeAlias = Constraint | sp.Basic | str
"""A constraint, or a relation of `climbopt.r`, `climbopt.z`, `climbopt.L` and `climbopt.D`, or its text."""


def constraints_of(given: Sequence[Asked], of: str) -> tuple[Constraint, ...]:
    """Return constraints; relations become the kind custom, named in their order.

    Examples
    --------
    >>> [one.name for one in constraints_of([Floor(pt=0.15), "r[en] <= 0.5", "r[de] >= r[nl]"], "constraints")]
    ['floor', 'custom', 'custom 2']
    """
    if isinstance(given, str | sp.Basic | Mapping) or not isinstance(given, Iterable):
        raise InputError(f"{of} is a {type(given).__name__}; give a list, such as {of}=[climbopt.Floor(pt=0.15)]")
    given = tuple(given)
    taken = {one.name for one in given if _is_constraint(one)}
    names = chain([Custom.kind], (f"{Custom.kind} {n}" for n in count(2)))
    free = (name for name in names if name not in taken)
    return tuple(_constraint(one, number, free) for number, one in enumerate(given, 1))


def _is_constraint(one: object) -> TypeGuard[Constraint]:
    return not isinstance(one, type) and all(hasattr(one, part) for part in ("kind", "name", "rows"))


def _constraint(one: object, number: int, names: Iterator[str]) -> Constraint:
    """Return a constraint, made of a relation or its text under the next name."""
    if _is_constraint(one):
        return one
    if isinstance(one, str | sp.Basic):
        return Custom(one, next(names))
    what = f"the class {one.__name__}" if isinstance(one, type) else repr(one)[:80]
    hint = (
        'write an equation as sympy.Eq(climbopt.r["pt"], 0.15), or as text, "r[pt] == 0.15"'
        if isinstance(one, bool)
        else 'give for example climbopt.Floor(pt=0.15), climbopt.r["pt"] >= 0.15 or "r[pt] >= 0.15"'
    )
    raise InputError(f"constraint {number} is {what}; {hint}")


__all__ = [
    "CONSTRAINTS",
    "Asked",
    "Cap",
    "Constraint",
    "Custom",
    "DistanceRow",
    "ExpressionRow",
    "Floor",
    "Group",
    "Linear",
    "LinearRow",
    "LossCeiling",
    "Reference",
    "Row",
    "Setting",
    "StayNear",
    "Supply",
    "constraints_of",
    "optional_reference",
    "reference_mixture",
]
