"""L = (E + A N^-a + B D^-beta) z^-gamma: a scaling law times a power of the language's own ratio."""

import sympy as sp

from climbopt.model.laws.law import Law
from climbopt.model.symbols import D, N, Parameter, Prior, z

E, A, a, B, beta, gamma = sp.symbols("E A a B beta gamma", positive=True)

MSL = Law(
    name="msl",
    expression=(E + A * N**-a + B * D**-beta) * z**-gamma,
    parameters=(
        Parameter(E, "target", "nats", Prior(0.4, 0.5), meaning="loss at z = 1 without limit of size or data"),
        Parameter(A, "target", "nats", Prior(0.2, 1.0), meaning="size coefficient"),
        Parameter(a, "target", "1", Prior(0.3, 0.5), meaning="size exponent"),
        Parameter(B, "target", "nats", Prior(0.3, 1.0), meaning="data coefficient"),
        Parameter(beta, "target", "1", Prior(0.3, 0.5), meaning="data exponent"),
        Parameter(gamma, "target", "1", Prior(0.1, 1.0), meaning="ratio exponent"),
    ),
    source="He et al., Scaling Laws for Multilingual Language Models, arXiv 2410.12883; the ratio is of a family",
)
"""Multilingual scaling law; its data exponent is called beta here.

>>> MSL.uses_model_size
True
"""
