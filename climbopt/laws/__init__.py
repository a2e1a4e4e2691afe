"""Loss laws: one file each, listed in LAWS."""

from climbopt.laws.additive import ADDITIVE
from climbopt.laws.base import Law
from climbopt.laws.bimix import BIMIX
from climbopt.laws.exponential import EXPONENTIAL
from climbopt.laws.information_power import INFORMATION_POWER
from climbopt.laws.msl import MSL
from climbopt.laws.power import POWER
from climbopt.laws.power_nd import POWER_ND
from climbopt.registry import Registry

LAWS: Registry[Law] = Registry(
    "law", (POWER, POWER_ND, MSL, EXPONENTIAL, ADDITIVE, BIMIX, INFORMATION_POWER))

__all__ = ["LAWS", "Law"]
