"""L = E z^-a + A N^-nu + B D^-beta z^-gamma: `split` with Chinchilla's model-size term."""

from dataclasses import replace

import sympy as sp

from climbopt.model.laws.split import SPLIT
from climbopt.model.symbols import N, Parameter, Prior

A, nu = sp.symbols("A nu", positive=True)

SPLIT_ND = replace(
    SPLIT,
    name="split_nd",
    expression=SPLIT.expression + A * N**-nu,
    parameters=(
        *SPLIT.parameters,
        Parameter(A, "target", "nats", Prior(0.2, 1.0), meaning="size coefficient"),
        Parameter(nu, "target", "1", Prior(0.3, 0.5), meaning="size exponent"),
    ),
    source="ours: `split` with the size term of Hoffmann et al., arXiv 2203.15556, equation 2",
)
"""The same for runs whose model size varies.

>>> SPLIT_ND.uses_model_size
True
"""
