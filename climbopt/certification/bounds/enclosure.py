"""Ball arithmetic: lower <= f* <= upper as a proof, rounding included; the lower bound of problems proved convex.

The numbers of the standard form are taken as the exact values of their floats. The upper bound is the objective at a
point of rationals that meets every bound and linear row exactly. The lower one is Frank-Wolfe's,

    f* >= f(x) - g'x + sum_j min(reduced_j lower_j, reduced_j upper_j) - rows'limits,    reduced = g + A' rows

which holds at any x with any multipliers `rows`, and for a convex Lagrangian with any multipliers of the right signs.
Both are evaluated by python-flint, whose balls hold every value that rounding could have hidden. That the Lagrangian
is convex is proved by intervals (proofs.py). Lower bounds of other problems are those of proof.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
from flint import arb, fmpq, fmpq_mat
from numpy.typing import NDArray

from climbopt.certification.bounds.balls import down, in_a_ball, in_balls, named_numbers, rational
from climbopt.certification.bounds.relaxable import NoRelaxationError
from climbopt.certification.kkt import recover, signed
from climbopt.model.templates import Array, Template
from climbopt.numerics.polytope import EmptyPolytopeError, Polytope
from climbopt.numerics.quadratic import project
from climbopt.program import MixtureFunctions, StandardForm

INWARD = (0.0, 1e-12, 1e-9, 1e-7)
"""Shares of the way to an interior point that are tried until every limit holds exactly."""


@dataclass(frozen=True)
class Proof:
    """lower <= f* <= upper, proved.

    Parameters
    ----------
    lower, upper : float or None
        None where nothing is proved: no convexity, or no point that is exactly feasible.
    point : tuple of Fraction, or None
        The point whose objective is at most `upper`.
    """

    lower: float | None
    upper: float | None
    point: tuple[Fraction, ...] | None


def prove(form: StandardForm, x: Array, multipliers: Array | None = None) -> Proof:
    """Return what ball arithmetic proves of a problem's optimum from a point, best an optimal one.

    Parameters
    ----------
    form : StandardForm
    x : ndarray, (n,)
    multipliers : ndarray, (k,), optional
        Of the nonlinear rows; recovered at the point by default.
    """
    if isinstance(form.functions, MixtureFunctions) and len(form.functions.responses.parts) > 1:
        return Proof(None, None, None)
    recovered = recover(form, x)
    mu = signed(form, recovered.nonlinear if multipliers is None else multipliers)
    try:
        with in_balls():
            lower = _lower(form, x, mu, recovered.rows)
            point = exactly_feasible(form.polytope, x)
            upper = None if point is None else _upper(form, point)
    except NoRelaxationError:
        return Proof(None, None, None)
    return Proof(
        lower, upper, None if upper is None or point is None else tuple(Fraction(int(q.p), int(q.q)) for q in point)
    )


def _lower(form: StandardForm, x: Array, mu: Array, rows: Array) -> float | None:
    """Return the Frank-Wolfe bound of the Lagrangian, rounded down; None where it is not proved convex or bounded."""
    polytope = form.polytope
    upper = np.where(np.arange(form.n) < form.n_ratios, np.minimum(polytope.bounds.upper, 1.0), polytope.bounds.upper)
    if not (
        form.functions.convex(polytope, mu) and np.isfinite(polytope.bounds.lower).all() and np.isfinite(upper).all()
    ):
        return None
    total, gradient = _value_and_gradient(form, 1.0, mu, [arb(one) for one in x.tolist()])
    limits = np.where(rows > 0, polytope.rows.upper, polytope.rows.lower)
    used = np.flatnonzero(np.where(np.isfinite(limits), rows, 0.0)).tolist()
    for k in used:
        total -= arb(float(rows[k])) * arb(float(limits[k]))
    for j, slope in enumerate(gradient):
        reduced = slope + sum((arb(float(rows[k])) * arb(float(polytope.dense[k, j])) for k in used), arb(0))
        ends = [reduced * arb(float(end)) for end in (polytope.bounds.lower[j], upper[j])]
        total += ends[0].min(ends[1]) - slope * arb(float(x[j]))
    return down(total)


def _upper(form: StandardForm, point: Sequence[fmpq]) -> float | None:
    """Return the objective at a point, rounded up; None where it is not shown to meet the nonlinear rows."""
    x = [arb(one) for one in point]
    for k in range(form.functions.n_rows):
        for limit, sign in ((form.nonlinear.upper[k], 1.0), (form.nonlinear.lower[k], -1.0)):
            excess = _value_and_gradient(form, 0.0, sign * np.eye(form.functions.n_rows)[k], x, slopes=False)[0]
            if np.isfinite(limit) and not excess <= 0:
                return None
    return -down(-_value_and_gradient(form, 1.0, np.zeros(form.functions.n_rows), x, slopes=False)[0])


def exactly_feasible(polytope: Polytope, x: Array) -> list[fmpq] | None:
    """Return rationals near x that meet every bound and row of a polytope exactly; None where none are found.

    The variables with most room are solved for from the equations.
    """
    try:
        inside = polytope.interior_point()
        x = project(x, polytope)
    except EmptyPolytopeError:
        return None
    for share in INWARD:
        point = _on_equations(polytope, (1 - share) * x + share * inside)
        if point is not None and _meets(polytope, point):
            return point
    return None


def _on_equations(polytope: Polytope, x: Array) -> list[fmpq] | None:
    """Return x as rationals, some entries changed so that the equations hold exactly."""
    rows, limits = polytope.dense[polytope.equation], polytope.rows.lower[polytope.equation]
    point = [rational(one) for one in x.tolist()]
    if not len(rows):
        return point
    room = np.minimum(x - polytope.bounds.lower, polytope.bounds.upper - x)
    basis: list[int] = []
    for j in np.argsort(-room, kind="stable").tolist():
        if np.linalg.matrix_rank(rows[:, [*basis, j]]) > len(basis):
            basis.append(j)
        if len(basis) == len(rows):
            break
    if len(basis) < len(rows):
        return None
    exact = [[rational(one) for one in row] for row in rows.tolist()]
    rest = [
        rational(limit) - sum((row[j] * point[j] for j in range(x.size) if j not in basis and row[j]), fmpq(0))
        for row, limit in zip(exact, limits.tolist(), strict=True)
    ]
    solved = fmpq_mat([[row[j] for j in basis] for row in exact]).solve(fmpq_mat([[one] for one in rest]))
    for k, j in enumerate(basis):
        point[j] = solved[k, 0]
    return point


def _meets(polytope: Polytope, point: Sequence[fmpq]) -> bool:
    """Whether rationals meet every bound and row exactly."""
    values = list(point)
    for row in polytope.dense.tolist():
        values.append(sum((rational(a) * one for a, one in zip(row, point, strict=True) if a), fmpq(0)))
    lower, upper = (
        np.concatenate(pair).tolist()
        for pair in ((polytope.bounds.lower, polytope.rows.lower), (polytope.bounds.upper, polytope.rows.upper))
    )
    return all(
        (low == -np.inf or value >= rational(low)) and (high == np.inf or value <= rational(high))
        for value, low, high in zip(values, lower, upper, strict=True)
    )


def _value_and_gradient(
    form: StandardForm, weight: float, mu: Array, x: Sequence[arb], *, slopes: bool = True
) -> tuple[arb, list[arb]]:
    """Return weight f + mu'(c - limit) and its gradient in balls; a limit is the one that its multiplier names."""
    functions = _affine(form, weight, mu)
    response, table = functions.response, functions.table
    lagrangian = table.lagrangian(np.append(weight, mu), np.append(0.0, form.nonlinear.named(mu)), _balls)
    (on_x, on_z, on_loss), total = table.split(lagrangian), lagrangian[-1]
    model, templates = response.model, response.model.templates
    scale = arb(float(functions.scale))
    rho = [arb(a) + scale * b for a, b in zip(functions.offset.tolist(), x, strict=False)]
    if templates.used is not None:
        raise NoRelaxationError(f"use '{model.use.name}' is not evaluated in ball arithmetic; use rigor float")
    own, pair, law = (_ball(template, slopes) for template in (templates.own, templates.pair, templates.loss))
    of_own, of_pair = _listed(response.own_arguments, 1), _listed(response.pair_arguments, 2)
    of_law = _listed(response.loss_arguments, 1)
    total += sum((a * b for a, b in zip(on_x, x, strict=True)), arb(0))
    gradient = list(on_x)
    for i in range(len(model.targets)):
        if on_z[i] == 0 and on_loss[i] == 0:
            continue
        j_own = int(model.own_source[i])
        t = rho[j_own] if j_own >= 0 else arb(0)
        z, on_itself = own(t, *of_own(i, 0))
        by_source: list[tuple[int, arb]] = []
        for j, s in enumerate(rho):
            if j != j_own:
                value, by_own, by_other = pair(t, s, *of_pair(i, j))
                z += value
                if slopes:
                    on_itself += by_own
                    by_source.append((j, by_other))
        worth, total = on_z[i], total + on_z[i] * z
        if on_loss[i] != 0:
            loss, slope = law(z, *of_law(i, 0))
            total, worth = total + on_loss[i] * loss, worth + on_loss[i] * slope
        if slopes:
            worth = worth * scale
            for j, slope in by_source:
                gradient[j] += worth * slope
            if j_own >= 0:
                gradient[j_own] += worth * on_itself
    return total, gradient


