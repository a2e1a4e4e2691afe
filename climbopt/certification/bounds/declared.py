"""A Lagrangian as declared: every number the exact value of its float, everything made of them an enclosure.

    x_part'x + z_part'z + loss_part'L + constant,    z_i = sum of C_i psi(t_i) + sum of C_ij gate(t_i) source(s_j)

with t_i the target's own and s_j the source's cumulative ratio. Where a gate is one for all of a target's sources,
which enter in proportion, and the ratios sum to a total, center_i gate(t_i) (total - t_i) is taken out of the sum:
exact whatever the centers are, and what is left hardly varies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from climbopt.certification.bounds.balls import exactly
from climbopt.certification.bounds.relaxable import NoRelaxationError, Piece, Relaxable
from climbopt.certification.bounds.terms import Term, terms
from climbopt.model.symbols import D, N
from climbopt.model.templates import Array, Template
from climbopt.numerics.intervals import Interval

ONE, ZERO = Interval.of([[1.0]], 1.0), Interval.of([[0.0]], 0.0)


@dataclass(frozen=True, eq=False)
class Jet:
    """Enclosures of functions of one ratio and of their first two derivatives, on boxes or at points."""

    value: Interval
    slope: Interval
    curvature: Interval


@dataclass(frozen=True, eq=False)
class Product:
    """A term of every pair: coefficients, (T, S) and 0 for own pairs, and jets, (T, 1) or (T, S) and (1, S) or (T, S).

    `summed` where gates are (T, 1) and sources are the ratios themselves.
    """

    coefficient: Interval
    gate: Jet
    source: Jet
    summed: bool


@dataclass(frozen=True, eq=False)
class Declared:
    """A Lagrangian with enclosures for numbers.

    Parameters
    ----------
    problem : Relaxable
        It says which terms are summed and around which centers, any of which will do; nothing more is taken from its
        rounded numbers.
    x_part, z_part, loss_part, constant : Interval
        (n,), (T, 1), (T, 1) and (): exact where there are no nonlinear rows.
    """

    problem: Relaxable
    x_part: Interval
    z_part: Interval
    loss_part: Interval
    constant: Interval

    @cached_property
    def offset(self) -> Interval:
        """What is added to scale x, (S,)."""
        return exact(self.problem.functions.offset)

    @cached_property
    def scale(self) -> Interval:
        """What the ratios are multiplied by."""
        return exact(np.asarray(self.problem.functions.scale))

    @cached_property
    def total(self) -> Interval | None:
        """The sum of the cumulative ratios, where a row says it."""
        total = self.problem.total_of_ratios
        return None if np.isnan(total) else self.offset.sum(0) + self.scale * total

    @cached_property
    def law(self) -> Callable[[Interval], list[Interval]]:
        """The laws and their first two derivatives as a function of z, (T, 1)."""
        law, response = self.problem.response.model.templates.loss, self.problem.response
        return _of(law, [exact(_column(one)) for one in response.loss_arguments])

    @cached_property
    def own(self) -> Callable[[Interval], list[Interval]]:
        """The own template and its first two derivatives as a function of the own ratio, (T, 1)."""
        template, response = self.problem.response.model.templates.own, self.problem.response
        return _of(template, [exact(_column(one)) for one in response.own_arguments])

    @cached_property
    def products(self) -> tuple[tuple[Term, Interval, Interval, bool], ...]:
        """Each term with its coefficients, (T, S), what was taken out of them, (T, 1), and whether it is summed."""
        found = terms(self.problem.response.model.templates)
        if found is None:
            raise NoRelaxationError("the pair template is no sum of products of a function of r_i and one of r_j")
        return tuple(self._centered(term, piece) for term, piece in zip(found, self.problem.pieces, strict=True))

    @cached_property
    def pair_arguments(self) -> list[Interval]:
        """D, N and parameters of pairs."""
        return [exact(np.asarray(one)) for one in self.problem.response.pair_arguments]

    @property
    def others(self) -> Array:
        """1 for pairs of a target with another source, 0 for own ones; (T, S)."""
        return self.problem.others

    def _centered(self, term: Term, piece: Piece) -> tuple[Term, Interval, Interval, bool]:
        arguments = (D, N, *(p.symbol for p in term.gate.parameters))
        (coefficient,) = exactly((term.coefficient,), arguments)(*self.pair_arguments)
        center = piece.center[:, None]
        return term, (coefficient.broadcast_to(self.others.shape) - center) * self.others, exact(center), piece.summed

    def cumulative(self, x: Interval) -> Interval:
        """Return the cumulative ratios, (S,)."""
        n = self.offset.lower.size
        scaled: Interval = self.scale * Interval(x.lower[:n], x.upper[:n])
        moved: Interval = scaled + self.offset
        return moved

    def by_x(self, slopes: Interval) -> Interval:
        """Return derivatives by x, (n,), of what has these by the cumulative ratios, (S,): 0 by auxiliaries."""
        scaled, others = self.scale * slopes, np.zeros(self.problem.form.n - slopes.lower.size)
        return Interval(np.append(scaled.lower, others), np.append(scaled.upper, others))

    def on(self, lower: Array, upper: Array) -> Region:
        """Return what is enclosed on a box of x; a point where both ends are one."""
        return Region(self, self.cumulative(Interval(lower, upper)))


@dataclass(frozen=True, eq=False)
class Region:
    """Enclosures over a box of cumulative ratios, (S,)."""

    declared: Declared
    rho: Interval

    @cached_property
    def own_ratio(self) -> Interval:
        """The targets' own ratios, (T, 1); 0 for a target that is no source."""
        own = self.declared.problem.response.model.own_source
        ends = (np.where(own >= 0, end[own], 0.0)[:, None] for end in (self.rho.lower, self.rho.upper))
        return Interval(*ends)

    @cached_property
    def products(self) -> tuple[Product, ...]:
        """The terms of pairs."""
        return tuple(
            Product(
                coefficient,
                self._jet(term.gate, self.own_ratio),
                self._jet(term.source, Interval(self.rho.lower[None, :], self.rho.upper[None, :])),
                summed,
            )
            for term, coefficient, _, summed in self.declared.products
        )

    @cached_property
    def own(self) -> tuple[tuple[Interval, Jet], ...]:
        """The functions of own ratios, (T, 1), with their coefficients."""
        pieces, total = [(ONE, Jet(*self.declared.own(self.own_ratio)))], self.declared.total
        for product, (*_, center, summed) in zip(self.products, self.declared.products, strict=True):
            if summed and total is not None:
                gate, rest = product.gate, total - self.own_ratio
                pieces.append(
                    (
                        center,
                        Jet(
                            gate.value * rest, gate.slope * rest - gate.value, gate.curvature * rest - 2.0 * gate.slope
                        ),
                    )
                )
        return tuple(pieces)

    def _jet(self, template: Template, at: Interval) -> Jet:
        if template.expression == 1:
            return Jet(ONE, ZERO, ZERO)
        return Jet(*_of(template, self.declared.pair_arguments)(at))

    def sums(self, product: Product) -> Interval:
        """Return sum_j C_ij source_ij, (T, 1)."""
        if not product.summed:
            return as_column((product.coefficient * product.source.value).sum(1))
        return sums(product.coefficient, self.rho, self.declared.total)

    @cached_property
    def z(self) -> Interval:
        """z, (T, 1), term by term."""
        z = ZERO
        for coefficient, jet in self.own:
            z = z + coefficient * jet.value
        for product in self.products:
            gated = product.coefficient * product.gate.value * product.source.value
            z = z + (product.gate.value * self.sums(product) if product.summed else as_column(gated.sum(1)))
        return z

    @cached_property
    def jacobian(self) -> Interval:
        """dz/drho, (T, S)."""
        shape, on_own = self.declared.others.shape, ZERO
        for coefficient, jet in self.own:
            on_own = on_own + coefficient * jet.slope
        total = Interval.of(np.zeros(shape), 0.0)
        for product in self.products:
            total = total + product.coefficient * product.gate.value * product.source.slope
            if product.summed:
                on_own = on_own + product.gate.slope * self.sums(product)
            else:
                on_own = on_own + as_column((product.coefficient * product.gate.slope * product.source.value).sum(1))
        whole: Interval = total + on_own.broadcast_to(shape) * (1.0 - self.declared.others)
        return whole


