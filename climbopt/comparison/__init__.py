"""One problem, many backends, one yardstick: each run in a process of its own, judged on its repaired point."""

from climbopt.comparison.profiles import Profile, profiles, shifted_geometric_mean
from climbopt.comparison.runs import Comparison, Run, compare

__all__ = ["Comparison", "Profile", "Run", "compare", "profiles", "shifted_geometric_mean"]
