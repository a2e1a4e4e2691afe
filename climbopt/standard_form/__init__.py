"""The standard form of an optimisation problem, its mixture functions, and how a problem becomes one."""

from climbopt.standard_form.base import ACTIVE, Evaluation, Functions, Side, StandardForm
from climbopt.standard_form.build import linear_part, mixture_form
from climbopt.standard_form.mixture import Affine, MixtureFunctions, Weighted

__all__ = ["ACTIVE", "Affine", "Evaluation", "Functions", "MixtureFunctions", "Side", "StandardForm", "Weighted",
           "linear_part", "mixture_form"]
