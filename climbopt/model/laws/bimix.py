"""L = (A / z^a) (B D^-beta + 1): a power of the ratio times a power of the budget."""

import sympy as sp

from climbopt.model.laws.law import Law
from climbopt.model.symbols import D, Parameter, Prior, z

A, a, B, beta = sp.symbols("A a B beta", positive=True)

BIMIX = Law(
    name="bimix",
    expression=A * z**-a * (B * D**-beta + 1),
    parameters=(
        Parameter(A, "target", "nats", Prior(0.7, 0.5), meaning="loss at z = 1 without limit of data"),
        Parameter(a, "target", "1", Prior(0.1, 1.0), meaning="ratio exponent"),
        Parameter(B, "target", "1", Prior(1.0, 1.0), meaning="data coefficient"),
        Parameter(beta, "target", "1", Prior(0.3, 0.5), meaning="data exponent"),
    ),
    source="Ge et al., BiMix, arXiv 2405.14908, its C fixed at 1, which A takes up",
)
"""Bivariate mixture law; its data exponent is called beta here.

>>> BIMIX.irreducible is None
True
"""
