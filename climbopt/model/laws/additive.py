"""L = E + 1/z + A N^-a + B D^-beta: what a mixture leaves, apart from size and budget."""

import sympy as sp

from climbopt.model.laws.law import Law
from climbopt.model.symbols import D, N, Parameter, Prior, z

E, A, a, B, beta = sp.symbols("E A a B beta", positive=True)

ADDITIVE = Law(
    name="additive",
    expression=E + 1 / z + A * N**-a + B * D**-beta,
    parameters=(
        Parameter(E, "target", "nats", Prior(0.3, 0.5), meaning="irreducible loss"),
        Parameter(A, "target", "nats", Prior(0.2, 1.0), meaning="size coefficient"),
        Parameter(a, "target", "1", Prior(0.3, 0.5), meaning="size exponent"),
        Parameter(B, "target", "nats", Prior(0.2, 1.0), meaning="data coefficient"),
        Parameter(beta, "target", "1", Prior(0.3, 0.5), meaning="data exponent"),
    ),
    quantity="reciprocal",
    irreducible=E,
    source="Shukor et al., Scaling Laws for Optimal Data Mixtures, arXiv 2507.09404, the additive law",
)
"""Additive mixture law: the best mixture depends on neither size nor budget.

>>> ADDITIVE.quantity
'reciprocal'
"""
