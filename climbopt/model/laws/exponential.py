"""L = c + kappa exp(z): the exponential of a linear combination of ratios."""

import sympy as sp

from climbopt.model.laws.law import Law
from climbopt.model.symbols import Parameter, Prior

c, kappa = sp.symbols("c kappa", positive=True)
z = sp.Symbol("z", real=True)  # an exponent: of either sign

EXPONENTIAL = Law(
    name="exponential",
    expression=c + kappa * sp.exp(z),
    parameters=(
        Parameter(c, "target", "nats", Prior(0.5, 0.5), meaning="loss that no mixture removes"),
        Parameter(kappa, "target", "nats", Prior(0.3, 1.0), meaning="loss above c at z = 0"),
    ),
    quantity="exponent",
    irreducible=c,
    source="Ye et al., Data Mixing Laws, arXiv 2403.16952, equation 1; it knows neither budget nor model size",
)
"""Data mixing law.

>>> EXPONENTIAL.expression
c + kappa*exp(z)
"""
