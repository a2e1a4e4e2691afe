"""slsqp and trust_constr: two methods of scipy.optimize.minimize, the first with gradients only."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy
from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint, OptimizeResult, minimize
from scipy.sparse import csr_array

from climbopt.backends.backend import Evaluator, Options, OptionValue, TimeUpError, checked_native, takes_every_form
from climbopt.foundations.solution import Array, Multipliers, Solution, Termination
from climbopt.program import ACTIVE, StandardForm

VERSION = f"scipy {scipy.__version__}"

SLSQP: Mapping[str, OptionValue] = {"ftol": 1e-16, "maxiter": 1000}
LOOSE = 1e-12
"""ftol of a second run from the point where the first stalls: rounding in equations can stay above 1e-16."""
SLSQP_HANGS_AFTER = 10
"""Iterations without a move after which the first run is stopped."""
MOVE = 1e-13
"""A change of the point up to this, relative to its largest entry or 1, counts as no move."""
SLSQP_KNOWN = {"ftol": float, "maxiter": int}
SLSQP_STATUS = {
    0: Termination.SOLVED,
    2: Termination.FAILED,
    4: Termination.INFEASIBLE,
    **dict.fromkeys((3, 5, 6, 7, 8), Termination.STALLED),
    9: Termination.ITERATION_LIMIT,
}
"""SLSQP's exit modes by number."""

TRUST_CONSTR: Mapping[str, OptionValue] = {"gtol": 0.0, "xtol": 1e-10, "barrier_tol": 1e-13, "maxiter": 3000}
"""gtol would stop at the current barrier parameter, up to 1e-6 short of a bound; xtol is the stopping test."""
FEASIBLE = 1e-9
"""Constraint violation up to which a point that meets xtol is a solution."""
TRUST_CONSTR_HANGS_AFTER = 40
"""Iterations without any change of point or trust region after which it is stopped."""
TRUST_CONSTR_KNOWN = {
    "gtol": float,
    "xtol": float,
    "barrier_tol": float,
    "maxiter": int,
    "initial_constr_penalty": float,
    "initial_tr_radius": float,
    "initial_barrier_parameter": float,
    "initial_barrier_tolerance": float,
    "factorization_method": str,
}
TRUST_CONSTR_STATUS = {
    0: Termination.ITERATION_LIMIT,
    1: Termination.SOLVED,
    2: Termination.SOLVED,
    3: Termination.STALLED,
    4: Termination.STALLED,
}
"""trust-constr's status by number; 3 is a stop by the callback for no progress; the time limit is handled earlier."""


class Slsqp:
    """scipy.optimize.minimize(method="SLSQP").

    Native settings: ftol 1e-16, whatever the tolerance, and `LOOSE` once the point no longer moves. SLSQP reports no
    multipliers of bounds: they follow from stationarity with its multipliers of the rows, at active bounds.
    """

    name = "slsqp"
    version = VERSION
    refusal = takes_every_form

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a local minimum, reached from the form's start."""
        native = {**SLSQP, **checked_native(options, SLSQP_KNOWN, self.name), **options.iterations_as("maxiter")}
        evaluator, fixed = Evaluator(form, options.time_limit), form.polytope.bounds.lower
        if (fixed == form.polytope.bounds.upper).all():  # scipy then returns no status, nor multipliers
            return evaluator.solution(self, fixed, None, Termination.SOLVED, "the bounds leave one point", 0)
        rows, still, before = _SlsqpRows(evaluator), Standstill(SLSQP_HANGS_AFTER, MOVE), 0

        def run(start: Array, callback: Callable[[Array], None] | None, **further: OptionValue) -> OptimizeResult:
            return _minimum(
                evaluator, start, "SLSQP", constraints=rows.constraints(), options=native | further, callback=callback
            )

        def stop_where_it_hangs(x: Array) -> None:
            if still.reached(x):
                raise _HangsError

        try:
            try:
                result = run(form.start, stop_where_it_hangs)
            except _HangsError:
                # The rounding of equations can keep changes of f above 1e-16 for ever.
                before = still.iterations
                result = run(still.x, None, ftol=max(LOOSE, float(native["ftol"])))
        except TimeUpError:
            return evaluator.solution(self, evaluator.last_x, None, Termination.TIME_LIMIT, "time limit")
        # SLSQP can report success where f is NaN.
        inside = bool(np.isfinite(result.fun))
        status = SLSQP_STATUS.get(int(result.status), Termination.FAILED) if inside else Termination.LEFT_DOMAIN
        multipliers = rows.multipliers(result) if inside and np.isfinite(result.x).all() else None
        return evaluator.solution(self, result.x, multipliers, status, str(result.message), before + int(result.nit))


