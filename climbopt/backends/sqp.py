"""newton under nonlinear rows: sequential quadratic programming with exact Hessians, dense.

Each step minimises a quadratic model of the Lagrangian under the linear rows and the rows of c linearised at x,

    min g'y + (y - x)' H (y - x) / 2   s.t.  lower <= c(x) + J (y - x) <= upper,   y in the polytope,

and then searches along the segment to that minimum for less of the merit function f + penalty * (violations of c).
The segment stays in the polytope. Where the linearised rows have no point in common, each may be broken at a penalty;
where no penalty brings them nearer, and no negative curvature, the problem is infeasible around x. A full step that the
curvature of c spoils is corrected by a second model, with c as at the refused point. Source: Nocedal and Wright,
"Numerical Optimization", 2nd edition, Springer 2006: algorithm 18.3, second-order correction and elastic mode in
sections 15.4, 18.3 and 18.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from climbopt.backends.backend import Evaluator
from climbopt.foundations.solution import Termination
from climbopt.model.templates import Array
from climbopt.numerics import quadratic
from climbopt.numerics.polytope import Mask, Polytope, Rows
from climbopt.numerics.quadratic import Active, Face
from climbopt.program import Evaluation

FEASIBLE = 1e-10
"""Violation of a row of c that counts as rounding; rows are scaled so that their gradients are near 1."""
INFEASIBLE = 1e-7
"""Violation from which a point where no step lessens the violations is evidence of an infeasible problem."""
SUFFICIENT_DECREASE = 1e-4
SHORTEST_STEP = 2.0**-40
ROUNDING = 4 * np.finfo(float).eps
"""Relative change of the merit function that counts as rounding."""
PENALTY_MARGIN = 1.5
"""Least penalty as a multiple of the largest multiplier; more than 1 makes the step one of descent."""
NEARLY_LINEAR = 1e-8
"""Least curvature of a model as a share of the largest slope, so that the model of a linear f has a minimum."""
SADDLE_HALVINGS = 20
"""Lengths tried along negative curvature, from 1 in units of x."""
LARGER_SHIFTS = (0.0, 10.0, 1e2, 1e3, 1e4, 1e5)
"""Shifts of a model that is convex already, in units of its least curvature, where its condition is too bad."""
ELASTIC_PENALTIES = (10.0, 1e3, 1e5, 1e7)
"""Penalties of broken linearised rows, as multiples of the largest slope of f, until none is broken."""
ELASTIC_CURVATURE = 1e-6
"""Curvature of these penalties as a share of the Hessian's, so that the model has one minimum on every face."""
NO_PROGRESS = 1e-6
"""A predicted decrease of the violations by less than this share of them counts as none."""


@dataclass(frozen=True, eq=False)
class _Linearised:
    """The polytope with linear rows in place of c: the region of a quadratic model."""

    bounds: Rows
    dense: Array
    rows: Rows

    @property
    def equation(self) -> Mask:
        return self.rows.equation


