"""Studies: questions that take many solves, one file each."""

from climbopt.studies.ranges import Range, ranges

__all__ = ["Range", "ranges"]
