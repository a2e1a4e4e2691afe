"""Repeated tokens add less and less, and too many epochs take away what was learned."""

import sympy as sp

from climbopt.model.symbols import Parameter, Prior
from climbopt.model.uses.saturating_use import OF_DECAY, saturating_worth
from climbopt.model.uses.use import OF_SUPPLY, Use, beyond_one_epoch, epochs

H = sp.Symbol("H", positive=True)

HURTING = Use(
    name="hurting",
    expression=beyond_one_epoch(saturating_worth(epochs) / (1 + ((epochs - 1) / H) ** 2)),
    parameters=(
        OF_SUPPLY,
        OF_DECAY,
        Parameter(H, "source", "1", Prior(10.0, 0.5), meaning="repetitions that halve the worth"),
    ),
    source="ours: the form of Muennighoff et al., arXiv 2305.16264, less a share that grows with the square of the "
    "repetitions; measured runs show that a small language alone gets worse between 3 and 7 epochs",
)
"""u_j = r_j up to one epoch; beyond, with E epochs, that of `saturating` over 1 + ((E - 1) / H_j)^2.

It is above 0 wherever r_j is; the slope is 1 on both sides of one epoch.

>>> [p.name for p in HURTING.parameters]
['U', 'R', 'H']
"""
