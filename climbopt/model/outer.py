"""Outer functions: the parts of objectives and constraints that are not affine in ratios, z and losses.

A function of the problem is affine in y = (r, z, L) plus, at most, one outer function g of a few entries of y,
whose derivatives by those entries are exact; the chain rule through z(r) and L(z) is the standard form's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import Any

import numpy as np
import sympy as sp

from climbopt.foundations.errors import InputError
from climbopt.model.expressions import L, entry
from climbopt.model.mixture import Indices, without_warnings
from climbopt.model.templates import Array
from climbopt.model.translation import translate
from climbopt.numerics.intervals import Interval, UnsupportedFunctionError

MOST_SECOND_DERIVATIVES = 20_000
"""Nonzero second derivatives of one expression that are derived symbolically."""


@dataclass(frozen=True, eq=False)
class Expression:
    """A SymPy expression of quantities, derived term by term.

    Raises
    ------
    InputError
        Where it contains anything but quantities and numbers, or has too many second derivatives.
    """

    expression: sp.Expr

    def __post_init__(self) -> None:
        for symbol in self.entries:
            entry(symbol)

    @cached_property
    def entries(self) -> tuple[sp.Symbol, ...]:
        """The quantities in it, by name."""
        return tuple(sorted(self.expression.free_symbols, key=str))

    @cached_property
    def _derivatives(self) -> tuple[list[sp.Expr], dict[tuple[int, int], sp.Expr]]:
        """First derivatives, and the nonzero second ones of the lower triangle."""
        index = {symbol: position for position, symbol in enumerate(self.entries)}
        first: list[list[sp.Expr]] = [[] for _ in index]
        second: dict[tuple[int, int], list[sp.Expr]] = {}
        # Term by term, so that the cost follows the couplings present and not the square of all entries.
        for term in sp.Add.make_args(self.expression):
            # A term contributes to the entries of its own symbols only; sums of terms are formed at the end.
            for symbol in sorted(term.free_symbols, key=str):
                slope = sp.diff(term, symbol)
                first[index[symbol]].append(slope)
                for other in sorted(slope.free_symbols, key=str):
                    # The Hessian is symmetric: the lower triangle determines it.
                    if index[other] <= index[symbol]:
                        second.setdefault((index[symbol], index[other]), []).append(sp.diff(slope, other))
                if len(second) > MOST_SECOND_DERIVATIVES:
                    raise InputError(
                        f"the expression has more than {MOST_SECOND_DERIVATIVES} second derivatives; "
                        "let it couple fewer languages"
                    )
        return [sp.Add(*terms) for terms in first], {key: sp.Add(*terms) for key, terms in second.items()}

    @cached_property
    def _places(self) -> tuple[Indices, Indices]:
        """Rows and columns of the nonzero second derivatives of the lower triangle."""
        keys = np.array(list(self._derivatives[1]), dtype=np.intp).reshape(-1, 2)
        return keys[:, 0], keys[:, 1]

    @cached_property
    def _compiled(self) -> list[Callable[..., Any]]:
        """Value, first and second derivatives as NumPy functions of the entries."""
        first, second = self._derivatives
        formulas = (self.expression, first, list(second.values()))
        return [sp.lambdify(self.entries, formula, modules=["numpy", "scipy"], cse=True) for formula in formulas]

    @without_warnings
    def value(self, y: Array) -> Array:
        """Return g, (..., k) to (...)."""
        return np.asarray(self._compiled[0](*np.moveaxis(y, -1, 0)), dtype=float)

    @without_warnings
    def gradient(self, y: Array) -> Array:
        """Return the derivatives by each entry, (k,)."""
        return np.array(self._compiled[1](*y), dtype=float)

    @without_warnings
    def hessian(self, y: Array) -> Array:
        """Return the second derivatives, (k, k)."""
        result = np.zeros((y.size, y.size))
        rows, columns = self._places
        result[rows, columns] = result[columns, rows] = np.array(self._compiled[2](*y), dtype=float)
        return result

    def shape(self, y: Interval, sign: int) -> Interval | None:
        """Return enclosures of sign * gradient where the Hessian is proved diagonally dominant; else None."""
        entries = [Interval(low, high) for low, high in zip(y.lower, y.upper, strict=True)]
        try:
            slopes, curvatures = (
                [Interval.enclosing(sign * value) for value in function(*entries)] for function in self._compiled[1:]
            )
        # A function without an interval form: nothing is proved, which is a valid answer.
        except UnsupportedFunctionError:
            return None
        # Gershgorin: a symmetric matrix with H_ii >= sum_j |H_ij| is positive semidefinite. Sums are rounded upwards.
        diagonal, around = np.zeros(len(entries)), np.zeros(len(entries))
        for i, j, curvature in zip(*self._places, curvatures, strict=True):
            # Largest |H_ij| over the box; the diagonal enters by its lower end.
            size = max(abs(float(curvature.lower)), abs(float(curvature.upper)))
            if i == j:
                diagonal[i] = float(curvature.lower)
            else:
                around[[i, j]] = np.nextafter(around[[i, j]] + size, np.inf)
        if not (diagonal >= around).all():
            return None
        return Interval(np.array([float(s.lower) for s in slopes]), np.array([float(s.upper) for s in slopes]))

    def build(self, y: list[Any], functions: Mapping[str, Callable[..., Any]]) -> Any:
        """Return the expression of another system's scalars."""
        return translate(self.expression, dict(zip(self.entries, y, strict=True)), functions)


