"""Forms whose pair template is no sum of products of a function of r_i and one of r_j: their interval bound on a box.

With u_i and u_j what templates are functions of, U_i and U_j all that these can be on the box, and c_j the middle of
U_j, the mean value theorem says of any number g

    pair(u_i, u_j) = pair(u_i, c_j) + g u_j + e,    e in (slope of pair by u_j on U_i, U_j - g) (U_j - c_j) - g c_j

so that z_i is a function of u_i, and the sum of g_ij u_j, and a rest whose width falls with the square of the box's.
Where the slope of a pair is unknown, or its rest is wider than its range, g is 0, and its range is added instead.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import sympy as sp

from climbopt.certification.proof.curves import Curves, Summed
from climbopt.model.mixture import Response
from climbopt.model.symbols import Parameter, r_i, r_j
from climbopt.model.templates import Array, Template, Templates
from climbopt.numerics.intervals import Interval, where

_SLOPE = sp.Symbol("slope", real=True)
ONE = Template(sp.S.One, (r_i,), ())
LINE = Template(_SLOPE * r_j, (r_j,), (Parameter(_SLOPE, "pair"),))


class Enclosed(NamedTuple):
    """A form on a box: z_i = own_i(r_i) + s_i, s_i = sum over j != i of part_ij(r_j), with own an interval.

    Parameters
    ----------
    own : Summed
    gate : Curves
        1.
    part : Curves
    width : ndarray, (T, S)
        Of what each pair adds to z beyond functions of single ratios.
    """

    own: Summed
    gate: Curves
    part: Curves
    width: Array


@lru_cache(maxsize=64)
def _by_each(templates: Templates) -> tuple[Template, Template]:
    """Return the pair template as a function of r_i, with r_j as a parameter, and the other way round."""
    pair, parameters = templates.pair.exact.expression, templates.interaction.parameters
    by_i, by_j = ((r_i, Parameter(r_j, "pair")), (r_j, Parameter(r_i, "pair")))
    of_i, of_j = (Template(pair, (x,), (*parameters, other)) for x, other in (by_i, by_j))
    return of_i, of_j


def enclosed(response: Response, own_use: Curves | None, pair_use: Curves | None, ratios: Interval) -> Enclosed:
    """Return a form where the ratios are in a box, (S,), by the uses of targets' own sources and of pairs' sources."""
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
    gain, of_range = slope.middle, pair(u_j).enclose(Interval.enclosing(home.middle), pairs)
    rest = (slope - Interval.enclosing(gain)) * (u_j - Interval.enclosing(center))
    off, spread = rest.upper - rest.lower, of_range.upper - of_range.lower
    # The theorem needs a continuous function: pieces meet, an unknown condition may jump.
    continuous = of_other.whole or of_other.pieces is not None
    linear = others & continuous & (off < spread)
    gain = np.where(linear, gain, 0.0)
    rest = where(linear, rest - Interval.enclosing(gain) * Interval.enclosing(center))
    own = Curves.of(model.templates.own, response.own_arguments, shape[:1], own_use)
    return Enclosed(
        Summed(own, pair(where(linear, Interval.enclosing(center), u_j)), others, rest.sum(1)),
        Curves.of(ONE, response.own_arguments[:2], shape[:1]),
        Curves.of(LINE, [*arguments[:2], gain], shape, pair_use),
        np.where(others, np.where(linear, off, spread), 0.0),
    )
