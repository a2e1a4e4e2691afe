"""What is minimised: one file a kind, listed in OBJECTIVES."""

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


def objective_of(given: Objective | sp.Basic | str, of: str) -> Objective:
    """Return an objective: itself, the one of a name, or the kind custom of an expression or its text.

    Examples
    --------
    >>> objective_of("minimax", "objective"), objective_of("L[en] + r[sw]", "objective")
    (Minimax(losses=None, reference=None), CustomObjective(expression='L[en] + r[sw]'))
    """
    if isinstance(given, str) and given in OBJECTIVES and given != CustomObjective.kind:
        return OBJECTIVES[given]()
    if isinstance(given, str | sp.Basic):
        return CustomObjective(given)
    if isinstance(given, type) or not hasattr(given, "goal"):
        raise InputError(
            f"{of} is {given!r}; give an objective such as climbopt.Minimax(), its name ({', '.join(OBJECTIVES)}), or "
            "an expression such as climbopt.L['en'] + 2 * climbopt.L['sw']"
        )
    return given


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
