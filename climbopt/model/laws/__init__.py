"""Loss laws: a file for each, listed in LAWS."""

from climbopt.foundations.registry import Registry
from climbopt.model.laws.additive import ADDITIVE
from climbopt.model.laws.bimix import BIMIX
from climbopt.model.laws.exponential import EXPONENTIAL
from climbopt.model.laws.information_power import INFORMATION_POWER
from climbopt.model.laws.law import Law
from climbopt.model.laws.msl import MSL
from climbopt.model.laws.power import POWER
from climbopt.model.laws.power_nd import POWER_ND
from climbopt.model.laws.split import SPLIT
from climbopt.model.laws.split_nd import SPLIT_ND

LAWS: Registry[Law] = Registry(
    "law", (POWER, POWER_ND, MSL, EXPONENTIAL, ADDITIVE, BIMIX, INFORMATION_POWER, SPLIT, SPLIT_ND)
)

LawLike = Law | str
"""A law, or its registered name."""

__all__ = ["LAWS", "Law", "LawLike"]
