"""What can be proved of a model over a box of mixtures, by the signs of its templates' derivatives.

Every answer rests on interval evaluations of the compiled derivatives at the model's own parameters, so that
"proved" means for every mixture of the box; nothing is sampled. False means only that there is no proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from climbopt.model.mixture import Response
from climbopt.model.symbols import r_j
from climbopt.model.templates import Array, Compiled, Template
from climbopt.model.use_bounds import UseBounds
from climbopt.numerics.intervals import Interval, UnsupportedFunctionError, intervals

CELLS = (2, 16)
"""Numbers of subintervals of a target's own ratio in the proof that z is positive: coarse first, then fine."""

AT_ONCE = 2**18
"""Largest size of an array over subintervals, targets and sources, unless there is only one subinterval."""

TINY = np.finfo(float).tiny
"""Distance from the end of a law's domain from which on its divisors are to be above 0."""


@lru_cache(maxsize=64)
def _divisors(law: Template) -> Compiled:
    """Return the compiled list of what a law divides by, or takes the logarithm of, that depends on z."""
    expression, (z,) = law.expression, law.variables
    divisors = [part.base for part in expression.atoms(sp.Pow) if not part.exp.is_nonnegative]
    divisors += [part.args[0] for part in expression.atoms(sp.log)]
    divided: Compiled = sp.lambdify(law.arguments, [part for part in divisors if part.has(z)], modules="numpy")
    return divided


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

        Where a template changes its form its slope may jump, but not up. Where tokens are repeated, z is that of u,
        which must be concave, and z must not fall with it.
        """
        return self._curvature(1) and self._slopes_jump_down and self._use_composes

    @cached_property
    def z_affine(self) -> bool:
        """Whether every z is affine in the ratios."""
        templates = self.response.model.templates
        return templates.used is None and templates.own.whole and templates.pair.whole and self._curvature(0)

    @cached_property
    def loss_convex(self) -> bool:
        """Whether every law is convex in z where it is defined."""
        curvature = self._loss(self.response.model.templates.loss.curvatures, 0)
        return bool((curvature.lower >= 0).all()) and self._without_poles

    @cached_property
    def _without_poles(self) -> bool:
        """Whether no law divides by what vanishes inside of its domain: (z - 1)**-2 bends up, and is not convex."""
        z = Interval.of(self.end_of_domain + TINY, np.inf)
        divisors = _divisors(self.response.model.templates.loss)(z, *intervals(self.response.loss_arguments))
        return all(bool((Interval.enclosing(divisor).lower > 0).all()) for divisor in divisors)

    @cached_property
    def loss_decreasing(self) -> bool:
        """Whether every law falls with z where it is defined."""
        return bool((self._loss(self.response.model.templates.loss.slopes, 1).upper <= 0).all())

    @cached_property
    def losses_convex(self) -> bool:
        """Whether every loss is convex in the ratios: law convex, and z affine or (z concave and law decreasing)."""
        # An affine z needs no sign of law': its second derivative is 0.
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
        return self._loss(self.response.model.templates.loss.value, 0)

    @property
    def end_of_domain(self) -> Array:
        """The least z at which the law is defined, of each target."""
        return np.full(len(self.response.model.targets), self.response.model.law.end_of_domain)

    def _loss(self, function: Compiled, which: int) -> Interval:
        """Enclose one result of a compiled law over its whole domain: by all numbers where it has no interval form."""
        # The whole domain, not the range of z on the box: one answer serves every set of bounds.
        z = Interval.of(self.end_of_domain, np.inf)
        try:
            enclosure = function(z, *intervals(self.response.loss_arguments))[which]
            return Interval.enclosing(enclosure).broadcast_to(z.lower.shape)
        except UnsupportedFunctionError:
            return Interval.of(np.full(z.lower.shape, -np.inf), np.inf)

    @cached_property
    def _use(self) -> UseBounds | None:
        """Bounds of u; None where it is the ratio itself."""
        template = self.response.model.templates.used
        return None if template is None else UseBounds(self.response, template, np.minimum(self.upper, 1.0))

    @cached_property
    def _own_ratios(self) -> tuple[Array, Array]:
        """Bounds of each target's own ratio, (T,); 0 for a target that is no source."""
        own = self.response.model.own_ratios
        return own(self.lower), own(np.minimum(self.upper, 1.0))

    @property
    def _own_range(self) -> tuple[Array, Array]:
        """Bounds of u of each target's own source, (T,)."""
        return self._own_used(*self._own_ratios)

    def _own_used(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Bounds of u of each target's own source for its ratios from low to high, (..., T)."""
        return (low, high) if self._use is None else self._use.of_own(low, high)

    @cached_property
    def _use_composes(self) -> bool:
        """Whether z of a use is concave where it is concave in u: u is concave, and no z falls with u."""
        templates = self.response.model.templates
        if self._use is None:
            return True
        try:
            _, own_t = self._own(templates.own.slopes, *self._own_range)
            _, pair_t, pair_s = self._pair(templates.pair.slopes, *self._own_range)
            # (z o u)'' = z_uu u'^2 + z_u u'': the second term is at most 0 only where z_u >= 0.
            rises = ((own_t + pair_t.sum(1)).lower >= 0).all() and (pair_s.lower >= 0).all()
            return bool(rises) and self._use.concave
        except UnsupportedFunctionError:
            return False

    def _pair(self, function: Compiled, low: Array, high: Array) -> list[Interval]:
        """Enclose a compiled pair template for own u from low to high, (..., T), and others' from 0 to their bound.

        Own pairs are (0, 0).
        """
        model = self.response.model
        shape = (*low.shape, len(model.sources))
        # Targets along rows, sources along columns.
        t = Interval.of(low[..., None], high[..., None])
        # From 0: the mean value theorem needs pair_s on [0, u_j].
        s = Interval.of(0.0, np.minimum(self.upper, 1.0)) if self._use is None else self._use.range
        results = []
        # A derivative that is constant is compiled to a scalar; it is widened to (..., T, S).
        for value in function(t, s, *intervals(self.response.pair_arguments)):
            wide = Interval.enclosing(value).broadcast_to(shape)
            ends = [np.array(end) for end in (wide.lower, wide.upper)]
            # No pair of a target with itself: it must enter neither a sum nor a sign.
            for end in ends:
                end[..., model.own_targets, model.own_sources] = 0.0
            results.append(Interval(*ends))
        return results

    def _own(self, function: Compiled, low: Array, high: Array) -> list[Interval]:
        """Enclose a compiled own template for own ratios from low to high, (..., T)."""
        return [
            Interval.enclosing(value).broadcast_to(low.shape)
            for value in function(Interval.of(low, high), *intervals(self.response.own_arguments))
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
        # Concave: pair_ts = 0, the rest <= 0. Affine: all three are 0.
        zero = [pair_ts] if most else [pair_ts, pair_ss, on_own]
        signed = [pair_ss, on_own] if most else []
        return all(bool(((part.lower == 0) & (part.upper == 0)).all()) for part in zero) and all(
            bool((part.upper <= 0).all()) for part in signed
        )

    @cached_property
    def _slopes_jump_down(self) -> bool:
        """Whether own and pair are whole, or of two pieces that meet with a slope that does not rise."""
        templates = self.response.model.templates
        # A concave function of two pieces: each concave, and the slope falls at the kink.
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

        With that, z >= own(t) + rest min_j slope_j(t) for the own u t, `rest` being the sum of the others' u;
        evaluated over pieces of the range of the own ratio, the fine ones also where z rises with t.
        """
        model, (low, high) = self.response.model, self._own_ratios
        # pair(t, s) = integral of pair_s over [0, s] only where pair(t, 0) = 0.
        if not model.templates.pair.expression.subs(r_j, 0).is_zero:
            return np.full(low.size, -np.inf)
        least = np.full(low.size, -np.inf)
        # Subintervals per evaluation, so that the arrays over targets and sources stay small.
        together = max(1, AT_ONCE // (low.size * len(model.sources)))
        for cells in CELLS:
            # Narrow ones near 0, where forms bend most.
            edges, pieces = low + (high - low) * (np.linspace(0.0, 1.0, cells + 1) ** 2)[:, None], []
            for k in range(0, cells, together):
                cell = edges[:-1][k : k + together], edges[1:][k : k + together]
                pieces.append(self._least_on(*cell))
                if cells == CELLS[-1]:
                    pieces[-1] = np.maximum(pieces[-1], self._least_by_slope(*cell))
            # Each subdivision gives a valid bound; the largest is kept. A finer one cannot help where the bound at the
            # least own ratio is not above 0 either.
            least = np.maximum(least, np.concatenate(pieces).min(axis=0))
            if (least > 0).all() or ((least > 0) | (self._least_on(low, low) <= 0)).all():
                break
        return least

    def _rest(self, low: Array, high: Array) -> Interval:
        """Enclose the sum of the others' u for own ratios in [low, high], (..., T)."""
        # sum_{j != i} r_j = total - r_i, with the total in [1, most].
        rest: Interval = Interval.of(1.0, self.most) - Interval.of(low, high)
        # The sum of u lies in share times the sum of r.
        return rest if self._use is None else rest * self._use.share

    def _least_on(self, low: Array, high: Array, own_low: bool = False) -> Array:
        """Bound each z from below for own ratios in [low, high], (..., T), each term on its own.

        With `own_low` the own u is that of `low`.
        """
        used_low, used_high = self._own_used(low, low if own_low else high)
        own, _ = self._own(self.response.model.templates.own.slopes, used_low, used_high)
        # The others' u are nonnegative and sum to the rest, so their weighted slopes are at least rest * min slope.
        least: Interval = own + self._rest(low, high) * self._least_slope(used_low, used_high)
        return least.lower

    def _least_slope(self, low: Array, high: Array) -> Interval:
        """Bound min over the other sources j of pair_s from below for own u in [low, high], (..., T)."""
        model = self.response.model
        slopes = np.array(self._pair(model.templates.pair.slopes, low, high)[2].lower)
        # The minimum runs over j != i.
        slopes[..., model.own_targets, model.own_sources] = np.inf
        # Own pairs are infinite here, and do not count in the minimum.
        least = slopes.min(axis=-1)
        return Interval.enclosing(np.where(np.isfinite(least), least, 0.0))

    def _least_by_slope(self, low: Array, high: Array) -> Array:
        """Bound each z from below where it provably rises with the own u t for own ratios in [low, high].

        dz/dt = own' + sum_j pair_t >= own' + sum_j s_j min pair_ts, since pair_t(t, 0) = 0, at any fixed u of the
        others: the least is then at `low`.
        """
        templates = self.response.model.templates
        used = self._own_used(low, high)
        _, own_t = self._own(templates.own.slopes, *used)
        cross = self._pair(templates.pair.curvatures, *used)[1]
        cross_least = Interval.enclosing(np.array(cross.lower).min(axis=-1))  # at most 0: the own pair's is 0
        rises = (own_t + self._rest(low, high) * cross_least).lower >= 0
        return np.where(rises, self._least_on(low, high, own_low=True), -np.inf)


@dataclass(frozen=True, eq=False)
class JointProofs:
    """Proofs about responses side by side: what holds of all of them; arrays over all their targets, end to end.

    Parameters
    ----------
    each : tuple of Proofs
    """

    each: tuple[Proofs, ...]

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
        return np.concatenate([proofs.end_of_domain for proofs in self.each])


def proofs_of(responses: Sequence[Response], lower: Array, upper: Array, most: float = 1.0) -> Proofs | JointProofs:
    """Return the proofs about one or several responses over one box; see :class:`Proofs`."""
    each = tuple(Proofs(response, lower, upper, most) for response in responses)
    return each[0] if len(each) == 1 else JointProofs(each)
