"""Studies: questions that take many solves, one file each."""

from climbopt.studies.confidence import ConfidenceSet, confidence_set
from climbopt.studies.ranges import Range, ranges
from climbopt.studies.regret import Regrets, regrets
from climbopt.studies.robust import Advantage, Measure, Robust, robust
from climbopt.studies.schedule import Schedule, Stage, schedule
from climbopt.studies.sweep import Point, Sweep, sweep
from climbopt.studies.varied import varied

__all__ = ["Advantage", "ConfidenceSet", "Measure", "Point", "Range", "Regrets", "Robust", "Schedule", "Stage", "Sweep",
           "confidence_set", "ranges", "regrets", "robust", "schedule", "sweep", "varied"]
