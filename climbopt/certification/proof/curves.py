"""Functions of one number: a template at the parameters of each target or pair, with enclosures on intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from climbopt.model.templates import Array, Template
from climbopt.numerics.intervals import Interval, where

UNKNOWN = Interval.of(-np.inf, np.inf)
Index = NDArray[np.intp] | tuple[NDArray[np.intp], NDArray[np.intp]]


@lru_cache(maxsize=512)
def enclosing(expression: sp.Expr, arguments: tuple[sp.Symbol, ...]) -> Callable[..., Interval]:
    """Return an expression as a function of intervals; its numbers are enclosed too, so that none is rounded."""
    numbers = sorted(
        {part for part in sp.preorder_traversal(expression) if part.is_number and part.is_Atom and not part.is_Integer},
        key=sp.default_sort_key,
    )
    names = {number: sp.Dummy(f"c{k}") for k, number in enumerate(numbers)}
    function = sp.lambdify([*arguments, *names.values()], expression.xreplace(names), modules="numpy", cse=True)
    values = [_enclosed(number) for number in numbers]

    def evaluate(*at: Interval) -> Interval:
        shape = np.broadcast_shapes(*(interval.lower.shape for interval in at))
        return Interval.enclosing(function(*at, *values)).broadcast_to(shape)

    return evaluate


def _enclosed(number: sp.Expr) -> Interval:
    value = float(number)
    if number.is_Float or sp.Rational(value) == number:
        return Interval.enclosing(value)
    return Interval.of(np.nextafter(value, -np.inf), np.nextafter(value, np.inf))


@dataclass(frozen=True, eq=False)
class Curves:
    """Functions of one number each: a template at the arguments of each target, (T,), or pair, (T, S).

    Parameters
    ----------
    template : Template
    arguments : list of ndarray or Interval
        D, N and the parameters, all of the shape of the functions. Functions with an interval are enclosed alone.
    used : Curves, optional
        What the template is a function of: the use of each ratio; the ratio itself where there is none.
    """

    template: Template
    arguments: list[Array | Interval]
    used: Curves | None = None

    @classmethod
    def of(
        cls, template: Template, arguments: Sequence[Any], shape: tuple[int, ...], used: Curves | None = None
    ) -> Curves:
        """Return the functions of a shape."""
        wide = [a.broadcast_to(shape) if isinstance(a, Interval) else np.broadcast_to(a, shape) for a in arguments]
        return cls(template, wide, used)

    @cached_property
    def linear(self) -> bool:
        """Whether the second derivative is 0."""
        return self.used is None and self.template.whole and self.template.second[0] == 0

    def values(self, x: Array, at: Index, order: int = 0) -> Array:
        """Return the functions that `at` names at x, in floating point, or at order 1 the slopes by what is used."""
        x = x if self.used is None else self.used.values(x, at)
        function = self.template.slopes if order else self.template.value
        with np.errstate(all="ignore"):
            value = function(x, *(argument[at] for argument in self.arguments))[order]
        return np.broadcast_to(value, np.broadcast_shapes(np.shape(x), self.arguments[0][at].shape))

    def enclose(self, x: Interval, at: Index, order: int = 0) -> Interval:
        """Return enclosures on x of the functions, or of their first or second derivatives.

        The first is that of both sides where it jumps; the second is all numbers where the first may jump.
        """
        u = self.inner(x, at)
        if self.used is None or order == 0:
            return self._of_template(u, at, order)
        by_use, slope = self._of_template(u, at, 1), self.used.enclose(x, at, 1)
        if order == 1:
            return Interval.enclosing(by_use * slope)
        # (t o u)'' = t''(u) u'^2 + t'(u) u''
        return Interval.enclosing(self._of_template(u, at, 2) * slope**2 + by_use * self.used.enclose(x, at, 2))

    def inner(self, x: Interval, at: Index) -> Interval:
        """Return what the template is evaluated at: x, or the use there, which lies between its ends where it rises."""
        if self.used is None:
            return x
        whole, rises = self.used.enclose(x, at), self.used.enclose(x, at, 1).lower >= 0
        first, last = (self.used.enclose(Interval(end, end), at) for end in (x.lower, x.upper))
        # the interval extension of the formula alone may reach below 0, where powers are not defined
        return Interval(
            np.where(rises, np.maximum(whole.lower, first.lower), whole.lower),
            np.where(rises, np.minimum(whole.upper, last.upper), whole.upper),
        )

    def _of_template(self, x: Interval, at: Index, order: int) -> Interval:
        """Return enclosures of the template or of one of its derivatives on x."""
        exact, pieces = self.template.exact, self.template.pieces
        expression = exact.expression if order == 0 else (exact.first if order == 1 else exact.second)[0]
        value = self._enclose(expression, x, at)
        # The second derivative of each piece holds where the interval has no kink in it.
        if order < 2 or not self.template.kinked:
            return value
        kink = UNKNOWN if pieces is None else self._enclose(pieces.kink, x, at)
        return where((kink.upper >= x.lower) & (kink.lower <= x.upper), UNKNOWN, value)

    def _enclose(self, expression: sp.Expr, x: Interval, at: Index) -> Interval:
        arguments = [Interval.enclosing(argument[at]) for argument in self.arguments]
        return enclosing(expression, self.template.arguments)(x, *arguments)


@dataclass(frozen=True, eq=False)
class Summed:
    """Functions of each target's own ratio that pairs add to, (T,); the methods are those of :class:`Curves`.

    own_i(x) + sum over j of pair_ij(x) + rest_i, where numbers of the pairs and the rest may be intervals

    Parameters
    ----------
    own : Curves, of (T,)
    pair : Curves, of (T, S)
    counts : ndarray of bool, (T, S)
        Which pairs are added.
    rest : Interval, (T,)
    """

    own: Curves
    pair: Curves
    counts: NDArray[np.bool_]
    rest: Interval
    linear = False

    def values(self, x: Array, at: Index, order: int = 0) -> Array:
        """Return the middles of the functions that `at` names at x, or of their slopes."""
        return self.enclose(Interval.enclosing(x), at, order).middle

    def enclose(self, x: Interval, at: Index, order: int = 0) -> Interval:
        """Return enclosures on x of the functions, or of derivatives as those of :class:`Curves`."""
        assert not isinstance(at, tuple)  # it is of targets
        pairs = self.pair.enclose(x[..., None], (at[..., None], np.arange(self.counts.shape[1])), order)
        value = self.own.enclose(x, at, order) + where(self.counts[at], pairs).sum(-1)
        return Interval.enclosing(value if order else value + self.rest[at])


@dataclass(frozen=True, eq=False)
class JoinedCurves:
    """Functions of several forms, their targets end to end; the methods are those of :class:`Curves`.

    Parameters
    ----------
    each : tuple of Curves, Summed or None
        Of each form; None for 0.
    form, place : ndarray of int, (T,)
        The form of each target, and its index there.
    """

    each: tuple[Functions | None, ...]
    form: NDArray[np.intp]
    place: NDArray[np.intp]

    @cached_property
    def linear(self) -> bool:
        """Whether every second derivative is 0."""
        return all(curves is None or curves.linear for curves in self.each)

    def values(self, x: Array, at: Index, order: int = 0) -> Array:
        """Return the functions that `at` names at x, in floating point, or at order 1 the slopes by what is used."""

        def points(curves: Functions, x: Interval, at: Index) -> Interval:
            return Interval.enclosing(curves.values(x.lower, at, order))

        return self._by_form(points, Interval.enclosing(x), at).lower

    def enclose(self, x: Interval, at: Index, order: int = 0) -> Interval:
        """Return enclosures on x of the functions, or of derivatives as those of :class:`Curves`."""
        return self._by_form(lambda curves, x, at: curves.enclose(x, at, order), x, at)

    def _by_form(self, evaluate: Callable[[Functions, Interval, Index], Interval], x: Interval, at: Index) -> Interval:
        """Return what is evaluated form by form."""
        # `at` names targets, or pairs of a target and a source; every array is brought to one shape first, so that one
        # mask picks the entries of a form out of all of them.
        target, *source = at if isinstance(at, tuple) else (at,)
        target, low, high, *source = np.broadcast_arrays(target, x.lower, x.upper, *source)
        x, result = Interval(low, high), Interval(np.zeros(target.shape), np.zeros(target.shape))
        for k, curves in enumerate(self.each):
            mine = self.form[target] == k
            if curves is not None and mine.any():
                here = self.place[target[mine]]
                value = evaluate(curves, x[mine], (here, source[0][mine]) if source else here)
                result.lower[mine], result.upper[mine] = value.lower, value.upper
        return result


Functions = Curves | Summed | JoinedCurves


def deviation(curves: Functions, on: Interval, at: Index) -> Interval:
    """Return enclosures of function less chord on intervals: by the curvature, and by the range of the values.

    Where the range has no bounds there may be a pole, across which curvature says nothing.
    """
    width = Interval.enclosing(on.upper) - Interval.enclosing(on.lower)
    bend = curves.enclose(on, at, 2) * (width * width) * 0.125
    value = curves.enclose(on, at)
    spread = (value - value).upper
    below, above = np.maximum(bend.upper, 0.0), np.maximum(-bend.lower, 0.0)
    return where(np.isfinite(spread), Interval(-np.fmin(below, spread), np.fmin(above, spread)), UNKNOWN)
