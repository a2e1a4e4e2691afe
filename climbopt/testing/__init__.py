"""For tests of climbopt and of other people's laws and backends."""

from climbopt.testing.generate import family_problem

__all__ = ["family_problem"]
