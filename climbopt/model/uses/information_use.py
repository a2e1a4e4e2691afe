"""Repeated tokens add less and less from the second epoch on, by InfoLaw's exponential."""

import sympy as sp

from climbopt.model.symbols import Parameter, Prior
from climbopt.model.uses.use import OF_SUPPLY, Use, beyond_one_epoch, epochs

rho = sp.Symbol("rho", positive=True)

INFORMATION_USE = Use(
    name="information",
    expression=beyond_one_epoch((1 - sp.exp(-rho * epochs)) / (1 - sp.exp(-rho))),
    parameters=(
        OF_SUPPLY,
        Parameter(rho, "source", "1", Prior(0.15, 0.5), meaning="rate per epoch, InfoLaw's lambda / ln K"),
    ),
    source="InfoLaw, arXiv 2605.02364, in units of the information in one epoch; one rate for all targets and budgets",
)
"""u_j = r_j up to one epoch; beyond, with E epochs, u_j = U_j / D (1 - exp(-rho_j E)) / (1 - exp(-rho_j)).

The slope jumps down at one epoch, to rho / (exp(rho) - 1).

>>> [p.name for p in INFORMATION_USE.parameters]
['U', 'rho']
"""
