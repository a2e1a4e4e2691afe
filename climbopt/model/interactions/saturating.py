"""Transfer that saturates in the other language's ratio."""

import sympy as sp

from climbopt.model.interactions.interaction import Interaction, transfer_coordinates
from climbopt.model.symbols import D, Parameter, Prior, r_i, r_j

b, k = sp.symbols("b k", real=True)
eta = sp.Symbol("eta", positive=True)

SATURATING = Interaction(
    name="saturating",
    own=r_i,
    pair=(b + k / D) * (1 - sp.exp(-eta * r_j)),
    parameters=(
        Parameter(eta, "target", "1", Prior(5.0, 1.0), meaning="saturation rate"),
        Parameter(b, "pair", "1", meaning="transfer at an unbounded budget"),
        Parameter(k, "pair", "tokens", meaning="transfer that decays with the budget"),
    ),
    coordinates=transfer_coordinates(b, k),
    source="a faithful reading of CLIMB, arXiv 2509.15556, whose printed equation we do not have",
)
"""z_i = r_i + sum of alpha_ij (1 - exp(-eta_i r_j)).

>>> SATURATING.pair
(1 - exp(-eta*r_j))*(b + k/D)
"""
