"""The relaxed problem as functions for newton, and the bound that any point of it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from climbopt.bounds.relaxation import Relaxable, Separable
from climbopt.polytope import Polytope
from climbopt.templates import Array

ROUNDING = 16 * np.finfo(float).eps
"""Relative error allowed for the sums in a bound."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """f = x_part'x + loss_part'law(Z) + z_part'(wanted Z) + constant, convex on its box.

    Parameters
    ----------
    relaxable : Relaxable
    separable : Separable
    """

    relaxable: Relaxable
    separable: Separable

    @property
    def n_rows(self) -> int:
        """No rows."""
        return 0

    def at(self, x: Array) -> _At:
        """Return the evaluation at x."""
        return _At(self, np.asarray(x, dtype=float))

    def convex(self, polytope: Polytope, multipliers: Array) -> bool:
        """Return True: it is convex by construction on the box that it was made for."""
        return True


@dataclass(frozen=True, eq=False)
class _At:
    """The relaxed function at one x."""

    functions: Relaxed
    x: Array

    @cached_property
    def _rho(self) -> Array:
        return self.functions.relaxable.cumulative(self.x)

    @cached_property
    def _first(self) -> tuple[Array, Array]:
        return self.functions.separable.slopes(self._rho)

    @cached_property
    def _loss(self) -> tuple[Array, Array]:
        known = self.__dict__.get("_first")
        z = self.functions.separable.values(self._rho) if known is None else known[0]
        return self.functions.relaxable.response.losses_and_slopes(z)

    @cached_property
    def value(self) -> float:
        relaxable = self.functions.relaxable
        total = float(relaxable.x_part @ self.x) + relaxable.constant
        if relaxable.z_part.any():
            total += float((relaxable.z_part * relaxable.wanted) @ self._first[0])
        if relaxable.loss_part.any():
            on = relaxable.loss_part != 0
            total += float(relaxable.loss_part[on] @ self._loss[0][on])
        return total

    @cached_property
    def _by_z(self) -> Array:
        relaxable = self.functions.relaxable
        by_z = relaxable.z_part * relaxable.wanted
        if relaxable.loss_part.any():
            by_z = by_z + np.where(relaxable.loss_part != 0, relaxable.loss_part * self._loss[1], 0.0)
        return np.asarray(by_z)

    @cached_property
    def gradient(self) -> Array:
        relaxable = self.functions.relaxable
        gradient = np.array(relaxable.x_part)
        gradient[: self._rho.size] += relaxable.functions.scale * (self._by_z @ self._first[1])
        return gradient

    @property
    def rows(self) -> Array:
        return np.zeros(0)

    @property
    def jacobian(self) -> Array:
        return np.zeros((0, self.x.size))

    def hessian(self, weight: float, multipliers: Array) -> Array:
        relaxable, (z, jacobian) = self.functions.relaxable, self._first
        n, scale = self._rho.size, weight * relaxable.functions.scale**2
        hessian = np.zeros((self.x.size, self.x.size))
        if relaxable.loss_part.any():
            q = np.where(relaxable.loss_part != 0, relaxable.loss_part * relaxable.response.loss_curvatures(z), 0.0)
            hessian[:n, :n] = scale * ((jacobian.T * q) @ jacobian)
        hessian[np.arange(n), np.arange(n)] += scale * self.functions.separable.curvature(self._rho, self._by_z)
        return hessian


def frank_wolfe(value: float, gradient: Array, x: Array, polytope: Polytope) -> float:
    """Return a number that a convex function with this value and gradient at x is nowhere below on a polytope."""
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        return -np.inf
    least, y = polytope.linear_minimum(gradient)
    if not np.isfinite(least):
        return -np.inf
    terms = np.abs(gradient) @ (np.abs(x) + np.abs(y)) + abs(value)
    return float(value + (least - gradient @ x) - ROUNDING * terms)


LeastOf = Callable[[Array], float]
