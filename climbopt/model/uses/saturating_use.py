"""Repeated tokens add less and less."""

import sympy as sp

from climbopt.model.symbols import Parameter, Prior
from climbopt.model.uses.use import OF_SUPPLY, Use, beyond_one_epoch, epochs

R = sp.Symbol("R", positive=True)

OF_DECAY = Parameter(R, "source", "1", Prior(5.0, 0.5), meaning="R*: supplies that repetition adds at most")


def saturating_worth(epochs: sp.Expr, most: sp.Expr = R) -> sp.Expr:
    """Return what a number of epochs above 1 is worth, in supplies: 1 + most (1 - exp(-(epochs - 1) / most))."""
    return 1 + most * (1 - sp.exp(-(epochs - 1) / most))


SATURATING_USE = Use(
    name="saturating",
    expression=beyond_one_epoch(saturating_worth(epochs)),
    parameters=(OF_SUPPLY, OF_DECAY),
    source="Muennighoff et al., arXiv 2305.16264, equation 5, with their R_D* for each source",
)
"""u_j = r_j up to one epoch; beyond, with E = r_j D / U_j epochs, u_j = U_j / D (1 + R_j (1 - exp(-(E - 1) / R_j))).

The slope is 1 on both sides of one epoch; the second derivative jumps there from 0 to -D / (U_j R_j).

>>> [p.name for p in SATURATING_USE.parameters]
['U', 'R']
"""
