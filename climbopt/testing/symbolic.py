"""Functions of a standard form declared in SymPy, for problems that are no mixtures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from climbopt.foundations.frozen import ByFields
from climbopt.model.templates import Array
from climbopt.model.translation import translate
from climbopt.numerics.polytope import Polytope
from climbopt.program import System

DIGITS = 17
"""Decimal digits that a number which is no fraction keeps in another system: those of a double."""


@dataclass(frozen=True, eq=False)
class SymbolicFunctions(ByFields):
    """f and c as SymPy expressions, derived symbolically and compiled to NumPy.

    Parameters
    ----------
    variables : tuple of sympy.Symbol, (n,)
    objective : sympy.Expr
    constraints : tuple of sympy.Expr, (k,)

    Examples
    --------
    >>> a, b = sp.symbols("a b")
    >>> SymbolicFunctions((a, b), a**2 * b, (a - b,)).at(np.array([2.0, 3.0])).gradient
    array([12.,  4.])
    """

    variables: tuple[sp.Symbol, ...]
    objective: sp.Expr
    constraints: tuple[sp.Expr, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of entries of c."""
        return len(self.constraints)

    def at(self, x: Array) -> SymbolicEvaluation:
        """Return the evaluation at x."""
        return SymbolicEvaluation(self, np.asarray(x, dtype=float))

    @cached_property
    def _multipliers(self) -> tuple[sp.Symbol, ...]:
        """Symbols for the factors of f and of each entry of c."""
        return tuple(sp.Dummy() for _ in range(1 + self.n_rows))

    @cached_property
    def lagrangian(self) -> sp.Expr:
        """The sum of f and c, each with its factor."""
        return sum(
            factor * part for factor, part in zip(self._multipliers, (self.objective, *self.constraints), strict=True)
        )

    @cached_property
    def compiled(self) -> tuple[Callable[..., Any], ...]:
        """NumPy functions of x: f, its gradient, c, its Jacobian; and of (x, factors): the Lagrangian's Hessian."""
        x = list(self.variables)
        slopes = [[sp.diff(part, variable) for variable in x] for part in (self.objective, *self.constraints)]
        of_x = [
            sp.lambdify([x], what, modules="numpy", cse=True)
            for what in (self.objective, slopes[0], list(self.constraints), slopes[1:])
        ]
        hessian = sp.hessian(self.lagrangian, x).tolist()
        return (*of_x, sp.lambdify([x, list(self._multipliers)], hessian, modules="numpy", cse=True))

    def convex(self, polytope: Polytope, multipliers: Array) -> bool:
        """Return whether f + multipliers'c is proved convex: its Hessian is constant and, exactly, semidefinite."""
        factors = dict(zip(self._multipliers, (1, *map(sp.Rational, multipliers.tolist())), strict=True))
        # Multipliers as exact fractions: floating point would leave semidefinite matrices undecided.
        hessian = sp.hessian(sp.expand(self.lagrangian.subs(factors)), list(self.variables))
        return not hessian.free_symbols and hessian.is_positive_semidefinite is True

    def build(self, x: Sequence[Any], system: System) -> tuple[Any, list[Any]]:
        """Return f and c of another system's scalars."""
        values = dict(zip(self.variables, x, strict=True))
        f, *c = (
            # Irrational constants such as sqrt(3) become numbers, which every system has.
            translate(sp.N(part, DIGITS), values, system.functions)
            for part in (self.objective, *self.constraints)
        )
        return f, c


@dataclass(frozen=True, eq=False)
class SymbolicEvaluation:
    """Symbolic functions and derivatives at one x; NaN where they are not defined."""

    functions: SymbolicFunctions
    x: Array

    def _evaluated(self, which: int, *arguments: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.array(self.functions.compiled[which](self.x, *arguments), dtype=float)

    @property
    def value(self) -> float:
        """f(x)."""
        return float(self._evaluated(0))

    @property
    def gradient(self) -> Array:
        """Gradient of f, (n,)."""
        return self._evaluated(1)

    @property
    def rows(self) -> Array:
        """c(x), (k,)."""
        return self._evaluated(2)

    @property
    def jacobian(self) -> Array:
        """Jacobian of c, (k, n)."""
        return self._evaluated(3).reshape(-1, self.x.size)

    def hessian(self, weight: float, multipliers: Array) -> Array:
        """Return weight * Hess f + sum_i multipliers_i Hess c_i, (n, n)."""
        return self._evaluated(4, np.append(weight, multipliers))
