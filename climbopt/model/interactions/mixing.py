"""Exponents in proportion to the other sources' ratios."""

import sympy as sp

from climbopt.model.interactions.interaction import Interaction
from climbopt.model.symbols import Parameter, Prior, r_j

t = sp.Symbol("t", real=True)

MIXING = Interaction(
    name="mixing",
    own=sp.Integer(0),
    pair=t * r_j,
    parameters=(Parameter(t, "pair", "1", Prior(0.5, 1.0), meaning="exponent of a source against the target's own"),),
    quantity="exponent",
    source="Ye et al., Data Mixing Laws, arXiv 2403.16952, equation 1, t_ii fixed at 0: the same number added to all "
    "t of a target is a factor of kappa, since the ratios sum to 1",
)
"""z_i = sum of t_ij r_j over the other sources.

A target that is no source keeps all of its t; the priors decide what is t and what is kappa.

>>> MIXING.own, MIXING.pair
(0, r_j*t)
"""
