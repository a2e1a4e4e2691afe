"""A lower bound of the Hessian of a function of z on a box, and the least diagonal that makes it positive semidefinite.

The Hessian of on_z'z + sum_i w_i (z_i - p_i)^2 / 2 is J'WJ + sum_i u_i Hess z_i with u = on_z + w (z - p). With
J_i = c_i + e_i, abs(e_i) <= r_i, any 0 < t_i <= 1 gives

    J_i J_i' >= (1 - t_i) c_i c_i' - (1/t_i - 1) e_i e_i',    e_i e_i' <= diag(r_ij (r_i's) / s_j),  s > 0

and the other part is enclosed by intervals, its uncertain cross terms U replaced by -diag((U s)_j / s_j).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from climbopt.certification.bounds.relaxable import Box, Piece, Relaxable
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval

CELLS = 4
"""Pieces that a range of one ratio is cut into, for tighter enclosures of sums of curvatures."""
ROUNDING = 1e-13
"""Share of a matrix's size that its computed eigenvalues may be off by."""
NARROW = 1e-3
"""Least scale of a direction, as a share of the widest one."""


@dataclass(frozen=True, eq=False)
class LeastHessian:
    """A symmetric matrix that a Hessian is at least, on the directions that keep the equations.

    Parameters
    ----------
    matrix : ndarray, (n, n)
    scales : ndarray, (n,)
        Of the directions: the box's widths, none too small.
    equations : ndarray, (k, n)
    """

    matrix: Array
    scales: Array
    equations: Array

    def spectrum(self) -> tuple[Array, Array]:
        """Return eigenvalues and vectors of the scaled matrix on the equations' null space."""
        scaled = self.matrix * np.outer(self.scales, self.scales)
        basis = linalg.null_space(self.equations * self.scales) if len(self.equations) else np.eye(self.scales.size)
        values, vectors = linalg.eigh(basis.T @ scaled @ basis)
        return values, basis @ vectors

    def shift(self) -> Array:
        """Return a diagonal, (n,), that makes the matrix positive semidefinite there, of small weighted sum.

        With the negative part sum_k l_k v_k v_k' of the scaled matrix, either diag(sum_k l_k |v_k| |v_k|_1) or its
        largest eigenvalue throughout.
        """
        values, vectors = self.spectrum()
        size = float(np.abs(values).max(initial=0.0))
        negative = np.maximum(-values, 0.0)
        if values.size == 0 or negative.max() == 0:
            return np.zeros(self.scales.size)
        spread = np.abs(vectors)
        apart = spread @ (negative * spread.sum(axis=0))
        even = np.full(self.scales.size, negative.max())
        chosen = apart if apart.sum() < even.sum() else even
        return np.asarray((chosen + ROUNDING * values.size * size) / self.scales**2)

    def shifted(self, shift: Array) -> LeastHessian:
        """Return the matrix with a diagonal added."""
        return LeastHessian(self.matrix + np.diag(shift), self.scales, self.equations)


@dataclass(frozen=True, eq=False)
class Slopes:
    """Enclosures of dz/drho, (T, S), on a box: center and radius."""

    center: Array
    radius: Array


def enclose_jacobian(problem: Relaxable, box: Box) -> Slopes | None:
    """Return enclosures of dz/drho on a box; None where they are not finite."""
    model = problem.response.model
    low, high = problem.cumulative(box.lower), problem.cumulative(box.upper)
    own_low, own_high = problem.own(low), problem.own(high)
    own = Interval.of(np.zeros(own_low.size), 0.0)
    for own_piece in problem.own_pieces:
        own = own + own_piece.function.enclose_slopes(own_low, own_high) * own_piece.coefficient
    shape = (own_low.size, low.size)
    lower, upper = np.zeros(shape), np.zeros(shape)
    for piece in problem.pieces:
        gate = piece.gate.range(own_low[:, None], own_high[:, None]) if piece.gated else 1.0
        source = piece.source.range(low[None, :], high[None, :]) if piece.sourced else 1.0
        if piece.sourced:
            part = piece.source.enclose_slopes(low[None, :], high[None, :]) * gate * piece.coefficient
            part = part.broadcast_to(shape)
            lower, upper = lower + part.lower, upper + part.upper
        if piece.gated:
            steep = piece.gate.enclose_slopes(own_low[:, None], own_high[:, None])
            if piece.summed:
                total = problem.sums(piece, box)
                own = own + (steep * Interval(total.lower[:, None], total.upper[:, None])).sum(1)
            else:
                own = own + (steep * source * piece.coefficient).broadcast_to(shape).sum(1)
    i, j = model.own_targets, model.own_sources
    lower[i, j] += own.lower[i]
    upper[i, j] += own.upper[i]
    if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
        return None
    center = 0.5 * (lower + upper)
    return Slopes(center, np.maximum(0.5 * (upper - lower), 0.0) + 1e-15 * np.abs(center))


