"""Interval: arrays of enclosures that pass through NumPy functions, rounded outwards.

A compiled template evaluated at intervals encloses all of its values over a box, so that a sign obtained this way
is proved and not sampled. Sums and products are rounded outwards exactly; exp, log and powers by a few units in
the last place, which covers the errors of NumPy's own routines, or by routines that return bounds
(`evaluated_by`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

ROUTINE_ERROR = 8 * np.finfo(float).eps
"""Relative error allowed for NumPy's exp, log and power."""


class UnsupportedFunctionError(TypeError):
    """A NumPy function that has no interval form here."""


@dataclass(frozen=True, eq=False)
class Interval(NDArrayOperatorsMixin):
    """All numbers from `lower` to `upper`, elementwise.

    Parameters
    ----------
    lower, upper : ndarray
        Of the same shape; may be infinite.

    Examples
    --------
    >>> x = Interval.of(-1.0, 2.0)
    >>> y = x**2 - x
    >>> bool(y.lower <= -2.0), bool(y.upper >= 5.0)
    (True, True)
    """

    lower: Array
    upper: Array

    @classmethod
    def of(cls, lower: ArrayLike, upper: ArrayLike) -> Interval:
        """Return the interval from `lower` to `upper`, broadcast against each other."""
        return cls(*np.broadcast_arrays(np.asarray(lower, float), np.asarray(upper, float)))

    @classmethod
    def enclosing(cls, value: Interval | ArrayLike) -> Interval:
        """Return `value` itself, or the degenerate interval of a number."""
        return value if isinstance(value, Interval) else cls.of(value, value)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Interval:
        """Evaluate a NumPy function, as array code calls it."""
        # Refused, not approximated: an unknown function would make an enclosure that encloses nothing.
        if method != "__call__" or options or ufunc.__name__ not in _FUNCTIONS:
            raise UnsupportedFunctionError(f"no interval form of {ufunc.__name__}")
        with np.errstate(all="ignore"):
            return _FUNCTIONS[ufunc.__name__](*map(Interval.enclosing, inputs))

    def __array_function__(self, function: Callable[..., Any], types: Any, inputs: Any, options: Any) -> Interval:
        """Evaluate np.select, which is what a piecewise expression compiles to."""
        if function is not np.select:
            raise UnsupportedFunctionError(f"no interval form of {function.__name__}")
        return _select(*inputs)  # the default applies where no condition holds, and is not enclosed

    def __getitem__(self, index: Any) -> Interval:
        """Return the intervals at `index`."""
        return Interval(self.lower[index], self.upper[index])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of both ends."""
        return self.lower.shape

    def sum(self, axis: int) -> Interval:
        """Return the enclosure of the sum along an axis."""
        # summation error: at most n eps sum |x|
        slack = self.shape[axis] * np.finfo(float).eps
        with np.errstate(invalid="ignore"):
            low = self.lower.sum(axis) - slack * np.abs(self.lower).sum(axis)
            high = self.upper.sum(axis) + slack * np.abs(self.upper).sum(axis)
        return Interval(np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high))

    def broadcast_to(self, shape: tuple[int, ...]) -> Interval:
        """Return the interval with both ends broadcast to `shape`."""
        return Interval(np.broadcast_to(self.lower, shape), np.broadcast_to(self.upper, shape))

    def hull(self, axis: int) -> Interval:
        """Return the least interval that holds all of those along an axis."""
        return Interval(self.lower.min(axis), self.upper.max(axis))

    @property
    def middle(self) -> Array:
        """A number in each interval; 0 where that has no bounds."""
        with np.errstate(invalid="ignore"):
            half = 0.5 * (self.lower + self.upper)
        return np.where(np.isfinite(half), half, 0.0)


def where(mask: NDArray[np.bool_], these: Interval, others: Interval | float = 0.0) -> Interval:
    """Return some intervals where a mask is true, and others elsewhere."""
    rest = Interval.enclosing(others)
    return Interval(np.where(mask, these.lower, rest.lower), np.where(mask, these.upper, rest.upper))


def intervals(arguments: Sequence[Interval | ArrayLike]) -> list[Interval]:
    """Return numbers as intervals, so that operations on them alone are rounded outwards too."""
    return [Interval.enclosing(argument) for argument in arguments]


def _down(value: Array) -> Array:
    return np.nextafter(value, -np.inf)


def _up(value: Array) -> Array:
    return np.nextafter(value, np.inf)


def _by_numpy(function: np.ufunc, *at: Array) -> tuple[Array, Array]:
    """Return bounds of a function at points: NumPy's value, widened by the error of its routine."""
    value = function(*at)
    error = np.where(np.isinf(value), 0.0, ROUTINE_ERROR * np.abs(value))
    return _down(value - error), _up(value + error)


