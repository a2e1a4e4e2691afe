"""newton: active-set Newton on the simplex, bounds and linear rows, dense, with exact Hessians.

Each step minimises the quadratic model over the whole polytope (quadratic.py) and then searches along the
segment to that minimum, which stays feasible. Where the Hessian is indefinite on a face that the model visits, it
is shifted; at a stationary point with negative curvature the search continues along that direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import ClassVar

import numpy as np
from scipy import linalg

from climbopt.backends.backend import Evaluator, Options, TimeUpError, checked_native
from climbopt.backends.sqp import SequentialQuadratic
from climbopt.foundations.solution import Multipliers, Solution, Termination
from climbopt.model.templates import Array
from climbopt.numerics import quadratic
from climbopt.numerics.polytope import Polytope
from climbopt.numerics.quadratic import Active, Face
from climbopt.program import Evaluation, StandardForm

VERSION = f"climbopt {version('climbopt')}"
RESIDUAL_SHARE = 1e-4
"""Stationarity is driven to this share of the certificate's tolerance."""
DEFAULT_ITERATIONS = 200
SUFFICIENT_DECREASE = 1e-4
SHORTEST_STEP = 2.0**-40
ROUNDING = 4 * np.finfo(float).eps
"""Relative change of f that counts as rounding in the line search."""
FEASIBLE = 1e-9
"""Violation of a row, in its own unit, that counts as rounding."""
NEARLY_LINEAR = 1e-8
"""Least curvature of a shifted model as a share of the largest slope, so that the model of a linear f has a minimum."""


@dataclass(frozen=True)
class Newton:
    """climbopt's own solver; the default where all rows are linear.

    Native settings: stops at a scaled stationarity of `RESIDUAL_SHARE` times the tolerance; no native options.
    """

    name: ClassVar[str] = "newton"

    @property
    def version(self) -> str:
        """Version of this package, which contains it."""
        return VERSION

    def refusal(self, form: StandardForm) -> str | None:
        """Take every standard form."""
        return None

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a local minimum, reached from the form's start."""
        checked_native(options, {}, self.name)
        evaluator = Evaluator(form, options.time_limit)
        residual = options.tolerance * RESIDUAL_SHARE
        # Rows that only keep z in its domain are checked at the end.
        search = (
            SequentialQuadratic(evaluator, residual)
            if form.has_nonlinear_rows
            else _NewtonSteps(evaluator, form.polytope, residual)
        )
        limit = options.max_iterations or DEFAULT_ITERATIONS
        x, face, termination, done = form.start, None, Termination.ITERATION_LIMIT, 0
        try:
            if np.isnan(evaluator.at(x).value):
                return evaluator.solution(self, None, None, Termination.LEFT_DOMAIN, "the start is outside", 0)
            for done in range(limit):  # noqa: B007 - counted after the loop
                x, face, stopped = search.step(x, face)
                if stopped is not None:
                    termination = stopped
                    break
        except TimeUpError:
            termination = Termination.TIME_LIMIT
        if termination is Termination.SOLVED and self._outside(form, x):
            termination = Termination.LEFT_DOMAIN
        multipliers, n_linear = None, len(form.polytope.rows)
        if face is not None:
            # the search without rows of c has no multipliers of them
            on_c = np.append(face.rows[n_linear:], np.zeros(len(form.nonlinear)))[: len(form.nonlinear)]
            multipliers = Multipliers(face.bounds, face.rows[:n_linear], on_c)
        return evaluator.solution(self, x, multipliers, termination, termination.name.lower(), done + 1)

    def _outside(self, form: StandardForm, x: Array) -> bool:
        """Whether x breaks a row that keeps z in its domain; the search only requires finite losses."""
        if not len(form.nonlinear):
            return False
        rows = form.functions.at(x).rows
        return bool(((rows < form.nonlinear.lower - FEASIBLE) | (rows > form.nonlinear.upper + FEASIBLE)).any())


