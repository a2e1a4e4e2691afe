"""Studies: questions that take many solves, one file each."""

from climbopt.studies.confidence import ConfidenceSet, confidence_set
from climbopt.studies.ranges import Range, ranges
from climbopt.studies.regret import Regrets, regrets
from climbopt.studies.robust import Advantage, Measure, Robust, robust

__all__ = ["Advantage", "ConfidenceSet", "Measure", "Range", "Regrets", "Robust", "confidence_set", "ranges",
           "regrets", "robust"]