@dataclass(eq=False)
class SequentialQuadratic:
    """The steps of a solve under nonlinear rows.

    Parameters
    ----------
    evaluator : Evaluator
    residual : float
        Scaled stationarity and complementarity at which the search stops.
    """

    evaluator: Evaluator
    residual: float
    penalty: float = 0.0
    """Of a violation of c in the merit function."""
    convexified: bool = False
    """Whether the last model needed another Hessian; if not, its Cholesky factor shows positive curvature."""

    def step(self, x: Array, face: Face | None) -> tuple[Array, Face | None, Termination | None]:
        """Return the next point, the minimum of the model with its multipliers, and the reason to stop, if any.

        The rows of the face are the linear rows, then those of c.
        """
        at = self.evaluator.at(x)
        if not _smooth(at):
            return x, face, Termination.NOT_A_NUMBER
        if face is not None and self._optimal(x, at, face):
            moved = self._leave_saddle(x, at, face) if self.convexified else None
            return (x, face, Termination.SOLVED) if moved is None else (moved, None, None)
        model = self._model_minimum(x, at, face)
        if model is None:
            if float(self._violations(at.rows).max(initial=0.0)) <= INFEASIBLE:
                return x, face, Termination.STALLED
            moved = self._less_broken(x, at)
            return (x, face, Termination.INFEASIBLE) if moved is None else (moved, None, None)
        face, hessian = model
        moved = self._descend(x, at, face, hessian)
        if moved is not None:
            return moved, face, None
        # The decrease that the model predicts is below the rounding of the merit function.
        at_rounding = -self._slope(x, at, face.x) <= 1e3 * ROUNDING * max(1.0, abs(at.value))
        return x, face, Termination.SOLVED if at_rounding and self._feasible(at) else Termination.STALLED

    @property
    def _polytope(self) -> Polytope:
        return self.evaluator.form.polytope

    def _on_c(self, face: Face) -> Array:
        """Return a face's multipliers of c, (k,)."""
        return face.rows[len(self._polytope.rows) :]

    def _violations(self, c: Array) -> Array:
        limits = self.evaluator.form.nonlinear
        return np.maximum(np.maximum(limits.lower - c, c - limits.upper), 0.0)

    def _feasible(self, at: Evaluation) -> bool:
        return bool(self._violations(at.rows).max(initial=0.0) <= FEASIBLE)

    def _optimal(self, x: Array, at: Evaluation, face: Face) -> bool:
        """Whether the multipliers of a face satisfy the optimality conditions at x."""
        limits, polytope, mu = self.evaluator.form.nonlinear, self._polytope, self._on_c(face)
        left = at.gradient + polytope.dense.T @ face.rows[: len(polytope.rows)] + at.jacobian.T @ mu + face.bounds
        # scaled stationarity, per variable; complementarity in units of f
        stationary = np.abs(left) <= self.residual * np.maximum(1.0, np.abs(at.gradient))
        slack = np.where(mu > 0, limits.upper - at.rows, np.where(mu < 0, at.rows - limits.lower, 0.0))
        complementary = np.abs(mu * slack) <= self.residual * max(1.0, abs(at.value))
        on_face = np.abs((x - face.x)[face.active.bounds != 0]).max(initial=0.0) <= 1e-12
        return bool(stationary.all() and complementary.all() and on_face and self._feasible(at))

    def _linearised(self, x: Array, c: Array, jacobian: Array) -> _Linearised:
        """Return the region in which c + J (y - x) meets its limits."""
        limits, polytope, shift = self.evaluator.form.nonlinear, self._polytope, jacobian @ x - c
        rows = Rows(
            np.append(polytope.rows.lower, limits.lower + shift), np.append(polytope.rows.upper, limits.upper + shift)
        )
        return _Linearised(polytope.bounds, np.vstack([polytope.dense, jacobian]), rows)

    def _model_minimum(self, x: Array, at: Evaluation, last: Face | None) -> tuple[Face, Array] | None:
        """Return the minimum of the quadratic model, and its Hessian, made convex until the step is one of descent."""
        mu = self._first_multipliers(at) if last is None else self._on_c(last)
        region, slope = self._linearised(x, at.rows, at.jacobian), float(np.abs(at.gradient).max())
        equations = self._polytope.dense[self._polytope.equation]
        for attempt, hessian in enumerate(_convexified(at.hessian(1.0, mu), slope, equations)):
            face = self._minimum(hessian, x, at, region, None if last is None else last.active)
            if face is None:
                continue
            claimed = max(PENALTY_MARGIN * float(np.abs(self._on_c(face)).max(initial=0.0)), slope)
            # The large penalty of an early step is halved, so that it does not make later steps short.
            before, self.penalty = self.penalty, max(claimed, 0.5 * (self.penalty + claimed))
            if self._slope(x, at, face.x) <= ROUNDING * slope:
                self.convexified = attempt > 0
                return face, hessian
            self.penalty = before
        return None

    def _first_multipliers(self, at: Evaluation) -> Array:
        """Return multipliers of c, (k,), to begin with: 0, or the nearest to stationarity where f is linear.

        A linear f has no curvature of its own, and a model without any is a linear program: slow, and far from c.
        """
        none = np.zeros(at.rows.size)
        if at.hessian(1.0, none).any():
            return none
        limits, equations = self.evaluator.form.nonlinear, self._polytope.dense[self._polytope.equation]
        balance = np.linalg.lstsq(np.vstack([equations, at.jacobian]).T, -at.gradient, rcond=None)[0][len(equations) :]
        # a side without a limit has no multiplier
        return np.clip(
            balance, np.where(np.isinf(limits.lower), 0.0, -np.inf), np.where(np.isinf(limits.upper), 0.0, np.inf)
        )

    def _minimum(self, H: Array, x: Array, at: Evaluation, region: _Linearised, warm: Active | None) -> Face | None:
        """Return the minimum of a model with Hessian H; where its rows have no common point, they may be broken."""
        # m(y) = g'y + (y - x)'H(y - x) / 2 = y'Hy / 2 + (g - H x)'y + constant
        g = at.gradient - H @ x
        if self._feasible(at):
            return quadratic.minimise(H, g, region, x, warm)
        face = quadratic.minimise_by_exchanges(H, g, region, x, warm)
        return self._elastic_minimum(H, g, x, at, region) if face is None else face

    def _elastic_minimum(self, H: Array, g: Array, x: Array, at: Evaluation, region: _Linearised) -> Face | None:
        """Return the minimum of the model with broken rows of c penalised; None where no penalty lessens them."""
        n, (wide, start, first) = x.size, self._elastic(x, at, region)
        k, slope = start.size - n, max(1.0, float(np.abs(at.gradient).max()))
        curvature = ELASTIC_CURVATURE * max(1.0, float(np.abs(H).max()))
        hessian, best = linalg.block_diag(H, curvature * np.eye(k)), None
        for factor in ELASTIC_PENALTIES:
            face = quadratic.minimise(hessian, np.append(g, np.full(k, factor * slope)), wide, start, first=first)
            if face is None:
                break
            best = face
            if float(face.x[n:].sum()) <= FEASIBLE * k:
                break
        if best is None or float(best.x[n:].sum()) >= (1 - NO_PROGRESS) * float(start[n:].sum()):
            return None
        return Face(best.x[:n], best.bounds[:n], best.rows, Active(best.active.bounds[:n], best.active.rows))

    def _elastic(self, x: Array, at: Evaluation, region: _Linearised) -> tuple[_Linearised, Array, Active]:
        """Return the region with J y + p - q for J y, p, q >= 0, a point of it, and what is active there.

        p is there for each row of c with a lower limit, q for each with an upper one.
        """
        limits, n, n_linear = self.evaluator.form.nonlinear, x.size, len(self._polytope.rows)
        low, high = np.flatnonzero(np.isfinite(limits.lower)), np.flatnonzero(np.isfinite(limits.upper))
        signs = np.zeros((len(region.rows), low.size + high.size))
        signs[n_linear + low, np.arange(low.size)] = 1.0
        signs[n_linear + high, low.size + np.arange(high.size)] = -1.0
        none = np.zeros(low.size + high.size)
        bounds = Rows(np.append(region.bounds.lower, none), np.append(region.bounds.upper, none + np.inf))
        broken = np.maximum(np.append((limits.lower - at.rows)[low], (at.rows - limits.upper)[high]), 0.0)
        # What is whole has its p or q at 0, and what is broken is at its limit by means of it.
        sides = np.where(at.rows < limits.lower, -1, np.where(at.rows > limits.upper, 1, 0))
        first = Active(
            np.append(np.zeros(n), np.where(broken > 0, 0, -1)).astype(np.int8),
            np.append(np.zeros(n_linear), sides).astype(np.int8),
        )
        return _Linearised(bounds, np.hstack([region.dense, signs]), region.rows), np.append(x, broken), first

    def _slope(self, x: Array, at: Evaluation, y: Array) -> float:
        """Return the change of the merit function from x to y with f and c linearised; negative."""
        ahead = self._violations(at.rows + at.jacobian @ (y - x))
        return float(at.gradient @ (y - x) - self.penalty * (self._violations(at.rows) - ahead).sum())

    def _merit(self, x: Array) -> float:
        """Return f + penalty * (violations of c); not a number outside the domain or where a slope is infinite."""
        at = self.evaluator.at(x)
        if not _smooth(at):
            return np.nan
        return at.value + self.penalty * float(self._violations(at.rows).sum())

    def _descend(self, x: Array, at: Evaluation, face: Face, hessian: Array) -> Array | None:
        """Return the first point of a halving search with less merit, there or corrected for c; or None."""
        slope, before, length = self._slope(x, at, face.x), self._merit(x), 1.0
        slack, bounds = ROUNDING * max(1.0, abs(before)), self._polytope.bounds
        while length >= SHORTEST_STEP:
            # Between two points of the polytope; clipping removes the rounding of the sum at the bounds.
            trial = np.clip(x + length * (face.x - x), bounds.lower, bounds.upper)
            # Armijo condition
            enough = before + SUFFICIENT_DECREASE * length * slope + slack
            if self._merit(trial) <= enough:
                return trial
            corrected = self._corrected(x, at, face, trial, hessian) if length == 1.0 else self._back(trial, at, x)
            if corrected is not None and self._merit(corrected) <= enough:
                return corrected
            length /= 2
        return None

    def _leave_saddle(self, x: Array, at: Evaluation, face: Face) -> Array | None:
        """Return a point of less merit along negative curvature, moved back onto the active rows; or None."""
        region = self._linearised(x, at.rows, at.jacobian)
        held, free = face.active.rows != 0, face.active.bounds == 0
        along = quadratic.negative_curvature(at.hessian(1.0, self._on_c(face)), region.dense[held], free)
        if along is None:
            return None
        before = self._merit(x)
        for length in 0.5 ** np.arange(SADDLE_HALVINGS):
            for trial in (x + length * along, x - length * along):
                moved = self._back(trial, at, x)
                if moved is not None and self._merit(moved) < before - ROUNDING * max(1.0, abs(before)):
                    return moved
        return None

    def _back(self, trial: Array, at: Evaluation, x: Array) -> Array | None:
        """Return the point nearest to a trial in the polytope, under c with the slopes at x; None where none is."""
        c, bounds = self.evaluator.at(trial).rows, self._polytope.bounds
        if not np.isfinite(c).all():
            return None
        back = quadratic.minimise_by_exchanges(np.eye(x.size), -trial, self._linearised(trial, c, at.jacobian), x)
        return None if back is None else np.clip(back.x, bounds.lower, bounds.upper)

    def _less_broken(self, x: Array, at: Evaluation) -> Array | None:
        """Return a point of less violation along its negative curvature, where slopes show none; or None.

        Equal ratios, where many searches begin, are such a point of a row like r_1 r_2 <= 0.2.
        """
        limits, polytope, before = self.evaluator.form.nonlinear, self._polytope, float(self._violations(at.rows).sum())
        signs = np.where(at.rows > limits.upper, 1.0, np.where(at.rows < limits.lower, -1.0, 0.0))
        free = (x > polytope.bounds.lower) & (x < polytope.bounds.upper)
        along = quadratic.negative_curvature(at.hessian(0.0, signs), polytope.dense[polytope.equation], free)
        if along is None:
            return None
        downhill = along if at.gradient @ along <= 0 else -along  # of f, where both lessen the violation
        for length in 0.5 ** np.arange(SADDLE_HALVINGS):
            for trial in (x + length * downhill, x - length * downhill):
                there = self.evaluator.at(trial)
                inside = polytope.violation(trial) <= FEASIBLE and _smooth(there)
                if inside and float(self._violations(there.rows).sum()) < (1 - NO_PROGRESS) * before:
                    moved: Array = np.clip(trial, polytope.bounds.lower, polytope.bounds.upper)
                    return moved
        return None

    def _corrected(self, x: Array, at: Evaluation, face: Face, trial: Array, hessian: Array) -> Array | None:
        """Return the minimum of the model with c as at the refused trial point: the second-order correction."""
        c = self.evaluator.at(trial).rows
        if not np.isfinite(c).all():
            return None
        region = self._linearised(trial, c, at.jacobian)
        g = at.gradient - hessian @ x
        corrected = quadratic.minimise_by_exchanges(hessian, g, region, x, face.active)
        return None if corrected is None else np.clip(corrected.x, region.bounds.lower, region.bounds.upper)


def _smooth(at: Evaluation) -> bool:
    """Whether f and c have finite slopes; those of z are infinite where a power below 1 meets a ratio of 0."""
    return bool(np.isfinite(at.gradient).all() and np.isfinite(at.jacobian).all())


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
    yield hessian
    unit, least = np.eye(len(hessian)), max(1e-10 * float(np.abs(hessian).max()), NEARLY_LINEAR * slope)
    yield hessian + least * unit
    basis = linalg.null_space(equations) if len(equations) else unit
    values, vectors = linalg.eigh(basis.T @ hessian @ basis)
    along = basis @ vectors
    convex = hessian + (along * (np.maximum(np.abs(values), least) - values)) @ along.T
    for factor in LARGER_SHIFTS:
        yield convex + factor * least * unit