class TrustConstr:
    """scipy.optimize.minimize(method="trust-constr"), with exact Hessians and sparse constraint matrices.

    Native settings: `TRUST_CONSTR`, whatever the tolerance; its own stopping tests do not scale with it. Bounds are
    strict (`keep_feasible`) where there are no nonlinear rows: without it the method can hang at the start; with it
    and nonlinear rows, iterates can diverge from the equations. Where one setting fails the other is tried.
    """

    name = "trust_constr"
    version = VERSION
    refusal = takes_every_form

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a local minimum, reached from the form's start."""
        native = {
            **TRUST_CONSTR,
            **checked_native(options, TRUST_CONSTR_KNOWN, self.name),
            **options.iterations_as("maxiter"),
        }
        evaluator = Evaluator(form, options.time_limit)
        # strict bounds first without nonlinear rows, last with them
        first = not form.functions.n_rows
        try:
            result = _trust_constr(evaluator, native, strict=first)
            if _status(result) in (Termination.STALLED, Termination.FAILED) and evaluator.left >= 0:
                result = _trust_constr(evaluator, native, strict=not first)
        except TimeUpError:
            return evaluator.solution(self, evaluator.last_x, None, Termination.TIME_LIMIT, "time limit")
        except ValueError as error:  # scipy refuses matrices that are not finite
            # Only a NaN of the form's own explains the error; any other is passed on.
            if not np.isnan(evaluator.at(form.start if evaluator.last_x is None else evaluator.last_x).value):
                raise
            return evaluator.solution(self, None, None, Termination.NOT_A_NUMBER, str(error))
        status = Termination.TIME_LIMIT if evaluator.left < 0 else _status(result)
        # Multipliers have climbopt's signs: an array per constraint object in order, bounds last.
        on = [np.asarray(values, dtype=float) for values in result.v]
        rows, nonlinear = on[0] if form.polytope.rows.labels else np.zeros(0), on[-2] if not first else np.zeros(0)
        multipliers = Multipliers(on[-1], rows, nonlinear)
        return evaluator.solution(self, result.x, multipliers, status, str(result.message), int(result.nit))


def _minimum(
    evaluator: Evaluator, start: Array, method: str, *, strict: bool = False, **settings: Any
) -> OptimizeResult:
    """Return scipy's result from a start; strict bounds hold at every iterate."""
    bounds = evaluator.form.polytope.bounds
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # warnings on single steps; the point is judged afterwards
        return minimize(
            lambda x: evaluator.at(x).value,
            start,
            method=method,
            jac=lambda x: evaluator.at(x).gradient,
            bounds=Bounds(bounds.lower, bounds.upper, keep_feasible=strict),
            **settings,
        )


def _trust_constr(evaluator: Evaluator, native: Mapping[str, OptionValue], *, strict: bool) -> OptimizeResult:
    """Return trust-constr's result from the form's start."""
    form, rows, no_rows = evaluator.form, evaluator.form.polytope.rows, np.zeros(evaluator.form.functions.n_rows)
    nonlinear = NonlinearConstraint(
        lambda x: evaluator.at(x).rows,
        form.nonlinear.lower,
        form.nonlinear.upper,
        # Sparse, as the linear rows that scipy stacks it with.
        jac=lambda x: csr_array(evaluator.at(x).jacobian),
        hess=lambda x, v: evaluator.at(x).hessian(0.0, v),
    )
    # scipy fails on an empty matrix
    linear = [LinearConstraint(form.polytope.A, rows.lower, rows.upper)] if rows.labels else []
    still = Standstill(TRUST_CONSTR_HANGS_AFTER)
    return _minimum(
        evaluator,
        form.start,
        "trust-constr",
        strict=strict,
        # scipy adds the Hessians of the rows itself.
        hess=lambda x: evaluator.at(x).hessian(1.0, no_rows),
        constraints=[*linear, nonlinear] if no_rows.size else linear,
        options={**native, "sparse_jacobian": True},
        callback=lambda x, state: evaluator.left < 0 or still.reached(np.append(x, state.tr_radius)),
    )


