"""Convex relaxations of a mixture problem on a box of ratios, from the templates.

For a target whose z is wanted from above, each term c gate(r_i) source(r_j) with gate u in [u_low, u_high] and
source v in [v_low, v_high] on the box is at most either of (McCormick)

    u_low v + v_high u - u_low v_high        u_high v + v_low u - u_high v_low

and each univariate function in that, times its number, is kept where it is concave and replaced by its chord where it
is convex. What remains is a separable concave Z_i >= z_i, so that law(Z_i) <= law(z_i) is convex where the law is
convex and falls.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from climbopt.bounds.terms import Term, terms
from climbopt.intervals import Interval, UnsupportedFunctionError
from climbopt.model import Response
from climbopt.polytope import Polytope
from climbopt.standard_form import MixtureFunctions
from climbopt.templates import Array, Template

Signs = NDArray[np.int8]

CONCAVE, LINEAR, CONVEX, UNKNOWN = -1, 0, 1, 2


@dataclass(frozen=True, eq=False)
class Univariate:
    """Functions of one ratio, an array of them of one template, with what is proved of them on the root box.

    Parameters
    ----------
    template : Template
    arguments : list of ndarray
        D, N and parameters, broadcast against the ratios.
    curvature, slope : ndarray of int8
        Signs: -1, 0 or 1 where proved, 2 where not.
    """

    template: Template
    arguments: list[Array]
    curvature: Signs
    slope: Signs

    @classmethod
    def of(cls, template: Template, arguments: list[Array], low: Array, high: Array, shape: tuple[int, ...]
           ) -> Univariate:
        """Return the functions with their signs on boxes from low to high, broadcast to a shape."""
        box = Interval.of(low, high)
        slope = Interval.enclosing(template.slopes(box, *arguments)[1]).broadcast_to(shape)
        curvature = Interval.enclosing(template.curvatures(box, *arguments)[0]).broadcast_to(shape)
        return cls(template, arguments, _sign(curvature), _sign(slope))

    def values(self, t: Array) -> Array:
        """Return the functions at t."""
        return np.asarray(np.broadcast_to(self.template.value(t, *self.arguments)[0], self.curvature.shape))

    def slopes(self, t: Array) -> tuple[Array, Array]:
        """Return the functions and their slopes at t."""
        value, slope = self.template.slopes(t, *self.arguments)
        shape = self.curvature.shape
        return np.broadcast_to(value, shape), np.broadcast_to(slope, shape)

    def curvatures(self, t: Array) -> Array:
        """Return their second derivatives at t."""
        return np.asarray(np.broadcast_to(self.template.curvatures(t, *self.arguments)[0], self.curvature.shape))


def _sign(enclosure: Interval) -> Signs:
    zero = (enclosure.lower == 0) & (enclosure.upper == 0)
    return np.where(zero, 0, np.where(enclosure.lower >= 0, 1, np.where(enclosure.upper <= 0, -1, 2))).astype(np.int8)


class NoRelaxationError(Exception):
    """What keeps a problem from being relaxed; its text says why."""


@dataclass(frozen=True, eq=False)
class Relaxable:
    """A Lagrangian f + multipliers'c that can be relaxed: affine in x, z and L with usable signs, terms that factor.

    Parameters
    ----------
    functions : MixtureFunctions
    x_part, z_part, loss_part : ndarray, (n,), (T,), (T,)
        Coefficients of the Lagrangian.
    constant : float
    polytope : Polytope
        The root's.
    """

    functions: MixtureFunctions
    x_part: Array
    z_part: Array
    loss_part: Array
    constant: float
    polytope: Polytope

    @property
    def response(self) -> Response:
        """The model at the cumulative budget."""
        return self.functions.response

    @cached_property
    def wanted(self) -> Array:
        """For each target, 1 where z is wanted from above and -1 where from below, (T,)."""
        above = (self.loss_part > 0) | (self.z_part < 0)
        if ((self.z_part > 0) & above).any():
            raise NoRelaxationError("a z that stands in the objective and in a constraint with opposite signs")
        return np.where(self.z_part > 0, -1.0, 1.0)

    @cached_property
    def pieces(self) -> tuple[tuple[Array, Univariate, Univariate, Term], ...]:
        """Coefficient (T, S; 0 for own pairs), gate and source of each term."""
        model, response = self.response.model, self.response
        found = terms(model.templates)
        if found is None:
            raise NoRelaxationError(f"the pair template of '{model.interaction.name}' is no sum of products of a "
                                    "function of r_i and one of r_j")
        low, high = self.cumulative(self.polytope.x_lower), self.cumulative(np.minimum(self.polytope.x_upper, 1.0))
        shape = (len(model.targets), len(model.sources))
        own_low, own_high = self.own(low), self.own(high)
        result = []
        for term in found:
            c = np.array(np.broadcast_to(term.compiled_coefficient()(*response.pair_arguments), shape), dtype=float)
            c[model.own_targets, model.own_sources] = 0.0
            try:
                gate = Univariate.of(term.gate, response.pair_arguments, own_low[:, None], own_high[:, None], shape)
                source = Univariate.of(term.source, response.pair_arguments, low[None, :], high[None, :], shape)
            except UnsupportedFunctionError as error:
                raise NoRelaxationError(f"the pair template of '{model.interaction.name}' has {error}") from None
            result.append((c, gate, source, term))
        return tuple(result)

    @cached_property
    def own_function(self) -> Univariate:
        """The own template's functions, (T,)."""
        low, high = self.cumulative(self.polytope.x_lower), self.cumulative(np.minimum(self.polytope.x_upper, 1.0))
        return Univariate.of(self.response.model.templates.own, self.response.own_arguments, self.own(low),
                             self.own(high), (len(self.response.model.targets),))

    def cumulative(self, x: Array) -> Array:
        """Return the ratios of history and run for x."""
        functions = self.functions
        return np.asarray(functions.offset + functions.scale * x[: functions.offset.size])

    def own(self, ratios: Array) -> Array:
        """Return each target's own ratio; 0 where it is no source."""
        own = self.response.model.own_source
        return np.asarray(np.where(own >= 0, ratios[own], 0.0))


