"""Constraint kinds: one file each, listed in CONSTRAINTS."""

from operator import attrgetter

from climbopt.constraints.base import Constraint, DistanceRow, ExpressionRow, LinearRow, Reference, Row, Setting
from climbopt.constraints.cap import Cap
from climbopt.constraints.custom import Custom
from climbopt.constraints.floor import Floor
from climbopt.constraints.group import Group
from climbopt.constraints.linear import Linear
from climbopt.constraints.loss_ceiling import LossCeiling
from climbopt.constraints.stay_near import StayNear
from climbopt.constraints.supply import Supply
from climbopt.registry import Registry

CONSTRAINTS: Registry[type[Constraint]] = Registry(
    "constraint kind", (Floor, Cap, Group, Supply, StayNear, LossCeiling, Linear, Custom), key=attrgetter("kind"))

__all__ = ["CONSTRAINTS", "Cap", "Constraint", "Custom", "DistanceRow", "ExpressionRow", "Floor", "Group", "Linear",
           "LinearRow", "LossCeiling", "Reference", "Row", "Setting", "StayNear", "Supply"]
