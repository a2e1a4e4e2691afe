"""StandardForm: what every backend takes, always a minimisation.

    min f(x)   s.t.  lower <= (x, A x, c(x)) <= upper

x is the ratios r, or r followed by auxiliaries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from climbopt.model.templates import Array
from climbopt.numerics.polytope import Polytope, Rows
from climbopt.numerics.quadratic import project

ACTIVE = 1e-7
"""A limit nearer than this is active, in the row's own unit."""


class Evaluation(Protocol):
    """Functions and derivatives of a standard form at one x, computed on access."""

    @property
    def value(self) -> float:
        """f(x); NaN outside the domain."""

    @property
    def gradient(self) -> Array:
        """Gradient of f, (n,)."""

    @property
    def rows(self) -> Array:
        """c(x), (k,)."""

    @property
    def jacobian(self) -> Array:
        """Jacobian of c, (k, n)."""

    def hessian(self, weight: float, multipliers: Array) -> Array:
        """Return weight * Hess f + sum_i multipliers_i Hess c_i, (n, n), symmetric."""


class Functions(Protocol):
    """The nonlinear functions f and c of a standard form."""

    @property
    def n_rows(self) -> int:
        """Number of entries of c."""

    def at(self, x: Array) -> Evaluation:
        """Return their evaluation at x, (n,)."""

    def convex(self, polytope: Polytope, multipliers: Array) -> bool:
        """Return whether f + multipliers'c is proved convex on a polytope."""


class System(Protocol):
    """What writing functions in another modelling system needs of it."""

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """Its exp, log and sqrt of a scalar, by name."""

    def define(self, expression: Any, name: str) -> Any:
        """Return an expression as a named part of larger ones, so that the system stores it once."""


@runtime_checkable
class Algebraic(Protocol):
    """Functions that can be written out in another modelling system, which derives its own derivatives."""

    def build(self, x: Sequence[Any], system: System) -> tuple[Any, list[Any]]:
        """Return f and c of another system's scalars."""


@dataclass(frozen=True, eq=False)
class StandardForm:
    """min f(x) over a polytope with nonlinear rows; names refer to the user's constraints.

    Parameters
    ----------
    variables : tuple of str
        Names of x, (n,); the first `n_ratios` are the sources.
    polytope : Polytope
        Bounds and linear rows.
    functions : Functions
        f and c.
    nonlinear : Rows
        Limits of c(x).
    n_ratios : int
        Number of entries of x that are ratios.
    start : ndarray, (n,)
        Where a cold solve begins: inside every bound that can be strict.
    complete : callable
        Returns x, (n,), for ratios, (n_ratios,), with the optimal auxiliaries.
    excess_of : tuple of int
        Sources of the auxiliaries directly after the ratios, each the excess of a ratio over a kink of z.
    kinked : bool
        Whether first derivatives may jump from one x to the next.
    """

    variables: tuple[str, ...]
    polytope: Polytope
    functions: Functions
    nonlinear: Rows
    n_ratios: int
    start: Array
    complete: Callable[[Array], Array] = np.asarray
    excess_of: tuple[int, ...] = ()
    kinked: bool = False

    @property
    def n(self) -> int:
        """Number of variables."""
        return len(self.variables)

    @cached_property
    def limits(self) -> Rows:
        """Bounds, linear rows and nonlinear rows, concatenated."""
        return self.polytope.bounds + self.polytope.rows + self.nonlinear

    @cached_property
    def has_nonlinear_rows(self) -> bool:
        """Whether c has rows other than those that keep z in its domain."""
        return not all(label.domain for label in self.nonlinear.labels)

    def nearest(self, x: Array) -> Array:
        """Return the ratios nearest to those of x that meet all linear rows, with the optimal auxiliaries.

        Raises
        ------
        EmptyPolytopeError, ArithmeticError
            Where there is no such point, or the projection did not settle.
        """
        # Auxiliaries are recomputed from the projected ratios, so that they are optimal and feasible for them.
        return self.complete(project(x, self.polytope)[: self.n_ratios])

    def slopes(self, ratios: Array) -> Array:
        """Return df/dr, (n_ratios,), where auxiliaries that are not excesses do not change."""
        x = self.complete(ratios)
        gradient, n = self.functions.at(x).gradient, self.n_ratios
        slopes = gradient[:n].copy()
        for k, j in enumerate(self.excess_of, n):
            # chain rule: above its kink an excess grows with its ratio, d u / d r = 1
            slopes[j] += gradient[k] if x[k] > 0 else 0.0
        return slopes

    def from_start(self, start: Array) -> StandardForm:
        """Return the form with another start."""
        return replace(self, start=np.asarray(start, dtype=float))
