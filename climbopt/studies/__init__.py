"""Studies: questions that take many solves, one file each."""

from climbopt.studies.confidence import ConfidenceSet, confidence_set
from climbopt.studies.information import Runs
from climbopt.studies.plan import Design, Plan, climb_design, plan
from climbopt.studies.ranges import Range, ranges
from climbopt.studies.regret import Regrets, regrets
from climbopt.studies.robust import Advantage, Measure, Robust, robust, robust_ranges
from climbopt.studies.schedule import Schedule, Stage, schedule
from climbopt.studies.simplex import mixtures
from climbopt.studies.sweep import Point, Sweep, sweep
from climbopt.studies.varied import varied

__all__ = ["Advantage", "ConfidenceSet", "Design", "Measure", "Plan", "Point", "Range", "Regrets", "Robust", "Runs",
           "Schedule", "Stage", "Sweep", "climb_design", "confidence_set", "mixtures", "plan", "ranges", "regrets",
           "robust", "robust_ranges", "schedule", "sweep", "varied"]