Routine = Callable[..., tuple[Array, Array]]
"""Takes np.exp, np.log, np.sqrt, np.tanh or np.power with points; returns lower and upper bounds there."""
_ROUTINE: ContextVar[Routine] = ContextVar("routine", default=_by_numpy)


@contextmanager
def evaluated_by(routine: Routine) -> Iterator[None]:
    """Evaluate exp, log, sqrt, tanh and power, which have no exact rounding, by `routine` within the context."""
    token = _ROUTINE.set(routine)
    try:
        yield
    finally:
        _ROUTINE.reset(token)


def _rounding_error(a: Array, b: Array, total: Array) -> Array:
    """Return a + b - total exactly, for total = fl(a + b) (Knuth's two-sum)."""
    # The part of b that entered the rounded sum.
    part = total - a
    return (a - (total - part)) + (b - part)


def _add(a: Interval, b: Interval) -> Interval:
    low, high = a.lower + b.lower, a.upper + b.upper
    # rounded outwards unless the sum is known to be exact, so that integers stay integers and no sum overflows inwards
    return Interval(
        np.where(_rounding_error(a.lower, b.lower, low) >= 0, low, _down(low)),
        np.where(_rounding_error(a.upper, b.upper, high) <= 0, high, _up(high)),
    )


def _product(x: Array, y: Array) -> Array:
    """Return x y, where 0 times infinity is 0."""
    product = np.asarray(x * y)
    return product if np.isfinite(product).all() else np.where((x == 0) | (y == 0), 0.0, product)


def _multiply(a: Interval, b: Interval) -> Interval:
    p, q, s, t = (_product(x, y) for x in (a.lower, a.upper) for y in (b.lower, b.upper))
    low = _down(np.minimum(np.minimum(p, q), np.minimum(s, t)))
    high = _up(np.maximum(np.maximum(p, q), np.maximum(s, t)))
    # outward rounding must not carry a product of known sign past 0
    same = ((a.lower >= 0) & (b.lower >= 0)) | ((a.upper <= 0) & (b.upper <= 0))
    opposite = ((a.lower >= 0) & (b.upper <= 0)) | ((a.upper <= 0) & (b.lower >= 0))
    low, high = np.where(same, np.maximum(low, 0.0), low), np.where(opposite, np.minimum(high, 0.0), high)
    return _unknown_where(np.zeros(low.shape, dtype=bool), low, high)


def _divide(a: Interval, b: Interval) -> Interval:
    low = np.where(
        b.lower >= 0, np.maximum(_down(1.0 / b.upper), 0.0), np.where(b.upper < 0, _down(1.0 / b.upper), -np.inf)
    )
    high = np.where(
        b.upper <= 0, np.minimum(_up(1.0 / b.lower), 0.0), np.where(b.lower > 0, _up(1.0 / b.lower), np.inf)
    )
    # a / b = a (1 / b); a divisor that contains 0 inside gives the whole line.
    return _multiply(a, Interval(low, high))


def _monotone(function: np.ufunc, zero: float, least: float = -np.inf) -> Callable[[Interval], Interval]:
    """Return the interval form of an increasing function that is 0 at `zero`, so that its signs are exact.

    Where the argument extends below `least`, the end of the domain, the value is unknown.
    """

    def evaluate(a: Interval) -> Interval:
        # Increasing: the image of an interval is the interval of the images of its ends.
        low, high = _ROUTINE.get()(function, a.lower)[0], _ROUTINE.get()(function, a.upper)[1]
        low = np.where(a.lower >= zero, np.maximum(low, 0.0), low)
        high = np.where(a.upper <= zero, np.minimum(high, 0.0), high)
        return _unknown_where(~(a.lower >= least), low, high)

    return evaluate


