"""For tests of climbopt, and for authors of other laws, interactions and backends."""

from climbopt.testing.cases import CASES, Case
from climbopt.testing.checks import (
    CHECKS,
    Accuracy,
    Check,
    check_bad_option,
    check_case,
    check_limits,
    check_not_a_number,
    check_problem,
    check_report,
    exclusion,
)
from climbopt.testing.generate import (
    degenerate_problems,
    family_model,
    family_problem,
    infeasible_problems,
    problem_families,
)
from climbopt.testing.hock_schittkowski import HOCK_SCHITTKOWSKI, PublishedProblem
from climbopt.testing.symbolic import SymbolicFunctions

__all__ = [
    "CASES",
    "CHECKS",
    "HOCK_SCHITTKOWSKI",
    "Accuracy",
    "Case",
    "Check",
    "PublishedProblem",
    "SymbolicFunctions",
    "check_bad_option",
    "check_case",
    "check_limits",
    "check_not_a_number",
    "check_problem",
    "check_report",
    "degenerate_problems",
    "exclusion",
    "family_model",
    "family_problem",
    "infeasible_problems",
    "problem_families",
]
