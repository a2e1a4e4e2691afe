"""Global bounds by Lagrangian decomposition."""

from climbopt.certification.global_bound.search import Enclosure, Progress, enclose
from climbopt.certification.proof.decomposition import Box
from climbopt.certification.proof.separable import NoBoundError

__all__ = ["Box", "Enclosure", "NoBoundError", "Progress", "enclose"]
