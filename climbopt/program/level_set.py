"""The least and the largest of one ratio where the objective stays below a level: a standard form from another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from climbopt.model.templates import Array
from climbopt.numerics.polytope import Label, Polytope, Rows
from climbopt.program.standard_form import Algebraic, Evaluation, Functions, StandardForm, System


def extreme(form: StandardForm, j: int, sign: int, level: float) -> StandardForm:
    """Return min sign * x_j over the points of a form whose objective is at most `level`.

    The objective becomes the last nonlinear row, ``level``.
    """
    direction = np.zeros(form.n)
    direction[j] = sign
    return replace(
        form,
        functions=LevelSet(form.functions, direction),
        nonlinear=form.nonlinear
        + Rows(np.full(1, -np.inf), np.full(1, level), (Label("level", unit="unit of the objective"),)),
    )


@dataclass(frozen=True, eq=False)
class LevelSet:
    """direction'x as the objective; the rows and then the objective of other functions as rows.

    Parameters
    ----------
    inner : Functions
    direction : ndarray, (n,)
    """

    inner: Functions
    direction: Array

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.inner.n_rows + 1

    def at(self, x: Array) -> _LevelSetAt:
        """Return the evaluation at x."""
        return _LevelSetAt(self.inner.at(x), np.asarray(x, dtype=float), self.direction)

    def convex(self, polytope: Polytope, multipliers: Array) -> bool:
        """Return whether multipliers'c is proved convex, from what is proved of the inner objective and rows."""
        on_objective, others = float(multipliers[-1]), multipliers[:-1]
        if on_objective == 0 and not others.any():
            return True
        # u f + v'c is u (f + (v / u)'c), and u > 0 keeps convexity
        return on_objective > 0 and self.inner.convex(polytope, others / on_objective)

    def build(self, x: Sequence[Any], system: System) -> tuple[Any, list[Any]]:
        """Return objective and rows of another system's scalars."""
        if not isinstance(self.inner, Algebraic):
            raise TypeError("the inner functions cannot be written out")
        objective, rows = self.inner.build(x, system)
        # The direction is a signed unit vector.
        j = int(np.flatnonzero(self.direction)[0])
        return float(self.direction[j]) * x[j], [*rows, objective]


@dataclass(frozen=True, eq=False)
class _LevelSetAt:
    """The evaluation of a level set at x."""

    inner: Evaluation
    x: Array
    direction: Array

    @property
    def value(self) -> float:
        # outside the domain the row is NaN: the point is no candidate
        return float(self.direction @ self.x) if np.isfinite(self.inner.value) else float("nan")

    @property
    def gradient(self) -> Array:
        return self.direction

    @property
    def rows(self) -> Array:
        return np.append(self.inner.rows, self.inner.value)

    @property
    def jacobian(self) -> Array:
        return np.vstack([self.inner.jacobian, self.inner.gradient])

    def hessian(self, weight: float, multipliers: Array) -> Array:
        # The new objective is linear: only the rows, of which the level is the last, have curvature.
        return self.inner.hessian(float(multipliers[-1]), multipliers[:-1])