@dataclass(frozen=True, eq=False)
class PowerMean:
    """(sum_i w_i (L_i / reference_i)^p)^(1/p), p >= 1: the weighted mean at 1, towards the largest as p grows.

    Parameters
    ----------
    targets : tuple of str
    weights, references : ndarray, (n_targets,)
        Weights sum to 1.
    power : float
    """

    targets: tuple[str, ...]
    weights: Array
    references: Array
    power: float

    @cached_property
    def entries(self) -> tuple[sp.Symbol, ...]:
        """The losses."""
        return tuple(L[target] for target in self.targets)

    def value(self, y: Array) -> Array:
        """Return g, (..., k) to (...); NaN where a loss is below 0."""
        # Scaled by the largest share, so that no power overflows.
        share = np.where(y > 0, y, np.nan) / self.references
        largest = share.max(axis=-1)
        total = (self.weights * (share / largest[..., None]) ** self.power).sum(axis=-1)
        return np.asarray(largest * total ** (1 / self.power))

    def _slopes(self, y: Array) -> tuple[Array, Array, float]:
        """Return the slopes by each loss, each loss's share of the mean, and the mean."""
        mean = float(self.value(y))
        share = y / self.references / mean
        # dM/dL_i = w_i (L_i / (reference_i M))^(p - 1) / reference_i.
        return self.weights * share ** (self.power - 1) / self.references, share, mean

    def gradient(self, y: Array) -> Array:
        """Return the derivatives by each loss, (k,)."""
        return self._slopes(y)[0]

    def hessian(self, y: Array) -> Array:
        """Return the second derivatives, (k, k)."""
        slopes, share, mean = self._slopes(y)
        curvature = np.diag(slopes / (share * self.references)) - np.outer(slopes, slopes)
        # d2M = (p - 1) / M (diag(M slope_i / L_i) - slope slope').
        return np.asarray((self.power - 1) / mean * curvature)

    def shape(self, y: Interval, sign: int) -> Interval | None:
        """Return [0, inf] for every slope: a norm of losses above 0 is convex and rises with each of them."""
        # -g is concave; and a loss of 0 or less is outside the domain of the power.
        if sign < 0 or not bool((y.lower > 0).all()):
            return None
        return Interval.of(np.zeros(len(self.targets)), np.inf)

    def supports(self, slopes: Array) -> bool:
        """Return whether slopes, (n_targets,), are proved >= 0 and of dual norm 1 at most: slopes @ L <= g(L), L >= 0.

        Hoelder's inequality: sum_i w_i (slope_i reference_i / w_i)^q <= 1 with 1/p + 1/q = 1.
        """
        if slopes.shape != self.weights.shape or not (slopes >= 0).all():
            return False
        share = Interval.enclosing(slopes) * self.references / self.weights
        if self.power == 1:
            return bool((share.upper <= 1).all())
        power = Interval.enclosing(self.power)
        terms: Interval = Interval.enclosing(self.weights) * share ** (power / (power - 1.0))
        return bool(terms.sum(0).upper <= 1)

    def build(self, y: list[Any], functions: Mapping[str, Callable[..., Any]]) -> Any:
        """Return the mean of another system's scalars."""
        terms = [
            float(w) * (loss / float(reference)) ** self.power
            for w, reference, loss in zip(self.weights, self.references, y, strict=True)
        ]
        return reduce(add, terms) ** (1 / self.power)


Outer = Expression | PowerMean
"""A twice differentiable function g of ratios, z and losses."""
