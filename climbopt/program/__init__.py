"""The standard form of an optimisation problem, its mixture functions, and how a problem becomes one."""

from climbopt.numerics.polytope import Label, Rows
from climbopt.program.build import mixture_form
from climbopt.program.conflict import Conflict, Member, linear_conflict
from climbopt.program.functions import MixtureEvaluation, MixtureFunctions
from climbopt.program.layout import expression_rows, targets_read
from climbopt.program.linear import LinearPart, linear_part
from climbopt.program.parts import Affine, Combination, Placed
from climbopt.program.standard_form import ACTIVE, Algebraic, Evaluation, Functions, StandardForm, System

__all__ = [
    "ACTIVE",
    "Affine",
    "Algebraic",
    "Combination",
    "Conflict",
    "Evaluation",
    "Functions",
    "LinearPart",
    "Member",
    "MixtureEvaluation",
    "MixtureFunctions",
    "Placed",
    "Rows",
    "Label",
    "StandardForm",
    "System",
    "expression_rows",
    "linear_conflict",
    "linear_part",
    "mixture_form",
    "targets_read",
]
