"""L = E + B (D z)^-beta: the data term of Chinchilla's law, on effective data."""

import sympy as sp

from climbopt.model.laws.law import Law
from climbopt.model.symbols import D, Parameter, Prior, z

E, B, beta = sp.symbols("E B beta", positive=True)

POWER = Law(
    name="power",
    expression=E + B * (D * z) ** -beta,
    parameters=(
        Parameter(E, "target", "nats", Prior(0.5, 0.5), meaning="irreducible loss"),
        Parameter(B, "target", "nats", Prior(0.5, 1.0), meaning="data coefficient"),
        Parameter(beta, "target", "1", Prior(0.3, 0.5), meaning="data exponent"),
    ),
    irreducible=E,
    source="CLIMB, arXiv 2509.15556; Hoffmann et al., arXiv 2203.15556, equation 2 without its size term",
)
"""Power law in effective data.

>>> POWER.expression
B*(D*z)**(-beta) + E
"""
