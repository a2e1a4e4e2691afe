"""Functions of intervals' ends by python-flint's balls, so that nothing rests on NumPy's routines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from flint import arb, ctx

from climbopt.model.templates import Array
from climbopt.numerics.intervals import evaluated_by

PRECISION = 80
"""Bits of the balls' middles."""

_ROUTINES: dict[str, Callable[..., arb]] = {
    "exp": arb.exp,
    "log": arb.log,
    "sqrt": arb.sqrt,
    "tanh": arb.tanh,
    "power": lambda x, p: x**p,
}


@contextmanager
def in_balls(precision: int = PRECISION) -> Iterator[None]:
    """Evaluate intervals' functions in balls of a precision; what overflows is infinite, without a warning."""
    before, ctx.prec = ctx.prec, precision
    try:
        with evaluated_by(_routine), np.errstate(over="ignore", invalid="ignore"):
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
    known = np.all([np.isfinite(point) for point in at], axis=0) & ~np.isnan(limit)
    if function in (np.power, np.log):
        known &= at[0] != 0
    for k in np.flatnonzero(known):
        ball = _ROUTINES[function.__name__](*(arb(float(point[k])) for point in at))
        low[k], high[k] = down(ball), -down(-ball)
    return low, high


def down(ball: arb) -> float:
    """Return a float that no number of a ball is below."""
    least = float(np.nextafter(float(ball.lower()), -np.inf))
    return least if least < np.inf else -np.inf
