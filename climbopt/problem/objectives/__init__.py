"""Objective kinds: a file for each, listed in OBJECTIVES."""

from operator import attrgetter

import sympy as sp

from climbopt.foundations.errors import InputError
from climbopt.foundations.registry import Registry
from climbopt.problem.objectives.custom_objective import CustomObjective
from climbopt.problem.objectives.minimax import Minimax
from climbopt.problem.objectives.objective import Goal, Objective
from climbopt.problem.objectives.power_mean import WeightedPowerMean
from climbopt.problem.objectives.weighted import Weighted

OBJECTIVES: Registry[type[Objective]] = Registry(
    "objective", (Weighted, Minimax, WeightedPowerMean, CustomObjective), key=attrgetter("kind")
)


def objective_of(objective: Objective | sp.Basic | str, of: str) -> Objective:
    """Return an objective from an object, the name of a kind, or an expression or its text (the kind custom).

    Examples
    --------
    >>> objective_of("minimax", "objective"), objective_of("L[en] + r[sw]", "objective")
    (Minimax(losses=None, reference=None), CustomObjective(expression='L[en] + r[sw]'))
    """
    if isinstance(objective, str) and objective in OBJECTIVES and objective != CustomObjective.kind:
        return OBJECTIVES[objective]()
    if isinstance(objective, str | sp.Basic):
        return CustomObjective(objective)
    if isinstance(objective, type) or not hasattr(objective, "goal"):
        raise InputError(
            f"{of} is {objective!r}; give an objective such as climbopt.Minimax(), its name ({', '.join(OBJECTIVES)}), "
            "or an expression such as climbopt.L['en'] + 2 * climbopt.L['sw']"
        )
    return objective


__all__ = [
    "objective_of",
    "OBJECTIVES",
    "CustomObjective",
    "Goal",
    "Minimax",
    "Objective",
    "Weighted",
    "WeightedPowerMean",
]
