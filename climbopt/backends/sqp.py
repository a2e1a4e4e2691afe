"""The steps of newton under nonlinear rows: sequential quadratic programming with exact Hessians, dense.

Each step minimises a quadratic model of the Lagrangian under the linear rows and the rows of c linearised at x,

    min g'y + (y - x)' H (y - x) / 2   s.t.  lower <= c(x) + J (y - x) <= upper,   y in the polytope,

and then searches along the segment to that minimum for less of the merit function f + penalty * (violations of c).
The segment stays in the polytope. Where the linearised rows have no point in common, each may be broken at a penalty,

    min g'y + (y - x)' H (y - x) / 2 + penalty * sum (p + q)   s.t.  lower <= c(x) + J (y - x) + p - q <= upper

with p, q >= 0; where no penalty brings them nearer, and no negative curvature, the problem is infeasible around x. A
full step that the curvature of c spoils is corrected by a second model, with c as at the refused point. Source: Nocedal
and Wright, "Numerical Optimization", 2nd edition, Springer 2006: algorithm 18.3, second-order correction and elastic
mode in sections 15.4, 18.3 and 18.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import linalg

from climbopt.backends.newton_steps import NEARLY_LINEAR, ROUNDING, NewtonSteps, curvature, violations
from climbopt.foundations.solution import Array, Termination
from climbopt.numerics import quadratic
from climbopt.numerics.polytope import Rows
from climbopt.numerics.quadratic import Active, DenseRegion, Face
from climbopt.program import Evaluation

FEASIBLE = 1e-10
"""Violation of a row of c that counts as rounding; rows are scaled so that their gradients are near 1."""
NO_PROGRESS = 1e-6
"""A decrease of the violations by less than this share of them counts as none."""
INFEASIBLE = 1e-7
"""Violation from which a point where no step lessens the violations is evidence of an infeasible problem."""
PENALTY_MARGIN = 1.5
"""Least penalty as a multiple of the largest multiplier; more than 1 makes the step one of descent."""
SADDLE_HALVINGS = 20
"""Lengths tried along negative curvature, from 1 in units of x."""
LARGER_SHIFTS = (0.0, 10.0, 1e2, 1e3, 1e4, 1e5)
"""Shifts of a model that is convex already, in units of its least curvature, where its condition is too bad."""
PENALTIES = (10.0, 1e3, 1e5, 1e7)
"""Penalties of broken rows, as multiples of the largest slope of f, until none is broken."""
CURVATURE = 1e-6
"""Curvature of these penalties as a share of the Hessian's, so that the model has one minimum on every face."""


