"""The templates as a sum of gates times sums over sources, with enclosures of every function of one ratio.

z_i = own_i(r_i) + sum_k gate_ik(r_i) s_ik,    s_ik = sum over sources j != i of part_kij(r_j)

A pair template that is no sum of products of a function of r_i and one of r_j has an interval bound on a box.
With u_i and u_j what templates are functions of, U_i and U_j all that these can be on the box, and c_j the middle of
U_j, the mean value theorem says of any number g

    pair(u_i, u_j) = pair(u_i, c_j) + g u_j + e,    e in (slope of pair by u_j on U_i, U_j - g) (U_j - c_j) - g c_j

so that z_i is a function of u_i, and the sum of g_ij u_j, and a rest whose width falls with the square of the box's.
Where the slope of a pair is unknown, or its rest is wider than its range, g is 0, and its range is added instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import zip_longest

import numpy as np
import sympy as sp

from climbopt.certification.proof.curves import Curves, Functions, JoinedCurves, Summed
from climbopt.foundations.errors import ClimboptError
from climbopt.model.mixture import Response
from climbopt.model.symbols import Parameter, r_i, r_j
from climbopt.model.templates import Array, Template, Templates
from climbopt.numerics.intervals import Interval, where

_SLOPE = sp.Symbol("slope", real=True)
ONE = Template(sp.S.One, (r_i,), ())
LINE = Template(_SLOPE * r_j, (r_j,), (Parameter(_SLOPE, "pair"),))
enclosing = Interval.enclosing


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
    if terms is None:
        return _enclosed(response, own, pair, ratios)
    return Separable(
        Curves.of(templates.own, response.own_arguments, shape[:1], own),
        [Curves.of(gate, response.own_arguments, shape[:1], own) for gate, _ in terms],
        [Curves.of(part, response.pair_arguments, shape, pair) for _, part in terms],
        Curves.of(templates.loss, response.loss_arguments, shape[:1]),
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


@lru_cache(maxsize=64)
def _by_each(templates: Templates) -> tuple[Template, Template]:
    """Return the pair template as a function of r_i, with r_j as a parameter, and the other way round."""
    pair, parameters = templates.pair.exact.expression, templates.interaction.parameters
    by_i, by_j = ((r_i, Parameter(r_j, "pair")), (r_j, Parameter(r_i, "pair")))
    of_i, of_j = (Template(pair, (x,), (*parameters, other)) for x, other in (by_i, by_j))
    return of_i, of_j


def _enclosed(response: Response, own_use: Curves | None, pair_use: Curves | None, ratios: Interval) -> Separable:
    """Return a form where the ratios are in a box, (S,), by the uses of targets' own sources and of pairs' sources.

    Its only part is linear, with gate 1, and what pairs add to it is in `own`, as intervals.
    """
    model, arguments = response.model, response.pair_arguments
    targets, sources = np.arange(len(model.targets))[:, None], np.arange(len(model.sources))
    shape, pairs = (targets.size, sources.size), (targets, sources)
    of_own, of_other = _by_each(model.templates)
    others = model.own_source[:, None] != sources
    home = where(model.own_source >= 0, ratios[model.own_source])[:, None]
    use = own_use and Curves.of(own_use.template, [a[:, None] for a in own_use.arguments], shape)

    def pair(other: Interval) -> Curves:
        return Curves.of(of_own, [*arguments, other], shape, use)

    # As a function of u_j, with u_i anywhere in what the box allows.
    u_i = pair(ratios).inner(home, pairs)
    by_other = Curves.of(of_other, [*arguments, u_i], shape)
    u_j = replace(by_other, used=pair_use).inner(ratios, pairs).broadcast_to(shape)
    # Mean value theorem: pair(u_i, u_j) in pair(u_i, c) + slope (u_j - c), and slope = gain + what it may be off by.
    slope, center = by_other.enclose(u_j, pairs, 1), u_j.middle
    gain, of_range = slope.middle, pair(u_j).enclose(enclosing(home.middle), pairs)
    rest = (slope - enclosing(gain)) * (u_j - enclosing(center))
    off, spread = rest.upper - rest.lower, of_range.upper - of_range.lower
    # The theorem needs a continuous function: pieces meet, an unknown condition may jump.
    continuous = of_other.whole or of_other.pieces is not None
    linear = others & continuous & (off < spread)
    gain = np.where(linear, gain, 0.0)
    rest = where(linear, rest - enclosing(gain) * enclosing(center))
    own = Curves.of(model.templates.own, response.own_arguments, shape[:1], own_use)
    return Separable(
        Summed(own, pair(where(linear, enclosing(center), u_j)), others, rest.sum(1)),
        [Curves.of(ONE, response.own_arguments[:2], shape[:1])],
        [Curves.of(LINE, [*arguments[:2], gain], shape, pair_use)],
        Curves.of(model.templates.loss, response.loss_arguments, shape[:1]),
        (model.interaction.name,),
        np.where(others, np.where(linear, off, spread), 0.0),
    )
