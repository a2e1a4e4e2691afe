"""Concave overestimators of z on a box of ratios, from the templates.

For a target whose z is wanted from above, each term c gate(r_i) source(r_j) with gate u in [u_low, u_high] and
source v in [v_low, v_high] on the box is at most either of (McCormick)

    u_low v + v_high u - u_low v_high        u_high v + v_low u - u_high v_low

and each univariate function in that, times its number, is kept where it is concave and replaced by its chord where it
is convex. What remains is a separable concave Z_i >= z_i; where z is wanted from below, Z_i >= -z_i.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from climbopt.certification.bounds.relaxable import Box, Piece, Relaxable
from climbopt.certification.bounds.univariate import Univariate
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval


@dataclass(frozen=True, eq=False)
class Separable:
    """Concave Z_i = constant_i + linear_i'rho + sum of kept functions, each at least falls_i z_i on a box.

    Parameters
    ----------
    problem : Relaxable
    constant : ndarray, (T,)
    linear : ndarray, (T, S)
        Coefficients of the cumulative ratios rho.
    own : tuple of ndarray, (T,)
        Coefficients of each own piece's functions, 0 where they are replaced.
    gates, sources : tuple of ndarray, (T, S) or (T, 1)
        The same for each pair piece's gates and sources.
    """

    problem: Relaxable
    constant: Array
    linear: Array
    own: tuple[Array, ...]
    gates: tuple[Array, ...]
    sources: tuple[Array, ...]

    @cached_property
    def _kept(self) -> list[tuple[Array, Univariate, bool]]:
        """Coefficients and functions that are kept, (T, k), and whether they are of the own ratio."""
        pieces = self.problem.pieces
        kept = [
            (on[:, None], piece.function.column, True)
            for on, piece in zip(self.own, self.problem.own_pieces, strict=True)
        ]
        kept += [(on, piece.gate, True) for on, piece in zip(self.gates, pieces, strict=True)]
        kept += [(on, piece.source, False) for on, piece in zip(self.sources, pieces, strict=True)]
        return [one for one in kept if one[0].any()]

    def slopes(self, rho: Array) -> tuple[Array, Array]:
        """Return Z, (T,), and dZ/drho, (T, S)."""
        own, model = self.problem.own(rho)[:, None], self.problem.response.model
        jacobian, z, on_own = np.array(self.linear), self.constant + self.linear @ rho, np.zeros(own.size)
        for c, function, of_own in self._kept:
            value, slope = function.slopes(own if of_own else rho[None, :])
            z = z + (c * value).sum(axis=1)
            if of_own:
                on_own += (c * slope).sum(axis=1)
            else:
                jacobian += c * slope
        jacobian[model.own_targets, model.own_sources] += on_own[model.own_targets]
        return z, jacobian

    def curvature(self, rho: Array, weights: Array) -> Array:
        """Return the diagonal of sum_i weights_i Hess Z_i, (S,)."""
        own, model = self.problem.own(rho)[:, None], self.problem.response.model
        diagonal, on_own = np.zeros(rho.size), np.zeros(own.size)
        for c, function, of_own in self._kept:
            curvature = c * function.curvatures(own if of_own else rho[None, :])
            if of_own:
                on_own += curvature.sum(axis=1)
            else:
                diagonal += weights @ curvature
        diagonal[model.own_sources] += (weights * on_own)[model.own_targets]
        return diagonal


@dataclass(frozen=True, eq=False)
class Envelopes:
    """Overestimators of z, and how far they are above it at the point that they were made for.

    Parameters
    ----------
    separable : Separable
    own_gaps : ndarray, (T,)
        What branching on the target's own ratio could close.
    source_gaps : ndarray, (T, S)
        What branching on the source's could.
    """

    separable: Separable
    own_gaps: Array
    source_gaps: Array

    @property
    def gaps(self) -> Array:
        """Z - falls z at the point, (T,)."""
        return np.asarray(self.own_gaps + self.source_gaps.sum(axis=1))


def envelopes(problem: Relaxable, box: Box, reference: Array) -> Envelopes:
    """Return the overestimators on a box; of McCormick's two planes the one that is tighter at a reference point."""
    model, falls = problem.response.model, problem.falls
    low, high, rho = (problem.cumulative(x) for x in (box.lower, box.upper, reference))
    own = (problem.own(low), problem.own(high), problem.own(rho))
    column, row = tuple(end[:, None] for end in own), tuple(end[None, :] for end in (low, high, rho))
    constant, on_own, own_gaps = np.zeros(falls.size), np.zeros(falls.size), np.zeros(falls.size)
    linear, source_gaps = np.zeros((falls.size, rho.size)), np.zeros((falls.size, rho.size))
    owns, gates, sources = [], [], []
    for own_piece in problem.own_pieces:
        kept, slope, flat, gap = _above(own_piece.function, own_piece.coefficient * falls, own)
        constant, on_own, own_gaps = constant + flat, on_own + slope, own_gaps + gap
        owns.append(kept)
    for piece in problem.pieces:
        made = _summed_plane if piece.summed else _planes
        on_gate, on_source, plane, gate_gap, source_gap = made(problem, piece, box, column, row)
        kept_u, slope_u, flat_u, gap_u = _above(piece.gate, on_gate, column)
        kept_v, slope_v, flat_v, gap_v = _above(piece.source, on_source, row)
        constant = constant + plane + flat_u.sum(axis=1) + flat_v.sum(axis=1)
        on_own, linear = on_own + slope_u.sum(axis=1), linear + slope_v
        own_gaps, source_gaps = own_gaps + gap_u.sum(axis=1) + gate_gap, source_gaps + gap_v + source_gap
        gates.append(kept_u)
        sources.append(kept_v)
    linear[model.own_targets, model.own_sources] += on_own[model.own_targets]
    separable = Separable(problem, constant, linear, tuple(owns), tuple(gates), tuple(sources))
    return Envelopes(separable, np.maximum(own_gaps, 0.0), np.maximum(source_gaps, 0.0))


