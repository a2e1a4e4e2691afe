"""The templates as a sum of gates times sums over sources, with enclosures of every function of one ratio.

z_i = own_i(r_i) + sum_k gate_ik(r_i) s_ik,    s_ik = sum over sources j != i of part_kij(r_j)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import zip_longest
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from climbopt.foundations.errors import ClimboptError
from climbopt.model.mixture import Response
from climbopt.model.symbols import r_i, r_j
from climbopt.model.templates import Array, Template, Templates
from climbopt.numerics.intervals import Interval


class NoBoundError(ClimboptError):
    """A problem that no global bound is computed for; its text says why."""


Index = NDArray[np.intp] | tuple[NDArray[np.intp], NDArray[np.intp]]


@lru_cache(maxsize=64)
def decomposed(templates: Templates) -> tuple[tuple[Template, Template], ...] | None:
    """Return the pair template as (gate of r_i, part of r_j), of which it is the sum of products; None if it is none.

    Examples
    --------
    >>> from climbopt.model.interactions import INTERACTIONS
    >>> from climbopt.model.laws import LAWS
    >>> from climbopt.model.templates import derive
    >>> for gate, part in decomposed(derive(LAWS["power"], INTERACTIONS["overlap"])):
    ...     print(gate.expression, "|", part.expression)
    1 | c*r_j + l*r_j/D
    1 - exp(-eta*r_i) | r_j*(b + k/D)
    """
    parameters = templates.interaction.parameters
    of_pairs = {p.symbol for p in parameters if p.per != "target"}
    parts: dict[sp.Expr, sp.Expr] = {}
    for term in sp.Add.make_args(templates.pair.exact.expression):
        for piece in [term] if _factors(term) else sp.Add.make_args(sp.expand(term)):
            factors = _factors(piece)
            if factors is None:
                return None
            for gate, part in _without_pairs(*factors, of_pairs):
                if gate.free_symbols & of_pairs:
                    return None
                parts[gate] = parts.get(gate, sp.S.Zero) + part
    gates = sorted((gate for gate in parts if parts[gate] != 0), key=sp.default_sort_key)
    return tuple((Template(gate, (r_i,), parameters), Template(parts[gate], (r_j,), parameters)) for gate in gates)


def _factors(product: sp.Expr) -> tuple[sp.Expr, sp.Expr] | None:
    """Return a product as a function of r_i times the rest; None where a factor has both ratios."""
    gate, part = sp.S.One, sp.S.One
    for factor in sp.Mul.make_args(product):
        if factor.has(r_i) and factor.has(r_j):
            return None
        gate, part = (gate * factor, part) if factor.has(r_i) else (gate, part * factor)
    return gate, part


def _without_pairs(gate: sp.Expr, part: sp.Expr, of_pairs: set[sp.Symbol]) -> list[tuple[sp.Expr, sp.Expr]]:
    """Return (gate, part) as several, with the numbers of pairs moved from a sum in the gate to the parts."""
    if not gate.free_symbols & of_pairs:
        return [(gate, part)]
    terms = []
    for term in sp.Add.make_args(sp.expand_mul(gate) if gate.is_Mul else gate):
        numbers, inner = term.as_independent(r_i, as_Add=False)
        terms.append((inner, numbers * part))
    return terms


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
    arguments : list of ndarray
        D, N and the parameters, all of the shape of the functions.
    used : Curves, optional
        What the template is a function of: the use of each ratio; the ratio itself where there is none.
    """

    template: Template
    arguments: list[Array]
    used: Curves | None = None

    @classmethod
    def of(
        cls, template: Template, arguments: Sequence[Any], shape: tuple[int, ...], used: Curves | None = None
    ) -> Curves:
        """Return the functions of a shape."""
        return cls(template, [np.broadcast_to(argument, shape) for argument in arguments], used)

    @cached_property
    def linear(self) -> bool:
        """Whether the second derivative is 0."""
        return self.used is None and self.template.whole and self.template.second[0] == 0

    def values(self, x: Array, at: Index) -> Array:
        """Return the functions that `at` names at x, in floating point."""
        x = x if self.used is None else self.used.values(x, at)
        with np.errstate(all="ignore"):
            (value,) = self.template.value(x, *(argument[at] for argument in self.arguments))
        return np.broadcast_to(value, np.broadcast_shapes(np.shape(x), self.arguments[0][at].shape))

    def slopes(self, x: Array, at: Index) -> tuple[Array, Array]:
        """Return the functions that `at` names and their slopes at x, in floating point; of none with a use."""
        shape = np.broadcast_shapes(np.shape(x), self.arguments[0][at].shape)
        with np.errstate(all="ignore"):
            value, slope = self.template.slopes(x, *(argument[at] for argument in self.arguments))
        return np.broadcast_to(value, shape), np.broadcast_to(slope, shape)

    def enclose(self, x: Interval, at: Index) -> Interval:
        """Return enclosures of the functions on x."""
        return self._enclose(self.template.exact.expression, self._of(x, at), at)

    def enclose_slopes(self, x: Interval, at: Index) -> Interval:
        """Return enclosures of the slopes on x, of both sides where they jump."""
        slope = self._enclose(self.template.exact.first[0], self._of(x, at), at)
        return slope if self.used is None else slope * self.used.enclose_slopes(x, at)

    def curvature(self, x: Interval, at: Index) -> Interval:
        """Return enclosures of the second derivative on x: all numbers where the slope may jump."""
        u = self._of(x, at)
        bent = self._curvature(u, at)
        if self.used is None:
            return bent
        # (t o u)'' = t''(u) u'^2 + t'(u) u''
        slope = self._enclose(self.template.exact.first[0], u, at)
        squares: Interval = self.used.enclose_slopes(x, at) ** 2
        bend: Interval = bent * squares + slope * self.used.curvature(x, at)
        return bend

    def _of(self, x: Interval, at: Index) -> Interval:
        """Return what the template is evaluated at: x, or the use there, which lies between its ends where it rises."""
        if self.used is None:
            return x
        whole, rises = self.used.enclose(x, at), self.used.enclose_slopes(x, at).lower >= 0
        first, last = (self.used.enclose(Interval(end, end), at) for end in (x.lower, x.upper))
        # the interval extension of the formula alone may reach below 0, where powers are not defined
        return Interval(
            np.where(rises, np.maximum(whole.lower, first.lower), whole.lower),
            np.where(rises, np.minimum(whole.upper, last.upper), whole.upper),
        )

    def _curvature(self, x: Interval, at: Index) -> Interval:
        """Return enclosures of the template's second derivative."""
        curvature = self._enclose(self.template.exact.second[0], x, at)
        if not self.template.kinked:
            return curvature
        pieces = self.template.pieces
        jumps = np.ones(curvature.lower.shape, dtype=bool)
        if pieces is not None:
            kink = self._enclose(pieces.kink, x, at)
            jumps = (kink.upper >= x.lower) & (kink.lower <= x.upper)
        return Interval(np.where(jumps, -np.inf, curvature.lower), np.where(jumps, np.inf, curvature.upper))

    def _enclose(self, expression: sp.Expr, x: Interval, at: Index) -> Interval:
        arguments = [Interval.enclosing(argument[at]) for argument in self.arguments]
        return enclosing(expression, self.template.arguments)(x, *arguments)


