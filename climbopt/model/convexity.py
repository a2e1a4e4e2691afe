"""What can be proved of a model over a box of mixtures, by the signs of its templates' derivatives.

Every answer rests on interval evaluations of the compiled derivatives at the model's own parameters, so that
"proved" means for every mixture of the box; nothing is sampled. False means only that there is no proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from climbopt.model.mixture import Response
from climbopt.model.symbols import r_j
from climbopt.model.templates import Array, Compiled
from climbopt.numerics.intervals import Interval, UnsupportedFunctionError

CELLS = (2, 16)
"""Numbers of subintervals of a target's own ratio in the proof that z is positive: coarse first, then fine."""

AT_ONCE = 2**18
"""Largest size of an array over subintervals, targets and sources, unless there is only one subinterval."""


@dataclass(frozen=True, eq=False)
class Proofs:
    """Proofs about one response over the simplex cut by bounds on single ratios.

    Parameters
    ----------
    response : Response
        A model at one budget.
    lower, upper : ndarray, (S,)
        Bounds of the (cumulative) ratios.
    most : float
        Upper bound of the sum of the ratios, whose lower bound is 1: above 1 where further ratios are excesses over
        a kink.
    """

    response: Response
    lower: Array
    upper: Array
    most: float = 1.0

    @cached_property
    def z_concave(self) -> bool:
        """Whether every z is concave in the ratios: own'' + sum pair_tt <= 0, pair_ts = 0, pair_ss <= 0.

        Where a template changes its form its slope may jump, but not up.
        """
        return self._curvature(1) and self._slopes_jump_down

    @cached_property
    def z_affine(self) -> bool:
        """Whether every z is affine in the ratios."""
        templates = self.response.model.templates
        return templates.own.whole and templates.pair.whole and self._curvature(0)

    @cached_property
    def loss_convex(self) -> bool:
        """Whether every law is convex in z where it is defined."""
        curvature = self._loss(self.response.model.templates.loss.curvatures, 0)
        return curvature is not None and bool((curvature.lower >= 0).all())

    @cached_property
    def loss_decreasing(self) -> bool:
        """Whether every law falls with z where it is defined."""
        slope = self._loss(self.response.model.templates.loss.slopes, 1)
        return slope is not None and bool((slope.upper <= 0).all())

    @cached_property
    def loss_increasing(self) -> bool:
        """Whether every law rises with z where it is defined."""
        slope = self._loss(self.response.model.templates.loss.slopes, 1)
        return slope is not None and bool((slope.lower >= 0).all())

    @cached_property
    def losses_convex(self) -> bool:
        """Whether every loss is convex in the ratios: law convex, and z affine or (z concave and law decreasing)."""
        # Composition rules: (law o z)'' = law''(z) z'^2 + law'(z) z''.
        return self.loss_convex and (self.z_affine or (self.z_concave and self.loss_decreasing))

    @cached_property
    def z_positive(self) -> NDArray[np.bool_]:
        """For each target, whether z is above 0 on the box, where the law needs that; (T,)."""
        model = self.response.model
        if not model.law.needs_positive_z:
            return np.ones(len(model.targets), dtype=bool)
        try:
            return self.least_z > 0
        except UnsupportedFunctionError:
            return np.zeros(len(model.targets), dtype=bool)

    @cached_property
    def loss_range(self) -> Interval:
        """Enclosure of each loss where it is defined, (T,)."""
        enclosure = self._loss(self.response.model.templates.loss.value, 0)
        unknown = Interval.of(np.full(len(self.response.model.targets), -np.inf), np.inf)
        return unknown if enclosure is None else enclosure

    def _loss(self, function: Compiled, which: int) -> Interval | None:
        """Enclose one result of a compiled law over its whole domain; None where it has no interval form."""
        model = self.response.model
        z = Interval.of(np.full(len(model.targets), model.law.end_of_domain), np.inf)
        try:
            enclosure = function(z, *_exact(self.response.loss_arguments))[which]
            return Interval.enclosing(enclosure).broadcast_to(z.lower.shape)
        except UnsupportedFunctionError:
            return None

    @cached_property
    def _own_range(self) -> tuple[Array, Array]:
        """Bounds of each target's own ratio, (T,); 0 for a target that is no source."""
        own = self.response.model.own_source
        return (np.where(own >= 0, self.lower[own], 0.0), np.where(own >= 0, np.minimum(self.upper[own], 1.0), 0.0))

    def _pair(self, function: Compiled, low: Array, high: Array) -> list[Interval]:
        """Enclose a compiled pair template for own ratios from low to high, (..., T), and others from 0 to their bound.

        Own pairs are (0, 0).
        """
        model = self.response.model
        shape = (*low.shape, len(model.sources))
        t = Interval.of(low[..., None], high[..., None])
        s = Interval.of(0.0, np.minimum(self.upper, 1.0))  # from 0: the mean value theorem needs pair_s on [0, r_j]
        results = []
        for value in function(t, s, *_exact(self.response.pair_arguments)):
            wide = Interval.enclosing(value).broadcast_to(shape)
            ends = [np.array(end) for end in (wide.lower, wide.upper)]
            for end in ends:
                end[..., model.own_targets, model.own_sources] = 0.0
            results.append(Interval(*ends))
        return results

    def _own(self, function: Compiled, low: Array, high: Array) -> list[Interval]:
        """Enclose a compiled own template for own ratios from low to high, (..., T)."""
        return [
            Interval.enclosing(value).broadcast_to(low.shape)
            for value in function(Interval.of(low, high), *_exact(self.response.own_arguments))
        ]

    @cached_property
    def _second(self) -> tuple[Interval, Interval, Interval] | None:
        """Enclosures of own'' + sum pair_tt, pair_ts and pair_ss; None where there is no interval form."""
        templates = self.response.model.templates
        try:
            (own_tt,) = self._own(templates.own.curvatures, *self._own_range)
            pair_tt, pair_ts, pair_ss = self._pair(templates.pair.curvatures, *self._own_range)
        except UnsupportedFunctionError:
            return None
        # The Hessian of z_i: d2z/dr_i2, d2z/dr_i dr_j and d2z/dr_j2.
        return own_tt + pair_tt.sum(1), pair_ts, pair_ss

    def _curvature(self, most: int) -> bool:
        """Whether all second derivatives of z are 0 (`most` 0), or at most 0 with no cross term (`most` 1)."""
        if self._second is None:
            return False
        on_own, pair_ts, pair_ss = self._second
        # With no cross term the Hessian of z is diagonal, so that its signs decide its curvature.
        zero = [pair_ts] if most else [pair_ts, pair_ss, on_own]
        signed = [pair_ss, on_own] if most else []
        return all(bool(((part.lower == 0) & (part.upper == 0)).all()) for part in zero) and all(
            bool((part.upper <= 0).all()) for part in signed
        )

    @cached_property
    def _slopes_jump_down(self) -> bool:
        """Whether own and pair are whole, or of two pieces that meet with a slope that does not rise."""
        templates = self.response.model.templates
        jumps = []
        for template, evaluated in ((templates.own, self._own), (templates.pair, self._pair)):
            if not template.whole and template.pieces is None:
                return False
            if not template.whole:
                try:
                    jumps += evaluated(template.jump, *self._own_range)
                except UnsupportedFunctionError:
                    return False
        return all(bool((jump.upper <= 0).all()) for jump in jumps)

    @cached_property
    def least_z(self) -> Array:
        """A lower bound of each z, (T,), from pair(t, s) >= s min pair_s where pair(t, 0) = 0.

        With that, z >= own(t) + (1 - t) min_j slope_j(t) for the own ratio t, 1 being the sum of all; evaluated over
        pieces of the range of t, the fine ones also by the derivative from their left end.
        """
        model, (low, high) = self.response.model, self._own_range
        # pair(t, s) = integral of pair_s over [0, s] only where pair(t, 0) = 0.
        if not model.templates.pair.expression.subs(r_j, 0).is_zero:
            return np.full(low.size, -np.inf)
        least = np.full(low.size, -np.inf)
        together = max(1, AT_ONCE // (low.size * len(model.sources)))
        for cells in CELLS:
            edges, pieces = np.linspace(low, high, cells + 1), []
            for k in range(0, cells, together):
                cells_low, cells_high = edges[:-1][k : k + together], edges[1:][k : k + together]
                pieces.append(self._least_on(cells_low, cells_high))
                if cells == CELLS[-1]:
                    pieces[-1] = np.maximum(pieces[-1], self._least_by_slope(cells_low, cells_high))
            # Each subdivision gives a valid bound; the largest is kept. A finer one cannot help where the bound at the
            # least own ratio is not above 0 either.
            least = np.maximum(least, np.concatenate(pieces).min(axis=0))
            if (least > 0).all() or ((least > 0) | (self._least_on(low, low) <= 0)).all():
                break
        return least

    @property
    def _total(self) -> Interval:
        """The sum of the ratios."""
        return Interval.of(1.0, self.most)

    def _least_on(self, low: Array, high: Array) -> Array:
        """Bound each z from below for own ratios in [low, high], (..., T), each term on its own."""
        templates = self.response.model.templates
        own, _ = self._own(templates.own.slopes, low, high)
        rest = self._total - Interval.of(low, high)
        # The other ratios are nonnegative and sum to the rest, so their weighted slopes are at least rest * min slope.
        least: Interval = own + rest * self._least_slope(low, high)
        return least.lower

    def _least_slope(self, low: Array, high: Array) -> Interval:
        """Bound min over the other sources j of pair_s from below, (..., T)."""
        model = self.response.model
        slopes = np.array(self._pair(model.templates.pair.slopes, low, high)[2].lower)
        slopes[..., model.own_targets, model.own_sources] = np.inf
        # Own pairs are infinite here, and do not count in the minimum.
        least = slopes.min(axis=-1)
        return Interval.enclosing(np.where(np.isfinite(least), least, 0.0))

    def _least_by_slope(self, low: Array, high: Array) -> Array:
        """Bound each z from below where it provably rises with the own ratio t on [low, high].

        d/dt (own + (1 - t) slope_j) = own' - slope_j + (1 - t) pair_ts, for pairs linear in s.
        """
        model = self.response.model
        templates = model.templates
        if any(not derivative.is_zero for derivative in templates.pair.second[2:]):
            return np.full(low.shape, -np.inf)
        _, own_t = self._own(templates.own.slopes, low, high)
        slope = self._pair(templates.pair.slopes, low, high)[2]
        cross = self._pair(templates.pair.curvatures, low, high)[1]
        rest = self._total - Interval.of(low, high)
        column = Interval(rest.lower[..., None], rest.upper[..., None])
        rise = Interval(own_t.lower[..., None], own_t.upper[..., None]) - slope + column * cross
        rises = np.array(rise.lower >= 0)
        # Where z rises with t its minimum over [low, high] is at low.
        rises[..., model.own_targets, model.own_sources] = True
        return np.where(rises.all(axis=-1), self._least_on(low, low), -np.inf)


@dataclass(frozen=True, eq=False)
class JointProofs:
    """Proofs about responses side by side: what holds of all of them; arrays over all their targets, end to end.

    Parameters
    ----------
    each : tuple of Proofs
    """

    each: tuple[Proofs, ...]

    @classmethod
    def of(cls, responses: Sequence[Response], lower: Array, upper: Array, most: float = 1.0) -> JointProofs:
        """Return the proofs about some responses over one box; see :class:`Proofs`."""
        return cls(tuple(Proofs(response, lower, upper, most) for response in responses))

    @property
    def z_concave(self) -> bool:
        """Whether every z is concave in the ratios."""
        return all(proofs.z_concave for proofs in self.each)

    @property
    def z_affine(self) -> bool:
        """Whether every z is affine in the ratios."""
        return all(proofs.z_affine for proofs in self.each)

    @property
    def loss_convex(self) -> bool:
        """Whether every law is convex in z where it is defined."""
        return all(proofs.loss_convex for proofs in self.each)

    @property
    def loss_decreasing(self) -> bool:
        """Whether every law falls with z where it is defined."""
        return all(proofs.loss_decreasing for proofs in self.each)

    @property
    def loss_increasing(self) -> bool:
        """Whether every law rises with z where it is defined."""
        return all(proofs.loss_increasing for proofs in self.each)

    @property
    def losses_convex(self) -> bool:
        """Whether every loss is convex in the ratios."""
        return all(proofs.losses_convex for proofs in self.each)

    @property
    def z_positive(self) -> NDArray[np.bool_]:
        """For each target, whether z is above 0 on the box, where its law needs that."""
        return np.concatenate([proofs.z_positive for proofs in self.each])

    @property
    def loss_range(self) -> Interval:
        """Enclosure of each loss where it is defined."""
        ranges = [proofs.loss_range for proofs in self.each]
        return Interval(*(np.concatenate(ends) for ends in zip(*((r.lower, r.upper) for r in ranges), strict=True)))

    @property
    def end_of_domain(self) -> Array:
        """The least z at which the law of each target is defined."""
        models = [proofs.response.model for proofs in self.each]
        return np.concatenate([np.full(len(model.targets), model.law.end_of_domain) for model in models])


def _exact(arguments: Sequence[Array]) -> list[Interval]:
    """Return numbers as intervals, so that operations on them alone are rounded outwards too."""
    return [Interval.enclosing(argument) for argument in arguments]
