"""Polytope: the bounds and linear rows of a problem, its linear minimum and a point inside.

    x_lower <= x <= x_upper,   a_lower <= A x <= a_upper

One row of ones over all bounded variables, equal to a constant (the simplex with floors and caps), has closed
forms; anything else goes through HiGHS.
"""

from __future__ import annotations

from dataclasses import dataclass
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
"""Feasibility asked of HiGHS, whose own default is 1e-7."""
EMPTY = 1e-9
"""A polytope is empty where the best point that HiGHS finds breaks a limit by more than this."""
CENTRING_STEPS = 15
"""Newton steps towards the analytic centre."""
INFEASIBLE, UNBOUNDED = 2, 3
"""HiGHS statuses, as scipy.optimize.linprog numbers them."""


class EmptyPolytopeError(Exception):
    """No point meets all bounds and rows; carries no advice, which is the caller's to give."""


@dataclass(frozen=True, eq=False)
class Polytope:
    """x_lower <= x <= x_upper and a_lower <= A x <= a_upper.

    Parameters
    ----------
    x_lower, x_upper : ndarray, (n,)
        May be infinite.
    A : scipy.sparse.csr_array, (k, n)
    a_lower, a_upper : ndarray, (k,)
        Equal where the row is an equation.
    """

    x_lower: Array
    x_upper: Array
    A: csr_array
    a_lower: Array
    a_upper: Array

    @cached_property
    def dense(self) -> Array:
        """A as a dense array."""
        return np.asarray(self.A.toarray(), dtype=float)

    @cached_property
    def simplex(self) -> Mask | None:
        """The variables, bounded below, whose sum is fixed by the only row; None where the polytope is no such one."""
        if self.A.shape[0] != 1 or self.a_lower[0] != self.a_upper[0]:
            return None
        row = self.dense[0]
        return row == 1 if np.isin(row, (0.0, 1.0)).all() and np.isfinite(self.x_lower[row == 1]).all() else None

    def violation(self, x: Array) -> float:
        """Return the largest amount by which x breaks a bound or a row (0 where it breaks none)."""
        activity = self.A @ x
        return float(
            max(
                0.0,
                *(
                    np.max(part, initial=0.0)
                    for part in (self.x_lower - x, x - self.x_upper, self.a_lower - activity, activity - self.a_upper)
                ),
            )
        )

    def linear_minimum(self, g: Array) -> tuple[float, Array]:
        """Return a lower bound of g'x over the polytope, tight up to rounding, and a point where it is reached.

        -inf (and NaN) where there is none. HiGHS stops within a tolerance, so that its own value is no bound:
        that of its row multipliers is, min over the box of (g - rows'A)x + rows'(their limits), whatever they are.
        """
        if self.simplex is None:
            G, h = self._inequalities
            result = self._linear_program(g, G, h, self.x_lower, self.x_upper)
            if result.status == UNBOUNDED:
                return -np.inf, np.full(g.size, np.nan)
            on_rows, on_equations = np.minimum(result.ineqlin.marginals, 0.0), result.eqlin.marginals
            reduced = g - G.T @ on_rows - self.dense[self.equation].T @ on_equations
            lower, upper = self.implied_bounds
            ends = np.where(reduced > 0, lower, np.where(reduced < 0, upper, 0.0))
            box = reduced * ends
            return float(on_rows @ h + on_equations @ self.a_lower[self.equation] + box.sum()), result.x
        on = self.simplex
        vertex = np.where(g > 0, self.x_lower, np.where(g < 0, self.x_upper, np.clip(0, self.x_lower, self.x_upper)))
        if not np.isfinite(vertex[~on]).all():
            return -np.inf, np.full(g.size, np.nan)
        vertex[on] = _fill(g[on], self.x_lower[on], self.x_upper[on], float(self.a_lower[0]))
        return float(g @ vertex), vertex

    def interior_point(self) -> Array:
        """Return a point away from every bound and inequality that can be strict; raises EmptyPolytopeError."""
        n = self.x_lower.size
        if (self.x_lower > self.x_upper + FEASIBILITY).any():
            raise EmptyPolytopeError
        room = np.where(np.isfinite(self.x_upper - self.x_lower), (self.x_upper - self.x_lower) / 2, np.inf)
        width = np.minimum(room, 1.0 / n)
        if self.simplex is not None:
            on, total = self.simplex, float(self.a_lower[0])
            middle = np.clip(0.0, self.x_lower + width, self.x_upper - width)
            lower = self.x_lower[on]
            reach = np.minimum(self.x_upper[on], total - lower.sum() + lower) - lower
            if lower.sum() > total + FEASIBILITY or lower.sum() + reach.sum() < total - FEASIBILITY:
                raise EmptyPolytopeError
            share = (total - lower.sum()) / reach.sum() if reach.sum() > 0 else 0.0
            middle[on] = lower + share * reach
            return np.asarray(middle)
        G, h = self._inequalities
        low, high = np.isfinite(self.x_lower), np.isfinite(self.x_upper)
        sides = np.vstack([G, -np.eye(n)[low], np.eye(n)[high]])
        limits = np.concatenate([h, -self.x_lower[low], self.x_upper[high]])
        reach = np.concatenate([np.abs(G) @ width, width[low], width[high]])
        point, slack = self._farthest(sides, limits, reach)
        strict = np.ones(limits.size, dtype=bool)
        if slack <= FEASIBILITY:  # some limits are equations in disguise: leave these out
            strict = self._can_be_slack(sides, limits)
            point, _ = self._farthest(sides, limits, np.where(strict, reach, 0.0))
        point = np.clip(self._centred(point, sides, limits, strict), self.x_lower, self.x_upper)
        if self.violation(point) > EMPTY:
            raise EmptyPolytopeError
        return np.asarray(point)

    def _centred(self, x: Array, G: Array, h: Array, strict: Mask) -> Array:
        """Return x moved towards the analytic centre: largest sum of log(h - G y) - |y - x|^2 / 2, strict limits only.

        A vertex of the program that found x may be near limits that did not hold it; solvers start badly there. The
        second part keeps y near where there is no bound.
        """
        held = np.vstack([self.dense[self.equation], G[~strict]])
        basis = linalg.null_space(held) if len(held) else np.eye(x.size)
        G, h = G[strict] @ basis, (h - G @ x)[strict]
        if not (h > 0).all() or not basis.shape[1]:
            return x
        moved = np.zeros(basis.shape[1])
        for _ in range(CENTRING_STEPS):
            weight = 1.0 / (h - G @ moved)
            slope = G.T @ weight + moved
            step = np.linalg.solve((G.T * weight**2) @ G + np.eye(moved.size), -slope)
            decrement = float(-slope @ step)
            if not np.isfinite(decrement) or decrement < 1e-2:
                break
            most = 1.0 / max(1e-12, float(np.max(weight * (G @ step), initial=0.0)))
            moved = moved + min(1.0, 0.9 * most) * step
        return np.asarray(x + basis @ moved)

    def _farthest(self, G: Array, h: Array, reach: Array) -> tuple[Array, float]:
        """Return the x with the largest s <= 1 for which G x + s reach <= h, and that s."""
        n = self.x_lower.size
        result = self._linear_program(
            np.append(np.zeros(n), -1.0),
            np.column_stack([G, reach]),
            h,
            np.append(np.full(n, -np.inf), 0.0),
            np.append(np.full(n, np.inf), 1.0),
        )
        return result.x[:n], float(result.x[n])

    def _can_be_slack(self, G: Array, h: Array) -> Mask:
        """Return which rows of G x <= h can hold strictly somewhere.

        One linear program in (x, y, t): max sum y with G x + y <= t h, 0 <= y <= 1, t >= 1 and the equations scaled
        by t; since the whole may be scaled up, every row that can be slack reaches y = 1. Source: Freund, Roundy
        and Todd, "Identifying the set of always-active constraints in a system of linear inequalities by a single
        linear program", MIT Sloan working paper 1674-85, 1985.
        """
        n, k = self.x_lower.size, h.size
        E, e = self.dense[self.equation], self.a_lower[self.equation]
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
        n, k = self.x_lower.size, constant.size
        G, h = self._inequalities
        result = self._linear_program(
            np.append(np.zeros(n), -1.0),
            np.vstack([np.column_stack([G, np.zeros(len(h))]), np.column_stack([-slopes, np.ones(k)])]),
            np.append(h, constant),
            np.append(self.x_lower, -np.inf),
            np.append(self.x_upper, np.inf),
        )
        return np.asarray(result.x[:n])

    @cached_property
    def implied_bounds(self) -> tuple[Array, Array]:
        """Bounds, tightened by what each row leaves each of its variables, widened by more than rounding."""
        lower, upper = np.array(self.x_lower), np.array(self.x_upper)
        both = zip(np.vstack([self.dense, -self.dense]), np.append(self.a_upper, -self.a_lower), strict=True)
        for row, limit in both:
            if np.isinf(limit):
                continue
            on = np.flatnonzero(row)
            a = row[on]
            least = a * np.where(a > 0, self.x_lower[on], self.x_upper[on])
            unbounded = np.isinf(least)
            known = np.where(unbounded, 0.0, least)
            slack = FEASIBILITY * (abs(limit) + np.abs(known).sum())
            room = np.where(unbounded.sum() > unbounded, np.inf, limit - (known.sum() - known) + slack) / a
            upper[on] = np.where(a > 0, np.minimum(upper[on], room), upper[on])
            lower[on] = np.where(a < 0, np.maximum(lower[on], room), lower[on])
        return lower, upper

    @cached_property
    def equation(self) -> Mask:
        """Which rows are equations, (k,)."""
        return np.asarray(self.a_lower == self.a_upper)

    @cached_property
    def _inequalities(self) -> tuple[Array, Array]:
        """The rows that are no equations, as G x <= h."""
        low = ~self.equation & np.isfinite(self.a_lower)
        high = ~self.equation & np.isfinite(self.a_upper)
        return np.vstack([-self.dense[low], self.dense[high]]), np.append(-self.a_lower[low], self.a_upper[high])

    def _linear_program(self, g: Array, G: Array, h: Array, lower: Array, upper: Array) -> OptimizeResult:
        """Solve min g'x over G x <= h, the equations and bounds by HiGHS; x may have more entries than A columns."""
        equations = np.zeros((int(self.equation.sum()), g.size))
        equations[:, : self.dense.shape[1]] = self.dense[self.equation]
        for presolve in (True, False):  # with it, HiGHS calls some unbounded programs infeasible
            result = linprog(
                g,
                G,
                h,
                equations,
                self.a_lower[self.equation],
                np.column_stack([lower, upper]),
                method="highs",
                options={"primal_feasibility_tolerance": LP_TOLERANCE, "presolve": presolve},
            )
            if result.status != INFEASIBLE:
                return result
        raise EmptyPolytopeError


def _fill(g: Array, lower: Array, upper: Array, total: float) -> Array:
    """Return the minimiser of g'x with lower <= x <= upper and sum x = total: the cheapest are filled first."""
    spare = total - lower.sum()
    room = upper - lower
    if spare < -FEASIBILITY or room.sum() < spare - FEASIBILITY:
        raise EmptyPolytopeError
    order = np.argsort(g, kind="stable")
    before = np.concatenate([[0.0], np.cumsum(room[order])[:-1]])
    result = lower.copy()
    result[order] += np.clip(spare - before, 0.0, room[order])
    return result
