"""L = E z^-a + A N^-alpha + B D^-beta z^-gamma: `split` with Chinchilla's model-size term."""

from dataclasses import replace

import sympy as sp

from climbopt.model.laws.split import SPLIT
from climbopt.model.symbols import N, Parameter, Prior

A, alpha = sp.symbols("A alpha", positive=True)

SPLIT_ND = replace(
    SPLIT,
    name="split_nd",
    expression=SPLIT.expression + A * N**-alpha,
    parameters=(
        *SPLIT.parameters,
        Parameter(A, "target", "nats", Prior(0.2, 1.0), meaning="size coefficient"),
        Parameter(alpha, "target", "1", Prior(0.3, 0.5), meaning="size exponent"),
    ),
    source="ours: `split` with the size term of Hoffmann et al., arXiv 2203.15556, equation 2",
)
"""The same for runs whose model size varies.

>>> SPLIT_ND.uses_model_size
True
"""