@dataclass(frozen=True, eq=False)
class Box:
    """Bounds of x (n,): the polytope's, tightened."""

    lower: Array
    upper: Array


@dataclass(frozen=True, eq=False)
class Separable:
    """Concave Z_i = constant_i + linear_i'rho + sum of kept functions, each at least wanted_i z_i on a box.

    Parameters
    ----------
    relaxable : Relaxable
    constant : ndarray, (T,)
    linear : ndarray, (T, S)
        Coefficients of the ratios.
    own_kept : ndarray, (T,)
        Coefficient of each own function, 0 where it is replaced.
    gates, sources : tuple of ndarray, (T, S)
        Coefficients of each term's gate and source functions, 0 where they are replaced.
    gaps : ndarray, (S,)
        For each source, how much of the envelopes' distance from the terms at the reference point branching on it
        could close, weighted by the losses' slopes.
    """

    relaxable: Relaxable
    constant: Array
    linear: Array
    own_kept: Array
    gates: tuple[Array, ...]
    sources: tuple[Array, ...]

    def values(self, rho: Array) -> Array:
        """Return Z, (T,)."""
        relaxable, own = self.relaxable, self.relaxable.own(rho)
        z = self.constant + self.linear @ rho
        if self.own_kept.any():
            z = z + self.own_kept * relaxable.own_function.values(own)
        for (_, gate, source, _), on_gate, on_source in zip(relaxable.pieces, self.gates, self.sources, strict=True):
            if on_gate.any():
                z = z + (on_gate * gate.values(own[:, None])).sum(axis=1)
            if on_source.any():
                z = z + (on_source * source.values(rho[None, :])).sum(axis=1)
        return np.asarray(z)

    def slopes(self, rho: Array) -> tuple[Array, Array]:
        """Return Z, (T,), and dZ/drho, (T, S)."""
        relaxable, own = self.relaxable, self.relaxable.own(rho)
        model = relaxable.response.model
        jacobian, z = np.array(self.linear), self.constant + self.linear @ rho
        on_own = np.zeros(z.size)
        if self.own_kept.any():
            value, slope = relaxable.own_function.slopes(own)
            z, on_own = z + self.own_kept * value, on_own + self.own_kept * slope
        for (_, gate, source, _), on_gate, on_source in zip(relaxable.pieces, self.gates, self.sources, strict=True):
            if on_gate.any():
                value, slope = gate.slopes(own[:, None])
                z, on_own = z + (on_gate * value).sum(axis=1), on_own + (on_gate * slope).sum(axis=1)
            if on_source.any():
                value, slope = source.slopes(rho[None, :])
                z = z + (on_source * value).sum(axis=1)
                jacobian += on_source * slope
        jacobian[model.own_targets, model.own_sources] += on_own[model.own_targets]
        return z, jacobian

    def curvature(self, rho: Array, weights: Array) -> Array:
        """Return the diagonal of sum_i weights_i Hess Z_i, (S,)."""
        relaxable, own = self.relaxable, self.relaxable.own(rho)
        model = relaxable.response.model
        diagonal, on_own = np.zeros(rho.size), np.zeros(weights.size)
        if self.own_kept.any():
            on_own = on_own + self.own_kept * relaxable.own_function.curvatures(own)
        for (_, gate, source, _), on_gate, on_source in zip(relaxable.pieces, self.gates, self.sources, strict=True):
            if on_gate.any():
                on_own = on_own + (on_gate * gate.curvatures(own[:, None])).sum(axis=1)
            if on_source.any():
                diagonal += weights @ (on_source * source.curvatures(rho[None, :]))
        diagonal[model.own_sources] += (weights * on_own)[model.own_targets]
        return diagonal


