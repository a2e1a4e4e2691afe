"""Convex functions below a Lagrangian on a box, shown to be so by enclosures.

The functions are those of tangents.py: tangents of the laws at p, plus w_i (z_i - p_i)^2 / 2 where c_i L_i'' is at
least w_i on the box, plus shift'(x - lower)(x - upper) / 2. Their Hessian is J'WJ + sum_i u_i Hess z_i + diag(shift)
with u = c L'(p) + w (z - p). Where it is shown to be positive definite on the directions that keep the equations, the
function lies above its tangent planes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from flint import arb, ctx

from climbopt.certification.bounds.balls import PRECISE, inverse_if_definite
from climbopt.certification.bounds.declared import Declared, Region, as_column, exact, middle, sums
from climbopt.certification.bounds.planes import Plane, in_domain
from climbopt.certification.bounds.relaxable import Box
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval

PENALTY = 1e12
"""Weight of the squared equations that are added to a Hessian, in multiples of its largest entry."""
NARROW = 1e-3
"""Least scale of a direction, as a share of the widest one."""


@dataclass(frozen=True, eq=False)
class Ground:
    """Enclosures on a box that functions of curvature are made of.

    Parameters
    ----------
    declared : Declared
    box : Box
    reference : ndarray, (n,)
        In the box; z is enclosed around it, and the laws' tangents touch at about its z.
    """

    declared: Declared
    box: Box
    reference: Array
    _hessians: dict[bytes, Array | None] = field(default_factory=dict)

    @cached_property
    def whole(self) -> Region:
        """The box."""
        return self.declared.on(self.box.lower, self.box.upper)

    @cached_property
    def point(self) -> Array:
        """p, (T, 1)."""
        return middle(self._at.z)

    @cached_property
    def _at(self) -> Region:
        return self.declared.on(self.reference, self.reference)

    @cached_property
    def away(self) -> Interval:
        """z - p on the box, (T, 1), by the mean value theorem."""
        at, total = self._at, self.declared.total
        rest = None if total is None else total - at.rho.sum(0)
        away: Interval = at.z - self.point + sums(self.whole.jacobian, self.whole.rho - at.rho, rest)
        return away

    @cached_property
    def law(self) -> tuple[Interval, Interval]:
        """The laws' values and slopes at p, (T, 1), times what they count; 0 where they don't."""
        loss, slope, _ = self.declared.law(exact(np.where(self.declared.loss_part.upper > 0, self.point, 1.0)))
        return self.declared.loss_part * loss, self.declared.loss_part * slope

    @cached_property
    def largest_weights(self) -> Array:
        """What c_i L_i'' is at least between p and z on the box, (T, 1); 0 where that is not known to be positive."""
        end = self.declared.problem.response.model.law.end_of_domain
        z = Interval(np.minimum(self.away.lower, 0.0), np.maximum(self.away.upper, 0.0)) + self.point
        bent = self.declared.law(Interval(np.maximum(z.lower, end), np.maximum(z.upper, end)))[2]
        least = (self.declared.loss_part * bent).broadcast_to(self.point.shape).lower
        return np.where(np.isfinite(least), np.maximum(least, 0.0), 0.0)

    @cached_property
    def scales(self) -> Array:
        """Of the directions of the ratios, (S,): the box's widths, none too small."""
        width = self.box.width[: self.declared.offset.lower.size]
        wide = np.maximum(width, NARROW * width.max(initial=0.0))
        return np.where(wide > 0, wide, 1.0)

    @cached_property
    def equations(self) -> tuple[Array, Array]:
        """The equations that hold ratios alone, (k, S), and their limits."""
        polytope, n = self.declared.problem.polytope, self.scales.size
        which = polytope.equation & ~polytope.dense[:, n:].any(axis=1)
        return polytope.dense[which][:, :n], polytope.rows.lower[which]

    def least_hessian(self, weights: Array) -> Array | None:
        """Return a matrix, (S, S), that the Hessian by the ratios is at least on the box; None where none is known."""
        key = weights.tobytes()
        if key not in self._hessians:
            self._hessians[key] = self._least_hessian(weights)
        return self._hessians[key]

    def _least_hessian(self, weights: Array) -> Array | None:
        u = self.declared.z_part + self.law[1] + self.away * weights
        hessian = _of_terms(self.whole, u)
        if weights.any():
            hessian = hessian + _of_squares(self.whole.jacobian, weights, self.scales)
        hessian = hessian * (self.declared.scale * self.declared.scale)
        return _below(hessian, self.scales) if np.isfinite([hessian.lower, hessian.upper]).all() else None