def _affine(form: StandardForm, weight: float, mu: Array) -> MixtureFunctions:
    """Return the functions of a form, where weight f + mu'c is affine in x, z and L; raises NoRelaxationError."""
    functions, weights = form.functions, np.append(weight, mu)
    if not isinstance(functions, MixtureFunctions) or any(weights[k] for k in functions.table.curved):
        raise NoRelaxationError("only what is affine in ratios, z and losses is evaluated in ball arithmetic")
    return functions


def _balls(values: Array) -> NDArray[np.object_]:
    """Return floats as exact balls."""
    return np.array([arb(value) for value in values.tolist()], dtype=object)


def _listed(arguments: Sequence[Any], axes: int) -> Callable[[int, int], list[arb]]:
    """Return a function that gives the exact arguments of target i (and source j), made once each."""
    tables = []
    for argument in arguments:
        array = np.asarray(argument, dtype=float)
        shape = (1,) * (2 - array.ndim) + array.shape if axes == 2 else (array.size, 1)
        tables.append([[arb(one) for one in row] for row in array.reshape(shape).tolist()])
    sized = [(table, len(table) > 1, len(table[0]) > 1) for table in tables]

    def at(i: int, j: int) -> list[arb]:
        return [table[i if tall else 0][j if wide else 0] for table, tall, wide in sized]

    return at


_FUNCTIONS = {"exp": arb.exp, "log": arb.log, "sqrt": arb.sqrt, "tanh": arb.tanh}


@lru_cache(maxsize=64)
def _ball(template: Template, slopes: bool) -> Callable[..., list[arb]]:
    """Return a template, and its first derivatives or zeros, as a function of balls.

    Numbers become arguments, so that none is rounded before it is a ball.
    """
    template = template.exact
    expressions = [template.expression, *(template.first if slopes else [sp.S.Zero for _ in template.first])]
    names = named_numbers(expressions, integers=True)
    function = sp.lambdify(
        [*template.arguments, *names.values()],
        [one.xreplace(names) for one in expressions],
        modules=[_FUNCTIONS],
        cse=True,
    )
    values = [in_a_ball(one) for one in names]
    evaluated: Callable[..., list[arb]] = lambda *arguments: function(*arguments, *values)  # noqa: E731
    return evaluated
