"""L = E + A N^-a + B (D z)^-beta: Chinchilla's law with its model-size term, on effective data."""

import sympy as sp

from climbopt.model.laws.law import Law
from climbopt.model.symbols import D, N, Parameter, Prior, z

E, A, a, B, beta = sp.symbols("E A a B beta", positive=True)

POWER_ND = Law(
    name="power_nd",
    expression=E + A * N**-a + B * (D * z) ** -beta,
    parameters=(
        Parameter(E, "target", "nats", Prior(0.4, 0.5), meaning="irreducible loss"),
        Parameter(A, "target", "nats", Prior(0.2, 1.0), meaning="size coefficient"),
        Parameter(a, "target", "1", Prior(0.3, 0.5), meaning="size exponent"),
        Parameter(B, "target", "nats", Prior(0.5, 1.0), meaning="data coefficient"),
        Parameter(beta, "target", "1", Prior(0.3, 0.5), meaning="data exponent"),
    ),
    irreducible=E,
    source="Hoffmann et al., arXiv 2203.15556, equation 2, on CLIMB's effective ratio",
)
"""Power law in effective data and model size.

>>> POWER_ND.uses_model_size
True
"""
