"""No transfer: z is the language's own ratio."""

import sympy as sp

from climbopt.model.interactions.interaction import Interaction
from climbopt.model.symbols import r_i

NONE = Interaction(
    name="none",
    own=r_i,
    pair=sp.Integer(0),
    source="the isolated baseline; also MSL's, arXiv 2410.12883",
)
"""z_i = r_i.

>>> NONE.own, NONE.pair
(r_i, 0)
"""
