"""From pilot runs to a model: the fit, its diagnostics, and the choice of a form."""

from climbopt.fitting.accuracy import Errors, prediction_errors, trained
from climbopt.fitting.bands import Bands, Prediction, bands
from climbopt.fitting.bootstrap import bootstrap
from climbopt.fitting.estimate import Fit, Fixed, fit
from climbopt.fitting.information import MissingRun, Transfer, missing_runs, told_from_zero, transfer, transfers
from climbopt.fitting.select import Score, candidates, choose_form, cross_validate, known_to
from climbopt.fitting.uncertainty import Uncertainty, uncertainty

__all__ = ["Bands", "Errors", "Fit", "Fixed", "MissingRun", "Prediction", "Score", "Transfer", "Uncertainty", "bands",
           "bootstrap", "candidates", "choose_form", "cross_validate", "fit", "known_to", "missing_runs",
           "prediction_errors", "told_from_zero", "trained", "transfer", "transfers", "uncertainty"]
