"""A problem with its nonlinear rows, relaxed on a box: the multipliers that are best there, and cuts.

A row c <= limit is affine in x, z and L. Where each z and loss stands in it from the side that the envelopes Z are on,

    x_part'x + z_part'(falls Z) + loss_part'L(falls Z) + constant <= limit

is convex and holds wherever the row does; so do its tangents, which are linear. The multipliers of the problem with
these rows make its Lagrangian's relaxation as high as its own optimum; any others are valid, so that no solver's word
is needed for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from climbopt.backends import Options
from climbopt.backends.slsqp import Slsqp
from climbopt.certification.bounds.envelopes import Separable, envelopes
from climbopt.certification.bounds.oracle import boxed
from climbopt.certification.bounds.relaxable import Box, NoRelaxationError, Relaxable
from climbopt.model.templates import Array
from climbopt.numerics.polytope import Mask, Polytope
from climbopt.program import MixtureEvaluation, Rows

ITERATIONS = 40
"""Of SLSQP on one relaxed problem."""
DECREASE = 1e-11
"""Change of the objective at which it stops."""
WIDER = 1e-9
"""What cuts' limits are widened by, relative to their size or 1: more than what rounding and HiGHS are off by."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """The objective and nonlinear rows of a problem with falls Z in the place of z.

    Parameters
    ----------
    problem : Relaxable
    separable : Separable
        Z.
    """

    problem: Relaxable
    separable: Separable

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.problem.functions.n_rows

    def at(self, x: Array) -> RelaxedAt:
        """Return the evaluation at x."""
        return RelaxedAt(self.problem.functions, np.asarray(x, dtype=float), self)

    def convex(self, polytope: Polytope, multipliers: Array) -> bool:
        """Return False: rows in which a z or loss stands from the other side are not."""
        return False

    def solution(self, polytope: Polytope, start: Array) -> tuple[Array, Array] | None:
        """Return the point and the multipliers that SLSQP comes to over a polytope; None where they are no numbers."""
        start = np.clip(start, polytope.bounds.lower, polytope.bounds.upper)
        form = replace(self.problem.form, polytope=polytope, functions=self, start=start)
        found = Slsqp().solve(form, Options(max_iterations=ITERATIONS, native={"ftol": DECREASE}))
        if found.x is None or found.multipliers is None or not np.isfinite(found.multipliers.nonlinear).all():
            return None
        return np.clip(found.x, polytope.bounds.lower, polytope.bounds.upper), found.multipliers.nonlinear

    def cut(self, polytope: Polytope, x: Array, upper: float) -> Polytope:
        """Return a polytope with tangents at x: of the relaxed rows, and of the objective, which is at most `upper`."""
        at, form, (below, above) = self.at(x), self.problem.form, self._sides
        slopes = np.vstack([at.jacobian, at.gradient])
        rest = np.append(at.rows, at.value) - slopes @ x
        high = np.append(np.where(above, form.nonlinear.upper, np.inf), upper) - rest
        low = np.append(np.where(below, form.nonlinear.lower, -np.inf), -np.inf) - rest
        used = np.isfinite(slopes).all(axis=1) & np.isfinite(rest) & (np.isfinite(high) | np.isfinite(low))
        slack = WIDER * (1 + np.abs(rest))
        return Polytope(
            polytope.bounds,
            csr_array(np.vstack([polytope.dense, slopes[used]])),
            polytope.rows + Rows((low - slack)[used], (high + slack)[used]),
        )

    @cached_property
    def _sides(self) -> tuple[Mask, Mask]:
        """Whether the lower and the upper limit of each row are relaxed, (k,) each."""
        problem, parts = self.problem, self.problem.functions.table.parts
        on_z, on_loss = parts.z[1:] * problem.falls, parts.loss[1:]
        return (
            problem.straight & (on_z >= 0).all(axis=1) & (on_loss <= 0).all(axis=1),
            problem.straight & (on_z <= 0).all(axis=1) & (on_loss >= 0).all(axis=1),
        )


@dataclass(frozen=True, eq=False)
class RelaxedAt(MixtureEvaluation):
    """A relaxed problem at one x: values and first derivatives."""

    relaxed: Relaxed

    @cached_property
    def _z_first_order(self) -> tuple[Array, Array]:
        falls = self.relaxed.problem.falls
        z, jacobian = self.relaxed.separable.slopes(self.cumulative)
        return falls * z, falls[:, None] * jacobian

    @property
    def z(self) -> Array:
        """falls Z, (T,)."""
        return self._z_first_order[0]

    def hessian(self, weight: float, multipliers: Array) -> Array:
        """Raise: SLSQP asks for none."""
        raise NotImplementedError


def root_box(problem: Relaxable, x: Array, upper: float) -> Box:
    """Return the bounds of a problem's points that are no worse than `upper`, all finite.

    Those of auxiliaries come from what tangents at x of the relaxed rows and of the objective leave them.

    Raises
    ------
    NoRelaxationError
        Where they leave an auxiliary unbounded.
    """
    root = problem.root
    if not np.isfinite(root.width).all():
        polytope = boxed(problem.polytope, root.lower, root.upper)
        lower, high = Relaxed(problem, envelopes(problem, root, x).separable).cut(polytope, x, upper).implied_bounds
        root = Box(np.maximum(root.lower, lower), np.minimum(root.upper, high))
    if not np.isfinite(root.width).all():
        names = [name for name, width in zip(problem.form.variables, root.width, strict=True) if not np.isfinite(width)]
        raise NoRelaxationError(
            f"nothing bounds the auxiliary '{names[0]}': no mixture is known that meets the "
            "nonlinear constraints; widen one of them"
        )
    return root
