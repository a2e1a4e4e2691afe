"""Certificate: the optimality conditions and bounds of a point, computed from the problem and the point alone.

    grad f + A' rows + Jc' nonlinear + bounds = 0

A multiplier is >= 0 where the upper side is active and <= 0 where the lower one is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from climbopt.certification.kkt import (
    Condition,
    LimitsAt,
    Residual,
    balanced,
    flat,
    independent,
    jump,
    recover,
    residuals,
    smallest_curvature,
    unbounded,
)
from climbopt.foundations.solution import Multipliers
from climbopt.foundations.view import Columns, View, Viewed
from climbopt.model.templates import Array
from climbopt.numerics.polytope import EmptyPolytopeError
from climbopt.program import StandardForm

TOLERANCE = 1e-6
CURVATURE = 1e-9
"""A smallest eigenvalue above this counts as positive."""
RESTS_ON = "convexity, proved from second derivatives; the Frank-Wolfe bound at this point; float64 arithmetic"
ROUNDING = 8 * np.finfo(float).eps
"""Relative error allowed for a sum of products in a bound."""


class Verdict(Enum):
    """What is proved of a point, from the weakest claim to the strongest."""

    INFEASIBLE = "infeasible"
    FEASIBLE = "feasible"
    KKT_POINT = "KKT point"
    STRICT_LOCAL_MINIMUM = "strict local minimum"
    GLOBAL = "global within gap"


@dataclass(frozen=True)
class NamedMultiplier:
    """One multiplier under the name of the user's constraint.

    Parameters
    ----------
    multiplier : float
        grad f + A' multipliers = 0 with >= 0 where the upper side is active and <= 0 where the lower one is.
    shadow_price : float
        d f* / d (the user's number) = -multiplier on both sides, times the chain rule to that number.
    unit : str
        Unit of the user's number.
    active : bool
        Whether the row is at its limit.
    tied : tuple of str
        Constraints that set the same limit; the multiplier is shown for the first only.
    """

    multiplier: float
    shadow_price: float
    unit: str
    active: bool
    tied: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoundSearch:
    """The cost of a search for a global bound.

    Parameters
    ----------
    rigor : str
        Arithmetic of the bound: float or ball.
    nodes : int
        Number of boxes examined.
    seconds : float
        Wall time.
    proof : mapping, optional
        What shows the lower bound, for a file.
    """

    rigor: str
    nodes: int = 0
    seconds: float = 0.0
    proof: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Bound:
    """Lower and upper bound of the minimum.

    Parameters
    ----------
    lower, upper : float
        Of the objective; -inf where nothing is proved, and the objective at the point that is judged.
    allowed : float
        The gap up to which the point counts as global, in the objective's unit.
    rests_on : str
        What the lower bound assumes.
    search : BoundSearch or None
        None for the bound that comes with every convex problem.
    """

    lower: float
    upper: float
    allowed: float
    rests_on: str
    search: BoundSearch | None = None

    @property
    def gap(self) -> float:
        """Upper minus lower bound."""
        return self.upper - self.lower

    @property
    def reached(self) -> bool:
        """Whether the gap is at most `allowed`; False for NaN."""
        return self.gap <= self.allowed


@dataclass(frozen=True, eq=False, repr=False)
class Certificate(Viewed):
    """The optimality conditions at a repaired point.

    Parameters
    ----------
    verdict : Verdict
    passed : bool
        Whether every condition that the procedure requires is within the tolerance.
    tolerance : float
    residuals : mapping of condition to Residual
        stationarity, primal, dual, complementarity; primal alone where only feasibility is required. primal is in
        ratio units, the others are scaled by the gradient, entry by entry.
    multipliers : mapping of str to NamedMultiplier
        Recovered by sign-constrained least squares on the active rows.
    disagreement : float or None
        Largest difference from the backend's own multipliers, scaled; None where it gave none.
    licq : bool or None
        Whether the active rows' gradients are linearly independent.
    second_order : float or None
        Smallest eigenvalue of the Lagrangian's Hessian on the null space of the strongly active rows; None where
        that space is empty (a vertex) or was not examined.
    weakly_active : tuple of str
        Active rows whose multiplier is 0 within the tolerance.
    upper_bound : float
        Objective at the repaired point, or a proved upper bound of it.
    bound : Bound or None
        None where no bound is proved or requested.
    no_bound : str or None
        Why a requested global bound is not available.
    """

    verdict: Verdict
    passed: bool
    tolerance: float
    residuals: Mapping[Condition, Residual]
    multipliers: Mapping[str, NamedMultiplier]
    disagreement: float | None
    licq: bool | None
    second_order: float | None
    weakly_active: tuple[str, ...]
    upper_bound: float
    bound: Bound | None = None
    no_bound: str | None = None

    @property
    def lower_bound(self) -> float | None:
        """Proved lower bound of the objective over all feasible points; None where there is none."""
        return None if self.bound is None or not np.isfinite(self.bound.lower) else self.bound.lower

    @property
    def gap(self) -> float | None:
        """Upper minus lower bound; None where no bound is proved."""
        return None if self.bound is None or not np.isfinite(self.bound.gap) else self.bound.gap

    @property
    def relative_gap(self) -> float | None:
        """The gap over the absolute upper bound; None where no bound is proved or the upper bound is 0."""
        return None if self.gap is None or not self.upper_bound else self.gap / abs(self.upper_bound)

    def bounded(self, bound: Bound) -> Certificate:
        """Return the certificate with a bound, which decides: a certificate passes only where its gap is closed."""
        # A bound proves the value, not the point: every residual must hold as well.
        met = all(residual.value <= self.tolerance for residual in self.residuals.values())
        known = bound.reached and self.verdict is not Verdict.INFEASIBLE
        return replace(
            self,
            verdict=Verdict.GLOBAL if known else self.verdict,
            passed=met and bound.reached,
            upper_bound=bound.upper,
            bound=bound,
        )

    def view(self) -> View:
        """Return the verdict and the residuals; the table has a row for each multiplier."""
        facts = [
            ", ".join(f"{name} {residual.value:.1e}" for name, residual in self.residuals.items()),
            None if self.gap is None else f"gap {self.gap:.3g} to the lower bound {self.lower_bound:.10g}",
            None if self.no_bound is None else f"no global bound: {self.no_bound}",
            f"tolerance {self.tolerance:g}; active limits: {sum(limit.active for limit in self.multipliers.values())}",
        ]
        return View(
            f"certificate, {'passed' if self.passed else 'NOT passed'}: {self.verdict.value}",
            [fact for fact in facts if fact is not None],
            self._columns,
        )

    def _columns(self) -> Columns:
        """Return one row per named limit."""
        limits = self.multipliers.values()
        return {
            "constraint": list(self.multipliers),
            "multiplier": [limit.multiplier for limit in limits],
            "shadow_price": [limit.shadow_price for limit in limits],
            "unit": [limit.unit for limit in limits],
            "active": [limit.active for limit in limits],
        }


def repair(form: StandardForm, x: Array) -> Array:
    """Return x with its ratios projected onto all linear rows and bounds, and the best auxiliaries for them.

    x itself is returned where no such point exists.
    """
    try:
        return form.nearest(x)
    except (EmptyPolytopeError, ArithmeticError):  # the violation of x is then the primal residual
        return x


def certify(
    form: StandardForm,
    x: Array,
    *,
    tolerance: float = TOLERANCE,
    claimed: Multipliers | None = None,
    extra: Residual | None = None,
) -> Certificate:
    """Return the certificate of a repaired point.

    Parameters
    ----------
    form : StandardForm
        The problem.
    x : ndarray, (n,)
        The point, as :func:`repair` returns it; auxiliaries recomputed by the procedure.
    tolerance : float
        For the scaled residuals.
    claimed : Multipliers, optional
        Those of the backend, compared with the recovered ones.
    extra : Residual, optional
        A further stationarity condition (the direction of two_step).
    """
    rows = LimitsAt(form, x)
    if not (np.isfinite(rows.at.value) and np.isfinite(rows.at.gradient).all()):
        return replace(certify_feasible(form, x, tolerance=tolerance), passed=False)
    multipliers = recover(rows)
    conditions = residuals(rows, multipliers)
    # The largest of all that stationarity requires is the one reported.
    if extra is not None and not extra.value <= conditions["stationarity"].value:  # NaN too
        conditions["stationarity"] = extra
    if form.kinked and (change := jump(form, x, multipliers)).value > conditions["stationarity"].value:
        conditions["stationarity"] = change
    values, over = flat(multipliers), rows.scales[1]
    # A multiplier below the tolerance is no evidence that its row is active in every neighbouring optimum.
    strong = np.abs(values) > tolerance * over
    # Not equations (both sides active), whose multiplier may well be 0.
    weak = (np.abs(rows.sides) == 1) & ~strong
    second_order = smallest_curvature(rows, multipliers, strong)
    # At an infeasible point f(x) is no upper bound, so that there is no gap to speak of.
    lower = lower_bound(form, x, multipliers) if conditions["primal"].value <= tolerance else None
    certificate = Certificate(
        verdict=_verdict(conditions, tolerance, second_order),
        passed=all(residual.value <= tolerance for residual in conditions.values()),
        tolerance=tolerance,
        residuals=conditions,
        multipliers=_named(rows, values),
        disagreement=None if claimed is None else float((np.abs(flat(claimed) - values) / over).max()),
        licq=independent(rows),
        second_order=second_order,
        weakly_active=tuple(
            side.name
            for k in np.flatnonzero(weak).tolist()
            if not (side := rows.side(k, upper=bool(rows.sides[k] == 1))).internal
        ),
        upper_bound=rows.at.value,
    )
    if lower is None:
        return certificate
    return certificate.bounded(Bound(lower, rows.at.value, tolerance * max(1.0, abs(rows.at.value)), RESTS_ON))


def certify_feasible(form: StandardForm, x: Array, *, tolerance: float = TOLERANCE) -> Certificate:
    """Return the certificate of a baseline, which claims only that x is feasible and its objective is finite."""
    rows, value = LimitsAt(form, x), form.functions.at(x).value
    primal = rows.worst(rows.violation)
    passed = primal.value <= tolerance and bool(np.isfinite(value))
    return Certificate(
        Verdict.FEASIBLE if passed else Verdict.INFEASIBLE,
        passed,
        tolerance,
        {"primal": primal},
        {},
        None,
        None,
        None,
        (),
        value,
    )


def lower_bound(form: StandardForm, x: Array, multipliers: Multipliers) -> float | None:
    """Return a proved lower bound of f, or None where the problem is not proved convex.

    With Lf = f + nonlinear' (c - limit) proved convex, f* >= Lf(x) + min over y in the polytope of
    grad Lf(x)'(y - x): the Frank-Wolfe bound, in its Lagrangian form where c has active rows. Holds for any
    multipliers of the right sign, whether or not they are optimal.
    """
    # Weak duality: any mu of the right signs gives a bound, -inf unless the slope in each unbounded variable is 0.
    mu = balanced(form, x, multipliers.nonlinear)
    if mu is None or not form.functions.convex(form.polytope, mu):
        return None
    evaluation = form.functions.at(x)
    # The side that a multiplier belongs to: Lf = f + sum of mu_i (c_i - limit_i) <= f wherever the rows hold.
    # mu'(c(x) - limit), 0 at an active row up to rounding; infinite limits have mu = 0.
    slack = np.where(mu != 0, mu * (evaluation.rows - form.nonlinear.named(mu)), 0.0)
    gradient = evaluation.gradient + (evaluation.jacobian.T @ mu if mu.size else 0.0)
    gradient = np.where(unbounded(form), 0.0, gradient)  # 0 but for rounding, by `balanced`
    least, y = form.polytope.linear_minimum(gradient)  # min over y in the polytope of grad Lf(x)'y
    if not np.isfinite(least):
        return None
    # The rounding error of a sum is at most a multiple of the sum of its absolute terms; the bound is lowered by it.
    terms = np.abs(gradient) @ (np.abs(x) + np.abs(y)) + np.abs(slack).sum() + abs(evaluation.value)
    return float(evaluation.value + slack.sum() + (least - gradient @ x) - ROUNDING * terms)


def _verdict(conditions: Mapping[Condition, Residual], tolerance: float, second_order: float | None) -> Verdict:
    """Return the strongest verdict that the local conditions alone prove."""
    if conditions["primal"].value > tolerance:
        return Verdict.INFEASIBLE
    # Feasible is all that the residuals leave.
    if any(residual.value > tolerance for residual in conditions.values()):
        return Verdict.FEASIBLE
    return Verdict.STRICT_LOCAL_MINIMUM if second_order is None or second_order > CURVATURE else Verdict.KKT_POINT


def _named(rows: LimitsAt, values: Array) -> dict[str, NamedMultiplier]:
    """Return the multipliers by the user's names; infinite and internal limits are left out."""
    limits = rows.form.limits
    # The side that the multiplier belongs to; where it is 0, the active side; else the one that exists.
    upper = (values > 0) | (values == 0) & (rows.sides == 1) | np.isinf(limits.lower)
    finite = np.flatnonzero(np.isfinite(np.where(upper, limits.upper, limits.lower))).tolist()
    return {
        side.name: NamedMultiplier(
            float(values[k]) * side.scale,  # undoes the scaling of the row
            -float(values[k]) * side.scale * side.per_unit,
            side.unit,
            bool(rows.sides[k]),
            side.tied,
        )
        for k in finite
        if not (side := rows.side(k, upper=bool(upper[k]))).internal
    }