@dataclass(eq=False)
class SequentialQuadratic(NewtonSteps):
    """The steps of a solve under nonlinear rows; the merit function is f + penalty * (violations of c)."""

    penalty: float = 0.0
    """Of a violation of c in the merit function."""
    hessian: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """That of the last model."""

    def _on_c(self, face: Face) -> Array:
        """Return a face's multipliers of c, (k,)."""
        return face.rows[len(self._polytope.rows) :]

    def _violations(self, c: Array) -> Array:
        return violations(self.evaluator.form.nonlinear, c)

    def _smooth(self, at: Evaluation) -> bool:
        return super()._smooth(at) and bool(np.isfinite(at.jacobian).all())

    def _feasible(self, at: Evaluation) -> bool:
        return bool(self._violations(at.rows).max(initial=0.0) <= FEASIBLE)

    def _slope(self, x: Array, at: Evaluation, y: Array) -> float:
        # A linearised c at y is broken less than c at x, so that the penalty makes the step one of descent.
        less = self._violations(at.rows) - self._violations(at.rows + at.jacobian @ (y - x))
        return super()._slope(x, at, y) - self.penalty * float(less.sum())

    def _merit(self, at: Evaluation) -> float:
        return super()._merit(at) + self.penalty * float(self._violations(at.rows).sum())

    def _optimal(self, x: Array, at: Evaluation, face: Face) -> bool:
        limits, polytope, mu = self.evaluator.form.nonlinear, self._polytope, self._on_c(face)
        # grad f + A' lambda + J' mu + zeta
        left = at.gradient + polytope.dense.T @ face.rows[: len(polytope.rows)] + at.jacobian.T @ mu + face.bounds
        # complementarity in units of f
        complementary = np.abs(mu * (limits.named(mu) - at.rows)) <= self.residual * max(1.0, abs(at.value))
        return self._stationary(x, left, at.gradient, face) and bool(complementary.all()) and self._feasible(at)

    def _linearised(self, x: Array, c: Array, jacobian: Array) -> DenseRegion:
        """Return the region in which c + J (y - x) meets its limits."""
        limits, polytope, shift = self.evaluator.form.nonlinear, self._polytope, jacobian @ x - c
        return DenseRegion(
            polytope.bounds,
            np.vstack([polytope.dense, jacobian]),
            Rows(
                np.append(polytope.rows.lower, limits.lower + shift),
                np.append(polytope.rows.upper, limits.upper + shift),
            ),
        )

    def _model_minimum(self, x: Array, at: Evaluation, last: Face | None) -> Face | None:
        """Return the minimum of the quadratic model, made convex until the step is one of descent."""
        mu = self._first_multipliers(at) if last is None else self._on_c(last)
        region, slope = self._linearised(x, at.rows, at.jacobian), float(np.abs(at.gradient).max())
        equations = self._polytope.dense[self._polytope.equation]
        for attempt, hessian in enumerate(_convexified(curvature(at, 1.0, mu), slope, equations)):
            face = self._minimum(hessian, x, at, region, None if last is None else last.active)
            if face is None:
                continue
            claimed = max(PENALTY_MARGIN * float(np.abs(self._on_c(face)).max(initial=0.0)), slope)
            # The large penalty of an early step is halved, so that it does not make later steps short.
            before, self.penalty = self.penalty, max(claimed, 0.5 * (self.penalty + claimed))
            if self._slope(x, at, face.x) <= ROUNDING * slope:
                self.convexified, self.hessian = attempt > 0, hessian
                return face
            self.penalty = before
        return None

    def _first_multipliers(self, at: Evaluation) -> Array:
        """Return multipliers of c, (k,), to begin with: 0, or the nearest to stationarity where f is linear.

        A linear f has no curvature of its own, and a model without any is a linear program: slow, and far from c.
        """
        none = np.zeros(at.rows.size)
        if curvature(at, 1.0, none).any():
            return none
        limits, equations = self.evaluator.form.nonlinear, self._polytope.dense[self._polytope.equation]
        balance = np.linalg.lstsq(np.vstack([equations, at.jacobian]).T, -at.gradient, rcond=None)[0][len(equations) :]
        # a side without a limit has no multiplier
        return np.clip(
            balance, np.where(np.isinf(limits.lower), 0.0, -np.inf), np.where(np.isinf(limits.upper), 0.0, np.inf)
        )

    def _minimum(self, H: Array, x: Array, at: Evaluation, region: DenseRegion, warm: Active | None) -> Face | None:
        """Return the minimum of a model with Hessian H; where its rows have no common point, they may be broken."""
        # m(y) = g'y + (y - x)'H(y - x) / 2 = y'Hy / 2 + (g - H x)'y + constant
        g = at.gradient - H @ x
        if self._feasible(at):
            return quadratic.minimise(H, g, region, x, warm)
        face = quadratic.minimise_by_exchanges(H, g, region, x, warm)
        return _elastic_minimum(H, x, at, region, self.evaluator.form.nonlinear) if face is None else face

    def _without_model(
        self, x: Array, at: Evaluation, face: Face | None
    ) -> tuple[Array, Face | None, Termination | None]:
        """Return a step that lessens the violations; where none does, the problem is infeasible around x."""
        if float(self._violations(at.rows).max(initial=0.0)) <= INFEASIBLE:
            return x, face, Termination.STALLED
        moved = self._less_broken(x, at)
        return (x, face, Termination.INFEASIBLE) if moved is None else (moved, None, None)

    def _mended(self, x: Array, at: Evaluation, trial: Array, length: float, active: Active) -> Array | None:
        """Return a refused trial corrected for the curvature of c: a full step by a second model, others nearest."""
        if length != 1.0:
            return self._back(trial, at, x)
        # the second-order correction: the minimum of the model with c as at the refused trial
        return self._nearest(self.hessian, at.gradient - self.hessian @ x, trial, at, x, active)

    def _leave_saddle(self, x: Array, at: Evaluation, face: Face) -> Array | None:
        """Return a point of less merit along negative curvature, moved back onto the active rows; or None."""
        region = self._linearised(x, at.rows, at.jacobian)
        held, free = face.active.rows != 0, face.active.bounds == 0
        along = quadratic.negative_curvature(curvature(at, 1.0, self._on_c(face)), region.dense[held], free)
        if along is None:
            return None
        before = self._merit(at)
        enough = before - ROUNDING * max(1.0, abs(before))
        moved = (self._back(trial, at, x) for trial in _both_ways(x, along))
        return next((point for point in moved if point is not None and self._reaches(point, enough)), None)

    def _less_broken(self, x: Array, at: Evaluation) -> Array | None:
        """Return a point of less violation along its negative curvature, where slopes show none; or None.

        Equal ratios, where many searches begin, are such a point of a row like r_1 r_2 <= 0.2.
        """
        limits, polytope, before = self.evaluator.form.nonlinear, self._polytope, float(self._violations(at.rows).sum())
        signs = np.where(at.rows > limits.upper, 1.0, np.where(at.rows < limits.lower, -1.0, 0.0))
        free = (x > polytope.bounds.lower) & (x < polytope.bounds.upper)
        along = quadratic.negative_curvature(curvature(at, 0.0, signs), polytope.dense[polytope.equation], free)
        if along is None:
            return None
        downhill = along if at.gradient @ along <= 0 else -along  # of f, where both lessen the violation
        for trial in _both_ways(x, downhill):
            there = self.evaluator.at(trial)
            inside = polytope.violation(trial) <= FEASIBLE and self._smooth(there)
            if inside and float(self._violations(there.rows).sum()) < (1 - NO_PROGRESS) * before:
                return np.asarray(np.clip(trial, polytope.bounds.lower, polytope.bounds.upper))
        return None

    def _back(self, trial: Array, at: Evaluation, x: Array) -> Array | None:
        """Return the point nearest to a trial in the polytope, under c with the slopes at x; None where none is."""
        return self._nearest(np.eye(x.size), -trial, trial, at, x)

    def _nearest(
        self, H: Array, g: Array, trial: Array, at: Evaluation, x: Array, warm: Active | None = None
    ) -> Array | None:
        """Return the minimum of y'Hy / 2 + g'y under c linearised with its value at a trial and its slopes at x."""
        c, bounds = self.evaluator.at(trial).rows, self._polytope.bounds
        if not np.isfinite(c).all():
            return None
        face = quadratic.minimise_by_exchanges(H, g, self._linearised(trial, c, at.jacobian), x, warm)
        return None if face is None else np.clip(face.x, bounds.lower, bounds.upper)


