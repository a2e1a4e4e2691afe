"""Constraint kinds: one file each, listed in CONSTRAINTS."""

from operator import attrgetter

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
from climbopt.problem.constraints.linear import Linear
from climbopt.problem.constraints.loss_ceiling import LossCeiling
from climbopt.problem.constraints.stay_near import StayNear
from climbopt.problem.constraints.supply import Supply

CONSTRAINTS: Registry[type[Constraint]] = Registry(
    "constraint kind", (Floor, Cap, Group, Supply, StayNear, LossCeiling, Linear, Custom), key=attrgetter("kind")
)

__all__ = [
    "CONSTRAINTS",
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
    "optional_reference",
    "reference_mixture",
]
