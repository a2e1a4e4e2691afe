"""climbopt: language mixtures for pretraining, declared in SymPy, solved by many backends, certified by none of them.

The public names below load their modules when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from climbopt.backends import BACKENDS as BACKENDS, Options as Options
    from climbopt.certification.elastic import conflict as conflict
    from climbopt.certification.examine import Examination as Examination, examine as examine
    from climbopt.certification.local import Certificate as Certificate, Verdict as Verdict
    from climbopt.files import (
        load_draws as load_draws,
        load_model as load_model,
        load_pilots as load_pilots,
        load_problem as load_problem,
        save_model as save_model,
        save_problem as save_problem,
        shipped_problems as shipped_problems,
    )
    from climbopt.fitting.accuracy import Errors as Errors, Score as Score
    from climbopt.fitting.ensemble_fit import EnsembleFit as EnsembleFit
    from climbopt.fitting.estimate import Fit as Fit
    from climbopt.fitting.extension import Extension as Extension, extend as extend
    from climbopt.fitting.fit import fit as fit
    from climbopt.fitting.prediction import predict as predict
    from climbopt.fitting.select import cross_validate as cross_validate
    from climbopt.foundations.errors import (
        BackendError as BackendError,
        ClimboptError as ClimboptError,
        InputError as InputError,
    )
    from climbopt.foundations.solution import Solution as Solution, Termination as Termination
    from climbopt.model.ensemble import Ensemble as Ensemble
    from climbopt.model.expressions import L as L, r as r, z as z
    from climbopt.model.interactions import (
        INTERACTIONS as INTERACTIONS,
        Coordinates as Coordinates,
        Interaction as Interaction,
    )
    from climbopt.model.laws import LAWS as LAWS, Law as Law
    from climbopt.model.mixture import MixtureModel as MixtureModel
    from climbopt.model.symbols import D as D, Parameter as Parameter, Prior as Prior
    from climbopt.model.uses import USES as USES, Use as Use
    from climbopt.problem.allocation import AllocationProblem as AllocationProblem
    from climbopt.problem.constraints import (
        CONSTRAINTS as CONSTRAINTS,
        Cap as Cap,
        Custom as Custom,
        Floor as Floor,
        Group as Group,
        Linear as Linear,
        LossCeiling as LossCeiling,
        StayNear as StayNear,
        Supply as Supply,
    )
    from climbopt.problem.objectives import (
        OBJECTIVES as OBJECTIVES,
        CustomObjective as CustomObjective,
        Minimax as Minimax,
        Weighted as Weighted,
        WeightedPowerMean as WeightedPowerMean,
    )
    from climbopt.procedures import (
        PROCEDURES as PROCEDURES,
        Isolated as Isolated,
        Joint as Joint,
        Natural as Natural,
        Procedure as Procedure,
        Temperature as Temperature,
        TwoStep as TwoStep,
        Uniform as Uniform,
        UniMax as UniMax,
    )
    from climbopt.procedures.optimum import Effort as Effort, certify as certify
    from climbopt.procedures.result import (
        NoAnswerError as NoAnswerError,
        Result as Result,
        certify_ratios as certify_ratios,
        solve as solve,
    )
    from climbopt.program import Conflict as Conflict
    from climbopt.reports.derivation import derive as derive
    from climbopt.reports.saved import (
        SavedResult as SavedResult,
        load_result as load_result,
        save_result as save_result,
    )
    from climbopt.runs.pilots import PilotRuns as PilotRuns
    from climbopt.studies.comparison.backend_runs import Comparison as Comparison, compare as compare
    from climbopt.studies.design.plan import Design as Design, Plan as Plan, plan as plan
    from climbopt.studies.ranges import Range as Range, ranges as ranges
    from climbopt.studies.schedule import Schedule as Schedule, Stage as Stage, schedule as schedule
    from climbopt.studies.sweep import Point as Point, Sweep as Sweep, sweep as sweep
    from climbopt.uncertainty.assessment import Assessment as Assessment, assess as assess
    from climbopt.uncertainty.bands import Bands as Bands, Prediction as Prediction, bands as bands
    from climbopt.uncertainty.bootstrap import bootstrap as bootstrap
    from climbopt.uncertainty.confidence import ConfidenceSet as ConfidenceSet, confidence_set as confidence_set
    from climbopt.uncertainty.covariance import Covariance as Covariance, covariance as covariance
    from climbopt.uncertainty.decision import Decision as Decision, decide as decide
    from climbopt.uncertainty.diagnosis import Diagnosis as Diagnosis, diagnose as diagnose
    from climbopt.uncertainty.robust import Robust as Robust, robust as robust, robust_ranges as robust_ranges

__version__ = "0.1.0"

_PUBLIC = {
    "climbopt.backends": "BACKENDS Options",
    "climbopt.certification.elastic": "conflict",
    "climbopt.certification.examine": "Examination examine",
    "climbopt.certification.local": "Certificate Verdict",
    "climbopt.files": "load_draws load_model load_pilots load_problem save_model save_problem shipped_problems",
    "climbopt.fitting.accuracy": "Errors Score",
    "climbopt.fitting.ensemble_fit": "EnsembleFit",
    "climbopt.fitting.estimate": "Fit",
    "climbopt.fitting.extension": "Extension extend",
    "climbopt.fitting.fit": "fit",
    "climbopt.fitting.prediction": "predict",
    "climbopt.fitting.select": "cross_validate",
    "climbopt.foundations.errors": "BackendError ClimboptError InputError",
    "climbopt.foundations.solution": "Solution Termination",
    "climbopt.model.ensemble": "Ensemble",
    "climbopt.model.expressions": "L r z",
    "climbopt.model.interactions": "Coordinates INTERACTIONS Interaction",
    "climbopt.model.uses": "USES Use",
    "climbopt.model.laws": "LAWS Law",
    "climbopt.model.mixture": "MixtureModel",
    "climbopt.model.symbols": "D Parameter Prior",
    "climbopt.problem.allocation": "AllocationProblem",
    "climbopt.problem.constraints": "CONSTRAINTS Cap Custom Floor Group Linear LossCeiling StayNear Supply",
    "climbopt.problem.objectives": "CustomObjective Minimax OBJECTIVES Weighted WeightedPowerMean",
    "climbopt.procedures": "Isolated Joint Natural PROCEDURES Procedure Temperature TwoStep UniMax Uniform",
    "climbopt.procedures.optimum": "Effort certify",
    "climbopt.procedures.result": "certify_ratios NoAnswerError Result solve",
    "climbopt.program": "Conflict",
    "climbopt.reports.derivation": "derive",
    "climbopt.reports.saved": "SavedResult load_result save_result",
    "climbopt.runs.pilots": "PilotRuns",
    "climbopt.studies.comparison.backend_runs": "Comparison compare",
    "climbopt.studies.design.plan": "Design Plan plan",
    "climbopt.studies.ranges": "Range ranges",
    "climbopt.studies.schedule": "Schedule Stage schedule",
    "climbopt.studies.sweep": "Point Sweep sweep",
    "climbopt.uncertainty.assessment": "Assessment assess",
    "climbopt.uncertainty.bands": "Bands Prediction bands",
    "climbopt.uncertainty.bootstrap": "bootstrap",
    "climbopt.uncertainty.confidence": "ConfidenceSet confidence_set",
    "climbopt.uncertainty.covariance": "Covariance covariance",
    "climbopt.uncertainty.decision": "Decision decide",
    "climbopt.uncertainty.diagnosis": "Diagnosis diagnose",
    "climbopt.uncertainty.robust": "Robust robust robust_ranges",
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'climbopt' has no attribute '{name}'")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
