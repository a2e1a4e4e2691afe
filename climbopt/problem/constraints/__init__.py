"""Constraint kinds: a file for each, listed in CONSTRAINTS."""

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

ConstraintLike: TypeAlias = Constraint | sp.Basic | str
"""A constraint, or a relation of `climbopt.r`, `climbopt.z`, `climbopt.L` and `climbopt.D`, or its text."""


def constraints_of(constraints: Sequence[ConstraintLike], of: str) -> tuple[Constraint, ...]:
    """Return constraints; relations become the kind custom, named in their order.

    Examples
    --------
    >>> [
    ...     constraint.name
    ...     for constraint in constraints_of([Floor(pt=0.15), "r[en] <= 0.5", "r[de] >= r[nl]"], "constraints")
    ... ]
    ['floor', 'custom', 'custom 2']
    """
    if isinstance(constraints, str | sp.Basic | Mapping) or not isinstance(constraints, Iterable):
        raise InputError(f"{of} is a {type(constraints).__name__}; give a list, such as {of}=[climbopt.Floor(pt=0.15)]")
    items = tuple(constraints)
    # Relations get the first free names custom, custom 2, ..., so that none repeats a name that the user gave.
    taken = {item.name for item in items if _is_constraint(item)}
    free = (name for name in chain([Custom.kind], (f"{Custom.kind} {n}" for n in count(2))) if name not in taken)
    return tuple(_constraint(item, number, free) for number, item in enumerate(items, 1))


def _is_constraint(item: object) -> TypeGuard[Constraint]:
    # A protocol: any object with these attributes, but not a class that has them.
    return not isinstance(item, type) and all(hasattr(item, part) for part in ("kind", "name", "rows"))


def _constraint(item: object, number: int, names: Iterator[str]) -> Constraint:
    """Return a constraint as it is, and a relation or its text as the kind custom under the next name."""
    if _is_constraint(item):
        return item
    if isinstance(item, str | sp.Basic):
        return Custom(item, next(names))
    value = f"the class {item.__name__}" if isinstance(item, type) else repr(item)[:80]
    hint = (
        'write an equation as sympy.Eq(climbopt.r["pt"], 0.15), or as text, "r[pt] == 0.15"'
        # r == 0.15 is structural equality in SymPy, and False.
        if isinstance(item, bool)
        else 'give for example climbopt.Floor(pt=0.15), climbopt.r["pt"] >= 0.15 or "r[pt] >= 0.15"'
    )
    raise InputError(f"constraint {number} is {value}; {hint}")


__all__ = [
    "CONSTRAINTS",
    "ConstraintLike",
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
