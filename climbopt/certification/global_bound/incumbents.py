"""Feasible points with small values, from local solves at several starts; and the multipliers that they come with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from climbopt.backends import Backend, Options, choose
from climbopt.certification.kkt import LimitsAt, balanced, recover
from climbopt.foundations.errors import BackendError
from climbopt.model.templates import Array
from climbopt.numerics.polytope import EmptyPolytopeError
from climbopt.program import ACTIVE, StandardForm

STARTS = 6
"""Local solves, the first from the form's own start."""
TOLERANCE = 1e-8
"""Asked of those solves."""


@dataclass(frozen=True, eq=False)
class Incumbent:
    """The best feasible point so far.

    Parameters
    ----------
    x : ndarray, (n,), or None
        None where none was found.
    value : float
        Objective there; inf where there is none.
    multipliers : ndarray, (k,), or None
        Of the nonlinear rows, >= 0 where the upper side is active and <= 0 where the lower one is; None where unknown.
    """

    x: Array | None = None
    value: float = np.inf
    multipliers: Array | None = None


def judged(form: StandardForm, x: Array, multipliers: Array | None = None) -> Incumbent:
    """Return a point as an incumbent: projected onto the linear rows, without a value where it is not feasible."""
    try:
        x = form.nearest(x)
    except (EmptyPolytopeError, ArithmeticError):
        return Incumbent()
    at, limits = form.functions.at(x), form.nonlinear
    feasible = (at.rows >= limits.lower - ACTIVE).all() and (at.rows <= limits.upper + ACTIVE).all()
    return Incumbent(x, at.value, multipliers) if feasible and np.isfinite(at.value) else Incumbent()


def multistart(form: StandardForm, time_is_up: Callable[[], bool], seed: int = 0) -> Incumbent:
    """Return the best of several local solutions by the first backend that takes the form."""
    rng, best, first = np.random.default_rng(seed), Incumbent(), judged(form, form.start)
    try:
        backend = choose(form)
    except BackendError:
        return first
    for k in range(STARTS):
        point = local(form, form.start if k == 0 else _elsewhere(form, rng), backend)
        best = point if point.value < best.value else best
        # One local optimum of a convex problem is the global one.
        if time_is_up() or (point.x is not None and form.functions.convex(form.polytope, multipliers_of(form, point))):
            break
    # Where no local solve ended feasible, vertices of the polytope may be.
    best = first if first.value < best.value else best
    return best if best.x is not None else _best_corner(form)


def _best_corner(form: StandardForm) -> Incumbent:
    """Return the best feasible point of those that have the most of one ratio."""
    try:
        corners = [form.polytope.linear_minimum(-corner)[1] for corner in np.eye(form.n)[: form.n_ratios]]
    except (EmptyPolytopeError, ArithmeticError):
        return Incumbent()
    points = (judged(form, form.complete(corner[: form.n_ratios])) for corner in corners)
    return min(points, key=lambda point: point.value, default=Incumbent())


def multipliers_of(form: StandardForm, incumbent: Incumbent) -> Array:
    """Return multipliers of the nonlinear rows that suit a point: its own, or those recovered at it.

    They are balanced; where scaling does not do, they have their allowed signs alone.
    """
    if incumbent.x is None:
        return np.zeros(form.nonlinear.lower.size)
    known = incumbent.multipliers
    mu = recover(LimitsAt(form, incumbent.x)).nonlinear if known is None else known
    scaled = balanced(form, incumbent.x, mu)
    return form.nonlinear.signed(mu) if scaled is None else scaled


def _elsewhere(form: StandardForm, rng: np.random.Generator) -> Array:
    """Return a random mixture's nearest feasible one by the linear rows, with its auxiliaries."""
    x = form.start.copy()
    x[: form.n_ratios] = rng.dirichlet(np.ones(form.n_ratios))
    try:
        return form.nearest(x)
    except (EmptyPolytopeError, ArithmeticError):
        return form.start


def local(form: StandardForm, start: Array, backend: Backend | None = None) -> Incumbent:
    """Return the local solution that a backend, by default the first that takes the form, reaches from a point."""
    solution = (backend or choose(form)).solve(form.from_start(start), Options(tolerance=TOLERANCE))
    if solution.x is None:
        return Incumbent()
    return judged(form, solution.x, None if solution.multipliers is None else solution.multipliers.nonlinear)
