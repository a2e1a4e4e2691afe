"""Global bounds: relaxations from the templates, branch and bound, ball arithmetic."""

from climbopt.bounds.branch_and_bound import Enclosure, Progress, enclose
from climbopt.bounds.lagrangian import Box, NoRelaxationError

__all__ = ["Box", "Enclosure", "NoRelaxationError", "Progress", "enclose"]
