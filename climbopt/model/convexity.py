"""What can be proved of a model over a box of mixtures, by the signs of its templates' derivatives.

Every answer rests on interval evaluations of the compiled derivatives at the model's own parameters, so that
"proved" means for every mixture of the box; nothing is sampled. False means only that there is no proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from climbopt.model.mixture import Response
from climbopt.model.symbols import r_j
from climbopt.model.templates import Array, Compiled, Template
from climbopt.numerics.intervals import Interval, UnsupportedFunctionError, intervals, where

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
    divisors = [
        part.args[0] for part in expression.atoms(sp.Pow, sp.log) if not (part.is_Pow and part.exp.is_nonnegative)
    ]
    divided: Compiled = sp.lambdify(law.arguments, [part for part in divisors if part.has(z)], modules="numpy")
    return divided


def _enclosed(function: Compiled, *arguments: Interval) -> list[Interval]:
    """Enclose the results of a compiled template, by all numbers where it has no interval form."""
    try:
        return [Interval.enclosing(value) for value in function(*arguments)]
    except UnsupportedFunctionError:
        # As many as the function has results.
        with np.errstate(all="ignore"):
            return [Interval.of(-np.inf, np.inf) for _ in function(*np.ones(len(arguments)))]


def _nonpositive(*parts: Interval) -> bool:
    """Return whether all numbers of all intervals are proved to be at most 0."""
    return all(bool((part.upper <= 0).all()) for part in parts)


@dataclass(frozen=True, eq=False)
class UseBounds:
    """Bounds of u = use(r) and of its derivatives for ratios from 0 to `upper`.

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
    def _arguments(self) -> list[Interval]:
        """Ratios, D, N and the use's parameters."""
        ratios = Interval.of(np.zeros((1, self.upper.size)), self.upper[None])
        return [ratios, *intervals(self.response.use_arguments)]

    @cached_property
    def slope(self) -> Interval:
        """Enclosure of u'."""
        return _enclosed(self.template.slopes, *self._arguments)[1]

    @cached_property
    def concave(self) -> bool:
        """Whether every u is concave in its ratio: u'' <= 0 on each piece, and its slope does not jump up."""
        return self.template.joined and _nonpositive(
            *_enclosed(self.template.curvatures, *self._arguments), *_enclosed(self.template.jump, *self._arguments)
        )

    @cached_property
    def range(self) -> Interval:
        """Enclosure of u."""
        return self._between(*self._arguments)

    def of_own(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Return bounds of u of each target's own source for its ratios from low to high, (..., T)."""
        D, N, *values = self.response.use_arguments
        # Parameters of each target's own source; D and N lose the axis of sources.
        values = [D[..., 0], N[..., 0], *map(self.response.of_own, values)]
        enclosure = self._between(Interval.of(low, high), *intervals(values))
        own = self.response.model.own_source >= 0
        # A target that is no source has u_i = 0.
        return np.where(own, enclosure.lower, 0.0), np.where(own, enclosure.upper, 0.0)

    def _between(self, ratios: Interval, *arguments: Interval) -> Interval:
        """Return an enclosure of u for ratios in intervals: from end to end where it rises."""
        if not (self.slope.lower >= 0).all():
            return _enclosed(self.template.value, ratios, *arguments)[0]
        # Evaluated at points, intervals do not widen; a monotone u attains its bounds at the ends.
        least, most = (
            _enclosed(self.template.value, Interval.of(end, end), *arguments)[0] for end in (ratios.lower, ratios.upper)
        )
        return Interval.of(least.lower, most.upper)

    @cached_property
    def share(self) -> Interval:
        """Enclosure of the sum of some u over the sum of their ratios, between the least and the largest u / r."""
        top = Interval.enclosing(self.upper[None])
        least = 0.0
        if self.concave and (top.lower > 0).all():
            # A concave u lies above its chord from 0 to the largest ratio.
            least = float((self._between(top, *self._arguments[1:]) / top).lower.min())
        # u is the integral of its slope from 0.
        return Interval.of(max(least, 0.0), float(self.slope.upper.max()))


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
        own, pair = self.response.model.templates.own, self.response.model.templates.pair
        if not (own.joined and pair.joined):
            return False
        on_own, pair_ts, pair_ss = self._second
        # With no cross term the Hessian of z is diagonal, so that its signs decide its curvature.
        return (
            _nonpositive(on_own, pair_ts, -pair_ts, pair_ss)
            and _nonpositive(*self._own(own.jump, *self._own_range), *self._pair(pair.jump, *self._own_range))
            and self._use_composes
        )

    @cached_property
    def z_affine(self) -> bool:
        """Whether every z is affine in the ratios."""
        templates = self.response.model.templates
        whole = templates.used is None and templates.own.whole and templates.pair.whole
        return whole and _nonpositive(*self._second, *(-part for part in self._second))

    @cached_property
    def loss_convex(self) -> bool:
        """Whether every law is convex in z where it is defined."""
        return _nonpositive(-self._loss(self.response.model.templates.loss.curvatures)[-1]) and self._without_poles

    @cached_property
    def _without_poles(self) -> bool:
        """Whether no law divides by what vanishes inside of its domain: (z - 1)**-2 bends up, and is not convex."""
        z = Interval.of(self.end_of_domain + TINY, np.inf)
        divisors = _divisors(self.response.model.templates.loss)(z, *intervals(self.response.loss_arguments))
        return all(bool((Interval.enclosing(divisor).lower > 0).all()) for divisor in divisors)

    @cached_property
    def loss_decreasing(self) -> bool:
        """Whether every law falls with z where it is defined."""
        return _nonpositive(self._loss(self.response.model.templates.loss.slopes)[-1])

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
        return self.least_z > 0 if model.law.needs_positive_z else np.ones(len(model.targets), dtype=bool)

    @cached_property
    def loss_range(self) -> Interval:
        """Enclosure of each loss where it is defined, (T,)."""
        return self._loss(self.response.model.templates.loss.value)[-1]

    @property
    def end_of_domain(self) -> Array:
        """The least z at which the law is defined, of each target."""
        return np.full(len(self.response.model.targets), 0.0 if self.response.model.law.needs_positive_z else -np.inf)

    def _loss(self, function: Compiled) -> list[Interval]:
        """Enclose the results of a compiled law over its whole domain, each (T,)."""
        # The whole domain, not the range of z on the box: one answer serves every set of bounds.
        z = Interval.of(self.end_of_domain, np.inf)
        return [
            result.broadcast_to(z.shape) for result in _enclosed(function, z, *intervals(self.response.loss_arguments))
        ]

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

    @cached_property
    def _own_range(self) -> tuple[Array, Array]:
        """Bounds of u of each target's own source, (T,)."""
        return self._own_used(*self._own_ratios)

    def _own_used(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Bounds of u of each target's own source for its ratios from low to high, (..., T)."""
        return (low, high) if self._use is None else self._use.of_own(low, high)

    @cached_property
    def _use_composes(self) -> bool:
        """Whether z of a use is concave where it is concave in u: u is concave, and no z falls with u."""
        if self._use is None:
            return True
        templates = self.response.model.templates
        own_t = self._own(templates.own.slopes, *self._own_range)[1]
        _, pair_t, pair_s = self._pair(templates.pair.slopes, *self._own_range)
        # (z o u)'' = z_uu u'^2 + z_u u'': the second term is at most 0 only where z_u >= 0.
        return self._use.concave and _nonpositive(-(own_t + pair_t.sum(1)), -pair_s)

    def _pair(self, function: Compiled, low: Array, high: Array) -> list[Interval]:
        """Enclose a compiled pair template for own u from low to high, (..., T), and others' from 0 to their bound.

        Own pairs are (0, 0).
        """
        # From 0: the mean value theorem needs pair_s on [0, u_j].
        s = Interval.of(0.0, np.minimum(self.upper, 1.0)) if self._use is None else self._use.range
        # Targets along rows, sources along columns.
        values = _enclosed(
            function, Interval.of(low[..., None], high[..., None]), s, *intervals(self.response.pair_arguments)
        )
        # A derivative that is constant is compiled to a scalar; it is widened to (..., T, S).
        shape = (*low.shape, len(self.response.model.sources))
        # No pair of a target with itself: it must enter neither a sum nor a sign.
        return [where(self._apart, value.broadcast_to(shape)) for value in values]

    @cached_property
    def _apart(self) -> NDArray[np.bool_]:
        """Whether a source is not the target itself, (T, S)."""
        return np.not_equal.outer(self.response.model.own_source, np.arange(len(self.response.model.sources)))

    def _own(self, function: Compiled, low: Array, high: Array) -> list[Interval]:
        """Enclose a compiled own template for own ratios from low to high, (..., T)."""
        arguments = Interval.of(low, high), *intervals(self.response.own_arguments)
        return [value.broadcast_to(low.shape) for value in _enclosed(function, *arguments)]

    @cached_property
    def _second(self) -> tuple[Interval, Interval, Interval]:
        """Enclosures of d2z/dr_i2 = own'' + sum pair_tt, d2z/dr_i dr_j = pair_ts and d2z/dr_j2 = pair_ss."""
        templates = self.response.model.templates
        pair_tt, pair_ts, pair_ss = self._pair(templates.pair.curvatures, *self._own_range)
        return self._own(templates.own.curvatures, *self._own_range)[0] + pair_tt.sum(1), pair_ts, pair_ss

    @cached_property
    def least_z(self) -> Array:
        """A lower bound of each z, (T,), from pair(t, s) >= s min pair_s where pair(t, 0) = 0.

        With that, z >= own(t) + rest min_j slope_j(t) for the own u t, `rest` being the sum of the others' u;
        evaluated over pieces of the range of the own ratio, the fine ones also where z rises with t.
        """
        model, (low, high) = self.response.model, self._own_ratios
        least = np.full(low.size, -np.inf)
        # pair(t, s) = integral of pair_s over [0, s] only where pair(t, 0) = 0.
        if not model.templates.pair.expression.subs(r_j, 0).is_zero:
            return least
        # Subintervals per evaluation, so that the arrays over targets and sources stay small.
        together = max(1, AT_ONCE // (low.size * len(model.sources)))
        for cells in CELLS:
            # Narrow ones near 0, where forms bend most.
            edges = low + (high - low) * (np.linspace(0.0, 1.0, cells + 1) ** 2)[:, None]
            bound = self._least_by_slope if cells == CELLS[-1] else self._least_on
            pieces = [
                bound(edges[:-1][k : k + together], edges[1:][k : k + together]) for k in range(0, cells, together)
            ]
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
        templates = self.response.model.templates
        used = self._own_used(low, low if own_low else high)
        own, _ = self._own(templates.own.slopes, *used)
        slopes = self._pair(templates.pair.slopes, *used)[2].lower
        # The minimum runs over j != i, and is of no term where a target's own source is the only one.
        slope = slopes.min(axis=-1, where=self._apart, initial=np.inf)
        # The others' u are nonnegative and sum to the rest, so their weighted slopes are at least rest * min slope.
        least: Interval = own + self._rest(low, high) * Interval.enclosing(np.where(slope == np.inf, 0.0, slope))
        return least.lower

    def _least_by_slope(self, low: Array, high: Array) -> Array:
        """Bound each z from below as `_least_on` does, and better where z provably rises with the own u t.

        dz/dt = own' + sum_j pair_t >= own' + sum_j s_j min pair_ts, since pair_t(t, 0) = 0, at any fixed u of the
        others: the least is then at `low`.
        """
        templates = self.response.model.templates
        used = self._own_used(low, high)
        own_t = self._own(templates.own.slopes, *used)[1]
        cross = self._pair(templates.pair.curvatures, *used)[1].lower.min(axis=-1)  # at most 0: the own pair's is 0
        rises = (own_t + self._rest(low, high) * Interval.enclosing(cross)).lower >= 0
        least = self._least_on(low, high)
        return np.where(rises, np.maximum(least, self._least_on(low, high, own_low=True)), least)
