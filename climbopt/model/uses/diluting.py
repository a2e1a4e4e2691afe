"""Repeated tokens add less and less, and the later the longer the run that they are spread over."""

import sympy as sp

from climbopt.model.symbols import D, Parameter, Prior
from climbopt.model.uses.saturating_use import saturating_worth
from climbopt.model.uses.use import OF_SUPPLY, U, Use, beyond_one_epoch, epochs

R = sp.Symbol("R", positive=True)

DILUTING = Use(
    name="diluting",
    expression=beyond_one_epoch(saturating_worth(epochs, R * sp.sqrt(D / U))),
    parameters=(
        OF_SUPPLY,
        Parameter(R, "source", "1", Prior(1.0, 0.5), meaning="what repetition adds at most, over sqrt(U D)"),
    ),
    source="ours: the form of Muennighoff et al., arXiv 2305.16264, with R* in proportion to sqrt(D / U), since pilots "
    "shorter than the planned run show its epochs in a larger share of the run",
)
"""u_j = r_j up to one epoch; beyond, that of `saturating` with R_j sqrt(D / U_j) in place of R_j.

>>> [p.name for p in DILUTING.parameters]
['U', 'R']
"""
