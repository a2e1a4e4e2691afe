"""Studies: questions that take many solves, one file each."""

from climbopt.studies.information import Runs
from climbopt.studies.plan import Design, Plan, climb_design, plan
from climbopt.studies.ranges import Range, ranges
from climbopt.studies.schedule import Schedule, Stage, schedule
from climbopt.studies.simplex import mixtures
from climbopt.studies.sweep import Point, Sweep, sweep
from climbopt.studies.varied import varied

__all__ = ["Design", "Plan", "Point", "Range", "Runs", "Schedule", "Stage", "Sweep", "climb_design", "mixtures", "plan",
           "ranges", "schedule", "sweep", "varied"]
