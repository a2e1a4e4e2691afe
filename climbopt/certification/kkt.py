"""The optimality conditions of a standard form at a point, from the form and the point alone.

    grad f + A' rows + Jc' nonlinear + bounds = 0

A multiplier is >= 0 where the upper side is active and <= 0 where the lower one is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.optimize import lsq_linear

from climbopt.foundations.solution import Multipliers
from climbopt.model.templates import Array
from climbopt.program import ACTIVE, Evaluation, Label, StandardForm

SIGN_ROUNDING = 1e-12
"""A recovered multiplier whose sign is wrong by no more than this share of the gradient is 0."""

ROUNDING = 4 * np.finfo(float).eps
"""Relative error of a row's value."""

ACROSS = ACTIVE / 10
"""Distance on either side of a point within which a kink is detected, in ratio units."""

NO_FARTHER = 1e-3
"""The same, as a share of the ratio itself: near 0, gradients change fast without a kink."""

Condition = Literal["stationarity", "primal", "dual", "complementarity"]


@dataclass(frozen=True)
class Residual:
    """The size of one optimality condition's violation, scaled, and the row where it is largest."""

    value: float
    worst: str


@dataclass(frozen=True, eq=False)
class LimitsAt:
    """The limits of a form at a point, concatenated: bounds, then rows of A, then entries of c.

    Parameters
    ----------
    form : StandardForm
    x : ndarray, (n,)
    """

    form: StandardForm
    x: Array

    @cached_property
    def at(self) -> Evaluation:
        """The form's functions at x."""
        return self.form.functions.at(self.x)

    @cached_property
    def value(self) -> Array:
        """Values at x; NaN at a pole, where no limit is known to hold."""
        values = np.concatenate([self.x, self.form.polytope.A @ self.x, self.at.rows])
        return np.where(np.isfinite(values), values, np.nan)

    @cached_property
    def gradients(self) -> Array:
        """Gradients of the rows of A and c, (k, n); those of bounds are unit vectors."""
        return np.vstack([self.form.polytope.dense, self.at.jacobian])

    @cached_property
    def size(self) -> Array:
        """Gradient norms, the unit in which a row's own change matters; 1 where the norm is 0 or not finite."""
        norms = np.linalg.norm(self.gradients, axis=1)
        return np.append(np.ones(self.form.n), np.where(np.isfinite(norms) & (norms > 0), norms, 1.0))

    @cached_property
    def room(self) -> Array:
        """Widths of the intervals of the values: at most that between the limits and what the bounds of x imply."""
        limits, (lower, upper) = self.form.limits, self.form.polytope.implied_bounds
        # To first order a row changes by at most |gradient|' width over the box; no ratio changes by more than 1.
        width = np.minimum(1.0, np.maximum(upper - lower, 0.0))
        reach = np.nan_to_num(np.abs(self.gradients), nan=1.0, posinf=1.0) @ width
        return np.asarray(np.minimum(np.maximum(limits.upper - limits.lower, 0.0), np.append(width, reach)))

    @cached_property
    def scales(self) -> tuple[Array, Array]:
        """The scales of residuals: one per variable, (n,), and one per limit.

        That of a variable is max(1, |df/dx_i|), so that the large gradient of one variable does not hide the residual
        of another; that of a row is the largest scale of its variables that are at no bound.
        """
        own = np.maximum(1.0, np.abs(self.at.gradient))
        # At a bound the bound's multiplier takes up the gradient, so that it sets no scale for the row.
        free = np.where(self.sides[: self.form.n] == 0, own, 1.0)
        return own, np.append(own, np.where(self.gradients != 0, free[None, :], 1.0).max(axis=1, initial=1.0))

    @cached_property
    def sides(self) -> NDArray[np.int8]:
        """-1 where the lower limit is active, 1 the upper one, 2 both, 0 neither; relative to the interval `room`."""
        return self._sides(ACTIVE * self.room + ROUNDING * np.maximum(np.abs(self.value), self.size))

    @cached_property
    def near(self) -> NDArray[np.int8]:
        """As `sides`, within ACTIVE times `size`; such a limit may have a multiplier, which complementarity judges."""
        return self._sides(ACTIVE * self.size)

    def _sides(self, distance: Array) -> NDArray[np.int8]:
        """Return which limits are within a distance of the values, coded as in `sides`."""
        # Violated limits count as active.
        low, high = self.value - self.form.limits.lower <= distance, self.form.limits.upper - self.value <= distance
        return np.where(low & high, 2, np.where(low, -1, np.where(high, 1, 0))).astype(np.int8)

    @cached_property
    def violation(self) -> Array:
        """Amounts by which limits are broken, in units of `size`; 0 where they are not."""
        limits = self.form.limits
        return np.maximum(np.maximum(limits.lower - self.value, self.value - limits.upper), 0.0) / self.size

    def side(self, k: int, *, upper: bool) -> Label:
        """Return the user's name for the lower or upper limit of entry k."""
        return self.form.limits.label(k, upper=upper)

    def worst(self, amounts: Array) -> Residual:
        """Return the largest of the amounts, one per entry, with the name of the nearer limit of that entry."""
        k = int(np.argmax(np.where(np.isnan(amounts), np.inf, amounts)))  # NaN counts as the worst
        # Bounds of one ratio may come from different constraints: the nearer one is named.
        limits, value = self.form.limits, self.value[k]
        nearer_upper = bool(limits.upper[k] - value < value - limits.lower[k])
        return Residual(float(amounts[k]), self.side(k, upper=nearer_upper).name)


