"""The templates as a sum of gates times sums over sources, with enclosures of every function of one ratio.

z_i = own_i(r_i) + sum_k gate_ik(r_i) s_ik,    s_ik = sum over sources j != i of part_kij(r_j)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

import numpy as np
import sympy as sp

from climbopt.certification.proof.curves import Curves, Functions, JoinedCurves
from climbopt.certification.proof.inseparable import enclosed
from climbopt.foundations.errors import ClimboptError
from climbopt.model.mixture import Response
from climbopt.model.symbols import r_i, r_j
from climbopt.model.templates import Array, Template, Templates
from climbopt.numerics.intervals import Interval


class NoBoundError(ClimboptError):
    """A problem that no global bound is computed for; its text says why."""


@lru_cache(maxsize=64)
def decomposed(templates: Templates) -> tuple[tuple[Template, Template], ...] | None:
    """Return the pair template as (gate of r_i, part of r_j), of which it is the sum of products; None if it is none.

    Examples
    --------
    >>> from climbopt.model.interactions import INTERACTIONS
    >>> from climbopt.model.laws import LAWS
    >>> from climbopt.model.templates import derive
    >>> for gate, part in decomposed(derive(LAWS["power"], INTERACTIONS["overlap"])):
    ...     print(gate.expression, "|", part.expression)
    1 | c*r_j + l*r_j/D
    1 - exp(-eta*r_i) | r_j*(b + k/D)
    """
    parameters = templates.interaction.parameters
    of_pairs = {p.symbol for p in parameters if p.per != "target"}
    parts: dict[sp.Expr, sp.Expr] = {}
    for term in sp.Add.make_args(templates.pair.exact.expression):
        for piece in [term] if _factors(term) else sp.Add.make_args(sp.expand(term)):
            factors = _factors(piece)
            if factors is None:
                return None
            for gate, part in _without_pairs(*factors, of_pairs):
                if gate.free_symbols & of_pairs:
                    return None
                parts[gate] = parts.get(gate, sp.S.Zero) + part
    gates = sorted((gate for gate in parts if parts[gate] != 0), key=sp.default_sort_key)
    return tuple((Template(gate, (r_i,), parameters), Template(parts[gate], (r_j,), parameters)) for gate in gates)


def _factors(product: sp.Expr) -> tuple[sp.Expr, sp.Expr] | None:
    """Return a product as a function of r_i times the rest; None where a factor has both ratios."""
    gate, part = sp.S.One, sp.S.One
    for factor in sp.Mul.make_args(product):
        if factor.has(r_i) and factor.has(r_j):
            return None
        gate, part = (gate * factor, part) if factor.has(r_i) else (gate, part * factor)
    return gate, part


def _without_pairs(gate: sp.Expr, part: sp.Expr, of_pairs: set[sp.Symbol]) -> list[tuple[sp.Expr, sp.Expr]]:
    """Return (gate, part) as several, with the numbers of pairs moved from a sum in the gate to the parts."""
    if not gate.free_symbols & of_pairs:
        return [(gate, part)]
    terms = []
    for term in sp.Add.make_args(sp.expand_mul(gate) if gate.is_Mul else gate):
        numbers, inner = term.as_independent(r_i, as_Add=False)
        terms.append((inner, numbers * part))
    return terms


@dataclass(frozen=True, eq=False)
class Separable:
    """z and the losses of all targets by functions of one number.

    Parameters
    ----------
    own : Curves, Summed or JoinedCurves, of (T,)
    gates : sequence of Curves or JoinedCurves, of (T,)
    parts : sequence of Curves or JoinedCurves, of (T, S)
    law : Curves or JoinedCurves, of (T,)
    inseparable : tuple of str
        Interactions whose pair template is no sum of products: that they are enclosed on a box is in `own`.
    width : ndarray, (T, S)
        Of that enclosure, by the pair that it comes from.
    """

    own: Functions
    gates: Sequence[Functions]
    parts: Sequence[Functions]
    law: Functions
    inseparable: tuple[str, ...]
    width: Array

    @classmethod
    def of(cls, responses: Sequence[Response], ratios: Interval) -> Separable:
        """Return the decomposition of the responses of one or several forms where ratios are in a box, (S,)."""
        each = [_decomposition(response, ratios) for response in responses]
        if len(each) == 1:
            return each[0]
        sizes = [len(response.model.targets) for response in responses]
        form = np.repeat(np.arange(len(sizes)), sizes)
        place = np.concatenate([np.arange(size) for size in sizes])

        def joined(curves: Iterable[Functions | None]) -> Functions:
            return JoinedCurves(tuple(curves), form, place)

        # A form with fewer gates than another has gates and parts of 0.
        return cls(
            joined(one.own for one in each),
            [joined(gates) for gates in zip_longest(*(one.gates for one in each))],
            [joined(parts) for parts in zip_longest(*(one.parts for one in each))],
            joined(one.law for one in each),
            tuple(dict.fromkeys(name for one in each for name in one.inseparable)),
            np.concatenate([one.width for one in each]),
        )


def _decomposition(response: Response, ratios: Interval) -> Separable:
    """Return the decomposition of one form."""
    templates, model = response.model.templates, response.model
    terms, shape = decomposed(templates), (len(model.targets), len(model.sources))
    own, pair = _used(response, shape)
    law = Curves.of(templates.loss, response.loss_arguments, shape[:1])
    if terms is None:
        of_own, gate, part, width = enclosed(response, own, pair, ratios)
        return Separable(of_own, [gate], [part], law, (model.interaction.name,), width)
    return Separable(
        Curves.of(templates.own, response.own_arguments, shape[:1], own),
        [Curves.of(gate, response.own_arguments, shape[:1], own) for gate, _ in terms],
        [Curves.of(part, response.pair_arguments, shape, pair) for _, part in terms],
        law,
        (),
        np.zeros(shape),
    )


def _used(response: Response, shape: tuple[int, int]) -> tuple[Curves, Curves] | tuple[None, None]:
    """Return the use of each target's own source, (T,), and of each pair's source, (T, S); None where it is none."""
    template = response.model.templates.used
    if template is None:
        return None, None
    D, N, *values = response.use_arguments
    own = [D[..., 0], N[..., 0], *(response.of_own(value) for value in values)]
    return Curves.of(template, own, shape[:1]), Curves.of(template, response.use_arguments, shape)