Ends = tuple[Array, ...]
"""Lower and upper bounds of a ratio, and the reference point."""


def _above(function: Univariate, c: Array, at: Ends) -> tuple[Array, Array, Array, Array]:
    """Return kept, slope and constant of what is above c times a function, and by how much at the point."""
    kept, slope, constant = function.enveloped(c, at[0], at[1])
    lost = c - kept
    gap = slope * at[2] + constant - (lost * function.values(at[2]) if lost.any() else 0.0)
    return kept, slope, constant, gap


def _planes(
    problem: Relaxable, piece: Piece, box: Box, own: Ends, other: Ends
) -> tuple[Array, Array, Array, Array, Array]:
    """Return what is above a term: coefficients of gate and source, a constant, and gaps at the point.

    The gaps are those of the targets, (T,), and those of the pairs, (T, S): the wider ratio has it.
    """
    c = piece.coefficient * problem.falls[:, None]
    zero, none = np.zeros(c.shape), np.zeros(len(c))
    if not (piece.gated and piece.sourced):
        flat = none if piece.gated or piece.sourced else c.sum(axis=1)
        return c if piece.gated else zero, c if piece.sourced else zero, flat, none, zero
    u, v = piece.gate.range(*own[:2]), piece.source.range(*other[:2])
    sign, size = np.where(c >= 0, 1.0, -1.0), np.abs(c)
    signed = Interval(np.where(c >= 0, u.lower, -u.upper), np.where(c >= 0, u.upper, -u.lower))
    on_u, on_v, plane, gap = _mccormick(signed, v, sign * piece.gate.values(own[2]), piece.source.values(other[2]))
    wider_own = own[1] - own[0] >= other[1] - other[0]
    gap = size * gap
    return (
        size * sign * on_u,
        size * on_v,
        (size * plane).sum(axis=1),
        np.where(wider_own, gap, 0.0).sum(axis=1),
        np.where(wider_own, 0.0, gap),
    )


def _summed_plane(
    problem: Relaxable, piece: Piece, box: Box, own: Ends, other: Ends
) -> tuple[Array, Array, Array, Array, Array]:
    """Return the same for gate_i times the sum of coefficient_ij r_j, one product a target."""
    falls = problem.falls
    c, v = piece.coefficient * falls[:, None], problem.sums(piece, box)
    v = Interval(np.where(falls > 0, v.lower, -v.upper), np.where(falls > 0, v.upper, -v.lower))
    u = piece.gate.range(*own[:2])
    u = Interval(u.lower[:, 0], u.upper[:, 0])
    on_u, on_v, plane, gap = _mccormick(u, v, piece.gate.values(own[2])[:, 0], c @ other[2][0])
    spread = np.abs(c) * (other[1] - other[0])
    total = spread.sum(axis=1, keepdims=True)
    return (
        on_u[:, None],
        c * on_v[:, None],
        plane,
        0.5 * gap,
        0.5 * gap[:, None] * spread / np.where(total > 0, total, 1.0),
    )


def _mccormick(u: Interval, v: Interval, u_at: Array, v_at: Array) -> tuple[Array, Array, Array, Array]:
    """Return coefficients of u and v, constant and gap at a point of the plane above u v that is tighter there."""
    first = u.lower * v_at + v.upper * u_at - u.lower * v.upper
    second = u.upper * v_at + v.lower * u_at - u.upper * v.lower
    pick = first <= second
    return (
        np.where(pick, v.upper, v.lower),
        np.where(pick, u.lower, u.upper),
        -np.where(pick, u.lower * v.upper, u.upper * v.lower),
        np.where(pick, first, second) - u_at * v_at,
    )
