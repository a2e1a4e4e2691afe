"""What is evaluated in balls of python-flint: functions for intervals, templates' numbers, definiteness of matrices.

Sums, products and quotients of intervals are rounded outwards as they are; the functions that a machine has no exact
rounding for (exp, log, powers) get their bounds from balls, so that nothing rests on NumPy's routines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import sympy as sp
from flint import arb, arb_mat, ctx, fmpq

from climbopt.certification.bounds.relaxable import NoRelaxationError
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval, evaluated_by

PRECISION = 80
"""Bits of the balls' middles."""
PRECISE = 240
"""The same where matrices are factored."""

_ROUTINES: dict[str, Callable[..., arb]] = {
    "exp": arb.exp,
    "log": arb.log,
    "sqrt": arb.sqrt,
    "tanh": arb.tanh,
    "power": lambda x, p: x**p,
}


@contextmanager
def in_balls(precision: int = PRECISION) -> Iterator[None]:
    """Evaluate intervals' functions in balls of a precision."""
    before, ctx.prec = ctx.prec, precision
    try:
        with evaluated_by(_routine):
            yield
    finally:
        ctx.prec = before


def _routine(function: np.ufunc, *at: Array) -> tuple[Array, Array]:
    """Return bounds of a function at points, each different one evaluated once."""
    points = np.stack(np.broadcast_arrays(*at))
    different, places = np.unique(points.reshape(len(at), -1), axis=1, return_inverse=True)
    low, high = _bounds(function, *different)
    return low[places].reshape(points.shape[1:]), high[places].reshape(points.shape[1:])


def _bounds(function: np.ufunc, *at: Array) -> tuple[Array, Array]:
    """Return bounds of a function at points; at infinite ones and at a pole its exact limit, which NumPy knows."""
    with np.errstate(all="ignore"):
        limit = np.asarray(function(*at))
    low, high = limit.copy(), limit.copy()
    known = np.all([np.isfinite(one) for one in at], axis=0) & ~np.isnan(limit)
    if function is np.power:
        known = known & (at[0] != 0)
    evaluate = _ROUTINES[function.__name__]
    for k in np.ndindex(limit.shape):
        if known[k] and not (function is np.log and at[0][k] == 0):
            ball = evaluate(*(arb(float(one[k])) for one in at))
            low[k], high[k] = down(ball), -down(-ball)
    return low, high


def down(ball: arb) -> float:
    """Return a float that no number of a ball is below."""
    least = float(np.nextafter(float(ball.lower()), -np.inf))
    return least if least < np.inf else -np.inf


@lru_cache(maxsize=256)
def exactly(expressions: tuple[sp.Expr, ...], arguments: tuple[sp.Symbol, ...]) -> Callable[..., list[Interval]]:
    """Return expressions as a function of intervals; their numbers become arguments, so that none is rounded."""
    names = named_numbers(expressions, integers=False)
    function = sp.lambdify(
        [*arguments, *names.values()], [one.xreplace(names) for one in expressions], modules="numpy", cse=True
    )
    values = [_enclosed(one) for one in names]
    return lambda *at: [Interval.enclosing(one) for one in function(*at, *values)]


def named_numbers(expressions: Sequence[sp.Expr], *, integers: bool) -> dict[sp.Number, sp.Dummy]:
    """Return symbols to stand for the numbers in expressions, with whole ones among them or without.

    Raises
    ------
    NoRelaxationError
        Where there are constants such as pi.
    """
    if any(expression.atoms(sp.NumberSymbol) for expression in expressions):
        raise NoRelaxationError("constants such as pi are not evaluated in ball arithmetic; write their digits")
    found = set().union(*(expression.atoms(sp.Number) for expression in expressions))
    numbers = sorted((one for one in found if integers or not one.is_Integer), key=sp.default_sort_key)
    return {number: sp.Dummy(f"c{k}") for k, number in enumerate(numbers)}


def rational(value: float) -> fmpq:
    """Return the exact value of a float."""
    return fmpq(*float(value).as_integer_ratio())


def in_a_ball(number: sp.Number) -> arb:
    """Return the ball of a number of a template; a float stands for its exact value."""
    return arb(rational(float(number)) if number.is_Float else fmpq(int(number.p), int(number.q)))


def _enclosed(number: sp.Number) -> Interval:
    """Return what encloses a number of a template; that of a float is itself."""
    if number.is_Float or sp.Rational(float(number)) == number:
        return Interval.of(float(number), float(number))
    ball = in_a_ball(number)
    return Interval.of(down(ball), -down(-ball))


def inverse_if_definite(matrix: Sequence[Sequence[arb]]) -> Array | None:
    """Return upper bounds of the diagonal of a symmetric matrix's inverse, (n,); None where it is not shown positive.

    By L D L', which exists with D > 0 just where the matrix is positive definite.
    """
    rest = [list(row) for row in matrix]
    for k in range(len(rest)):
        if not rest[k][k] > 0:
            return None
        for i in range(k + 1, len(rest)):
            factor = rest[i][k] / rest[k][k]
            for j in range(k + 1, i + 1):
                rest[i][j] -= factor * rest[j][k]
    inverse = arb_mat([list(row) for row in matrix]).inv()
    return np.array([-down(-inverse[k, k]) for k in range(len(rest))])