def _unknown_where(mask: NDArray[np.bool_], low: Array, high: Array) -> Interval:
    """Return the interval; the whole real line where `mask` is true or an end is NaN."""
    # An end that is NaN (inf - inf, for example) says nothing about the values.
    mask = mask | np.isnan(low) | np.isnan(high)
    return Interval(np.where(mask, -np.inf, low), np.where(mask, np.inf, high))


def _power(x: Interval, p: Interval) -> Interval:
    """Return x**p: any x for a single integer p, x >= 0 otherwise (unknown below 0)."""
    ends = np.broadcast_arrays(x.lower, x.upper, p.lower, p.upper)
    # x**p is monotone in x and in p for x >= 0: its extremes are at the four corners
    below, above = _ROUTINE.get()(
        np.power, np.stack([ends[0], ends[0], ends[1], ends[1]]), np.stack([ends[2], ends[3], ends[2], ends[3]])
    )
    low, high = below.min(axis=0), above.max(axis=0)
    # A single integer exponent is defined for every base.
    whole = (p.lower == p.upper) & (p.lower % 1 == 0)
    # Such a power is never negative.
    even = whole & (p.lower % 2 == 0)
    low = np.where((x.lower >= 0) | even, np.maximum(low, 0.0), low)
    crosses = (x.lower < 0) & (x.upper >= 0)
    # an even power has its minimum 0 inside; a negative power has a pole there
    low = np.where(crosses & even & (p.lower > 0), 0.0, low)
    pole = crosses & (p.lower < 0)
    low, high = np.where(pole & ~even, -np.inf, low), np.where(pole, np.inf, high)
    return _unknown_where(~(x.lower >= 0) & ~whole, low, high)


def _truth(certain: NDArray[np.bool_], impossible: NDArray[np.bool_]) -> Interval:
    """Return a condition as an interval: 1 where it holds throughout, 0 where it holds nowhere, [0, 1] otherwise."""
    return Interval(np.asarray(certain, dtype=float), np.asarray(~impossible, dtype=float))


def _select(conditions: Sequence[Interval | ArrayLike], choices: Sequence[Interval | ArrayLike]) -> Interval:
    """Return the hull of the choices whose condition may be the first true one; all numbers where none may be true."""
    branches = [intervals(branch) for branch in zip(conditions, choices, strict=True)]
    # Empty hulls to begin with; a choice enters where it may be the first one that applies.
    shape = np.broadcast_shapes(*(interval.shape for branch in branches for interval in branch))
    low, high, reached = np.full(shape, np.inf), np.full(shape, -np.inf), np.ones(shape, dtype=bool)
    for truth, value in branches:
        possible = reached & (truth.upper > 0)
        low = np.where(possible, np.minimum(low, value.lower), low)
        high = np.where(possible, np.maximum(high, value.upper), high)
        # a condition that holds throughout hides all later choices
        reached = reached & ~(truth.lower > 0)
    return _unknown_where(reached, low, high)


_FUNCTIONS: dict[str, Callable[..., Interval]] = {
    "add": _add,
    "subtract": lambda a, b: _add(a, Interval(-b.upper, -b.lower)),
    "negative": lambda a: Interval(-a.upper, -a.lower),
    "multiply": _multiply,
    "divide": _divide,
    "power": _power,
    "less": lambda a, b: _truth(a.upper < b.lower, a.lower >= b.upper),
    "less_equal": lambda a, b: _truth(a.upper <= b.lower, a.lower > b.upper),
    "greater": lambda a, b: _truth(a.lower > b.upper, a.upper <= b.lower),
    "greater_equal": lambda a, b: _truth(a.lower >= b.upper, a.upper < b.lower),
    "exp": _monotone(np.exp, -np.inf),
    "log": _monotone(np.log, 1.0, 0.0),
    "sqrt": _monotone(np.sqrt, 0.0, 0.0),
    "tanh": _monotone(np.tanh, 0.0),
}