def _both_ways(x: Array, along: Array) -> Iterator[Array]:
    """Yield points on both sides of x along a direction, nearer and nearer."""
    for length in 0.5 ** np.arange(SADDLE_HALVINGS):
        yield from (x + length * along, x - length * along)


def _convexified(hessian: Array, slope: float, equations: Array) -> Iterator[Array]:
    """Yield a Hessian as it is, nearly as it is, and with its negative curvature along the equations made positive.

    With -curvature in place of curvature < 0 it is positive definite on every face, and the steps along directions of
    positive curvature remain Newton's.

    Parameters
    ----------
    hessian : ndarray, (n, n)
    slope : float
        Largest slope of f.
    equations : ndarray, (k, n)
    """
    # Near a minimum the Hessian serves as it is, and the steps converge quadratically.
    yield hessian
    unit, least = np.eye(len(hessian)), max(1e-10 * float(np.abs(hessian).max()), NEARLY_LINEAR * slope)
    yield hessian + least * unit
    # Only directions along the equations count: Z' H Z with Z a basis of their null space.
    basis = linalg.null_space(equations) if len(equations) else unit
    values, vectors = linalg.eigh(basis.T @ hessian @ basis)
    along = basis @ vectors
    # Z v v' Z' of each eigenvector with the difference between the curvature that it is to have and that it has.
    convex = hessian + (along * (np.maximum(np.abs(values), least) - values)) @ along.T
    for factor in LARGER_SHIFTS:
        yield convex + factor * least * unit


def _elastic_minimum(H: Array, x: Array, at: Evaluation, region: DenseRegion, limits: Rows) -> Face | None:
    """Return the minimum of the model with broken rows of c penalised; None where no penalty lessens the violations.

    Parameters
    ----------
    H : ndarray, (n, n)
    x : ndarray, (n,)
    at : Evaluation
        The functions at x.
    region : DenseRegion
        The polytope with the linearised rows of c as its last rows.
    limits : Rows
        Those of c.
    """
    wide, start, first = _widened(x, at.rows, region, limits)
    n, k, slope = x.size, start.size - x.size, max(1.0, float(np.abs(at.gradient).max()))
    hessian, best = linalg.block_diag(H, CURVATURE * max(1.0, float(np.abs(H).max())) * np.eye(k)), None
    for factor in PENALTIES:
        g = np.append(at.gradient - H @ x, np.full(k, factor * slope))
        face = quadratic.minimise(hessian, g, wide, start, first=first)
        if face is None:
            break
        best = face
        if float(face.x[n:].sum()) <= FEASIBLE * k:
            break
    if best is None or float(best.x[n:].sum()) >= (1 - NO_PROGRESS) * float(start[n:].sum()):
        return None
    return Face(best.x[:n], best.bounds[:n], best.rows, Active(best.active.bounds[:n], best.active.rows))


def _widened(x: Array, c: Array, region: DenseRegion, limits: Rows) -> tuple[DenseRegion, Array, Active]:
    """Return the region over (y, p, q), a point of it, and what is active there.

    p is there for each row of c with a lower limit, q for each with an upper one.
    """
    n_linear = len(region.rows) - len(limits)
    low, high = np.flatnonzero(np.isfinite(limits.lower)), np.flatnonzero(np.isfinite(limits.upper))
    signs = np.zeros((len(region.rows), low.size + high.size))
    signs[n_linear + low, np.arange(low.size)] = 1.0
    signs[n_linear + high, low.size + np.arange(high.size)] = -1.0
    none = np.zeros(low.size + high.size)
    bounds = Rows(np.append(region.bounds.lower, none), np.append(region.bounds.upper, none + np.inf))
    broken = np.maximum(np.append((limits.lower - c)[low], (c - limits.upper)[high]), 0.0)
    # What is whole has its p or q at 0, and what is broken is at its limit by means of it.
    sides = np.where(c < limits.lower, -1, np.where(c > limits.upper, 1, 0))
    first = Active(
        np.append(np.zeros(x.size), np.where(broken > 0, 0, -1)).astype(np.int8),
        np.append(np.zeros(n_linear), sides).astype(np.int8),
    )
    return DenseRegion(bounds, np.hstack([region.dense, signs]), region.rows), np.append(x, broken), first
