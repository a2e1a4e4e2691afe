"""A power of each source's ratio."""

import sympy as sp

from climbopt.model.interactions.interaction import Interaction
from climbopt.model.symbols import Parameter, Prior, r_i, r_j

c_own, g_own, g = sp.symbols("c_own g_own g", positive=True)
c = sp.Symbol("c", nonnegative=True)

ADDITIVE_POWER = Interaction(
    name="additive_power",
    own=c_own * r_i**g_own,
    pair=c * r_j**g,
    parameters=(
        Parameter(c_own, "target", "1/nats", Prior(5.0, 1.0), meaning="weight of own data"),
        Parameter(g_own, "target", "1", Prior(0.5, 0.5), meaning="exponent of own data"),
        Parameter(c, "pair", "1/nats", Prior(1.0, 1.0), meaning="weight of a source"),
        Parameter(g, "pair", "1", Prior(0.5, 0.5), meaning="exponent of a source"),
    ),
    quantity="reciprocal",
    source="Shukor et al., arXiv 2507.09404, the additive law: c_i1 r_1^g_i1 + c_i2 r_2^g_i2 + ...",
)
"""z_i = c_ii r_i^g_ii + sum of c_ij r_j^g_ij; 1/z is in nats.

Where an exponent is below 1 the first token of a source has an unbounded benefit, so that an optimum lies inside.

>>> ADDITIVE_POWER.own
c_own*r_i**g_own
"""