def _status(result: OptimizeResult) -> Termination:
    """Return why trust-constr stopped; its own test of feasibility uses gtol, which is 0 here."""
    status = TRUST_CONSTR_STATUS.get(int(result.status), Termination.FAILED)
    # A trust region that shrank to xtol at a feasible point is a solution, whatever stopped the run.
    shrunk = result.constr_violation <= FEASIBLE and result.tr_radius <= TRUST_CONSTR["xtol"]
    return Termination.SOLVED if status is Termination.STALLED and shrunk else status


class Standstill:
    """Counts the iterations in which a solver's point does not move.

    Parameters
    ----------
    most : int
        Such iterations in a row after which the solver hangs.
    tolerance : float
        A change up to this, relative to the largest entry or 1, is no move.
    """

    def __init__(self, most: int, tolerance: float = 0.0) -> None:
        self._most, self._tolerance = most, tolerance
        self.x: Array = np.zeros(0)
        self.iterations = self._unmoved = 0

    def reached(self, x: Array) -> bool:
        """Return whether nothing has moved for `most` iterations, of which x is the last."""
        self.iterations += 1
        # There is nothing to compare before the first iteration.
        same = self.x.size and np.abs(x - self.x).max() <= self._tolerance * max(1.0, float(np.abs(x).max()))
        self._unmoved = self._unmoved + 1 if same else 0
        self.x = np.array(x)
        return self._unmoved >= self._most


class _HangsError(Exception):
    """Raised to stop a run whose point no longer moves."""


class _SlsqpRows:
    """The rows in SLSQP's form, equations g(x) = 0 and inequalities g(x) >= 0, and the multipliers converted back."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator, self._polytope = evaluator, evaluator.form.polytope
        limits = self._polytope.rows + evaluator.form.nonlinear
        equations = np.flatnonzero(limits.equation)
        lower, upper = (np.flatnonzero(~limits.equation & np.isfinite(ends)) for ends in (limits.lower, limits.upper))
        # g is sign * (value of the row - its limit), one side at a time, equations first as scipy stacks them.
        self._rows = np.concatenate([equations, lower, upper])
        self._signs = np.repeat([1.0, 1.0, -1.0], [equations.size, lower.size, upper.size])
        self._limits = np.concatenate([limits.lower[equations], limits.lower[lower], limits.upper[upper]])
        self._parts = {"eq": slice(equations.size), "ineq": slice(equations.size, None)}

    def _values(self, x: Array, part: slice) -> Array:
        values = np.append(self._polytope.A @ x, self._evaluator.at(x).rows)
        return np.asarray(self._signs[part] * (values[self._rows[part]] - self._limits[part]))

    def _slopes(self, x: Array, part: slice) -> Array:
        slopes = np.vstack([self._polytope.dense, self._evaluator.at(x).jacobian])
        return np.asarray(self._signs[part, None] * slopes[self._rows[part]])

    def constraints(self) -> list[dict[str, Any]]:
        """Return scipy's constraint dictionaries."""
        return [
            {"type": kind, "fun": self._values, "jac": self._slopes, "args": (part,)}
            for kind, part in self._parts.items()
            if self._rows[part].size
        ]

    def multipliers(self, result: OptimizeResult) -> Multipliers:
        """Return scipy's multipliers, for which grad f = sum of multiplier times grad g, in climbopt's convention."""
        x, bounds, n_rows = result.x, self._polytope.bounds, len(self._polytope.rows)
        # scipy: grad f - J' v = 0 with g >= 0; upper limits were negated, so that their multipliers become >= 0
        values = np.zeros(n_rows + len(self._evaluator.form.nonlinear))
        np.subtract.at(values, self._rows, self._signs * result.multipliers)
        # stationarity: grad f + J' rows + bounds = 0 gives the multipliers of active bounds
        left = self._evaluator.at(x).gradient - self._slopes(x, slice(None)).T @ np.asarray(result.multipliers)
        active = (x - bounds.lower <= ACTIVE) | (bounds.upper - x <= ACTIVE)
        return Multipliers(np.where(active, -left, 0.0), values[:n_rows], values[n_rows:])