@dataclass(eq=False)
class _NewtonSteps:
    """The Newton steps of a solve."""

    evaluator: Evaluator
    polytope: Polytope
    residual: float
    shifted: bool = False
    """Whether the last model needed a shift; if not, its Cholesky factor shows positive curvature."""

    def step(self, x: Array, face: Face | None) -> tuple[Array, Face | None, Termination | None]:
        """Return the next point, the face of the model's minimum, and the reason to stop, if any."""
        evaluation = self.evaluator.at(x)
        gradient = evaluation.gradient
        if not np.isfinite(gradient).all():
            return x, face, Termination.NOT_A_NUMBER
        stationary = face is not None and self._stationary(x, gradient, face)
        # The model was convex on the face: KKT and positive curvature.
        if stationary and not self.shifted:
            return x, face, Termination.SOLVED
        # Rows of c only keep z in its domain here; the search is under linear rows, so that they have no multiplier.
        hessian = evaluation.hessian(1.0, np.zeros(self.evaluator.form.functions.n_rows))
        # A shift hid negative curvature: the point may be a saddle.
        if face is not None and stationary:
            moved = self._leave_saddle(x, evaluation, hessian, face)
            return (x, face, Termination.SOLVED) if moved is None else (moved, None, None)
        face = self._model_minimum(x, gradient, hessian, None if face is None else face.active)
        if face is None:
            return x, None, Termination.STALLED
        direction = face.x - x
        moved = self._descend(x, evaluation.value, direction, float(gradient @ direction))
        if moved is None:
            # predicted decrease below the rounding of f: the point cannot be improved in double precision
            at_rounding = -gradient @ direction <= ROUNDING * max(1.0, abs(evaluation.value)) * 1e3
            return x, face, Termination.SOLVED if at_rounding else Termination.STALLED
        return moved, face, None

    def _stationary(self, x: Array, gradient: Array, face: Face) -> bool:
        """Whether the face's multipliers balance the gradient at x, and x lies on the face."""
        left = gradient + self.polytope.dense.T @ face.rows + face.bounds
        on_face = np.abs((x - face.x)[face.active.bounds != 0]).max(initial=0.0)
        # scaled stationarity, per variable
        small = np.abs(left) <= self.residual * np.maximum(1.0, np.abs(gradient))
        return bool(small.all() and on_face <= 1e-12)

    def _model_minimum(self, x: Array, gradient: Array, hessian: Array, warm: Active | None) -> Face | None:
        """Return the minimum of the quadratic model, with its Hessian shifted until it is a descent direction.

        The first shift is by the least eigenvalue on the null space of the equations, the second by the least of all,
        with which the model has a minimum on every face.
        """
        shift = 0.0
        for attempt in range(8):
            shifted = hessian + shift * np.eye(x.size) if shift else hessian
            # m(y) = g'(y - x) + (y - x)'H(y - x) / 2 = y'Hy / 2 + (g - H x)'y + constant, over the whole polytope.
            face = quadratic.minimise(shifted, gradient - shifted @ x, self.polytope, x, warm)
            largest = float(np.abs(gradient).max())
            # The direction to it must not rise to first order.
            if face is not None and float(gradient @ (face.x - x)) <= ROUNDING * largest:
                self.shifted = shift > 0
                return face
            # projected Hessian, then the Hessian; after both, the shift grows tenfold
            curved = self._tangent(hessian) if attempt == 0 else hessian if attempt == 1 else None
            lowest = 0.0 if curved is None else float(linalg.eigvalsh(curved, subset_by_index=[0, 0])[0])
            shift = max(10 * shift, 1e-10 * float(np.abs(hessian).max()), NEARLY_LINEAR * largest, -1.1 * lowest)
        return None

    def _tangent(self, hessian: Array) -> Array:
        """Return P H P with P the projector onto the null space of the equations."""
        basis = linalg.orth(self.polytope.dense[self.polytope.equation].T)
        # P = I - Q Q', applied from both sides.
        half = hessian - basis @ (basis.T @ hessian)
        result: Array = half - (half @ basis) @ basis.T
        return result

    def _leave_saddle(self, x: Array, evaluation: Evaluation, hessian: Array, face: Face) -> Array | None:
        """Return a lower point along negative curvature, first with weakly active limits released; or None."""
        gradient = evaluation.gradient
        # A bound with multiplier 0 does not hold x back: directions off it count too.
        weak = np.abs(face.bounds) <= self.residual * np.maximum(1.0, np.abs(gradient))
        weak &= self.polytope.bounds.lower < self.polytope.bounds.upper
        for fixed in ((face.active.bounds != 0) & ~weak, face.active.bounds != 0):
            along = quadratic.negative_curvature(hessian, self.polytope.dense[face.active.rows != 0], ~fixed)
            # an eigenvector has no sign: the descent side first
            for direction in () if along is None else (along, -along) if gradient @ along <= 0 else (-along, along):
                step = self._longest(x, direction)
                moved = self._descend(x, evaluation.value, step, 0.0) if np.abs(step).max() > FEASIBLE else None
                if moved is not None:
                    return moved
        return None

    def _longest(self, x: Array, direction: Array) -> Array:
        """Return `direction` scaled so that x + direction is the last point inside the polytope."""
        polytope = self.polytope
        value, change = np.append(x, polytope.dense @ x), np.append(direction, polytope.dense @ direction)
        lower, upper = (
            np.append(polytope.bounds.lower, polytope.rows.lower),
            np.append(polytope.bounds.upper, polytope.rows.upper),
        )
        # Entries that the direction changes by rounding alone are no limit.
        moving = np.abs(change) > 1e-13
        room = np.where(change < 0, lower - value, upper - value)[moving] / change[moving]
        length = float(np.min(room, initial=1.0))
        return max(length, 0.0) * direction

    def _descend(self, x: Array, value: float, direction: Array, slope: float) -> Array | None:
        """Return the first point of a halving search that lowers f enough from its value at x; None where none does."""
        length = 1.0
        # along negative curvature (slope 0) f must fall by more than rounding; otherwise rounding is forgiven
        slack = ROUNDING * max(1.0, abs(value)) if slope else -ROUNDING * max(1.0, abs(value))
        while length >= SHORTEST_STEP:
            # Between two feasible points; clipping removes the rounding of the sum at the bounds.
            bounds = self.polytope.bounds
            trial = np.minimum(np.maximum(x + length * direction, bounds.lower), bounds.upper)
            evaluation = self.evaluator.at(trial)
            _ = evaluation.gradient  # computed with the value: most first trials are accepted
            new = evaluation.value
            # Armijo condition
            if new <= value + SUFFICIENT_DECREASE * length * slope + slack:
                return trial
            length /= 2
        return None
