"""Planes below a Lagrangian on a box, shown to be so by enclosures.

The laws are convex: L_i(z) >= L_i(q_i) + L_i'(q_i) (z - q_i) at any q. What is left is u'z with known weights u, where
each term of z is bounded by a plane of its own: a product by McCormick's, a function of one ratio by its tangent where
it is convex and by a chord where it is concave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from climbopt.certification.bounds.declared import Declared, Jet, as_column, exact, middle
from climbopt.certification.bounds.relaxable import Box
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval


@dataclass(frozen=True, eq=False)
class Plane:
    """constant + slopes'x."""

    slopes: Interval
    constant: Interval


def in_domain(declared: Declared, q: Array) -> bool:
    """Whether laws that count are defined at q, (T, 1), and convex wherever they are."""
    used = declared.loss_part.upper > 0
    end = declared.problem.response.model.law.end_of_domain
    bent = declared.law(Interval.of(np.full(q.shape, end), np.inf))[2].broadcast_to(q.shape)
    return bool(((np.isfinite(q) & (q > end) & (bent.lower >= 0)) | ~used).all())


def by_envelopes(declared: Declared, box: Box, x: Array, q: Array, reference: Array) -> Plane | None:
    """Return a plane below the Lagrangian on a box, or None.

    Laws are touched at q, (T,), and the envelopes of terms at x, (n,), in the box; of McCormick's planes the one is
    taken that is higher at the reference, (n,). Any will do.
    """
    q, weights = q[:, None], declared.loss_part
    if not in_domain(declared, q):
        return None
    at = exact(np.where(weights.upper > 0, q, 1.0))
    loss, slope, _ = declared.law(at)
    below = below_terms(declared, declared.z_part + weights * slope, box, x, reference)
    constant = declared.constant + (weights * (loss - slope * at)).sum(0).sum(0)
    return Plane(declared.x_part + below.slopes, constant + below.constant)


def below_terms(declared: Declared, u: Interval, box: Box, x: Array, reference: Array) -> Plane:
    """Return a plane below u'z on a box, for weights u, (T, 1)."""
    at = [
        declared.on(*ends)
        for ends in ((box.lower, box.upper), *((end, end) for end in (box.lower, box.upper, x, reference)))
    ]
    own, rho = [one.own_ratio for one in at], [Interval(one.rho.lower[None], one.rho.upper[None]) for one in at]
    shape = declared.others.shape
    linear, on_own, constant = exact(np.zeros(shape)), exact(np.zeros((shape[0], 1))), exact(np.asarray(0.0))
    for pieces in zip(*(one.own for one in at), strict=True):
        slope, below = _line(u * pieces[0][0], [jet for _, jet in pieces], own)
        on_own, constant = on_own + slope, constant + below
    for terms in zip(*(one.products for one in at), strict=True):
        gates, sources, c = [one.gate for one in terms], [one.source for one in terms], terms[0].coefficient
        if terms[0].summed:
            on_gate, on_sum, flat = _mccormick(
                u, _range(gates), at[0].sums(terms[0]), gates[4].value, at[4].sums(terms[4])
            )
            linear = linear + on_sum * c
        else:
            on_gate, on_source, flat = _mccormick(
                u * c, _range(gates), _range(sources), gates[4].value, sources[4].value
            )
            slope, below = _line(on_source, sources, rho)
            linear, constant = linear + slope, constant + below
        slope, below = _line(on_gate, gates, own)
        on_own, constant = on_own + as_column(slope.sum(1)), constant + below + flat
    linear = (linear + on_own * (1.0 - declared.others)).sum(0)
    return Plane(declared.by_x(linear), constant + (linear * declared.offset).sum(0))


def _range(jets: Sequence[Jet]) -> Interval:
    """Return the range of functions from jets on a box and at its ends, which hold it where they are monotone."""
    whole, low, high = jets[:3]
    rises, falls = whole.slope.lower >= 0, whole.slope.upper <= 0
    least = np.where(rises, low.value.lower, np.where(falls, high.value.lower, whole.value.lower))
    most = np.where(rises, high.value.upper, np.where(falls, low.value.upper, whole.value.upper))
    return Interval.of(np.maximum(least, whole.value.lower), np.minimum(most, whole.value.upper))


def _line(k: Interval, jets: Sequence[Jet], at: Sequence[Interval]) -> tuple[Interval, Interval]:
    """Return slopes of lines below k times functions, and the sum of their constants; jets: box, its ends, a point.

    The tangent at the point where k f is convex, the chord where concave (a line is below it where it is so at both
    ends, whatever its slope), the least value elsewhere.
    """
    whole, low, high, here = jets[:4]
    bend = k * whole.curvature
    shape = np.broadcast_shapes(bend.lower.shape, at[0].lower.shape)
    bend, tangent = bend.broadcast_to(shape), (k * here.slope).broadcast_to(shape)
    with np.errstate(all="ignore"):
        rise = middle(k) * (middle(high.value) - middle(low.value)) / (middle(at[2]) - middle(at[1]))
    chord = np.broadcast_to(np.where(np.isfinite(rise), rise, 0.0), shape)
    ends = [(k * jet.value - t * chord).broadcast_to(shape).lower for jet, t in ((low, at[1]), (high, at[2]))]
    touching = (k * (here.value - here.slope * at[3])).broadcast_to(shape).lower
    convex, concave = bend.lower >= 0, bend.upper <= 0
    flat = (k * _range(jets)).broadcast_to(shape).lower
    slope = [np.where(convex, end, np.where(concave, chord, 0.0)) for end in (tangent.lower, tangent.upper)]
    constant = np.where(convex, touching, np.where(concave, np.minimum(*ends), flat))
    return Interval(*slope), exact(constant).sum(0).sum(0)


def _mccormick(
    k: Interval, g: Interval, h: Interval, g_at: Interval, h_at: Interval
) -> tuple[Interval, Interval, Interval]:
    """Return coefficients of g and h of planes below k g h, the higher of two at a point, and their constants' sum."""
    shape = np.broadcast_shapes(k.lower.shape, g.lower.shape, h.lower.shape)
    k, g, h = k.broadcast_to(shape), g.broadcast_to(shape), h.broadcast_to(shape)
    rises, known = k.lower >= 0, (k.lower >= 0) | (k.upper <= 0)
    planes = [(g.lower, np.where(rises, h.lower, h.upper)), (g.upper, np.where(rises, h.upper, h.lower))]
    first, second = (on_h * middle(h_at) + on_g * middle(g_at) - on_h * on_g for on_h, on_g in planes)
    pick = np.where(rises, first >= second, first <= second)
    on_h, on_g = (np.where(known, np.where(pick, one, other), 0.0) for one, other in zip(*planes, strict=True))
    constant = np.where(known, (-k * (exact(on_h) * on_g)).lower, (k * g * h).lower)
    return k * on_g, k * on_h, exact(constant).sum(0).sum(0)
