"""Transfer in proportion to the other language's ratio."""

import sympy as sp

from climbopt.model.interactions.interaction import Interaction, transfer_coordinates
from climbopt.model.symbols import D, Parameter, r_i, r_j

b, k = sp.symbols("b k", real=True)

LINEAR = Interaction(
    name="linear",
    own=r_i,
    pair=(b + k / D) * r_j,
    parameters=(
        Parameter(b, "pair", "1", meaning="transfer at an unbounded budget"),
        Parameter(k, "pair", "tokens", meaning="transfer that decays with the budget"),
    ),
    coordinates=transfer_coordinates(b, k),
    source="CLIMB, arXiv 2509.15556: transfer alpha = b + k / D, without its saturation",
)
"""z_i = r_i + sum of alpha_ij r_j.

>>> LINEAR.pair
r_j*(b + k/D)
"""
