"""Constraint kinds: one file each, listed in CONSTRAINTS."""

from operator import attrgetter

from climbopt.constraints.base import Constraint, LinearRow, Setting
from climbopt.constraints.cap import Cap
from climbopt.constraints.floor import Floor
from climbopt.constraints.group import Group
from climbopt.constraints.supply import Supply
from climbopt.registry import Registry

CONSTRAINTS: Registry[type[Constraint]] = Registry(
    "constraint kind", (Floor, Cap, Group, Supply), key=attrgetter("kind"))

__all__ = ["CONSTRAINTS", "Cap", "Constraint", "Floor", "Group", "LinearRow", "Setting", "Supply"]
