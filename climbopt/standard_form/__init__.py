"""The standard form of an optimisation problem, its mixture functions, and how a problem becomes one."""

from climbopt.standard_form.base import ACTIVE, Algebraic, Evaluation, Functions, Side, StandardForm, System
from climbopt.standard_form.build import mixture_form
from climbopt.standard_form.conflict import Conflict, Member, linear_conflict
from climbopt.standard_form.layout import expression_rows, targets_read
from climbopt.standard_form.linear import LinearPart, linear_part
from climbopt.standard_form.mixture import MixtureEvaluation, MixtureFunctions
from climbopt.standard_form.parts import Affine, Combination, Placed

__all__ = ["ACTIVE", "Affine", "Algebraic", "Combination", "Conflict", "Evaluation", "Functions", "LinearPart",
           "Member", "MixtureEvaluation", "MixtureFunctions", "Placed", "Side", "StandardForm", "System",
           "expression_rows", "linear_conflict", "linear_part", "mixture_form", "targets_read"]
