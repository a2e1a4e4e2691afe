"""Functions of one ratio, with what is proved of their slopes and curvature, and their concave envelopes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from climbopt.model.templates import Array, Template
from climbopt.numerics.intervals import Interval

Signs = NDArray[np.int8]

UNKNOWN = 2
"""Sign of a derivative that is not proved; the others are -1, 0 and 1."""


@dataclass(frozen=True, eq=False)
class Univariate:
    """An array of functions of one ratio each, of one template, with what is proved of them on the root box.

    Parameters
    ----------
    template : Template
    arguments : list of ndarray
        D, N and parameters, broadcast against the ratios.
    curvature, slope : ndarray of int8
        Signs of the second and the first derivative: -1, 0 or 1 where proved, 2 where not.
    """

    template: Template
    arguments: list[Array]
    curvature: Signs
    slope: Signs

    @classmethod
    def of(
        cls, template: Template, arguments: list[Array], low: Array, high: Array, shape: tuple[int, ...]
    ) -> Univariate:
        """Return the functions with their signs on boxes from low to high, broadcast to a shape."""
        box = Interval.of(low, high)
        slope = Interval.enclosing(template.slopes(box, *arguments)[1]).broadcast_to(shape)
        curvature = Interval.enclosing(template.curvatures(box, *arguments)[0]).broadcast_to(shape)
        return cls(template, arguments, _sign(curvature), _sign(slope))

    @cached_property
    def column(self) -> Univariate:
        """The functions, (T,), as a column (T, 1) that takes ratios (T, 1)."""
        arguments = [argument[:, None] if np.ndim(argument) == 1 else argument for argument in self.arguments]
        return Univariate(self.template, arguments, self.curvature[:, None], self.slope[:, None])

    def values(self, t: Array) -> Array:
        """Return the functions at t."""
        return self._filled(self.template.value(t, *self.arguments)[0])

    def slopes(self, t: Array) -> tuple[Array, Array]:
        """Return the functions and their slopes at t."""
        value, slope = self.template.slopes(t, *self.arguments)
        return self._filled(value), self._filled(slope)

    def curvatures(self, t: Array) -> Array:
        """Return their second derivatives at t."""
        return self._filled(self.template.curvatures(t, *self.arguments)[0])

    def _filled(self, result: ArrayLike) -> Array:
        """Return a result in the functions' shape: a constant comes back as a scalar."""
        if np.shape(result) == self.curvature.shape:  # mostly; broadcast_to is ten times as slow
            return np.asarray(result)
        return np.asarray(np.broadcast_to(result, self.curvature.shape))

    def range(self, low: Array, high: Array) -> Interval:
        """Return their ranges on boxes: by the ends where they are monotone, else by intervals."""
        ends = np.stack([self.values(low), self.values(high)])
        least, most = ends.min(axis=0), ends.max(axis=0)
        unknown = self.slope == UNKNOWN
        if unknown.any():
            wide = Interval.enclosing(self.template.value(Interval.of(low, high), *self.arguments)[0])
            wide = wide.broadcast_to(self.slope.shape)
            least, most = np.where(unknown, wide.lower, least), np.where(unknown, wide.upper, most)
        return Interval(least, most)

    def enclose_slopes(self, low: Array, high: Array) -> Interval:
        """Return enclosures of the slopes on boxes; their shape broadcasts to that of the functions."""
        return Interval.enclosing(self.template.slopes(Interval.of(low, high), *self.arguments)[1])

    def enclose_curvatures(self, low: Array, high: Array) -> Interval:
        """Return enclosures of the second derivatives on boxes; their shape broadcasts to that of the functions."""
        return Interval.enclosing(self.template.curvatures(Interval.of(low, high), *self.arguments)[0])

    def enveloped(self, c: Array, low: Array, high: Array) -> tuple[Array, Array, Array]:
        """Return (kept, slope, constant) with c f(t) <= kept f(t) + slope t + constant on boxes, the right concave.

        Where c f is proved concave it is kept, where affine written out, where convex replaced by its chord, and
        elsewhere by its largest value.
        """
        sign = np.where(c == 0, 0.0, np.sign(c) * np.where(self.curvature == UNKNOWN, np.nan, self.curvature))
        if np.isnan(sign).any():
            here = np.broadcast_to(_sign(self.enclose_curvatures(low, high)), c.shape)
            sign = np.where(np.isnan(sign) & (here != UNKNOWN), np.sign(c) * here, sign)
        kept = np.where(sign < 0, c, 0.0)
        slope, constant = np.zeros(c.shape), np.zeros(c.shape)
        if (sign < 0).all():
            return kept, slope, constant
        at_low, at_high = self.values(low), self.values(high)
        width = np.broadcast_to(high - low, c.shape)
        chord = np.where(width > 0, (at_high - at_low) / np.where(width > 0, width, 1.0), 0.0)
        exact = (sign == 0) & (c != 0)
        if exact.any():
            chord = np.where(exact, self.slopes(low)[1], chord)
        straight = ~(sign < 0) & ~np.isnan(sign)
        slope = np.where(straight, c * chord, 0.0)
        constant = np.where(straight, c * (at_low - chord * low), 0.0)
        if np.isnan(sign).any():
            ends = self.range(low, high)
            constant = np.where(np.isnan(sign), np.where(c > 0, c * ends.upper, c * ends.lower), constant)
        return kept, slope, constant


def _sign(enclosure: Interval) -> Signs:
    zero = (enclosure.lower == 0) & (enclosure.upper == 0)
    return np.where(zero, 0, np.where(enclosure.lower >= 0, 1, np.where(enclosure.upper <= 0, -1, UNKNOWN))).astype(
        np.int8
    )
