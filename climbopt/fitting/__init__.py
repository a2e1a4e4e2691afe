"""From pilot runs to a model: the fit, its diagnostics, and the choice of a form."""