@dataclass(frozen=True, eq=False)
class JoinedCurves:
    """Functions of several forms, their targets end to end; the methods are those of :class:`Curves`.

    Parameters
    ----------
    each : tuple of Curves or None
        Of each form; None for 0.
    form, place : ndarray of int, (T,)
        The form of each target, and its index there.
    """

    each: tuple[Curves | None, ...]
    form: NDArray[np.intp]
    place: NDArray[np.intp]

    @cached_property
    def linear(self) -> bool:
        """Whether every second derivative is 0."""
        return all(curves is None or curves.linear for curves in self.each)

    def values(self, x: Array, at: Index) -> Array:
        """Return the functions that `at` names at x, in floating point."""
        (values,) = self._by_form(lambda curves, x, at: (curves.values(x[0], at),), (x,), at)
        return values

    def slopes(self, x: Array, at: Index) -> tuple[Array, Array]:
        """Return the functions that `at` names and their slopes at x, in floating point; of none with a use."""
        value, slope = self._by_form(lambda curves, x, at: curves.slopes(x[0], at), (x, x), at)
        return value, slope

    def enclose(self, x: Interval, at: Index) -> Interval:
        """Return enclosures of the functions on x."""
        return self._enclosed(Curves.enclose, x, at)

    def enclose_slopes(self, x: Interval, at: Index) -> Interval:
        """Return enclosures of the slopes on x, of both sides where they jump."""
        return self._enclosed(Curves.enclose_slopes, x, at)

    def curvature(self, x: Interval, at: Index) -> Interval:
        """Return enclosures of the second derivative on x: all numbers where the slope may jump."""
        return self._enclosed(Curves.curvature, x, at)

    def _enclosed(self, method: Callable[[Curves, Interval, Index], Interval], x: Interval, at: Index) -> Interval:
        def ends(curves: Curves, x: tuple[Array, ...], at: Index) -> tuple[Array, ...]:
            result = method(curves, Interval(x[0], x[1]), at)
            return result.lower, result.upper

        lower, upper = self._by_form(ends, (x.lower, x.upper), at)
        return Interval(lower, upper)

    def _by_form(
        self,
        evaluate: Callable[[Curves, tuple[Array, ...], Index], tuple[Array, ...]],
        x: tuple[Array, ...],
        at: Index,
    ) -> tuple[Array, ...]:
        """Return as many arrays as x has, evaluated form by form."""
        target, *source = at if isinstance(at, tuple) else (at,)
        target, *rest = np.broadcast_arrays(target, *source, *x)
        source, x = rest[: len(source)], tuple(rest[len(source) :])
        results = tuple(np.zeros(target.shape) for _ in x)
        for k, curves in enumerate(self.each):
            mine = self.form[target] == k
            if curves is not None and mine.any():
                here = self.place[target[mine]]
                values = evaluate(curves, tuple(a[mine] for a in x), (here, source[0][mine]) if source else here)
                for result, value in zip(results, values, strict=True):
                    result[mine] = value
        return results


