"""What can be proved of u = use(r) over a box of ratios, by interval evaluation at a model's own parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from climbopt.model.mixture import Response
from climbopt.model.templates import Array, Template
from climbopt.numerics.intervals import Interval, intervals


@dataclass(frozen=True, eq=False)
class UseBounds:
    """Bounds of u and of its derivatives for ratios from 0 to `upper`.

    Parameters
    ----------
    response : Response
        Of a form whose use is not the identity.
    template : Template
        Its use.
    upper : ndarray, (S,)

    Notes
    -----
    Arrays have the shape (1, S), or (T, S) where targets have parameters of sources of their own.
    """

    response: Response
    template: Template
    upper: Array

    @cached_property
    def _ratios(self) -> Interval:
        return Interval.of(np.zeros((1, self.upper.size)), self.upper[None])

    @cached_property
    def _arguments(self) -> list[Interval]:
        return intervals(self.response.use_arguments)

    @cached_property
    def slope(self) -> Interval:
        """Enclosure of u'."""
        return Interval.enclosing(self.template.slopes(self._ratios, *self._arguments)[1])

    @property
    def rises(self) -> bool:
        """Whether u rises with every ratio."""
        return bool((self.slope.lower >= 0).all())

    @cached_property
    def concave(self) -> bool:
        """Whether every u is concave in its ratio: u'' <= 0, and its slope does not jump up."""
        if not self.template.whole and self.template.pieces is None:
            return False
        # Concave: u'' <= 0 on each piece, and a slope that falls at the kink.
        bends = list(self.template.curvatures(self._ratios, *self._arguments))
        bends += [] if self.template.whole else self.template.jump(self._ratios, *self._arguments)
        return all(bool((Interval.enclosing(bend).upper <= 0).all()) for bend in bends)

    @cached_property
    def range(self) -> Interval:
        """Enclosure of u."""
        return self._between(self._ratios, self._arguments)

    def of_own(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Return bounds of u of each target's own source for its ratios from low to high, (..., T)."""
        D, N, *values = self.response.use_arguments
        # Parameters of each target's own source; D and N lose the axis of sources.
        values = [self.response.of_own(value) for value in values]
        enclosure = self._between(Interval.of(low, high), intervals([D[..., 0], N[..., 0], *values]))
        own = self.response.model.own_source >= 0
        # A target that is no source has u_i = 0.
        return np.where(own, enclosure.lower, 0.0), np.where(own, enclosure.upper, 0.0)

    def _between(self, ratios: Interval, arguments: Sequence[Interval]) -> Interval:
        """Return an enclosure of u for ratios in intervals: from end to end where it rises."""
        if not self.rises:
            return Interval.enclosing(self.template.value(ratios, *arguments)[0])
        # Evaluated at points, intervals do not widen; a monotone u attains its bounds at the ends.
        least, most = (
            Interval.enclosing(self.template.value(Interval.of(end, end), *arguments)[0])
            for end in (ratios.lower, ratios.upper)
        )
        return Interval.of(least.lower, most.upper)

    @cached_property
    def share(self) -> Interval:
        """Enclosure of the sum of some u over the sum of their ratios, between the least and the largest u / r."""
        top = self.upper[None]
        least = 0.0
        if self.concave and (top > 0).all():
            # A concave u lies above its chord from 0 to the largest ratio.
            least = float((self._between(Interval.of(top, top), self._arguments) / Interval.of(top, top)).lower.min())
        # u is the integral of its slope from 0.
        return Interval.of(max(least, 0.0), float(self.slope.upper.max()))
