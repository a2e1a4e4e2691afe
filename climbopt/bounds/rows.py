"""The relaxation of a problem on a box with its nonlinear rows: the multipliers that suit it, and cuts.

A row c <= limit is affine in x, z and L. With the overestimators Z of z on the box it holds nowhere that

    x_part'x + z_part'(falls Z) + loss_part'L(falls Z) + constant <= limit

does not, where each z and loss stands in it from the side that Z bounds; what is on the left is convex. The
multipliers of the relaxed problem make the Lagrangian's relaxation on the box as high as that problem's optimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from climbopt.backends import Options
from climbopt.backends.slsqp import Slsqp
from climbopt.bounds.envelopes import Separable, envelopes
from climbopt.bounds.oracle import boxed
from climbopt.bounds.relaxable import Box, NoRelaxationError, Relaxable
from climbopt.polytope import Polytope
from climbopt.standard_form import MixtureEvaluation
from climbopt.templates import Array
from dataclasses import replace

ITERATIONS = 40
"""Of SLSQP on one relaxed problem."""
DECREASE = 1e-11
"""Change of its objective at which it stops."""
CUT_SLACK = 1e-9
"""What the limits of cuts are widened by, beyond what HiGHS and rounding are off by."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """The objective and nonlinear rows of a problem with overestimators of z in the place of z.

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
        """Return False: rows whose z or loss stands in them from the other side are not."""
        return False

    def multipliers(self, polytope: Polytope, start: Array) -> tuple[Array, Array] | None:
        """Return the relaxed problem's solution over a polytope, and its multipliers; None where none was found."""
        form = replace(self.problem.form, polytope=polytope, functions=self, start=start)
        solution = Slsqp().solve(form, Options(max_iterations=ITERATIONS, native={"ftol": DECREASE}))
        if solution.x is None or solution.multipliers is None or not np.isfinite(solution.multipliers.nonlinear).all():
            return None
        return np.clip(solution.x, polytope.x_lower, polytope.x_upper), solution.multipliers.nonlinear

    def cut(self, polytope: Polytope, x: Array, upper: float) -> Polytope:
        """Return a polytope with tangents at x: of the relaxed rows, and of the objective, which is to be <= upper."""
        at, form = self.at(x), self.problem.form
        slopes = np.vstack([at.jacobian, at.gradient])
        rest = np.append(at.rows, at.value) - slopes @ x
        below, above = self._sides
        high = np.where(np.append(above, True), np.append(form.c_upper, upper), np.inf) - rest
        low = np.where(np.append(below, False), np.append(form.c_lower, -np.inf), -np.inf) - rest
        used = np.isfinite(slopes).all(axis=1) & np.isfinite(rest) & (np.isfinite(high) | np.isfinite(low))
        slack = CUT_SLACK * (1 + np.abs(rest))
        made = Polytope(polytope.x_lower, polytope.x_upper, csr_array(np.vstack([polytope.dense, slopes[used]])),
                        np.append(polytope.a_lower, (low - slack)[used]),
                        np.append(polytope.a_upper, (high + slack)[used]))
        return made

    @cached_property
    def _sides(self) -> tuple[Array, Array]:
        """Whether the lower and the upper limit of each row are relaxed, (k,) each."""
        c, falls = self.problem.functions.constraints, self.problem.falls
        on_z, on_loss = c.z_part.toarray() * falls, c.loss_part.toarray()
        straight = self.problem.straight
        return (straight & (on_z >= 0).all(axis=1) & (on_loss <= 0).all(axis=1),
                straight & (on_z <= 0).all(axis=1) & (on_loss >= 0).all(axis=1))


def bounded(problem: Relaxable, x: Array, upper: float) -> Box:
    """Return the root box of a problem, its auxiliaries bounded by what the relaxed rows and the objective leave them.

    Raises
    ------
    NoRelaxationError
        Where they leave some variable without a bound, such as where no feasible point is known.
    """
    box = problem.root
    if np.isfinite(box.lower).all() and np.isfinite(box.upper).all():
        return box
    relaxed = Relaxed(problem, envelopes(problem, box, x).separable)
    lower, upper_ = relaxed.cut(boxed(problem.polytope, box.lower, box.upper), x, upper).implied_bounds
    if not (np.isfinite(lower).all() and np.isfinite(upper_).all()):
        raise NoRelaxationError("an auxiliary has no bounds")
    return Box(lower, upper_)


@dataclass(frozen=True, eq=False)
class RelaxedAt(MixtureEvaluation):
    """A relaxed problem at one x."""

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
