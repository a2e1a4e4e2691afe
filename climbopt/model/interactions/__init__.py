"""Cross-lingual interactions: a file for each, listed in INTERACTIONS."""

from climbopt.foundations.registry import Registry
from climbopt.model.interactions.additive_power import ADDITIVE_POWER
from climbopt.model.interactions.gated import GATED
from climbopt.model.interactions.information import INFORMATION
from climbopt.model.interactions.interaction import Coordinates, Interaction, smallest_budget
from climbopt.model.interactions.linear import LINEAR
from climbopt.model.interactions.mixing import MIXING
from climbopt.model.interactions.none import NONE
from climbopt.model.interactions.overlap import OVERLAP
from climbopt.model.interactions.powers import POWERS
from climbopt.model.interactions.repetition import REPETITION
from climbopt.model.interactions.saturating import SATURATING

INTERACTIONS: Registry[Interaction] = Registry(
    "interaction", (NONE, LINEAR, SATURATING, GATED, OVERLAP, MIXING, ADDITIVE_POWER, REPETITION, INFORMATION, POWERS)
)

InteractionLike = Interaction | str
"""An interaction, or its registered name."""

__all__ = ["INTERACTIONS", "Coordinates", "Interaction", "InteractionLike", "smallest_budget"]
