"""Cross-lingual interactions: one file each, listed in INTERACTIONS."""

from climbopt.interactions.additive_power import ADDITIVE_POWER
from climbopt.interactions.base import Coordinates, Interaction, smallest_budget
from climbopt.interactions.gated import GATED
from climbopt.interactions.information import INFORMATION
from climbopt.interactions.linear import LINEAR
from climbopt.interactions.mixing import MIXING
from climbopt.interactions.none import NONE
from climbopt.interactions.overlap import OVERLAP
from climbopt.interactions.repetition import REPETITION
from climbopt.interactions.saturating import SATURATING
from climbopt.registry import Registry

INTERACTIONS: Registry[Interaction] = Registry(
    "interaction", (NONE, LINEAR, SATURATING, GATED, OVERLAP, MIXING, ADDITIVE_POWER, REPETITION, INFORMATION))

__all__ = ["INTERACTIONS", "Coordinates", "Interaction", "smallest_budget"]