def least_hessian(problem: Relaxable, box: Box, slopes: Slopes, weights: Array, on_z: Interval) -> LeastHessian | None:
    """Return what J'WJ + sum_i u_i Hess z_i is at least on a box; None where that is not finite.

    Parameters
    ----------
    slopes : Slopes
        Of z on the box.
    weights : ndarray, (T,)
        The diagonal of W, 0 or more.
    on_z : Interval, (T,)
        Enclosures of u.
    """
    n, ratios = box.lower.size, problem.functions.offset.size
    widths = np.maximum(box.width, NARROW * box.width.max(initial=0.0))
    scales = np.where(widths > 0, widths, 1.0)
    matrix = _curvature_of_z(problem, box, on_z, scales[:ratios])
    if matrix is None:
        return None
    if weights.any():
        matrix += _gram(slopes, weights, scales[:ratios])
    wide = np.zeros((n, n))
    wide[:ratios, :ratios] = problem.functions.scale**2 * matrix
    polytope = problem.polytope
    return LeastHessian(wide, scales, polytope.dense[polytope.equation])


def _gram(slopes: Slopes, weights: Array, s: Array) -> Array:
    """Return a matrix that J'WJ is at least, for J within its enclosure; (S, S)."""
    center, radius = slopes.center, slopes.radius
    scaled, normal = center * s, s / np.sqrt(s @ s)
    certain = np.sqrt(((scaled - np.outer(scaled @ normal, normal)) ** 2).sum(axis=1))
    doubt = np.sqrt(((radius * s) ** 2).sum(axis=1))
    lost = np.where(certain > 0, np.minimum(doubt / np.where(certain > 0, certain, 1.0), 1.0), 1.0)
    lost = np.maximum(lost, 1e-12)
    matrix: Array = (center.T * (weights * (1.0 - lost))) @ center
    matrix[np.diag_indices(s.size)] -= (weights * (1.0 / lost - 1.0) * (radius @ s)) @ radius / s
    return matrix


def _curvature_of_z(problem: Relaxable, box: Box, on_z: Interval, s: Array) -> Array | None:
    """Return a lower bound of sum_i on_z_i Hess z_i by the cumulative ratios; None where it is not finite."""
    model, cut = problem.response.model, _Cut.of(problem, box)
    i, j = model.own_targets, model.own_sources
    matrix = np.zeros((s.size, s.size))
    on_own = np.zeros(cut.own_below.shape)
    for own_piece in problem.own_pieces:
        bent = own_piece.function.enclose_curvatures(cut.own_below, cut.own_above) * (on_z * own_piece.coefficient)
        on_own = on_own + bent.broadcast_to(on_own.shape).lower
    for piece in problem.pieces:
        c = Interval(on_z.lower[:, None], on_z.upper[:, None]) * piece.coefficient
        shape = (CELLS, *piece.coefficient.shape)
        if piece.summed:
            on_gate, part = _summed(problem, piece, box, cut, on_z, s)
            on_own, matrix = on_own + on_gate, matrix + part
        elif piece.gated and piece.sourced:
            on_gate, part = _products(problem, piece, cut, c, s)
            on_own, matrix = on_own + on_gate, matrix + part
        elif piece.gated:
            bent = piece.gate.enclose_curvatures(cut.own_below[:, :, None], cut.own_above[:, :, None]) * c
            on_own = on_own + bent.broadcast_to(shape).sum(2).lower
        elif piece.sourced:
            bent = piece.source.enclose_curvatures(cut.below[:, None, :], cut.above[:, None, :]) * c
            matrix[np.diag_indices(s.size)] += bent.broadcast_to(shape).sum(1).lower.min(axis=0)
    matrix[j, j] += on_own.min(axis=0)[i]
    return matrix if np.isfinite(matrix).all() else None


