"""Loss laws: one file each, listed in LAWS."""

from climbopt.laws.base import Law
from climbopt.laws.power import POWER
from climbopt.laws.power_nd import POWER_ND
from climbopt.registry import Registry

LAWS: Registry[Law] = Registry("law", (POWER, POWER_ND))

__all__ = ["LAWS", "Law"]