def sums(rows: Interval, x: Interval, total: Interval | None) -> Interval:
    """Return enclosures of each row'x, (T, 1), over a box with a known sum of x.

    row'x = (row - m)'x + m total for any m: the upper end takes that where filling x up, the best first, ends, the
    lower end where filling up the worst first does.
    """
    if total is None:
        return as_column((rows * Interval(x.lower[None, :], x.upper[None, :])).sum(1))
    middle, room = 0.5 * (rows.lower + rows.upper), x.upper - x.lower
    spare, ends = float(total.upper) - float(x.lower.sum()), []
    for sign in (-1.0, 1.0):
        order = np.argsort(-sign * middle, axis=1, kind="stable")
        filled = np.cumsum(np.broadcast_to(room, middle.shape)[np.arange(len(middle))[:, None], order], axis=1) < spare
        last = np.take_along_axis(order, np.minimum(filled.sum(axis=1), room.size - 1)[:, None], axis=1)
        m = np.take_along_axis(middle, last, axis=1)
        ends.append(as_column(((rows - m) * Interval(x.lower[None, :], x.upper[None, :])).sum(1)) + total * m)
    return Interval(ends[0].lower, np.maximum(ends[1].upper, ends[0].lower))


def declared(problem: Relaxable, mu: Array, weight: float = 1.0) -> Declared:
    """Return weight f + mu'(c - limit) with enclosures for numbers, each limit that which its multiplier's sign names.

    Raises
    ------
    NoRelaxationError
        Where a loss has a negative weight.
    """
    table, limits = problem.functions.table, problem.form.nonlinear.named(mu)
    total = table.lagrangian(np.append(weight, mu), np.append(0.0, limits), exact)
    on_x, on_z, on_loss = table.split(total)
    if (on_loss.lower < 0).any():
        raise NoRelaxationError("a loss has a negative weight, and what bounds it from above does not bound that")
    return Declared(problem, on_x, as_column(on_z), as_column(on_loss), total[-1])


def exact(values: Array) -> Interval:
    """Return the exact values of floats."""
    return Interval.of(values, values)


def middle(interval: Interval) -> Array:
    """Return floats within intervals, at about their middles."""
    return np.asarray(0.5 * (interval.lower + interval.upper))


def as_column(column: Interval) -> Interval:
    """Return (T,) as (T, 1)."""
    return Interval(column.lower[:, None], column.upper[:, None])


def _column(argument: Array) -> Array:
    """Return an argument of targets, (T,), as (T, 1); a single number as it is."""
    return np.asarray(argument)[..., None] if np.ndim(argument) else np.asarray(argument)


def _of(template: Template, arguments: list[Interval]) -> Callable[[Interval], list[Interval]]:
    """Return a template of one variable and its first two derivatives as a function of that."""
    template = template.exact
    function = exactly((template.expression, template.first[0], template.second[0]), template.arguments)
    return lambda at: function(at, *arguments)
