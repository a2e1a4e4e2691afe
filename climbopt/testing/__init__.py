"""For tests of climbopt, and for authors of other laws, interactions and backends."""

from climbopt.testing.checks import CHECKS, Check, exclusion
from climbopt.testing.conformance import (
    CASES,
    Case,
    check_bad_option,
    check_case,
    check_limits,
    check_not_a_number,
    check_report,
)
from climbopt.testing.generate import family_model, family_problem

__all__ = ["CASES", "CHECKS", "Case", "Check", "check_bad_option", "check_case", "check_limits", "check_not_a_number",
           "check_report", "exclusion", "family_model", "family_problem"]