@dataclass(frozen=True, eq=False)
class Curved:
    """A function below the Lagrangian on a box.

    Parameters
    ----------
    ground : Ground
    weights : ndarray, (T, 1)
    shift : ndarray, (S,)
        Whatever they are, nothing is claimed but what `inverse` shows.
    """

    ground: Ground
    weights: Array
    shift: Array

    @cached_property
    def penalty(self) -> float:
        """Weight of the squared equations."""
        matrix = self.ground.least_hessian(self.weights)
        return 0.0 if matrix is None else PENALTY * float(np.abs(matrix + np.diag(self.shift)).max(initial=0.0))

    @cached_property
    def inverse(self) -> Array | None:
        """Upper bounds of the diagonal of P's inverse, P = M + diag(shift) + penalty E'E, (S,).

        None where it is not shown that the function is below the Lagrangian and P positive definite.
        """
        ground, matrix = self.ground, self.ground.least_hessian(self.weights)
        allowed = (self.weights >= 0) & (self.weights <= ground.largest_weights) & (self.shift >= 0).all()
        if matrix is None or not allowed.all() or not in_domain(ground.declared, ground.point):
            return None
        before, ctx.prec = ctx.prec, PRECISE
        try:
            rows = [[arb(one) for one in row] for row in ground.equations[0].tolist()]
            exactly = [[arb(one) for one in row] for row in matrix.tolist()]
            for j, line in enumerate(exactly):
                line[j] += arb(float(self.shift[j]))
                for row in rows:
                    for k, one in enumerate(row):
                        line[k] += arb(self.penalty) * row[j] * one
            return inverse_if_definite(exactly)
        finally:
            ctx.prec = before

    def plane(self, x: Array) -> Plane:
        """Return the tangent plane at x, (n,), in the box; where equations hold, the function is above it by d'Pd / 2.

        x meets the equations but for rounding, of which half the penalty times the square is taken off.
        """
        ground, declared = self.ground, self.ground.declared
        at, lower, upper = declared.on(x, x), exact(ground.box.lower), exact(ground.box.upper)
        away = at.z - ground.point
        loss, slope = ground.law
        on_z = declared.z_part + slope
        by_z = on_z + away * self.weights
        value = (declared.z_part * ground.point + loss + on_z * away + away * away * (0.5 * self.weights)).sum(0).sum(0)
        n, point = self.shift.size, exact(x)
        shift = np.concatenate([self.shift, np.zeros(x.size - n)])
        value = value + ((point - lower) * (point - upper) * (0.5 * shift)).sum(0)
        slopes = declared.by_x((by_z * at.jacobian).sum(0)) + (point - (lower + upper) * 0.5) * shift
        rows, limits = ground.equations
        off = (exact(rows) * x[:n]).sum(1) - limits
        value = value - (slopes * point).sum(0) - (off * off).sum(0) * (0.5 * self.penalty)
        return Plane(declared.x_part + slopes, declared.constant + value)

    def reach(self, x: Array, room: Interval, box: Box) -> Box | None:
        """Return the box cut to where the function may exceed its tangent plane at x by no more than room."""
        assert self.inverse is not None
        if room.upper < 0:
            return None
        if not np.isfinite(room.upper):
            return box
        far = np.sqrt(exact(self.inverse) * 2.0 * Interval.of(0.0, room.upper)).upper
        n, lower, upper = far.size, box.lower.copy(), box.upper.copy()
        lower[:n] = np.maximum(lower[:n], (exact(x[:n]) - far).lower)
        upper[:n] = np.minimum(upper[:n], (exact(x[:n]) + far).upper)
        return None if (lower > upper).any() else Box(lower, upper)


