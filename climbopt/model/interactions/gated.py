"""Transfer through a gate that opens with the target's own data; the default."""

import sympy as sp

from climbopt.model.interactions.interaction import Coordinates, Interaction, smallest_budget
from climbopt.model.symbols import D, Parameter, Prior, r_i, r_j

b, k = sp.symbols("b k", real=True)
eta = sp.Symbol("eta", positive=True)
h, l = sp.symbols("h l", nonnegative=True)  # noqa: E741 - the design's name

# eta alpha >= -GATE_SLOPE at the smallest budget and as D grows without bound: since 1 - exp(-x) <= x, z_i is then
# at least (1 - GATE_SLOPE) r_i + h_i / D on the whole simplex and at every budget between.
GATE_SLOPE = sp.Rational(9, 10)
slope_limit, slope_smallest = sp.symbols("slope_limit slope_smallest", nonnegative=True)
SLOPE_PRIOR = Prior(float(GATE_SLOPE), 0.5)

GATED = Interaction(
    name="gated",
    own=r_i + h / D,
    pair=((b + k / D) * (1 - sp.exp(-eta * r_i)) + l / D) * r_j,
    parameters=(
        Parameter(eta, "target", "1", Prior(5.0, 1.0), meaning="rate at which own data opens the gate"),
        Parameter(h, "target", "tokens", Prior(0.0, 0.1), meaning="head start"),
        Parameter(b, "pair", "1", meaning="transfer at an unbounded budget"),
        Parameter(k, "pair", "tokens", meaning="transfer that decays with the budget"),
        Parameter(l, "pair", "tokens", Prior(0.0, 0.1), meaning="zero-shot leak"),
    ),
    coordinates=Coordinates(
        parameters=(
            Parameter(slope_limit, "pair", "1", SLOPE_PRIOR, meaning="eta alpha + 9/10 at an unbounded budget"),
            Parameter(slope_smallest, "pair", "1", SLOPE_PRIOR, meaning="eta alpha + 9/10 at the smallest budget"),
        ),
        values={
            # alpha(D) = b + k / D is linear in 1 / D, so that its two ends bound eta alpha at all budgets between.
            b: (slope_limit - GATE_SLOPE) / eta,
            k: (slope_smallest - slope_limit) / eta * smallest_budget,
        },
    ),
    source="a faithful reading of CLIMB, arXiv 2509.15556, whose printed equation we do not have; h and l are ours",
)
"""z_i = r_i + h_i / D + sum of (alpha_ij (1 - exp(-eta_i r_i)) + l_ij / D) r_j.

>>> GATED.own
r_i + h/D
"""
