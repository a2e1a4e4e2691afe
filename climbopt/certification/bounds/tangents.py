"""A convex function below a Lagrangian on a box, from tangents of the laws.

A law convex in z lies above its tangent at any p, and above it by w (z - p)^2 / 2 where its second derivative is at
least w, so that

    sum_i c_i L_i >= sum_i c_i (L_i(p_i) + L_i'(p_i) (z_i - p_i)) + w_i (z_i - p_i)^2 / 2

What is on the right has slopes u = c L'(p) + w (z - p) that hardly change on a box, which is all that its Hessian
J'WJ + sum_i u_i Hess z_i can be uncertain by: in the sum over targets what bends up outweighs what bends down, where
term by term it could not. Where that Hessian comes short of positive semidefinite, sum_j a_j (x_j - lower_j)
(x_j - upper_j) / 2 <= 0 is added (alpha-BB: Androulakis, Maranas and Floudas, Journal of Global Optimization 7, 1995).
With a = 0 value and slope at the point of the tangents are the Lagrangian's own, so that a box on which such a point
is a minimum is closed without a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from climbopt.certification.bounds.curvature import LeastHessian, Slopes, enclose_jacobian, least_hessian
from climbopt.certification.bounds.lagrangian import Lagrangian
from climbopt.certification.bounds.oracle import ROUNDING, WithoutRows, WithoutRowsAt
from climbopt.certification.bounds.relaxable import CAUTION, Box, largest_sums
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval


@dataclass(frozen=True, eq=False)
class Tangents(WithoutRows):
    """x_part'x + on_z'(z - point) + weights'(z - point)^2 / 2 + shift'(x - lower)(x - upper) / 2 + constant.

    Parameters
    ----------
    lagrangian : Lagrangian
    box : Box
    point, on_z, weights : ndarray, (T,)
    constant : float
    shift : ndarray, (n,)
    least : LeastHessian
        What its Hessian is at least on the box, shift included.
    """

    lagrangian: Lagrangian
    box: Box
    point: Array
    on_z: Array
    weights: Array
    constant: float
    shift: Array
    least: LeastHessian

    def at(self, x: Array) -> TangentsAt:
        """Return the evaluation at x."""
        return TangentsAt(self, np.asarray(x, dtype=float))

    def error(self, x: Array) -> Array:
        """Return what the shift takes away at a point, by variable, (n,)."""
        return np.asarray(0.5 * self.shift * (x - self.box.lower) * (self.box.upper - x))


@dataclass(frozen=True, eq=False)
class TangentsAt(WithoutRowsAt):
    """The function of tangents at one x."""

    functions: Tangents
    x: Array

    @cached_property
    def _rho(self) -> Array:
        return self.functions.lagrangian.cumulative(self.x)

    @cached_property
    def _z(self) -> tuple[Array, Array]:
        return self.functions.lagrangian.response.z_and_jacobian(self._rho)

    @cached_property
    def _by_z(self) -> Array:
        tangents = self.functions
        return np.asarray(tangents.on_z + tangents.weights * (self._z[0] - tangents.point))

    @cached_property
    def _parts(self) -> Array:
        tangents = self.functions
        away = self._z[0] - tangents.point
        return np.concatenate(
            [
                tangents.lagrangian.x_part * self.x,
                tangents.on_z * away,
                0.5 * tangents.weights * away**2,
                -tangents.error(self.x),
                [tangents.constant],
            ]
        )

    @cached_property
    def value(self) -> float:
        """The function."""
        return float(self._parts.sum())

    @cached_property
    def slack(self) -> float:
        """What rounding may have added to the value."""
        z, jacobian = self._z
        inside = np.abs(self._by_z) @ (np.abs(self.functions.point) + np.abs(z) + np.abs(jacobian) @ np.abs(self._rho))
        return float(ROUNDING * (np.abs(self._parts).sum() + inside))

    @cached_property
    def gradient(self) -> Array:
        """Its gradient, (n,)."""
        tangents = self.functions
        middle = 0.5 * (tangents.box.lower + tangents.box.upper)
        gradient: Array = tangents.lagrangian.x_part + tangents.shift * (self.x - middle)
        gradient[: self._rho.size] += tangents.lagrangian.functions.scale * (self._by_z @ self._z[1])
        return gradient

    def hessian(self, weight: float, multipliers: Array) -> Array:
        """Return weight times its Hessian, (n, n)."""
        tangents, n = self.functions, self._rho.size
        lagrangian, jacobian = tangents.lagrangian, self._z[1]
        block = lagrangian.response.hessian(self._rho, self._by_z)
        if tangents.weights.any():
            block += (jacobian.T * tangents.weights) @ jacobian
        hessian = np.diag(tangents.shift)
        hessian[:n, :n] += lagrangian.functions.scale**2 * block
        return weight * hessian


def tangents(lagrangian: Lagrangian, box: Box, reference: Array) -> Tangents | None:
    """Return the convex function below the Lagrangian that touches the laws at a reference point's z, or None."""
    on, response = lagrangian.loss_part, lagrangian.response
    p = response.z(lagrangian.cumulative(reference))
    loss, slope = response.losses_and_slopes(p) if on.any() else (np.zeros(p.size), np.zeros(p.size))
    used = on > 0
    if not (np.isfinite(loss[used]).all() and np.isfinite(slope[used]).all()):
        return None
    on_z = lagrangian.z_part + np.where(used, on * slope, 0.0)
    constant = lagrangian.constant + float(lagrangian.z_part @ p) + float(on[used] @ loss[used])
    slopes = enclose_jacobian(lagrangian.problem, box)
    if slopes is None:
        return None
    weights, away = _least_weights(lagrangian, box, reference, p, slopes)
    best: Tangents | None = None
    for w in (weights, np.zeros(p.size)) if weights.any() else (weights,):
        u = Interval(on_z + w * away.lower, on_z + w * away.upper)
        least = least_hessian(lagrangian.problem, box, slopes, w, u)
        if least is None:
            continue
        shift = least.shift()
        if best is None or (shift * box.width**2).sum() < (best.shift * box.width**2).sum():
            best = Tangents(lagrangian, box, p, on_z, w, constant, shift, least.shifted(shift))
        if not shift.any():
            break
    return best


def _least_weights(
    lagrangian: Lagrangian, box: Box, reference: Array, p: Array, slopes: Slopes
) -> tuple[Array, Interval]:
    """Return weights that the losses' second derivatives are at least on a box, (T,), and enclosures of z - p."""
    n, functions = lagrangian.functions.offset.size, lagrangian.functions
    lower, upper = box.lower[:n] - reference[:n], box.upper[:n] - reference[:n]
    total = lagrangian.problem.total_of_ratios - float(reference[:n].sum())
    center, radius = functions.scale * slopes.center, functions.scale * slopes.radius
    around = radius @ np.maximum(np.abs(lower), np.abs(upper))
    most, least = largest_sums(center, lower, upper, total), -largest_sums(-center, lower, upper, total)
    slack = CAUTION * (np.abs(p) + np.abs(center).sum(axis=1) + around)
    away = Interval(least - around - slack, most + around + slack)
    end = lagrangian.response.model.law.end_of_domain
    z = Interval(np.maximum(p + away.lower, end), np.maximum(p + away.upper, end))
    bent, on = lagrangian.problem.curvatures(z), lagrangian.loss_part
    known = (on > 0) & np.isfinite(bent.lower) & (bent.lower > 0)
    return np.where(known, on * np.where(known, bent.lower, 0.0) * (1 - CAUTION), 0.0), away
