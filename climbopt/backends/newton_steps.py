"""The steps of newton under linear rows: the minimum of a quadratic model, and a search on the segment to it.

The model is that of f over the whole polytope (quadratic.py), so that the segment to its minimum stays feasible. Where
the Hessian is indefinite on a face that the model visits, it is shifted; at a stationary point with negative curvature
the search continues along that direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from climbopt.backends.backend import Evaluator
from climbopt.foundations.solution import Array, Termination
from climbopt.numerics import quadratic
from climbopt.numerics.polytope import Polytope, Rows
from climbopt.numerics.quadratic import Active, Face
from climbopt.program import Evaluation

SUFFICIENT_DECREASE = 1e-4
SHORTEST_STEP = 2.0**-40
ROUNDING = 4 * np.finfo(float).eps
"""Relative change of the merit function that counts as rounding."""
NEARLY_LINEAR = 1e-8
"""Least curvature of a model as a share of the largest slope, so that the model of a linear f has a minimum."""
SHIFTS = 8
"""Hessians tried for a model."""
MOVED = 1e-9
"""Longest step along negative curvature that counts as none."""


@dataclass(eq=False)
class NewtonSteps:
    """The steps of a solve under linear rows; rows of c only keep z in its law's domain, and are not looked at.

    Parameters
    ----------
    evaluator : Evaluator
    residual : float
        Scaled stationarity, and under rows of c complementarity, at which the search stops.
    """

    evaluator: Evaluator
    residual: float
    convexified: bool = False
    """Whether the last model needed another Hessian; if not, its Cholesky factor shows positive curvature."""

    def step(self, x: Array, face: Face | None) -> tuple[Array, Face | None, Termination | None]:
        """Return the next point, the minimum of the model with its multipliers, and the reason to stop, if any.

        The rows of the face are the linear rows, then those of c if the model has them.
        """
        at = self.evaluator.at(x)
        # Steps end at smooth points only: the first is left to see to.
        if face is None and not self._smooth(at):
            return x, face, Termination.NOT_A_NUMBER
        if face is not None and self._optimal(x, at, face):
            # Another Hessian hid negative curvature: the point may be a saddle.
            moved = self._leave_saddle(x, at, face) if self.convexified else None
            return (x, face, Termination.SOLVED) if moved is None else (moved, None, None)
        model = self._model_minimum(x, at, face)
        if model is None:
            return self._without_model(x, at, face)
        # The model's minimum is a direction of descent, but where rounding decides.
        slope = self._slope(x, at, model.x)
        moved = self._descend(x, at, model.x - x, slope, model.active)
        if moved is not None:
            return moved, model, None
        # The decrease that the model predicts is below the rounding of the merit function.
        at_rounding = -slope <= 1e3 * ROUNDING * max(1.0, abs(at.value))
        return x, model, Termination.SOLVED if at_rounding and self._feasible(at) else Termination.STALLED

    @property
    def _polytope(self) -> Polytope:
        return self.evaluator.form.polytope

    def _smooth(self, at: Evaluation) -> bool:
        """Whether f has finite slopes; those of z are infinite where a power below 1 meets a ratio of 0."""
        return bool(np.isfinite(at.gradient).all())

    def _feasible(self, at: Evaluation) -> bool:
        """Whether the rows that are no part of the polytope hold."""
        return True

    def _slope(self, x: Array, at: Evaluation, y: Array) -> float:
        """Return the change of the merit function from x to y with f and c linearised; negative."""
        return float(at.gradient @ (y - x))

    def _merit(self, at: Evaluation) -> float:
        """Return what a step must lower: f."""
        return at.value

    def _reaches(self, y: Array, merit: float) -> bool:
        """Whether a point has at most so much merit and finite slopes; slopes first, since values come with them."""
        at = self.evaluator.at(y)
        return self._smooth(at) and self._merit(at) <= merit

    def _stationary(self, x: Array, left: Array, gradient: Array, face: Face) -> bool:
        """Whether what the multipliers of a face leave of the gradient at x is small, and x lies on the face."""
        small = np.abs(left) <= self.residual * np.maximum(1.0, np.abs(gradient))  # scaled, per variable
        on_face = np.abs((x - face.x)[face.active.bounds != 0]).max(initial=0.0) <= 1e-12
        return bool(small.all() and on_face)

    def _optimal(self, x: Array, at: Evaluation, face: Face) -> bool:
        """Whether the multipliers of a face satisfy the optimality conditions at x."""
        # grad f + A' rows + bounds, 0 at a KKT point of the linear rows.
        left = at.gradient + self._polytope.dense.T @ face.rows + face.bounds
        return self._stationary(x, left, at.gradient, face)

    def _model_minimum(self, x: Array, at: Evaluation, last: Face | None) -> Face | None:
        """Return the minimum of the quadratic model, with its Hessian shifted until it is a descent direction.

        The first shift is by the least eigenvalue on the null space of the equations, the second by the least of all,
        with which the model has a minimum on every face.
        """
        hessian, shift = curvature(at, 1.0, np.zeros(self.evaluator.form.functions.n_rows)), 0.0
        largest = float(np.abs(at.gradient).max())
        for attempt in range(SHIFTS):
            shifted = hessian + shift * np.eye(x.size) if shift else hessian
            # m(y) = g'(y - x) + (y - x)'H(y - x) / 2 = y'Hy / 2 + (g - H x)'y + constant, over the whole polytope.
            face = quadratic.minimise(
                shifted, at.gradient - shifted @ x, self._polytope, x, None if last is None else last.active
            )
            # The direction to it must not rise to first order.
            if face is not None and self._slope(x, at, face.x) <= ROUNDING * largest:
                self.convexified = shift > 0
                return face
            # projected Hessian, then the Hessian; after both, the shift grows tenfold
            curved = self._tangent(hessian) if attempt == 0 else hessian if attempt == 1 else None
            lowest = 0.0 if curved is None else float(linalg.eigvalsh(curved, subset_by_index=[0, 0])[0])
            shift = max(10 * shift, 1e-10 * float(np.abs(hessian).max()), NEARLY_LINEAR * largest, -1.1 * lowest)
        return None

    def _tangent(self, hessian: Array) -> Array:
        """Return P H P with P the projector onto the null space of the equations."""
        basis = linalg.orth(self._polytope.dense[self._polytope.equation].T)
        # P = I - Q Q', applied from both sides.
        half = hessian - basis @ (basis.T @ hessian)
        return np.asarray(half - (half @ basis) @ basis.T)

    def _without_model(
        self, x: Array, at: Evaluation, face: Face | None
    ) -> tuple[Array, Face | None, Termination | None]:
        """Return the step where no model has a minimum that descends: none."""
        return x, None, Termination.STALLED

    def _descend(self, x: Array, at: Evaluation, direction: Array, slope: float | None, active: Active) -> Array | None:
        """Return the first point of a halving search along a direction with less merit; None where none has.

        Along negative curvature, where `slope` is None, the merit must fall by more than rounding; else that is
        forgiven.
        """
        before, bounds, length = self._merit(at), self._polytope.bounds, 1.0
        slack = (-ROUNDING if slope is None else ROUNDING) * max(1.0, abs(before))
        while length >= SHORTEST_STEP:
            # Between two points of the polytope; clipping removes the rounding of the sum at the bounds.
            trial = np.minimum(np.maximum(x + length * direction, bounds.lower), bounds.upper)
            # Armijo condition
            enough = before + SUFFICIENT_DECREASE * length * (slope or 0.0) + slack
            if self._reaches(trial, enough):
                return trial
            mended = self._mended(x, at, trial, length, active)
            if mended is not None and self._reaches(mended, enough):
                return mended
            length /= 2
        return None

    def _mended(self, x: Array, at: Evaluation, trial: Array, length: float, active: Active) -> Array | None:
        """Return a point near a refused trial that may have less merit; None where no rows are curved."""
        return None

    def _leave_saddle(self, x: Array, at: Evaluation, face: Face) -> Array | None:
        """Return a lower point along negative curvature, first with weakly active limits released; or None."""
        hessian = curvature(at, 1.0, np.zeros(self.evaluator.form.functions.n_rows))
        # A bound with multiplier 0 does not hold x back: directions off it count too.
        weak = np.abs(face.bounds) <= self.residual * np.maximum(1.0, np.abs(at.gradient))
        weak &= self._polytope.bounds.lower < self._polytope.bounds.upper
        for fixed in ((face.active.bounds != 0) & ~weak, face.active.bounds != 0):
            along = quadratic.negative_curvature(hessian, self._polytope.dense[face.active.rows != 0], ~fixed)
            # an eigenvector has no sign: the descent side first
            for direction in () if along is None else (along, -along) if at.gradient @ along <= 0 else (-along, along):
                step = self._longest(x, direction)
                moved = self._descend(x, at, step, None, face.active) if np.abs(step).max() > MOVED else None
                if moved is not None:
                    return moved
        return None

    def _longest(self, x: Array, direction: Array) -> Array:
        """Return `direction` scaled so that x + direction is the last point inside the polytope."""
        polytope, limits = self._polytope, self._polytope.bounds + self._polytope.rows
        value, change = np.append(x, polytope.dense @ x), np.append(direction, polytope.dense @ direction)
        # Entries that the direction changes by rounding alone are no limit.
        moving = np.abs(change) > 1e-13
        room = np.where(change < 0, limits.lower - value, limits.upper - value)[moving] / change[moving]
        return max(float(np.min(room, initial=1.0)), 0.0) * direction


def curvature(at: Evaluation, weight: float, multipliers: Array) -> Array:
    """Return the Hessian weight f + multipliers'c, (n, n); 0 where it is not finite, as next to a pole."""
    hessian = at.hessian(weight, multipliers)
    # Cholesky takes NaN for positive, and LAPACK's complaint would go to standard output.
    return hessian if np.isfinite(hessian).all() else np.nan_to_num(hessian, nan=0.0, posinf=0.0, neginf=0.0)


def violations(limits: Rows, c: Array) -> Array:
    """Return by how much c breaks its limits, (k,)."""
    return np.maximum(np.maximum(limits.lower - c, c - limits.upper), 0.0)
