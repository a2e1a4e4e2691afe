"""Convex functions on boxes, their minima by newton, and the bounds that any point gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from climbopt.backends import Options
from climbopt.backends.newton import Newton
from climbopt.model.templates import Array
from climbopt.numerics.polytope import EmptyPolytopeError, Polytope
from climbopt.numerics.quadratic import project
from climbopt.program import Evaluation, Rows, StandardForm

ROUNDING = 32 * np.finfo(float).eps
"""Relative error allowed for the sums in a bound."""


class ConvexAt(Evaluation, Protocol):
    """A convex function at one x."""

    @property
    def slack(self) -> float:
        """What rounding may have added to the value."""
        ...


class Convex(Protocol):
    """A convex function on a box."""

    @property
    def n_rows(self) -> int:
        """No rows."""
        ...

    def at(self, x: Array) -> ConvexAt:
        """Return the evaluation at x."""
        ...

    def convex(self, polytope: Polytope, multipliers: Array) -> bool:
        """Return True."""
        ...


class WithoutRows:
    """What convex functions on boxes share: they have no rows, and are convex by construction."""

    @property
    def n_rows(self) -> int:
        """No rows."""
        return 0

    def convex(self, polytope: Polytope, multipliers: Array) -> bool:
        """Return True: it is convex on the box that it was made for."""
        return True


class WithoutRowsAt:
    """What their evaluations share."""

    x: Array

    @property
    def rows(self) -> Array:
        """No rows."""
        return np.zeros(0)

    @property
    def jacobian(self) -> Array:
        """No rows."""
        return np.zeros((0, self.x.size))


@dataclass(frozen=True, eq=False)
class Tilted(WithoutRows):
    """inner + direction'x.

    Parameters
    ----------
    inner : Convex
    direction : ndarray, (n,)
    """

    inner: Convex
    direction: Array

    def at(self, x: Array) -> TiltedAt:
        """Return the evaluation at x."""
        return TiltedAt(self.inner.at(x), np.asarray(x, dtype=float), self.direction)


@dataclass(frozen=True, eq=False)
class TiltedAt(WithoutRowsAt):
    """A tilted function at one x."""

    inner: ConvexAt
    x: Array
    direction: Array

    @property
    def value(self) -> float:
        """The function."""
        return self.inner.value + float(self.direction @ self.x)

    @property
    def slack(self) -> float:
        """What rounding may have added to the value."""
        return self.inner.slack + ROUNDING * float(np.abs(self.direction) @ np.abs(self.x))

    @property
    def gradient(self) -> Array:
        """Its gradient."""
        return self.inner.gradient + self.direction

    def hessian(self, weight: float, multipliers: Array) -> Array:
        """Return weight times its Hessian."""
        return self.inner.hessian(weight, multipliers)


@dataclass(frozen=True, eq=False)
class Minimum:
    """A minimum of a convex function on a polytope, and what it proves.

    Parameters
    ----------
    x : ndarray, (n,)
    lower : float
        The function is nowhere below it; -inf where nothing is proved, inf where there is no point.
    reduced : ndarray, (n,)
        It is nowhere below lower + sum_j max(reduced_j (x_j - lower_j), reduced_j (x_j - upper_j)) either.
    rows : ndarray, (k,)
        Multipliers of the linear rows that it is proved with.
    """

    x: Array
    lower: float
    reduced: Array
    rows: Array


def minimise(functions: Convex, polytope: Polytope, start: Array, tolerance: float = 1e-7) -> Minimum:
    """Return a convex function's minimum over a polytope whose bounds are finite, found from any start."""
    rows = np.zeros(polytope.rows.lower.size)
    nothing = Minimum(start, -np.inf, np.zeros(start.size), rows)
    try:
        start = project(start, polytope)
    except EmptyPolytopeError:
        return Minimum(start, np.inf, np.zeros(start.size), rows)
    solution = Newton().solve(bare_form(functions, polytope, start), Options(tolerance=tolerance))
    if solution.x is None:
        return nothing
    at = functions.at(solution.x)
    if not (np.isfinite(at.value) and np.isfinite(at.gradient).all()):
        return Minimum(solution.x, -np.inf, np.zeros(start.size), rows)
    rows = rows if solution.multipliers is None else solution.multipliers.rows
    return linear_bound(at, solution.x, polytope, rows)


def linear_bound(at: ConvexAt, x: Array, polytope: Polytope, rows: Array) -> Minimum:
    """Return what a convex function's tangent at x proves: Frank-Wolfe's bound, by multipliers of the rows.

    f(y) >= f(x) + g'(y - x) and, with reduced = g + A' rows, g'y >= reduced'y - rows'(their limits), whatever the
    rows are; >= 0 counts the upper limit and <= 0 the lower one.
    """
    limits = np.where(rows > 0, polytope.rows.upper, polytope.rows.lower)
    rows = np.where(np.isfinite(limits), rows, 0.0)
    on_rows = rows * np.where(rows != 0, limits, 0.0)
    reduced = at.gradient + polytope.dense.T @ rows
    ends = np.minimum(reduced * polytope.bounds.lower, reduced * polytope.bounds.upper)
    ends_and_x = np.maximum(np.abs(polytope.bounds.lower), np.abs(polytope.bounds.upper)) + np.abs(x)
    lower = at.value - float(at.gradient @ x) + float(ends.sum()) - float(on_rows.sum())
    terms = abs(at.value) + float((np.abs(at.gradient) + np.abs(polytope.dense.T) @ np.abs(rows)) @ ends_and_x)
    terms += float(np.abs(on_rows).sum())
    return Minimum(x, lower - ROUNDING * terms - at.slack, reduced, rows)


def bare_form(functions: Convex, polytope: Polytope, start: Array) -> StandardForm:
    """Return a standard form without nonlinear rows and names."""
    return StandardForm(("",) * start.size, polytope, functions, Rows.free(()), start.size, start)


def boxed(polytope: Polytope, lower: Array, upper: Array) -> Polytope:
    """Return a polytope with other bounds."""
    made = replace(polytope, bounds=polytope.bounds.within(lower, upper))
    made.__dict__["dense"] = polytope.dense
    return made