@dataclass(frozen=True, eq=False)
class _Cut:
    """The ranges of all ratios and of targets' own ones, (S,) and (T,), cut into cells, (CELLS, S) and (CELLS, T)."""

    low: Array
    high: Array
    own_low: Array
    own_high: Array
    below: Array
    above: Array
    own_below: Array
    own_above: Array

    @classmethod
    def of(cls, problem: Relaxable, box: Box) -> _Cut:
        """Return the cells of a box."""
        low, high = problem.cumulative(box.lower), problem.cumulative(box.upper)
        cells = np.linspace(low, high, CELLS + 1)
        own = np.stack([problem.own(edge) for edge in cells])
        return cls(low, high, own[0], own[-1], cells[:-1], cells[1:], own[:-1], own[1:])


def _summed(problem: Relaxable, piece: Piece, box: Box, cut: _Cut, on_z: Interval, s: Array) -> tuple[Array, Array]:
    """Return what a product a target, gate_i(r_i) (c_i'r), curves: on each cell of the own ratio, and the cross part.

    Its cross part is u gate' (e_i c_i' + c_i e_i'); where u gate' is off its middle by up to h, it loses at most
    h (k e_i e_i' + c_i c_i' / k), k > 0. On directions whose entries sum to 0, c_i matters up to a constant.
    """
    model = problem.response.model
    i, j = model.own_targets, model.own_sources
    total = problem.sums(piece, box) * on_z
    bent = piece.gate.enclose_curvatures(cut.own_below[:, :, None], cut.own_above[:, :, None])
    on_own = (bent * Interval(total.lower[:, None], total.upper[:, None])).broadcast_to((*cut.own_below.shape, 1))
    steep = piece.gate.enclose_slopes(cut.own_low[:, None], cut.own_high[:, None]).broadcast_to((on_z.lower.size, 1))
    worth = on_z * Interval(steep.lower[:, 0], steep.upper[:, 0])
    middle, half = 0.5 * (worth.lower + worth.upper)[i], 0.5 * (worth.upper - worth.lower)[i]
    rows = piece.coefficient[i]
    cross = np.zeros((s.size, s.size))
    cross[j] = middle[:, None] * rows
    cross = cross + cross.T
    if not np.isnan(problem.total_of_cumulative):
        rows = rows - ((rows @ s**2) / (s @ s))[:, None]
    size = np.sqrt(((rows * s) ** 2).sum(axis=1))
    balance = np.where(size > 0, size, 1.0) / s[j]
    cross[j, j] -= half * balance
    return on_own.lower[:, :, 0], cross - (rows.T * (half / balance)) @ rows


def _products(problem: Relaxable, piece: Piece, cut: _Cut, c: Interval, s: Array) -> tuple[Array, Array]:
    """Return the same for products gate_ij(r_i) source_ij(r_j), one a pair."""
    model, shape = problem.response.model, c.lower.shape
    i, j = model.own_targets, model.own_sources
    own, other = (cut.own_low[:, None], cut.own_high[:, None]), (cut.low[None, :], cut.high[None, :])
    bent = piece.gate.enclose_curvatures(cut.own_below[:, :, None], cut.own_above[:, :, None])
    on_own = (bent * c * piece.source.range(*other)).broadcast_to((CELLS, *shape)).sum(2).lower
    on_source = piece.gate.range(*own) * piece.source.enclose_curvatures(*other) * c
    product = (piece.gate.enclose_slopes(*own) * piece.source.enclose_slopes(*other) * c).broadcast_to(shape)
    cross, doubt = np.zeros((s.size, s.size)), np.zeros((s.size, s.size))
    cross[j] = 0.5 * (product.lower + product.upper)[i]
    doubt[j] = 0.5 * (product.upper - product.lower)[i]
    cross, doubt = cross + cross.T, doubt + doubt.T
    cross[np.diag_indices(s.size)] += on_source.broadcast_to(shape).sum(0).lower - (doubt @ s) / s
    return on_own, cross
