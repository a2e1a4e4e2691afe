"""The standard form of an optimisation problem, its mixture functions, and how a problem becomes one."""

from climbopt.numerics.polytope import Label, Rows
from climbopt.problem.table import Ordering, Parts, Placed, Table
from climbopt.program.build import (
    Auxiliaries,
    expression_rows,
    extreme,
    functions_of,
    joint_form,
    mixture_form,
    targets_read,
)
from climbopt.program.conflict import Conflict, Member, linear_conflict
from climbopt.program.functions import MixtureEvaluation, MixtureFunctions
from climbopt.program.linear_rows import LinearPart, linear_part
from climbopt.program.standard_form import ACTIVE, Algebraic, Evaluation, Functions, StandardForm, System

__all__ = [
    "ACTIVE",
    "Algebraic",
    "Auxiliaries",
    "Conflict",
    "Evaluation",
    "Functions",
    "Ordering",
    "LinearPart",
    "Member",
    "MixtureEvaluation",
    "MixtureFunctions",
    "Parts",
    "Placed",
    "Rows",
    "Label",
    "StandardForm",
    "System",
    "Table",
    "expression_rows",
    "extreme",
    "functions_of",
    "joint_form",
    "linear_conflict",
    "linear_part",
    "mixture_form",
    "targets_read",
]
