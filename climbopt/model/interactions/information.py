"""Information in buckets of different quality, less where a bucket is repeated."""

import sympy as sp

from climbopt.model.interactions.interaction import Interaction
from climbopt.model.symbols import D, N, Parameter, Prior, r_i, r_j

q, U, K, a, c = sp.symbols("q U K a c", positive=True)


def _information(tokens: sp.Expr) -> sp.Expr:
    """Return q M ln K (1 - exp(-lambda R / ln K)), M = min(tokens, U), R = tokens / M, lambda = a ln N + c.

    The K of ln K is D, in multiples of the parameter K. Up to the supply U that is a line, beyond it a curve; at U
    the slope jumps down.
    """
    rate, scale = a * sp.log(N) + c, sp.log(D / K)
    return sp.Piecewise(
        (q * tokens * scale * (1 - sp.exp(-rate / scale)), tokens <= U),
        (q * U * scale * (1 - sp.exp(-rate * tokens / (U * scale))), True),
    )


INFORMATION = Interaction(
    name="information",
    own=_information(r_i * D),
    pair=_information(r_j * D),
    parameters=(
        Parameter(q, "source", "1", Prior(0.5, 1.0), meaning="quality; InfoLaw's exp(-theta d) for bucket d"),
        Parameter(U, "source", "tokens", Prior(0.5, 2.0), meaning="supply: tokens in the bucket, InfoLaw's B_d S"),
        Parameter(K, "target", "tokens", Prior(1e-3, 1.0), meaning="tokens that ln K counts in"),
        Parameter(a, "target", "1", Prior(0.14, 0.5), meaning="how fast a larger model learns"),
        Parameter(c, "target", "1", Prior(1.0, 0.5), meaning="how fast one unit of params learns"),
    ),
    quantity="information",
    source="InfoLaw, arXiv 2605.02364, known to us from notes that give no units; here those of ln K are a "
    "parameter, and those of N are params_unit",
)
"""z = sum over buckets d of q_d M_d ln K (1 - exp(-lambda R_d / ln K)); defined for D > K.

The target is a loss over all buckets, and is no source.

>>> N in INFORMATION.own.free_symbols
True
"""
