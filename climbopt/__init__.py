"""climbopt: language mixtures for pretraining, declared in SymPy, solved by many backends, certified by none of them.

The public names below load their modules when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from climbopt.backends import BACKENDS, Options
    from climbopt.certificate import Certificate, Verdict
    from climbopt.comparison import Comparison, compare
    from climbopt.constraints import (
        CONSTRAINTS,
        Cap,
        Custom,
        Floor,
        Group,
        Linear,
        LossCeiling,
        StayNear,
        Supply,
    )
    from climbopt.errors import BackendError, ClimboptError, InputError
    from climbopt.expressions import L, r, z
    from climbopt.files import load_draws, load_model, load_pilots, load_problem, save_model, shipped_problems
    from climbopt.fitting import Fit, bands, bootstrap, cross_validate, fit, uncertainty
    from climbopt.interactions import INTERACTIONS, Coordinates, Interaction
    from climbopt.laws import LAWS, Law
    from climbopt.model import MixtureModel
    from climbopt.objectives import OBJECTIVES, CustomObjective, Minimax, Weighted, WeightedPowerMean
    from climbopt.pilots import PilotRuns
    from climbopt.problem import AllocationProblem
    from climbopt.result import Result, certify_ratios, solve
    from climbopt.solution import Solution, Termination
    from climbopt.studies.confidence import confidence_set
    from climbopt.studies.plan import Design, Plan, plan
    from climbopt.studies.ranges import Range, ranges
    from climbopt.studies.robust import Robust, robust
    from climbopt.studies.schedule import Schedule, Stage, schedule
    from climbopt.studies.sweep import Point, Sweep, sweep
    from climbopt.symbols import D, Parameter, Prior

__version__ = "0.1.0"

_HOMES = {
    "climbopt.backends": ("BACKENDS", "Options"),
    "climbopt.certificate": ("Certificate", "Verdict"),
    "climbopt.comparison": ("Comparison", "compare"),
    "climbopt.constraints": ("CONSTRAINTS", "Cap", "Custom", "Floor", "Group", "Linear", "LossCeiling",
                             "StayNear", "Supply"),
    "climbopt.errors": ("BackendError", "ClimboptError", "InputError"),
    "climbopt.expressions": ("L", "r", "z"),
    "climbopt.files": ("load_draws", "load_model", "load_pilots", "load_problem", "save_model", "shipped_problems"),
    "climbopt.fitting": ("Fit", "bands", "bootstrap", "cross_validate", "fit", "uncertainty"),
    "climbopt.interactions": ("INTERACTIONS", "Coordinates", "Interaction"),
    "climbopt.laws": ("LAWS", "Law"),
    "climbopt.model": ("MixtureModel",),
    "climbopt.objectives": ("OBJECTIVES", "CustomObjective", "Minimax", "Weighted", "WeightedPowerMean"),
    "climbopt.pilots": ("PilotRuns",),
    "climbopt.problem": ("AllocationProblem",),
    "climbopt.solution": ("Solution", "Termination"),
    "climbopt.result": ("Result", "certify_ratios", "solve"),
    "climbopt.studies": ("Design", "Plan", "Point", "Range", "Robust", "Schedule", "Stage", "Sweep", "confidence_set",
                         "plan", "ranges", "robust", "schedule", "sweep"),
    "climbopt.symbols": ("D", "Parameter", "Prior"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: F822 - resolved by __getattr__
    "AllocationProblem", "BACKENDS", "BackendError", "CONSTRAINTS", "Cap", "Certificate", "ClimboptError",
    "Comparison", "Coordinates", "Custom", "CustomObjective", "D", "Design", "Fit", "Floor", "Group",
    "INTERACTIONS", "InputError", "Interaction", "L", "LAWS", "Law", "Linear", "LossCeiling", "Minimax",
    "MixtureModel", "OBJECTIVES", "Options", "Parameter", "PilotRuns", "Plan", "Point", "Prior", "Range",
    "Result", "Robust", "Schedule", "Solution", "Stage", "StayNear", "Supply", "Sweep", "Termination", "Verdict",
    "Weighted", "WeightedPowerMean", "bands", "bootstrap", "certify_ratios", "compare", "confidence_set",
    "cross_validate", "fit", "load_draws", "load_model", "load_pilots", "load_problem", "plan", "r", "ranges",
    "robust", "save_model", "schedule", "shipped_problems", "solve", "sweep", "uncertainty", "z",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'climbopt' has no attribute '{name}'")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])
