"""A convex function below a Lagrangian on a box, from the envelopes of z.

A loss that is convex in z and falls with it is no smaller at z than at an overestimator Z of z, and convex where Z is
concave; one that rises is treated the same way with -z.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from climbopt.certification.bounds.envelopes import Envelopes, Separable, envelopes
from climbopt.certification.bounds.lagrangian import Lagrangian
from climbopt.certification.bounds.oracle import ROUNDING, WithoutRows, WithoutRowsAt
from climbopt.certification.bounds.relaxable import Box
from climbopt.model.templates import Array
from climbopt.numerics.polytope import EmptyPolytopeError, Polytope

DOMAIN_ROUNDS = 5
"""Linear programs that look for a point in the law's domain."""
OUTSIDE = 1e-8
"""The largest least Z of a box without a point in the domain is below minus this, beyond what HiGHS is off by."""


@dataclass(frozen=True, eq=False)
class Relaxation(WithoutRows):
    """x_part'x + loss_part'L(falls Z) + (falls z_part)'Z + constant, convex on its box.

    Parameters
    ----------
    lagrangian : Lagrangian
    box : Box
    separable : Separable
        Z.
    gaps : ndarray, (n,)
        Estimates, at the point that it was made for, of what branching on each variable could gain.
    """

    lagrangian: Lagrangian
    box: Box
    separable: Separable
    gaps: Array

    def at(self, x: Array) -> RelaxationAt:
        """Return the evaluation at x."""
        return RelaxationAt(self, np.asarray(x, dtype=float))


def relax(lagrangian: Lagrangian, box: Box, reference: Array, made: Envelopes | None = None) -> Relaxation:
    """Return the relaxation on a box by envelopes; by those made at the reference point where none are given."""
    made = envelopes(lagrangian.problem, box, reference) if made is None else made
    return Relaxation(lagrangian, box, made.separable, _gaps(lagrangian, made, reference))


def inside_domain(separable: Separable, polytope: Polytope, x: Array) -> Array | None:
    """Return a point where every Z that a law needs above 0 is, or x where none is found; None where there is none.

    Maximises the least Z by linear programs: Z is concave, so that its tangents bound it from above.
    """
    problem = separable.problem
    counted = problem.loses & (problem.falls > 0)
    if not (problem.response.model.law.needs_positive_z and counted.any()):
        return x
    n, scale = problem.functions.offset.size, problem.functions.scale
    best, at = -np.inf, x
    for _ in range(DOMAIN_ROUNDS):
        z, jacobian = separable.slopes(problem.cumulative(at))
        least = float(z[counted].min())
        if least > best:
            best, x = least, at
        if best > 0:
            return x
        slopes = np.zeros((int(counted.sum()), at.size))
        slopes[:, :n] = scale * jacobian[counted]
        constant = z[counted] - slopes @ at
        try:
            end = polytope.largest_minimum(constant, slopes)
        except EmptyPolytopeError:
            return None
        if float((constant + slopes @ end).min()) < -OUTSIDE:
            return None
        at = at + 0.999 * (end - at)
    return x


def _gaps(lagrangian: Lagrangian, made: Envelopes, reference: Array) -> Array:
    """Return the envelopes' gaps by variable, (n,), weighted by what a unit of z is worth at the point."""
    model, response = lagrangian.response.model, lagrangian.response
    worth = np.abs(lagrangian.z_part)
    if lagrangian.loss_part.any():
        slopes = np.abs(response.losses_and_slopes(response.z(lagrangian.cumulative(reference)))[1])
        worth = worth + lagrangian.loss_part * np.where(np.isfinite(slopes), slopes, 1.0)
    gaps = np.zeros(lagrangian.x_part.size)
    ratios = made.source_gaps.shape[1]
    gaps[:ratios] = worth @ made.source_gaps
    gaps[model.own_sources] += (worth * made.own_gaps)[model.own_targets]
    return gaps


@dataclass(frozen=True, eq=False)
class RelaxationAt(WithoutRowsAt):
    """A relaxation at one x."""

    functions: Relaxation
    x: Array

    @cached_property
    def _rho(self) -> Array:
        return self.functions.lagrangian.cumulative(self.x)

    @cached_property
    def _envelope(self) -> tuple[Array, Array]:
        return self.functions.separable.slopes(self._rho)

    @cached_property
    def _loss(self) -> tuple[Array, Array]:
        """Losses and their slopes by Z, (T,); 0 where no loss counts."""
        lagrangian = self.functions.lagrangian
        on = lagrangian.loss_part != 0
        if not on.any():
            return np.zeros(on.size), np.zeros(on.size)
        loss, slope = lagrangian.response.losses_and_slopes(lagrangian.falls * self._envelope[0])
        return np.where(on, loss, 0.0), np.where(on, lagrangian.falls * slope, 0.0)

    @cached_property
    def _parts(self) -> Array:
        lagrangian = self.functions.lagrangian
        return np.concatenate(
            [
                lagrangian.x_part * self.x,
                lagrangian.loss_part * self._loss[0],
                lagrangian.z_part * lagrangian.falls * self._envelope[0],
                [lagrangian.constant],
            ]
        )

    @cached_property
    def value(self) -> float:
        """The relaxation; NaN outside the domain."""
        return float(self._parts.sum())

    @cached_property
    def slack(self) -> float:
        """What rounding may have added to the value."""
        separable, (z, jacobian) = self.functions.separable, self._envelope
        inside = np.abs(separable.constant) + np.abs(z) + np.abs(jacobian) @ np.abs(self._rho)
        return float(ROUNDING * (np.abs(self._parts).sum() + np.abs(self._by_envelope) @ inside))

    @cached_property
    def _by_envelope(self) -> Array:
        lagrangian = self.functions.lagrangian
        return np.asarray(lagrangian.loss_part * self._loss[1] + lagrangian.z_part * lagrangian.falls)

    @cached_property
    def gradient(self) -> Array:
        """Its gradient, (n,)."""
        lagrangian = self.functions.lagrangian
        gradient = lagrangian.x_part.copy()
        gradient[: self._rho.size] += lagrangian.functions.scale * (self._by_envelope @ self._envelope[1])
        return gradient

    def hessian(self, weight: float, multipliers: Array) -> Array:
        """Return weight times its Hessian, (n, n)."""
        lagrangian, (z, jacobian) = self.functions.lagrangian, self._envelope
        n, on = self._rho.size, lagrangian.loss_part
        hessian = np.zeros((self.x.size, self.x.size))
        if on.any():
            q = np.where(on != 0, on * lagrangian.response.loss_curvatures(lagrangian.falls * z), 0.0)
            hessian[:n, :n] = (jacobian.T * q) @ jacobian
        hessian[np.arange(n), np.arange(n)] += self.functions.separable.curvature(self._rho, self._by_envelope)
        return np.asarray(weight * lagrangian.functions.scale**2 * hessian)
