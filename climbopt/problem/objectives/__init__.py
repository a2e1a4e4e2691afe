"""What is minimised: one file a kind, listed in OBJECTIVES."""

from operator import attrgetter

from climbopt.foundations.registry import Registry
from climbopt.problem.objectives.custom import CustomObjective
from climbopt.problem.objectives.minimax import Minimax
from climbopt.problem.objectives.objective import Goal, Objective
from climbopt.problem.objectives.power_mean import WeightedPowerMean
from climbopt.problem.objectives.weighted import Weighted

OBJECTIVES: Registry[type[Objective]] = Registry(
    "objective", (Weighted, Minimax, WeightedPowerMean, CustomObjective), key=attrgetter("kind")
)

__all__ = ["OBJECTIVES", "CustomObjective", "Goal", "Minimax", "Objective", "Weighted", "WeightedPowerMean"]
