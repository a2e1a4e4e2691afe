"""Global bounds by Lagrangian decomposition."""

from climbopt.certification.global_bound.dual import Box
from climbopt.certification.global_bound.search import Enclosure, Progress, enclose
from climbopt.certification.global_bound.separable import NoBoundError

__all__ = ["Box", "Enclosure", "NoBoundError", "Progress", "enclose"]