def relax(relaxable: Relaxable, box: Box, reference: Array) -> tuple[Separable, Array]:
    """Return the relaxation on a box, and for each source the envelope gaps at a reference point, (S,).

    Of McCormick's two planes the one that is tighter at the reference point is taken.
    """
    model, wanted = relaxable.response.model, relaxable.wanted
    low, high, rho = (relaxable.cumulative(x) for x in (box.lower, box.upper, reference))
    own_low, own_high, own_rho = relaxable.own(low), relaxable.own(high), relaxable.own(rho)
    constant, linear = np.zeros(wanted.size), np.zeros((wanted.size, rho.size))
    gaps = np.zeros(rho.size)
    slopes = _loss_slopes(relaxable, rho)
    own_kept, own_slope, own_constant = _enveloped(relaxable.own_function, wanted, own_low, own_high)
    constant += own_constant
    own_linear = own_slope
    error = (wanted - own_kept) * relaxable.own_function.values(own_rho)
    own_gap = own_slope * own_rho + own_constant - error
    gates, sources = [], []
    for c, gate, source, term in relaxable.pieces:
        c = c * wanted[:, None]
        u_at, v_at = gate.values(own_rho[:, None]), source.values(rho[None, :])
        if term.gated and term.sourced:
            u_low, u_high = _range(gate, own_low[:, None], own_high[:, None])
            v_low, v_high = _range(source, low[None, :], high[None, :])
            u_low, u_high = np.where(c >= 0, u_low, -u_high), np.where(c >= 0, u_high, -u_low)  # of sign(c) u
            sign, size = np.where(c >= 0, 1.0, -1.0), np.abs(c)
            u = sign * u_at
            first = u_low * v_at + v_high * u - u_low * v_high
            second = u_high * v_at + v_low * u - u_high * v_low
            pick = first <= second
            on_v, on_u = size * np.where(pick, u_low, u_high), size * np.where(pick, v_high, v_low)
            plane = -size * np.where(pick, u_low * v_high, u_high * v_low)
            gap = size * (np.where(pick, first, second) - u * v_at)
            on_u = on_u * sign
        else:
            on_u, on_v = (c if term.gated else np.zeros(c.shape)), (np.zeros(c.shape) if term.gated else c)
            plane, gap = (np.zeros(c.shape) if term.gated or term.sourced else c), np.zeros(c.shape)
            on_v = on_v if term.sourced else np.zeros(c.shape)
        kept_u, slope_u, constant_u = _enveloped(gate, on_u, own_low[:, None], own_high[:, None])
        kept_v, slope_v, constant_v = _enveloped(source, on_v, low[None, :], high[None, :])
        gap_u = np.where(kept_u == on_u, 0.0, slope_u * own_rho[:, None] + constant_u - on_u * u_at)
        gap_v = np.where(kept_v == on_v, 0.0, slope_v * rho[None, :] + constant_v - on_v * v_at)
        constant += (plane + constant_u + constant_v).sum(axis=1)
        own_linear = own_linear + slope_u.sum(axis=1)
        linear += slope_v
        gates.append(kept_u)
        sources.append(kept_v)
        own_share = np.where((own_high - own_low)[:, None] >= (high - low)[None, :], 1.0, 0.0)
        own_gap = own_gap + (gap_u + own_share * gap).sum(axis=1)
        gaps += slopes @ (gap_v + (1 - own_share) * gap)
    linear[model.own_targets, model.own_sources] += own_linear[model.own_targets]
    gaps[model.own_sources] += (slopes * own_gap)[model.own_targets]
    return Separable(relaxable, constant, linear, own_kept, tuple(gates), tuple(sources)), np.maximum(gaps, 0.0)


