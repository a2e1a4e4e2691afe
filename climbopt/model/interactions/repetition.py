"""Transfer in proportion to the effective data of each source, repetition included."""

import sympy as sp

from climbopt.model.interactions.interaction import Coordinates, Interaction
from climbopt.model.symbols import D, Parameter, Prior, r_i, r_j

U, l = sp.symbols("U l", positive=True)  # noqa: E741 - the design's name
tau = sp.Symbol("tau", real=True)
tau_positive = sp.Symbol("tau_positive", nonnegative=True)


def _worth(tokens: sp.Expr) -> sp.Expr:
    """Return S(D; U): tokens up to the supply U, then U (1 + (1 - exp(-l (D/U - 1))) / l).

    Its slope is continuous at U, its second derivative is not.
    """
    return sp.Piecewise((tokens, tokens <= U), (U + U * (1 - sp.exp(-l * (tokens / U - 1))) / l, True))


REPETITION = Interaction(
    name="repetition",
    own=_worth(r_i * D) / D,
    pair=tau * _worth(r_j * D) / D,
    parameters=(
        Parameter(U, "source", "tokens", Prior(0.5, 2.0), meaning="supply: different tokens available"),
        Parameter(l, "source", "1", Prior(0.5, 1.0), meaning="rate at which repeated tokens lose worth"),
        Parameter(tau, "pair", "1", meaning="transfer"),
    ),
    coordinates=Coordinates((Parameter(tau_positive, "pair", "1", Prior(0.0, 0.1), "transfer"),), {tau: tau_positive}),
    source="ATLAS, arXiv 2510.22037; repeated data as in Muennighoff et al., arXiv 2305.16264",
)
"""z_i = S(r_i D; U_i) / D + sum of tau_ij S(r_j D; U_j) / D.

>>> {p.name: p.per for p in REPETITION.parameters}
{'U': 'source', 'l': 'source', 'tau': 'pair'}
"""
