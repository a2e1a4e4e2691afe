"""Studies: questions that take many solves, one file each."""

from climbopt.studies.ranges import Range, ranges
from climbopt.studies.schedule import Schedule, Stage, schedule
from climbopt.studies.sweep import Point, Sweep, sweep
from climbopt.studies.varied import varied

__all__ = ["Point", "Range", "Schedule", "Stage", "Sweep", "ranges", "schedule", "sweep", "varied"]
