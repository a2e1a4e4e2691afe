"""Powers of own and of others' data, with a factor for the help that own data makes use of."""

import sympy as sp

from climbopt.model.interactions.interaction import Coordinates, Interaction
from climbopt.model.symbols import D, Parameter, Prior, r_i, r_j

p, g = sp.symbols("p g", positive=True)
s = sp.Symbol("s", real=True)
h, c, l = sp.symbols("h c l", nonnegative=True)  # noqa: E741 - the design's name

LINEAR_BELOW = sp.Rational(1, 100)
"""Ratio below which a power is nearly linear: its slope at 0 is finite."""
LEAST_FACTOR = sp.Rational(1, 20)
"""s >= LEAST_FACTOR - 1, so that 1 + sum s_ij u_j >= LEAST_FACTOR where the u_j sum to at most 1."""

p_below_1, g_below_1, s_above_least = sp.symbols("p_below_1 g_below_1 s_above_least", nonnegative=True)


def _power(ratio: sp.Symbol, exponent: sp.Symbol) -> sp.Expr:
    """Return ratio (ratio + LINEAR_BELOW)^(exponent - 1): increasing and concave for exponents in (0, 1]."""
    return ratio * (ratio + LINEAR_BELOW) ** (exponent - 1)


POWERS = Interaction(
    name="powers",
    own=_power(r_i, p) + h / D,
    pair=s * _power(r_i, p) * r_j + (c + l / D) * _power(r_j, g),
    parameters=(
        Parameter(p, "target", "1", Prior(0.7, 0.1), meaning="exponent of own data"),
        Parameter(g, "target", "1", Prior(0.5, 0.4), meaning="exponent of other sources"),
        Parameter(h, "target", "tokens", Prior(0.0, 0.1), meaning="head start"),
        Parameter(s, "pair", "1", Prior(0.0, 0.5), meaning="what a source adds to each power of own data"),
        Parameter(c, "pair", "1", Prior(0.0, 0.05), meaning="help without own data at an unbounded budget"),
        Parameter(l, "pair", "tokens", Prior(0.0, 0.03), meaning="help without own data that decays with the budget"),
    ),
    coordinates=Coordinates(
        parameters=(
            # exp(-x) with x >= 0 keeps the exponents at 1 or less; the priors are log-normal about 0.7 and 0.5.
            Parameter(p_below_1, "target", "1", Prior(0.357, 0.1), meaning="-log of the exponent of own data"),
            Parameter(g_below_1, "target", "1", Prior(0.693, 0.4), meaning="-log of the exponent of other sources"),
            Parameter(s_above_least, "pair", "1", Prior(0.95, 0.5), meaning="s + 19/20"),
        ),
        values={p: sp.exp(-p_below_1), g: sp.exp(-g_below_1), s: s_above_least - (1 - LEAST_FACTOR)},
    ),
    source="ours, chosen on measured runs (scarce and not); z is no effective ratio",
)
"""z_i = [u_i]^p_i (1 + sum of s_ij u_j) + h_i / D + sum of (c_ij + l_ij / D) [u_j]^g_i, [u]^p = u (u + 1/100)^(p - 1).

>>> POWERS.own
h/D + r_i*(r_i + 1/100)**(p - 1)
"""
