"""How repeated tokens count: a file per use, listed in USES."""

from climbopt.foundations.registry import Registry
from climbopt.model.uses.diluting import DILUTING
from climbopt.model.uses.hurting import HURTING
from climbopt.model.uses.information_use import INFORMATION_USE
from climbopt.model.uses.once import ONCE
from climbopt.model.uses.saturating_use import SATURATING_USE
from climbopt.model.uses.use import SUPPLY, Use

USES: Registry[Use] = Registry("use", (ONCE, SATURATING_USE, INFORMATION_USE, HURTING, DILUTING))

UseLike = Use | str
"""A use, or its registered name."""

__all__ = ["ONCE", "SUPPLY", "USES", "Use", "UseLike"]