def flat(multipliers: Multipliers) -> Array:
    """Return multipliers of bounds, rows and nonlinear rows in one vector."""
    return np.concatenate([multipliers.bounds, multipliers.rows, multipliers.nonlinear])


def unbounded(form: StandardForm) -> NDArray[np.bool_]:
    """Return which variables have no bound and no coefficient in a linear row, (n,)."""
    polytope = form.polytope
    return np.isinf(polytope.bounds.lower) & np.isinf(polytope.bounds.upper) & ~polytope.dense.any(axis=0)


def balanced(form: StandardForm, x: Array, mu: Array) -> Array | None:
    """Return multipliers of c of allowed signs whose Lagrangian has slope 0 in every unbounded variable, or None.

    An auxiliary such as the t of minimax enters f and c linearly, so that scaling the multipliers of all rows with
    slopes of one sign makes its slope 0; of the two signs, the one whose scale is nearer to 1 is taken.
    """
    mu, free = form.nonlinear.signed(mu), np.flatnonzero(unbounded(form))
    if not free.size:
        return mu
    if free.size > 1:
        return None
    at = form.functions.at(x)
    # Terms mu_i dc_i/dt of the Lagrangian's slope.
    slopes = np.asarray(at.jacobian[:, free[0]]).ravel() * mu
    residual = float(at.gradient[free[0]] + slopes.sum())  # dL/dt of the Lagrangian, to be made 0
    # residual + (scale - 1) * slopes[rows].sum() = 0; a negative scale would flip the signs of the multipliers
    scalings = [(1.0 - residual / float(slopes[rows].sum()), rows) for rows in (slopes > 0, slopes < 0) if rows.any()]
    allowed = [scaling for scaling in scalings if scaling[0] >= 0]
    if not allowed:
        return None
    scale, rows = min(allowed, key=lambda scaling: abs(scaling[0] - 1.0))
    return np.where(rows, scale * mu, mu)


def recover(rows: LimitsAt) -> Multipliers:
    """Return multipliers of the right signs with the least residual of stationarity and complementarity.

    The rows that are active have one, or the rows that are near a limit where that gives a smaller residual.

    Parameters
    ----------
    rows : LimitsAt
        At a feasible point.
    """
    if not (np.isfinite(rows.at.gradient).all() and np.isfinite(rows.gradients).all()):
        n = rows.form.n  # no slope, no multiplier
        return Multipliers(*np.split(np.zeros(rows.sides.size), [n, n + len(rows.form.polytope.rows)]))
    # A limit that is nearly active may have a multiplier too: of the two sets the better is taken.
    active = _recovered(rows, rows.sides)
    if np.array_equal(rows.sides, rows.near):
        return active

    def largest_residual(multipliers: Multipliers) -> float:
        conditions = residuals(rows, multipliers)
        return max(conditions["stationarity"].value, conditions["complementarity"].value)

    return min((active, _recovered(rows, rows.near)), key=largest_residual)


def _recovered(rows: LimitsAt, sides: NDArray[np.int8]) -> Multipliers:
    """Return the multipliers of the limits coded in `sides`, by least squares with signs, equations scaled."""
    gradient, n, own = rows.at.gradient, rows.form.n, rows.scales[0]
    on_bound, active = sides[:n] != 0, sides[n:] != 0
    chosen = rows.gradients[active] / own
    # Allowed signs: <= 0 where the lower limit is active, >= 0 where the upper one is, any for both.
    lower = np.where(np.isin(sides, (-1, 2)), -np.inf, 0.0)
    upper = np.where(np.isin(sides, (1, 2)), np.inf, 0.0)
    values = np.zeros(sides.size)
    # Rows first, from the variables at no bound, whose equations have no bound multiplier; bounds then take the rest.
    values[n:][active] = np.linalg.lstsq(chosen[:, ~on_bound].T, -(gradient / own)[~on_bound], rcond=None)[0]
    values[:n] = np.where(on_bound, -(gradient + rows.gradients.T @ values[n:]), 0.0)
    wrong = np.maximum(np.maximum(lower - values, values - upper), 0.0).max()
    if wrong > SIGN_ROUNDING * max(1.0, float(np.abs(gradient).max())):  # a sign is wrong: bounded least squares
        sided = np.flatnonzero(sides)
        # Stationarity over all chosen limits at once: the unit vectors of the bounds, then the rows.
        columns = np.hstack([np.diag(1 / own)[:, on_bound], chosen.T])
        values[sided] = lsq_linear(columns, -gradient / own, (lower[sided], upper[sided]), method="bvls", tol=1e-14).x
    values = np.clip(values, lower, upper)
    return Multipliers(*np.split(values, [n, n + len(rows.form.polytope.rows)]))


