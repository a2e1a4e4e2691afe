"""slsqp: scipy's sequential least-squares quadratic programming; gradients only."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.optimize import Bounds, OptimizeResult, minimize

from climbopt.backends.backend import (
    Evaluator,
    Options,
    OptionValue,
    Standstill,
    TimeUpError,
    checked_native,
    takes_every_form,
)
from climbopt.foundations.solution import Multipliers, Solution, Termination
from climbopt.model.templates import Array
from climbopt.program import ACTIVE, StandardForm

NATIVE: dict[str, OptionValue] = {"ftol": 1e-16, "maxiter": 1000}
LOOSE = 1e-12
"""ftol of a second run from the point where the first stalls: rounding in equations can stay above 1e-16."""
HANGS_AFTER = 10
"""Iterations without a move after which the first run is stopped."""
MOVE = 1e-13
"""A change of the point up to this, relative to its largest entry or 1, counts as no move."""
KNOWN: dict[str, type] = {"ftol": float, "maxiter": int}
STATUS = {
    0: Termination.SOLVED,
    2: Termination.FAILED,
    3: Termination.STALLED,
    4: Termination.INFEASIBLE,
    5: Termination.STALLED,
    6: Termination.STALLED,
    7: Termination.STALLED,
    8: Termination.STALLED,
    9: Termination.ITERATION_LIMIT,
}
"""SLSQP's exit modes by number."""


@dataclass(frozen=True)
class Slsqp:
    """scipy.optimize.minimize(method="SLSQP").

    Native settings: ftol 1e-16, whatever the tolerance, and `LOOSE` once the point no longer moves. SLSQP reports no
    multipliers of bounds: they follow from stationarity with its multipliers of the rows, at active bounds.
    """

    name: ClassVar[str] = "slsqp"
    refusal = takes_every_form

    @property
    def version(self) -> str:
        """Version of scipy."""
        return f"scipy {scipy.__version__}"

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a local minimum, reached from the form's start."""
        native = {**NATIVE, **checked_native(options, KNOWN, self.name), **options.iterations_as("maxiter")}
        evaluator, fixed = Evaluator(form, options.time_limit), form.polytope.bounds.lower
        if (fixed == form.polytope.bounds.upper).all():  # scipy then returns no status, nor multipliers
            return evaluator.solution(self, fixed, None, Termination.SOLVED, "the bounds leave one point", 0)
        rows, still, before = _ScipyRows(form, evaluator), Standstill(HANGS_AFTER, MOVE), 0

        def stop_where_it_hangs(x: Array) -> None:
            if still.reached(x):
                raise _HangsError

        try:
            try:
                result = _run(evaluator, rows, form.start, native, stop_where_it_hangs)
            except _HangsError:
                # The rounding of equations can keep changes of f above 1e-16 for ever.
                before = still.iterations
                result = _run(evaluator, rows, still.x, {**native, "ftol": max(LOOSE, float(native["ftol"]))})
        except TimeUpError:
            return evaluator.solution(self, evaluator.last_x, None, Termination.TIME_LIMIT, "time limit", None)
        status = STATUS.get(int(result.status), Termination.FAILED)
        # SLSQP can report success where f is NaN.
        if not np.isfinite(result.fun):
            status = Termination.LEFT_DOMAIN
        multipliers = rows.multipliers(result) if np.isfinite(result.x).all() and np.isfinite(result.fun) else None
        return evaluator.solution(self, result.x, multipliers, status, str(result.message), before + int(result.nit))


def _run(
    evaluator: Evaluator,
    rows: _ScipyRows,
    start: Array,
    settings: Mapping[str, OptionValue],
    callback: Callable[[Array], None] | None = None,
) -> OptimizeResult:
    """Return scipy's result from a start; `callback` is called with the point of each iteration."""
    bounds = evaluator.form.polytope.bounds
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # warnings on single steps; the point is judged afterwards
        return minimize(
            lambda x: evaluator.at(x).value,
            start,
            method="SLSQP",
            jac=lambda x: evaluator.at(x).gradient,
            bounds=Bounds(bounds.lower, bounds.upper),
            constraints=rows.constraints(),
            options=dict(settings),
            callback=callback,
        )


class _HangsError(Exception):
    """Raised to stop a run whose point no longer moves."""


class _ScipyRows:
    """The rows in SLSQP's form, equations g(x) = 0 and inequalities g(x) >= 0, and the multipliers converted back."""

    def __init__(self, form: StandardForm, evaluator: Evaluator) -> None:
        self._form, self._evaluator = form, evaluator
        limits = form.polytope.rows + form.nonlinear
        equal = limits.equation
        self._sets: list[tuple[str, NDArray[np.intp], float, Array]] = [
            (kind, chosen, sign, bound[chosen])
            for kind, chosen, sign, bound in (
                ("eq", np.flatnonzero(equal), 1.0, limits.lower),
                ("ineq", np.flatnonzero(~equal & np.isfinite(limits.lower)), 1.0, limits.lower),
                ("ineq", np.flatnonzero(~equal & np.isfinite(limits.upper)), -1.0, limits.upper),
            )
            if chosen.size
        ]

    def _values(self, x: Array) -> Array:
        return np.append(self._form.polytope.A @ x, self._evaluator.at(x).rows)

    def _jacobian(self, x: Array) -> Array:
        return np.vstack([self._form.polytope.dense, self._evaluator.at(x).jacobian])

    def constraints(self) -> list[dict[str, Any]]:
        """Return scipy's constraint dictionaries."""
        return [
            {
                "type": kind,
                # Defaults bind this set's values: a closure would see those of the last one.
                "fun": lambda x, i=chosen, s=sign, b=bound: s * (self._values(x)[i] - b),
                "jac": lambda x, i=chosen, s=sign: s * self._jacobian(x)[i],
            }
            for kind, chosen, sign, bound in self._sets
        ]

    def multipliers(self, result: OptimizeResult) -> Multipliers:
        """Return scipy's multipliers, for which grad f = sum of multiplier times grad g, in climbopt's convention."""
        n_rows = len(self._form.polytope.rows)
        values = np.zeros(n_rows + len(self._form.nonlinear))
        # scipy concatenates multipliers in the order of the constraint dictionaries.
        start = 0
        for _, chosen, sign, _ in self._sets:
            # scipy: grad f - J' v = 0 with g >= 0; upper limits were negated, so that their multipliers become >= 0
            values[chosen] -= sign * np.asarray(result.multipliers)[start : start + chosen.size]
            start += chosen.size
        polytope, x = self._form.polytope, result.x
        # stationarity: grad f + J' rows + bounds = 0 gives the multipliers of active bounds
        left = self._evaluator.at(x).gradient + self._jacobian(x).T @ values
        active = (x - polytope.bounds.lower <= ACTIVE) | (polytope.bounds.upper - x <= ACTIVE)
        return Multipliers(np.where(active, -left, 0.0), values[:n_rows], values[n_rows:])
