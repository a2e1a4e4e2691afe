"""The standard form of an optimisation problem, its mixture functions, and how a problem becomes one."""

from climbopt.numerics.polytope import Label, Rows
from climbopt.program.build import Auxiliaries, mixture_form
from climbopt.program.conflict import Conflict, Member, linear_conflict
from climbopt.program.functions import MixtureEvaluation, MixtureFunctions
from climbopt.program.linear_rows import LinearPart, linear_part
from climbopt.program.standard_form import ACTIVE, Algebraic, Evaluation, Functions, StandardForm, System
from climbopt.program.table import Layout, Parts, Placed, Table, expression_rows, targets_read

__all__ = [
    "ACTIVE",
    "Algebraic",
    "Auxiliaries",
    "Conflict",
    "Evaluation",
    "Functions",
    "Layout",
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
    "linear_conflict",
    "linear_part",
    "mixture_form",
    "targets_read",
]