def residuals(rows: LimitsAt, multipliers: Multipliers) -> dict[Condition, Residual]:
    """Return the residuals of the four optimality conditions at the point of the limits for given multipliers.

    stationarity = the largest |grad f + A' rows + Jc' nonlinear + bounds| and dual = the largest wrong-signed
    multiplier, each entry divided by its own scale (`LimitsAt.scales`); primal = the largest violation over the row's
    size; complementarity = the largest |multiplier x slack|, by which f could still fall, over max(1, |f|).
    """
    form, limits, at, values, (own, over) = rows.form, rows.form.limits, rows.at, flat(multipliers), rows.scales
    # grad f + A' lambda + Jc' mu + zeta
    gradient = np.abs(at.gradient + rows.gradients.T @ values[form.n :] + values[: form.n]) / own
    worst = int(np.argmax(np.where(np.isnan(gradient), np.inf, gradient)))
    # A multiplier > 0 needs an upper limit, one < 0 a lower limit.
    wrong = np.abs(values - limits.signed(values))
    # The slack of the side that the multiplier belongs to.
    slack = np.where(values > 0, limits.upper - rows.value, rows.value - limits.lower)
    product = np.abs(values) * np.where(np.isinf(slack), 0.0, np.abs(slack))
    return {
        "stationarity": Residual(float(gradient[worst]), form.variables[worst]),
        "primal": rows.worst(rows.violation),
        "dual": rows.worst(wrong / over),
        "complementarity": rows.worst(product / max(1.0, abs(at.value))),
    }


def jump(form: StandardForm, x: Array, multipliers: Multipliers) -> Residual:
    """Return the jump of the Lagrangian's gradient across a kink at x, scaled as stationarity is.

    The gradient of one side says nothing about the other side, so that the jump counts as a stationarity residual.
    Without a kink the change is proportional to the step h, so that 2 change(h / 2) - change(h) is the jump alone.
    """
    own = LimitsAt(form, x).scales[0]

    def gradient(j: int, step: float) -> Array:
        at = form.functions.at(x + step * np.eye(form.n)[j])
        return at.gradient + at.jacobian.T @ multipliers.nonlinear

    def change(j: int) -> float:
        whole = min(ACROSS, NO_FARTHER * abs(float(x[j])))
        # Central differences of the Lagrangian's gradient along r_j, at the step and at half of it.
        over, over_half = (gradient(j, step) - gradient(j, -step) for step in (whole, whole / 2))
        return float((np.abs(2 * over_half - over) / own).max())

    changes = np.nan_to_num([change(j) for j in range(form.n_ratios)])  # outside the domain on one side
    worst = int(np.argmax(changes))
    return Residual(float(changes[worst]), f"kink[{form.variables[worst]}]")


def independent(rows: LimitsAt) -> bool:
    """Return whether the gradients of the active rows are linearly independent (LICQ)."""
    free, active = rows.sides[: rows.form.n] == 0, rows.sides[rows.form.n :] != 0
    # Active bounds are unit vectors: rows are independent of them if they are so on the free variables.
    return not active.any() or int(np.linalg.matrix_rank(rows.gradients[np.ix_(active, free)])) == int(active.sum())


def smallest_curvature(rows: LimitsAt, multipliers: Multipliers, strong: NDArray[np.bool_]) -> float | None:
    """Return the smallest eigenvalue of the Lagrangian's Hessian where the strongly active rows do not change.

    Directions are measured in the ratios and in the auxiliaries in which the Lagrangian is curved; other variables
    enter linearly.

    Parameters
    ----------
    rows : LimitsAt
    multipliers : Multipliers
    strong : ndarray of bool
        Entries whose multiplier is not 0; equations count as strong whatever theirs is.

    Returns
    -------
    float or None
        None where the null space of the strongly active rows is empty.
    """
    n, form = rows.form.n, rows.form
    # Weakly active rows may become slack, so that they do not restrict the directions.
    strong = strong & (rows.sides != 0) | form.limits.equation
    free = ~strong[:n]
    tight = rows.gradients[np.ix_(strong[n:], free)]
    basis = linalg.null_space(tight) if len(tight) else np.eye(int(free.sum()))  # Z, with tight Z = 0
    hessian = rows.at.hessian(1.0, multipliers.nonlinear)
    counted = ((np.arange(n) < form.n_ratios) | hessian.any(axis=1))[free]
    if not counted.all():  # unit length in the counted variables alone
        basis = linalg.orth(basis[counted])
    if not basis.shape[1]:
        return None
    chosen = np.flatnonzero(free)[counted]
    # Least eigenvalue of the reduced Hessian Z' (Hess L) Z.
    return float(linalg.eigvalsh(basis.T @ hessian[np.ix_(chosen, chosen)] @ basis, subset_by_index=[0, 0])[0])
