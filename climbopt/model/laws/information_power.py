"""L = alpha z^-beta: a power of an amount of information."""

import sympy as sp

from climbopt.model.laws.law import Law
from climbopt.model.symbols import Parameter, Prior, z

alpha, beta = sp.symbols("alpha beta", positive=True)

INFORMATION_POWER = Law(
    name="information_power",
    expression=alpha * z**-beta,
    parameters=(
        Parameter(alpha, "target", "nats", Prior(1.0, 1.0), meaning="loss at one unit of information"),
        Parameter(beta, "target", "1", Prior(0.1, 1.0), meaning="exponent"),
    ),
    quantity="information",
    source="InfoLaw, arXiv 2605.02364, known to us from notes",
)
"""InfoLaw's outer law; the interaction `information` gives its z.

>>> INFORMATION_POWER.expression
alpha*z**(-beta)
"""
