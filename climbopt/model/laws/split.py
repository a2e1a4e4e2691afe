"""L = E z^-a + B D^-beta z^-gamma: one exponent for the budget, and others for the ratio."""

import sympy as sp

from climbopt.model.laws.law import Law
from climbopt.model.symbols import D, Parameter, Prior, z

E, a, B, beta, gamma = sp.symbols("E a B beta gamma", positive=True)

SPLIT = Law(
    name="split",
    expression=E * z**-a + B * D**-beta * z**-gamma,
    parameters=(
        Parameter(E, "target", "nats", Prior(0.7, 0.2), meaning="loss at z = 1 without limit of data"),
        Parameter(a, "target", "1", Prior(0.2, 0.3), meaning="ratio exponent without limit of data"),
        Parameter(B, "target", "nats", Prior(0.5, 1.0), meaning="data coefficient"),
        Parameter(beta, "target", "1", Prior(0.3, 0.5), meaning="data exponent"),
        Parameter(gamma, "target", "1", Prior(0.3, 0.2), meaning="ratio exponent of what the budget removes"),
    ),
    source="ours: `power` is a = 0 and gamma = beta, `bimix` is gamma = a",
)
"""A power of the ratio for what no budget removes, and another for what it does.

>>> SPLIT.irreducible is None
True
"""
