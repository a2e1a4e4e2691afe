"""What is minimised: one file a kind, listed in OBJECTIVES."""

from operator import attrgetter

from climbopt.objectives.base import Goal, Objective
from climbopt.objectives.custom import CustomObjective
from climbopt.objectives.minimax import Minimax
from climbopt.objectives.power_mean import WeightedPowerMean
from climbopt.objectives.weighted import Weighted
from climbopt.registry import Registry

OBJECTIVES: Registry[type[Objective]] = Registry(
    "objective", (Weighted, Minimax, WeightedPowerMean, CustomObjective), key=attrgetter("kind"))

__all__ = ["OBJECTIVES", "CustomObjective", "Goal", "Minimax", "Objective", "Weighted", "WeightedPowerMean"]
