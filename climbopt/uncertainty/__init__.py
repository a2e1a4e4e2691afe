"""Covariance: the covariance of a fit, draws of models, bands, regret and robust decisions."""
