"""`gated` plus a share of each source that is text of the target's language."""

from dataclasses import replace

import sympy as sp

from climbopt.model.interactions.gated import GATED
from climbopt.model.symbols import Parameter, Prior, r_j

c = sp.Symbol("c", nonnegative=True)

OVERLAP = replace(
    GATED,
    name="overlap",
    pair=GATED.pair + c * r_j,
    parameters=(*GATED.parameters, Parameter(c, "pair", "1", Prior(0.0, 0.1), meaning="share of j that is text of i")),
    source="ours: gated, and a share c of each source that counts as the target's own text, however much it has",
)
"""z_i = r_i + h_i / D + sum of (alpha_ij (1 - exp(-eta_i r_i)) + c_ij + l_ij / D) r_j.

>>> OVERLAP.pair - GATED.pair
c*r_j
"""
