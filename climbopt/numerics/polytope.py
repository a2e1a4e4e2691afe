"""Polytope: the bounds and linear rows of a problem, its linear minimum and an interior point.

    bounds.lower <= x <= bounds.upper,   rows.lower <= A x <= rows.upper

One row of ones over all bounded variables, equal to a constant (the simplex with floors and caps), has closed
forms; all other polytopes are solved by HiGHS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.optimize import OptimizeResult, linprog
from scipy.sparse import csr_array

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FEASIBILITY = 1e-12
"""Violation that counts as rounding, in units of x."""
LP_TOLERANCE = 1e-10
"""Feasibility tolerance set for HiGHS, whose default is 1e-7."""
EMPTY = 1e-9
"""A polytope is empty where the best point that HiGHS finds breaks a limit by more than this."""
CENTRING_STEPS = 15
"""Newton steps towards the analytic centre."""
INFEASIBLE, UNBOUNDED = 2, 3
"""HiGHS statuses, as scipy.optimize.linprog numbers them."""


class EmptyPolytopeError(Exception):
    """No point meets all bounds and rows; the caller adds what to do."""


def balancing(sizes: Array) -> Array:
    """Return the powers of 16 that bring sizes nearest to 1; 1 for a size of 0, infinity or NaN.

    Products with them are exact, and the coarse grid leaves rows of ordinary size unchanged.
    """
    # 16^-k = 2^(-4 k), k the rounded logarithm to base 16: an exact power of two.
    usable = np.isfinite(sizes) & (sizes > 0)
    return np.exp2(-4 * np.round(np.log2(np.where(usable, sizes, 1.0)) / 4))


@dataclass(frozen=True)
class Label:
    """The name of a limit, and its relation to the number that the user wrote.

    Parameters
    ----------
    name : str
        ``constraint[language]``.
    per_unit : float
        d limit / d (the user's number).
    unit : str
        The user's unit.
    tied : tuple of str
        Other constraints that set the same limit to the same value; this one has the multiplier.
    internal : bool
        Whether it only ties an auxiliary to the ratios, and is not a limit of the user.
    domain : bool
        Whether it only keeps z in its law's domain.
    scale : float
        Factor of the user's row for the solvers: the multiplier of the row as written is this times the row's.
    """

    name: str
    per_unit: float = 1.0
    unit: str = "ratio"
    tied: tuple[str, ...] = ()
    internal: bool = False
    domain: bool = False
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Rows:
    """Limits of k values, lower <= value <= upper, with their names.

    Parameters
    ----------
    lower, upper : ndarray, (k,)
        Infinite where there is no limit; equal where the row is an equation.
    labels : tuple of Label
        One per row, or none at all.
    upper_labels : tuple of Label
        Labels of the upper limits; those of the rows by default.
    """

    lower: Array
    upper: Array
    labels: tuple[Label, ...] = ()
    upper_labels: tuple[Label, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "upper_labels", self.upper_labels or self.labels)
        for name in ("lower", "upper"):
            # A read-only copy: rows are shared between forms.
            limits = np.array(getattr(self, name), dtype=float)
            limits.setflags(write=False)
            object.__setattr__(self, name, limits)

    @classmethod
    def free(cls, labels: Sequence[Label]) -> Rows:
        """Return rows without limits."""
        return cls(np.full(len(labels), -np.inf), np.full(len(labels), np.inf), tuple(labels))

    def __len__(self) -> int:
        return self.lower.size

    def __add__(self, other: Rows) -> Rows:
        """Return these rows followed by others."""
        return Rows(
            np.append(self.lower, other.lower),
            np.append(self.upper, other.upper),
            self.labels + other.labels,
            self.upper_labels + other.upper_labels,
        )

    def __getitem__(self, chosen: Sequence[int]) -> Rows:
        """Return the chosen rows."""
        at = np.asarray(chosen, dtype=np.intp)
        labels, upper_labels = (
            tuple(names[k] for k in at.tolist()) if names else () for names in (self.labels, self.upper_labels)
        )
        return Rows(self.lower[at], self.upper[at], labels, upper_labels)

    def label(self, k: int, *, upper: bool) -> Label:
        """Return the label of the lower or upper limit of row k."""
        return (self.upper_labels if upper else self.labels)[k]

    def scaled(self, factors: Array) -> Rows:
        """Return the limits of rows multiplied by positive factors, (k,), which the labels record."""
        labels = tuple(
            replace(label, scale=label.scale * factor)
            for label, factor in zip(self.labels, factors.tolist(), strict=True)
        )
        return Rows(self.lower * factors, self.upper * factors, labels)

    def within(self, lower: Array, upper: Array) -> Rows:
        """Return rows of the same names with other limits."""
        return replace(self, lower=lower, upper=upper)

    def named(self, multipliers: Array) -> Array:
        """Return the limits on the sides given by the signs of multipliers, 0 where a multiplier is 0; (k,)."""
        return np.where(multipliers > 0, self.upper, np.where(multipliers < 0, self.lower, 0.0))

    def signed(self, multipliers: Array) -> Array:
        """Return multipliers, set to 0 where infinite or where their sign belongs to a limit that is; (k,)."""
        return np.where(np.isfinite(self.named(multipliers)) & np.isfinite(multipliers), multipliers, 0.0)

    @cached_property
    def equation(self) -> Mask:
        """Which rows are equations, (k,)."""
        return np.asarray(self.lower == self.upper)


@dataclass(frozen=True, eq=False)
class Polytope:
    """bounds.lower <= x <= bounds.upper and rows.lower <= A x <= rows.upper.

    Parameters
    ----------
    bounds : Rows, n of them
    A : scipy.sparse.csr_array, (k, n)
    rows : Rows, k of them
    """

    bounds: Rows
    A: csr_array
    rows: Rows

    @cached_property
    def dense(self) -> Array:
        """A as a dense array."""
        return np.asarray(self.A.toarray(), dtype=float)

    @cached_property
    def simplex(self) -> Mask | None:
        """The variables, bounded below, whose sum is fixed by the only row; None for any other polytope."""
        if self.A.shape[0] != 1 or self.rows.lower[0] != self.rows.upper[0]:
            return None
        row = self.dense[0]
        # Other coefficients, or a variable without a lower bound, have no closed form.
        return row == 1 if np.isin(row, (0.0, 1.0)).all() and np.isfinite(self.bounds.lower[row == 1]).all() else None

    def violation(self, x: Array) -> float:
        """Return the largest amount by which x breaks a bound or a row (0 where it breaks none)."""
        each = ((self.bounds, x), (self.rows, self.A @ x))
        parts = [part for rows, value in each for part in (rows.lower - value, value - rows.upper)]
        return float(np.fmax.reduce(np.concatenate(parts), initial=0.0))  # what is no number breaks nothing

    def linear_minimum(self, g: Array) -> tuple[float, Array]:
        """Return a lower bound of g'x over the polytope, tight up to rounding, and a point where it is reached.

        -inf (and NaN) where it is unbounded, or HiGHS fails. HiGHS stops within a tolerance, so that its value is not a
        bound. The Lagrangian dual of its row multipliers is a bound whatever their values:
        min over the box of (g - rows'A) x + rows'(limits).
        """
        if self.simplex is None:
            G, h = self._inequalities
            # Scaled by a power of two, which changes no digit of the costs.
            size = np.abs(g).max(initial=0.0)
            if not np.isfinite(size):
                return -np.inf, np.full(g.size, np.nan)
            unit = np.ldexp(1.0, int(np.frexp(size)[1]) - 1)  # HiGHS takes costs above 1e20 as infinite
            result = self._linear_program(g / unit, G, h, self.bounds.lower, self.bounds.upper)
            if result.status == UNBOUNDED or result.x is None or result.ineqlin.marginals is None:
                return -np.inf, np.full(g.size, np.nan)
            on_rows, on_equations = unit * np.minimum(result.ineqlin.marginals, 0.0), unit * result.eqlin.marginals
            # reduced costs g - A' rows; multipliers of the wrong sign were clipped to 0 above
            reduced = g - G.T @ on_rows - self.dense[self.equation].T @ on_equations
            # The box minimum is finite only where each variable with a reduced cost is bounded; rows imply such bounds.
            ends = self.bounds.within(*self.implied_bounds).named(-reduced)
            return float(on_rows @ h + on_equations @ self.rows.lower[self.equation] + (reduced * ends).sum()), result.x
        on = self.simplex
        # Variables outside the simplex row go to the end that their cost favours; the others are filled below.
        vertex = np.clip(self.bounds.named(-g), self.bounds.lower, self.bounds.upper)
        if not np.isfinite(vertex[~on]).all():
            return -np.inf, np.full(g.size, np.nan)
        vertex[on] = _fill(g[on], self.bounds.lower[on], self.bounds.upper[on], float(self.rows.lower[0]))
        return float(g @ vertex), vertex

    def interior_point(self) -> Array:
        """Return a point with slack in every bound and inequality that can be strict; raises EmptyPolytopeError."""
        n = self.bounds.lower.size
        if (self.bounds.lower > self.bounds.upper + FEASIBILITY).any():
            raise EmptyPolytopeError
        # slack aimed at: half the interval, at most an equal share
        width = np.minimum((self.bounds.upper - self.bounds.lower) / 2, 1.0 / n)
        if self.simplex is not None:
            on, total = self.simplex, float(self.rows.lower[0])
            middle = np.clip(0.0, self.bounds.lower + width, self.bounds.upper - width)
            lower = self.bounds.lower[on]
            # The most that each variable can have with the others at their lower bounds; all get the same share of it.
            reach = np.minimum(self.bounds.upper[on], total - lower.sum() + lower) - lower
            if lower.sum() > total + FEASIBILITY or lower.sum() + reach.sum() < total - FEASIBILITY:
                raise EmptyPolytopeError
            middle[on] = lower + reach * ((total - lower.sum()) / reach.sum() if reach.sum() > 0 else 0.0)
            return np.asarray(middle)
        G, h = self._inequalities
        low, high = np.isfinite(self.bounds.lower), np.isfinite(self.bounds.upper)
        # Every inequality as sides x <= limits, with `reach` the slack that is aimed at in each.
        sides = np.vstack([G, -np.eye(n)[low], np.eye(n)[high]])
        limits = np.concatenate([h, -self.bounds.lower[low], self.bounds.upper[high]])
        reach = np.concatenate([np.abs(G) @ width, width[low], width[high]])
        point, slack = self._farthest(sides, limits, reach)
        strict = np.ones(limits.size, dtype=bool)
        if slack <= FEASIBILITY:  # limits that hold as equations throughout are left out
            strict = self._can_be_slack(sides, limits)
            point, _ = self._farthest(sides, limits, np.where(strict, reach, 0.0))
        point = np.clip(self._centred(point, sides, limits, strict), self.bounds.lower, self.bounds.upper)
        if self.violation(point) > EMPTY:
            raise EmptyPolytopeError
        return np.asarray(point)

    def _centred(self, x: Array, G: Array, h: Array, strict: Mask) -> Array:
        """Return x moved towards the analytic centre: largest sum of log(h - G y) - |y - x|^2 / 2, strict limits only.

        A vertex of the linear program may be near limits that were not binding, where solvers start badly. The
        quadratic term keeps y near x in unbounded directions.
        """
        # Moves in the null space of what holds with equality stay feasible for it.
        held = np.vstack([self.dense[self.equation], G[~strict]])
        basis = linalg.null_space(held) if len(held) else np.eye(x.size)
        G, h = G[strict] @ basis, (h - G @ x)[strict]
        if not (h > 0).all() or not basis.shape[1]:
            return x
        moved = np.zeros(basis.shape[1])
        for _ in range(CENTRING_STEPS):
            # barrier -sum log(h - G y): gradient G'w, Hessian G' diag(w^2) G
            weight = 1.0 / (h - G @ moved)
            slope = G.T @ weight + moved
            step = np.linalg.solve((G.T * weight**2) @ G + np.eye(moved.size), -slope)
            # Newton decrement of the barrier; the step stays within 0.9 of the distance to the boundary
            if not 1e-2 <= -slope @ step < np.inf:
                break
            most = 1.0 / max(1e-12, float(np.max(weight * (G @ step), initial=0.0)))
            moved = moved + min(1.0, 0.9 * most) * step
        return np.asarray(x + basis @ moved)

    def _farthest(self, G: Array, h: Array, reach: Array) -> tuple[Array, float]:
        """Return the x with the largest s <= 1 for which G x + s reach <= h, and that s."""
        n = self.bounds.lower.size
        result = self._linear_program(
            np.append(np.zeros(n), -1.0),
            # Variables (x, s), cost -s.
            np.column_stack([G, reach]),
            h,
            np.append(np.full(n, -np.inf), 0.0),
            np.append(np.full(n, np.inf), 1.0),
        )
        return result.x[:n], float(result.x[n])

    def _can_be_slack(self, G: Array, h: Array) -> Mask:
        """Return which rows of G x <= h can hold strictly somewhere.

        One linear program in (x, y, t): max sum y with G x + y <= t h, 0 <= y <= 1, t >= 1 and the equations scaled
        by t; since the solution may be scaled up, every row that can be slack reaches y = 1. Source: Freund, Roundy
        and Todd, "Identifying the set of always-active constraints in a system of linear inequalities by a single
        linear program", MIT Sloan working paper 1674-85, 1985.
        """
        n, k = self.bounds.lower.size, h.size
        E, e = self.dense[self.equation], self.rows.lower[self.equation]
        result = linprog(
            np.concatenate([np.zeros(n), -np.ones(k), [0.0]]),
            np.column_stack([G, np.eye(k), -h]),
            np.zeros(k),
            np.column_stack([E, np.zeros((len(e), k)), -e]),
            np.zeros(len(e)),
            [(None, None)] * n + [(0.0, 1.0)] * k + [(1.0, None)],
            method="highs",
        )
        if result.status != 0:
            raise EmptyPolytopeError
        return np.asarray(result.x[n : n + k] > 0.5)

    def largest_minimum(self, constant: Array, slopes: Array) -> Array:
        """Return the y of the polytope with the largest least entry of constant + slopes y; a vertex."""
        n, k = self.bounds.lower.size, constant.size
        G, h = self._inequalities
        result = self._linear_program(
            np.append(np.zeros(n), -1.0),
            # s <= constant_i + slopes_i y for every i, with s maximised.
            np.vstack([np.column_stack([G, np.zeros(len(h))]), np.column_stack([-slopes, np.ones(k)])]),
            np.append(h, constant),
            np.append(self.bounds.lower, -np.inf),
            np.append(self.bounds.upper, np.inf),
        )
        return np.asarray(result.x[:n])

    @cached_property
    def implied_bounds(self) -> tuple[Array, Array]:
        """Bounds, tightened by the activity bounds of each row, with slack for rounding."""
        lower, upper = self.bounds.lower, self.bounds.upper
        # Every row as A x <= limit, two for each row as written.
        A, limits = np.vstack([self.dense, -self.dense]), np.append(self.rows.upper, -self.rows.lower)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):  # where A is 0, which bounds nothing
            # The least that each term can add to its row.
            least = np.where(A > 0, A * lower, np.where(A < 0, A * upper, 0.0))
            unbounded = np.isinf(least)
            known = np.where(unbounded, 0.0, least)
            slack = FEASIBILITY * (np.abs(limits) + np.abs(known).sum(1, keepdims=True))
            # row limit less the least activity of the other variables; unbounded if another one is
            rest = limits - (known.sum(1, keepdims=True) - known) + slack
            room = np.where(unbounded.sum(1, keepdims=True) > unbounded, np.inf, rest) / A
        # Dividing by a negative coefficient turns the bound into a lower one.
        return (
            np.maximum(lower, room.max(axis=0, where=A < 0, initial=-np.inf)),
            np.minimum(upper, room.min(axis=0, where=A > 0, initial=np.inf)),
        )

    @cached_property
    def equation(self) -> Mask:
        """Which rows are equations, (k,)."""
        return self.rows.equation

    @cached_property
    def _inequalities(self) -> tuple[Array, Array]:
        """The inequality rows, as G x <= h."""
        low = ~self.equation & np.isfinite(self.rows.lower)
        high = ~self.equation & np.isfinite(self.rows.upper)
        return np.vstack([-self.dense[low], self.dense[high]]), np.append(-self.rows.lower[low], self.rows.upper[high])

    def _linear_program(self, g: Array, G: Array, h: Array, lower: Array, upper: Array) -> OptimizeResult:
        """Solve min g'x over G x <= h, the equations and bounds by HiGHS; x may have more entries than A columns."""
        # Further variables, such as s, are in no equation.
        equations = np.pad(self.dense[self.equation], ((0, 0), (0, g.size - self.dense.shape[1])))
        for presolve in (True, False):  # with it, HiGHS calls some unbounded programs infeasible
            result = linprog(
                g,
                G,
                h,
                equations,
                self.rows.lower[self.equation],
                np.column_stack([lower, upper]),
                method="highs",
                options={"primal_feasibility_tolerance": LP_TOLERANCE, "presolve": presolve},
            )
            if result.status != INFEASIBLE:
                return result
        raise EmptyPolytopeError


def _fill(g: Array, lower: Array, upper: Array, total: float) -> Array:
    """Return the minimiser of g'x with lower <= x <= upper and sum x = total: a continuous knapsack."""
    spare = total - lower.sum()
    room = upper - lower
    if spare < -FEASIBILITY or room.sum() < spare - FEASIBILITY:
        raise EmptyPolytopeError
    # greedy: the cheapest variables are filled first
    order = np.argsort(g, kind="stable")
    before = np.concatenate([[0.0], np.cumsum(room[order])[:-1]])
    result = lower.copy()
    result[order] += np.clip(spare - before, 0.0, room[order])
    return result
