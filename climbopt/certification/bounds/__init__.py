"""Global bounds: relaxations from the templates, branch and bound, ball arithmetic.

`relaxation_program` loads CVXPY when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from climbopt.certification.bounds.branch_and_bound import Enclosure, Progress, enclose
from climbopt.certification.bounds.relaxable import Box, NoRelaxationError

if TYPE_CHECKING:
    from climbopt.certification.bounds.cvxpy_relaxation import relaxation_program

__all__ = ["Box", "Enclosure", "NoRelaxationError", "Progress", "enclose", "relaxation_program"]


def __getattr__(name: str) -> object:
    if name != "relaxation_program":
        raise AttributeError(f"module 'climbopt.certification.bounds' has no attribute '{name}'")
    from climbopt.certification.bounds.cvxpy_relaxation import relaxation_program  # CVXPY takes a second to load

    return relaxation_program
