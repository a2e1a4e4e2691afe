"""From pilot runs to a model: the fit, its diagnostics, and the choice of a form."""

from climbopt.fitting.accuracy import Errors, prediction_errors, trained
from climbopt.fitting.estimate import Fit, fit
from climbopt.fitting.select import Score, cross_validate

__all__ = ["Errors", "Fit", "Score", "cross_validate", "fit", "prediction_errors", "trained"]
