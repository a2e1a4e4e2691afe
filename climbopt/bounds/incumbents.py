"""Feasible points with small values, from local solves at several starts; and the multipliers that they come with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from climbopt.backends import Backend, Options, choose
from climbopt.errors import BackendError
from climbopt.polytope import EmptyPolytopeError
from climbopt.quadratic import project
from climbopt.standard_form import ACTIVE, StandardForm
from climbopt.templates import Array

STARTS = 6
"""Local solves, the first from the form's own start."""
TOLERANCE = 1e-8
FIXED = 1e-9
"""Slope by an unbounded variable, in a Lagrangian that should be flat there, that counts as none."""


@dataclass(frozen=True, eq=False)
class Incumbent:
    """The best feasible point so far.

    Parameters
    ----------
    x : ndarray, (n,), or None
        None where none was found.
    value : float
        Objective there; inf where there is none.
    multipliers : ndarray, (k,)
        Of the nonlinear rows, >= 0 where the upper side is active and <= 0 where the lower one is; 0 where unknown.
    """

    x: Array | None
    value: float
    multipliers: Array


def judged(form: StandardForm, x: Array, multipliers: Array | None = None) -> Incumbent:
    """Return a point as an incumbent: projected onto the linear rows, without a value where it is not feasible."""
    known = np.zeros(form.c_lower.size) if multipliers is None else multipliers
    try:
        x = form.complete(project(x, form.polytope)[: form.n_ratios])
    except (EmptyPolytopeError, ArithmeticError):
        return Incumbent(None, np.inf, known)
    at = form.functions.at(x)
    rows = at.rows
    feasible = bool((rows >= form.c_lower - ACTIVE).all() and (rows <= form.c_upper + ACTIVE).all())
    if not (feasible and np.isfinite(at.value)):
        return Incumbent(None, np.inf, known)
    return Incumbent(x, at.value, known)


def multistart(form: StandardForm, time_is_up: Callable[[], bool], seed: int = 0) -> Incumbent:
    """Return the best of several local solutions by the first backend that takes the form."""
    rng = np.random.default_rng(seed)
    best = judged(form, form.start)
    try:
        backend = choose(form)
    except BackendError:
        return best
    for k in range(STARTS):
        start = form.start if k == 0 else _elsewhere(form, rng)
        found = _local(form, backend, start)
        best = found if found.value < best.value else best
        proved = found.x is not None and form.functions.convex(
            form.polytope, balanced(form, found.x, found.multipliers))
        if time_is_up() or proved:
            break
    return best


def local(form: StandardForm, x: Array) -> Incumbent:
    """Return the local solution that a backend reaches from a point."""
    return _local(form, choose(form), x)


def _elsewhere(form: StandardForm, rng: np.random.Generator) -> Array:
    """Return a random mixture's nearest feasible one by the linear rows, with its auxiliaries."""
    x = form.start.copy()
    x[: form.n_ratios] = rng.dirichlet(np.ones(form.n_ratios))
    try:
        return form.complete(project(x, form.polytope)[: form.n_ratios])
    except (EmptyPolytopeError, ArithmeticError):
        return form.start


def _local(form: StandardForm, backend: Backend, start: Array) -> Incumbent:
    solution = backend.solve(form.from_start(start), Options(tolerance=TOLERANCE))
    if solution.x is None:
        return Incumbent(None, np.inf, np.zeros(form.c_lower.size))
    return judged(form, solution.x, None if solution.multipliers is None else solution.multipliers.nonlinear)


def balanced(form: StandardForm, x: Array, mu: Array) -> Array:
    """Return multipliers of allowed signs, scaled so that the Lagrangian is flat where a variable is unbounded.

    An auxiliary such as the t of minimax enters f and c linearly; where scaling does not do, they are returned as
    they are.
    """
    mu = np.where(mu > 0, np.where(np.isinf(form.c_upper), 0.0, mu), np.where(np.isinf(form.c_lower), 0.0, mu))
    polytope = form.polytope
    free = np.flatnonzero(np.isinf(polytope.x_lower) & np.isinf(polytope.x_upper) & ~polytope.dense.any(axis=0))
    if free.size != 1:
        return np.asarray(mu)
    at = form.functions.at(x)
    wanted, given = -float(at.gradient[free[0]]), float(at.jacobian[:, free[0]] @ mu)
    return np.asarray(mu if given == 0 or wanted / given < 0 else mu * (wanted / given))