def _of_terms(region: Region, u: Interval) -> Interval:
    """Return enclosures of sum_i u_i Hess z_i by cumulative ratios, (S, S)."""
    declared, shape = region.declared, region.declared.others.shape
    on_own, on_source, across = exact(np.zeros((shape[0], 1))), exact(np.zeros(shape[1])), exact(np.zeros(shape))
    for coefficient, jet in region.own:
        on_own = on_own + coefficient * jet.curvature
    for product in region.products:
        c, gate, source = product.coefficient, product.gate, product.source
        if product.summed:
            on_own = on_own + gate.curvature * region.sums(product)
        else:
            on_own = on_own + as_column((c * gate.curvature * source.value).sum(1))
            on_source = on_source + (u * c * gate.value * source.curvature).sum(0)
        across = across + u * c * gate.slope * source.slope
    own = (u * on_own * (1.0 - declared.others)).sum(0)
    model, half = declared.problem.response.model, np.zeros((2, shape[1], shape[1]))
    for end, given in zip(half, (across.lower, across.upper), strict=True):
        end[model.own_sources] = given[model.own_targets]
    crossed = Interval(*half) + Interval(half[0].T, half[1].T)
    diagonal = own + on_source
    whole: Interval = crossed + Interval(np.diag(diagonal.lower), np.diag(diagonal.upper))
    return whole


def _of_squares(jacobian: Interval, weights: Array, s: Array) -> Interval:
    """Return enclosures of a matrix that J'WJ is at least, (S, S).

    With J_i = c_i + e_i, abs(e_i) <= r_i and any 0 < t_i <= 1, J_i J_i' >= (1 - t_i) c_i c_i' - (1/t_i - 1) e_i e_i'
    and e_i e_i' <= diag(r_ij (r_i's) / s_j).
    """
    center = middle(jacobian)
    radius = np.maximum((jacobian - center).upper, (center - jacobian).upper)
    normal = s / np.sqrt(s @ s)
    scaled = center * s
    certain = np.sqrt(((scaled - np.outer(scaled @ normal, normal)) ** 2).sum(axis=1))
    doubt = np.sqrt(((radius * s) ** 2).sum(axis=1))
    t = exact(np.clip(np.where(certain > 0, doubt / np.where(certain > 0, certain, 1.0), 1.0), 1e-12, 1.0)[:, None])
    kept, lost = (1.0 - t) * weights, (1.0 / t - 1.0) * weights
    squares = exact(center[:, :, None]) * center[:, None, :]
    certainly = (squares * Interval(kept.lower[:, :, None], kept.upper[:, :, None])).sum(0)
    taken = (lost * as_column((exact(radius) * s).sum(1)) * radius).sum(0) / s
    least: Interval = certainly - Interval(np.diag(taken.lower), np.diag(taken.upper))
    return least


def _below(matrix: Interval, s: Array) -> Array:
    """Return a symmetric matrix that all symmetric ones within bounds are at least.

    Off the middle by E, v'Ev >= -sum_j v_j^2 (abs(E) s)_j / s_j.
    """
    lower, upper = np.maximum(matrix.lower, matrix.lower.T), np.minimum(matrix.upper, matrix.upper.T)
    center = 0.5 * (lower + upper)
    np.fill_diagonal(center, lower.diagonal())
    doubt = np.maximum((exact(upper) - center).upper, (exact(center) - lower).upper)
    np.fill_diagonal(doubt, 0.0)
    least = exact(lower.diagonal()) - (exact(doubt) * s).sum(1) / s
    np.fill_diagonal(center, least.lower)
    return np.asarray(center)