def _loss_slopes(relaxable: Relaxable, rho: Array) -> Array:
    """Return how much the Lagrangian falls per unit of each wanted z, (T,)."""
    z = relaxable.response.z(rho)
    slopes = np.abs(relaxable.z_part)
    if relaxable.loss_part.any():
        slopes = slopes - relaxable.loss_part * relaxable.response.losses_and_slopes(z)[1]
    return np.asarray(np.where(np.isfinite(slopes), slopes, 1.0))


def _range(function: Univariate, low: Array, high: Array) -> tuple[Array, Array]:
    """Return least and largest values on boxes: at the ends where the function is monotone, else by intervals."""
    ends = np.stack([function.values(low), function.values(high)])
    least, most = ends.min(axis=0), ends.max(axis=0)
    unknown = function.slope == UNKNOWN
    if unknown.any():
        wide = Interval.enclosing(function.template.value(Interval.of(low, high), *function.arguments)[0])
        wide = wide.broadcast_to(function.slope.shape)
        least, most = np.where(unknown, wide.lower, least), np.where(unknown, wide.upper, most)
    return least, most


def _enveloped(function: Univariate, c: Array, low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Return (kept, slope, constant) with c f(t) <= kept f(t) + slope t + constant on boxes, the right side concave."""
    sign = np.sign(c) * np.where(function.curvature == UNKNOWN, np.nan, function.curvature)
    unknown = np.isnan(sign) & (c != 0)
    if unknown.any():
        curvature = _sign(Interval.enclosing(function.template.curvatures(
            Interval.of(low, high), *function.arguments)[0]).broadcast_to(function.curvature.shape))
        sign = np.where(unknown & (curvature != UNKNOWN), np.sign(c) * curvature, sign)
    concave = ~(sign > 0) & ~np.isnan(sign)
    kept = np.where(concave, c, 0.0)
    if concave.all():
        return kept, np.zeros(c.shape), np.zeros(c.shape)
    at_low, at_high = function.values(low), function.values(high)
    width = np.broadcast_to(high - low, c.shape)
    chord = np.where(width > 0, (at_high - at_low) / np.where(width > 0, width, 1.0), 0.0)
    convex = sign > 0
    slope = np.where(convex, c * chord, 0.0)
    constant = np.where(convex, c * (at_low - chord * low), 0.0)
    if np.isnan(sign).any() and (c[np.isnan(sign)] != 0).any():  # neither: the largest value on the box
        least, most = _range(function, low, high)
        constant = np.where(np.isnan(sign), np.where(c > 0, c * most, c * least), constant)
    return kept, slope, np.where(c == 0, 0.0, constant)
