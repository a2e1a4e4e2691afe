"""The function that is bounded from below: f + multipliers'(c - limit), never above f where the rows hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from climbopt.certification.bounds.relaxable import Box, Relaxable, relaxable
from climbopt.certification.kkt import signed
from climbopt.model.mixture import Response
from climbopt.model.templates import Array
from climbopt.numerics.polytope import Polytope
from climbopt.program import MixtureFunctions, StandardForm


@dataclass(frozen=True, eq=False)
class Lagrangian:
    """x_part'x + z_part'z + loss_part'L + constant, where every loss and z is wanted from the side it is relaxed from.

    No feasible point of the problem has a larger Lagrangian than objective, so that a lower bound of the one is a
    lower bound of the other.

    Parameters
    ----------
    problem : Relaxable
    x_part, z_part, loss_part : ndarray, (n,), (T,), (T,)
    constant : float
    multipliers : ndarray, (k,)
        Of the nonlinear rows.
    """

    problem: Relaxable
    x_part: Array
    z_part: Array
    loss_part: Array
    constant: float
    multipliers: Array

    @property
    def functions(self) -> MixtureFunctions:
        """The problem's own functions."""
        return self.problem.functions

    @property
    def polytope(self) -> Polytope:
        """The bounds and linear rows of the problem."""
        return self.problem.polytope

    @property
    def response(self) -> Response:
        """The model at the cumulative budget."""
        return self.problem.response

    @property
    def falls(self) -> Array:
        """1 for targets whose z is bounded from above, -1 where from below, (T,)."""
        return self.problem.falls

    def cumulative(self, x: Array) -> Array:
        """Return the ratios of history and run for x."""
        return self.functions.cumulative(x)

    def at_ends(self, x: Array, box: Box) -> Array:
        """Return x with the auxiliaries that stand in no linear row where they are best in a box."""
        loose = ~self.polytope.dense.any(axis=0) & (np.arange(x.size) >= self.functions.offset.size)
        return np.where(loose, np.where(self.x_part < 0, box.upper, box.lower), x)


def lagrangian(problem: Relaxable | StandardForm, multipliers: Array) -> Lagrangian:
    """Return f + multipliers'(c - limit), each limit the one on the side that its multiplier's sign names.

    Multipliers of limits that do not exist, of rows that are not affine in x, z and L, and those with which a loss or
    z would be wanted from the side that it is not relaxed from, are taken as 0: any are valid.

    Raises
    ------
    NoRelaxationError
        Where the objective is not affine in x, z and L.
    """
    if isinstance(problem, StandardForm):
        problem = relaxable(problem)
    mu = _usable(problem, multipliers)
    table, limits = problem.functions.table, problem.form.nonlinear.named(mu)
    total = table.lagrangian(np.append(1.0, mu), np.append(0.0, limits))
    return Lagrangian(problem, *table.split(total), float(total[-1]), mu)


def _usable(problem: Relaxable, multipliers: Array) -> Array:
    """Return multipliers with those that are of no use set to 0."""
    table, falls = problem.functions.table, problem.falls
    mu = np.where(problem.straight, signed(problem.form, multipliers), 0.0)
    while True:
        _, on_z, on_loss = table.split(np.append(1.0, mu) @ table.dense)
        wrong_loss, wrong_z = on_loss < 0, falls * on_z > 0
        if not (wrong_loss.any() or wrong_z.any()):
            return mu
        _, by_z, by_loss = table.split(mu[:, None] * table.dense[1:])
        of_rows = (by_loss[:, wrong_loss] < 0).any(axis=1) | ((by_z * falls)[:, wrong_z] > 0).any(axis=1)
        mu = np.where(of_rows, 0.0, mu)