Functions = Curves | JoinedCurves


@dataclass(frozen=True, eq=False)
class Separable:
    """z and the losses of all targets by functions of one number.

    Parameters
    ----------
    own : Curves or JoinedCurves, of (T,)
    gates : sequence of Curves or JoinedCurves, of (T,)
    parts : sequence of Curves or JoinedCurves, of (T, S)
    law : Curves or JoinedCurves, of (T,)
    """

    own: Functions
    gates: Sequence[Functions]
    parts: Sequence[Functions]
    law: Functions

    @classmethod
    def of(cls, responses: Sequence[Response]) -> Separable:
        """Return the decomposition of the responses of one or several forms; raises NoBoundError where one has none."""
        each = [_decomposition(response) for response in responses]
        if len(each) == 1:
            return cls(*each[0])
        sizes = [len(response.model.targets) for response in responses]
        form = np.repeat(np.arange(len(sizes)), sizes)
        place = np.concatenate([np.arange(size) for size in sizes])

        def joined(curves: Sequence[Curves | None]) -> Functions:
            return JoinedCurves(tuple(curves), form, place)

        # A form with fewer gates than another has gates and parts of 0.
        gates = zip_longest(*(of_form for _, of_form, _, _ in each))
        parts = zip_longest(*(of_form for _, _, of_form, _ in each))
        return cls(
            joined([own for own, *_ in each]),
            [joined(gate) for gate in gates],
            [joined(part) for part in parts],
            joined([law for *_, law in each]),
        )


def _decomposition(response: Response) -> tuple[Curves, list[Curves], list[Curves], Curves]:
    """Return own, gates, parts and the law of one form."""
    templates, model = response.model.templates, response.model
    terms, shape = decomposed(templates), (len(model.targets), len(model.sources))
    if terms is None:
        raise NoBoundError(
            f"the pair template of '{model.interaction.name}' is no sum of products of a function of r_i and one of "
            "r_j; declare it so, or use backend scip"
        )
    own, pair = _used(response, shape)
    return (
        Curves.of(templates.own, response.own_arguments, shape[:1], own),
        [Curves.of(gate, response.own_arguments, shape[:1], own) for gate, _ in terms],
        [Curves.of(part, response.pair_arguments, shape, pair) for _, part in terms],
        Curves.of(templates.loss, response.loss_arguments, shape[:1]),
    )


def _used(response: Response, shape: tuple[int, int]) -> tuple[Curves, Curves] | tuple[None, None]:
    """Return the use of each target's own source, (T,), and of each pair's source, (T, S); None where it is none."""
    template = response.model.templates.used
    if template is None:
        return None, None
    D, N, *values = response.use_arguments
    own = [D[..., 0], N[..., 0], *(response.of_own(value) for value in values)]
    return Curves.of(template, own, shape[:1]), Curves.of(template, response.use_arguments, shape)
