"""The functions of a mixture problem: f and c affine in (x, z(r), L(z(r))), some with an outer function added.

One Jacobian of z and one weighted sum of Hessians of z give every derivative; algebraic backends read the same
coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from climbopt.model.convexity import Proofs
from climbopt.model.mixture import Response
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval
from climbopt.numerics.polytope import Polytope, Rows
from climbopt.program.parts import Affine, Combination, Placed
from climbopt.program.standard_form import System
from climbopt.program.written import written_out


@dataclass(frozen=True, eq=False)
class MixtureFunctions:
    """f and c of a mixture problem: affine in x, z and L but for outer functions, with z at offset + scale r.

    Parameters
    ----------
    response : Response
        The model at the cumulative budget, with the targets that f and c depend on.
    offset : ndarray, (S,)
    scale : float
        Cumulative ratios are offset + scale r.
    objective : Combination
    constraints : Affine
        Functions of the n variables, of which the first S are r.
    curved_rows : mapping of int to Placed
        What is added to some of the constraints.
    n_excesses : int
        How many of the S, the last, are excesses of others over a kink.
    """

    response: Response
    offset: Array
    scale: float
    objective: Combination
    constraints: Affine
    curved_rows: Mapping[int, Placed] = field(default_factory=dict)
    n_excesses: int = 0

    @property
    def n_rows(self) -> int:
        """Number of entries of c."""
        return len(self.constraints.constant)

    def cumulative(self, x: Array) -> Array:
        """Return the ratios of history and run together, (S,), for variables (n,)."""
        return np.asarray(self.offset + self.scale * x[: self.offset.size])

    def at(self, x: Array) -> MixtureEvaluation:
        """Return the evaluation at x."""
        return MixtureEvaluation(self, np.asarray(x, dtype=float))

    def proofs(self, polytope: Polytope) -> Proofs:
        """Return what can be proved of the model over the box of a polytope."""
        upper = self.cumulative(polytope.bounds.upper)
        most = 1.0 + float(upper[upper.size - self.n_excesses :].sum())
        return Proofs(self.response, self.cumulative(polytope.bounds.lower), upper, most)

    @property
    def reads_losses(self) -> bool:
        """Whether f or c depends on a loss."""
        first_loss = self.objective.x_part.size + len(self.response.model.targets)
        curved = [*self.curved_rows.values(), *([self.objective.curved] if self.objective.curved else [])]
        return (
            bool(self.objective.loss_part.any())
            or self.constraints.uses_loss
            or any((placed.positions >= first_loss).any() for placed in curved)
        )

    def convex(self, polytope: Polytope, multipliers: Array) -> bool:
        """Return whether f + multipliers'c is proved convex: losses and z enter with signs that keep them so."""
        f, c = self.objective, self.constraints
        on_loss = f.loss_part + (c.loss_part.T @ multipliers if self.n_rows else 0.0)
        on_z = f.z_part + (c.z_part.T @ multipliers if self.n_rows else 0.0)
        proofs = self.proofs(polytope)
        losses = not on_loss.any() or (bool((on_loss >= 0).all()) and proofs.losses_convex)
        if not (losses and (not on_z.any() or proofs.z_affine or (bool((on_z <= 0).all()) and proofs.z_concave))):
            return False
        return all(
            self._proved_convex(placed, int(np.sign(weight)), polytope, proofs)
            for placed, weight in self.curved(1.0, multipliers)
        )

    def convex_one_by_one(self, polytope: Polytope, limits: Rows) -> bool:
        """Return whether f is proved convex, and each row on the sides that have a limit.

        Where z is not affine, each of them then falls or rises with z as that needs.
        """
        if not self.convex(polytope, np.zeros(self.n_rows)):
            return False
        f = self.objective
        rows = replace(self, objective=Combination(0 * f.x_part, 0 * f.z_part, 0 * f.loss_part))
        units = np.eye(self.n_rows)
        return all(rows.convex(polytope, units[k]) for k in np.flatnonzero(np.isfinite(limits.upper))) and all(
            rows.convex(polytope, -units[k]) for k in np.flatnonzero(np.isfinite(limits.lower))
        )

    def curved(self, weight: float, multipliers: Array) -> list[tuple[Placed, float]]:
        """Return the outer functions in weight * f + multipliers'c, each with its factor, where that is not 0."""
        parts = [] if self.objective.curved is None else [(self.objective.curved, weight)]
        parts += [(placed, float(multipliers[row])) for row, placed in self.curved_rows.items()]
        return [(placed, factor) for placed, factor in parts if factor != 0]

    def _proved_convex(self, placed: Placed, sign: int, polytope: Polytope, proofs: Proofs) -> bool:
        """Whether sign * g(x, z, L) is proved convex: g is, and bends the way of each entry that is not affine."""
        n, n_targets = self.objective.x_part.size, len(self.response.model.targets)
        losses = proofs.loss_range
        box = Interval(
            np.concatenate(
                [polytope.bounds.lower, np.full(n_targets, self.response.model.law.end_of_domain), losses.lower]
            ),
            np.concatenate([polytope.bounds.upper, np.full(n_targets, np.inf), losses.upper]),
        )
        at = placed.positions
        slopes = placed.outer.shape(Interval(box.lower[at], box.upper[at]), sign)
        if slopes is None:
            return False
        on_z, on_loss = (at >= n) & (at < n + n_targets), at >= n + n_targets
        return bool(
            (not on_loss.any() or (proofs.losses_convex and (slopes.lower[on_loss] >= 0).all()))
            and (not on_z.any() or proofs.z_affine or (proofs.z_concave and (slopes.upper[on_z] <= 0).all()))
        )

    def build(self, x: Sequence[Any], system: System) -> tuple[Any, list[Any]]:
        """Return f and c of another system's scalars."""
        return written_out(self, x, system)


@dataclass(frozen=True, eq=False)
class MixtureEvaluation:
    """The functions of a mixture problem at one x; each part is computed once, when asked for."""

    functions: MixtureFunctions
    x: Array

    @cached_property
    def cumulative(self) -> Array:
        """Ratios of history and run together, (S,)."""
        return self.functions.cumulative(self.x)

    @cached_property
    def z(self) -> Array:
        """z of each target, (T,)."""
        known = self.__dict__.get("_z_first_order")
        return self.functions.response.z(self.cumulative) if known is None else known[0]

    @cached_property
    def losses(self) -> Array:
        """Loss of each target, (T,)."""
        known = self.__dict__.get("_loss_first_order")
        return self.functions.response.losses(self.z) if known is None else known[0]

    @cached_property
    def _z_first_order(self) -> tuple[Array, Array]:
        return self.functions.response.z_and_jacobian(self.cumulative)

    @cached_property
    def _loss_first_order(self) -> tuple[Array, Array]:
        return self.functions.response.losses_and_slopes(self.z)

    @property
    def slopes(self) -> Array:
        """dL/dz of each target, (T,)."""
        return self._loss_first_order[1]

    @cached_property
    def z_jacobian(self) -> Array:
        """dz/dr, (T, S)."""
        return self.functions.scale * self._z_first_order[1]

    @cached_property
    def value(self) -> float:
        """f(x); NaN outside the domain."""
        f = self.functions.objective
        on_losses = f.loss_part @ self.losses if f.loss_part.any() else 0.0
        value = float(f.x_part @ self.x + f.z_part @ self.z + on_losses + f.constant)
        return value if f.curved is None else value + float(f.curved.outer.value(self._entries(f.curved)))

    def _entries(self, placed: Placed) -> Array:
        """Return the entries of an outer function, (k,)."""
        return np.concatenate([self.x, self.z, self.losses])[placed.positions]

    def _entry_jacobian(self, placed: Placed) -> Array:
        """Return the derivatives of an outer function's entries by x, (k, n)."""
        n, n_targets = self.x.size, self.z.size
        at = placed.positions
        result = np.zeros((at.size, n))
        on_x = np.flatnonzero(at < n)
        result[on_x, at[on_x]] = 1.0
        for first, factor in ((n, np.ones(n_targets)), (n + n_targets, self.slopes)):
            here = np.flatnonzero((at >= first) & (at < first + n_targets))
            if here.size:
                chosen = at[here] - first
                result[here, : self.functions.offset.size] = factor[chosen, None] * self.z_jacobian[chosen]
        return result

    def _curved_gradient(self, placed: Placed) -> Array:
        """Return the gradient of an outer function by x, (n,)."""
        return np.asarray(placed.outer.gradient(self._entries(placed)) @ self._entry_jacobian(placed))

    @cached_property
    def gradient(self) -> Array:
        """Gradient of f, (n,)."""
        f, jacobian = self.functions.objective, self.z_jacobian
        by_z = f.z_part + f.loss_part * self.slopes if f.loss_part.any() else f.z_part
        gradient = f.x_part.copy()
        with np.errstate(all="ignore"):  # at the edge of the domain slopes are infinite
            gradient[: self.functions.offset.size] += by_z @ jacobian
            return gradient if f.curved is None else gradient + self._curved_gradient(f.curved)

    @cached_property
    def rows(self) -> Array:
        """c(x), (k,)."""
        c = self.functions.constraints
        result: Array = c.x_part @ self.x + c.z_part @ self.z + c.constant
        result = result + c.loss_part @ self.losses if c.uses_loss else result
        for row, placed in self.functions.curved_rows.items():
            result[row] += placed.outer.value(self._entries(placed))
        return result

    @cached_property
    def jacobian(self) -> Array:
        """Jacobian of c, (k, n): x_part + (z_part + loss_part diag(L_z)) J."""
        c = self.functions.constraints
        by_z = c.z_part + c.loss_part.multiply(self.slopes[None, :]) if c.uses_loss else c.z_part
        result = np.asarray(c.x_part.toarray(), dtype=float)
        if by_z.nnz:
            result[:, : self.functions.offset.size] += csr_array(by_z) @ self.z_jacobian
        for row, placed in self.functions.curved_rows.items():
            result[row] += self._curved_gradient(placed)
        return result

    def hessian(self, weight: float, multipliers: Array) -> Array:
        """Return weight * Hess f + sum_i multipliers_i Hess c_i: J' diag(q) J + sum_i u_i Hess z_i, on r.

        q = (weights of the losses) L_zz and u = (weights of z) + (weights of the losses) L_z.
        """
        functions, f, c = self.functions, self.functions.objective, self.functions.constraints
        on_loss, u = weight * f.loss_part, weight * f.z_part
        if functions.n_rows:
            on_loss, u = on_loss + c.loss_part.T @ multipliers, u + c.z_part.T @ multipliers
        n, n_targets, ratios = self.x.size, u.size, functions.offset.size
        hessian = np.zeros((n, n))
        for placed, factor in functions.curved(weight, multipliers):
            y, rows = self._entries(placed), self._entry_jacobian(placed)
            hessian += factor * (rows.T @ placed.outer.hessian(y) @ rows)
            on_each = np.bincount(placed.positions, factor * placed.outer.gradient(y), n + 2 * n_targets)
            u, on_loss = u + on_each[n : n + n_targets], on_loss + on_each[n + n_targets :]
        block = hessian[:ratios, :ratios]
        if on_loss.any():
            u = u + np.where(on_loss != 0, on_loss * self.slopes, 0.0)
            q = np.where(on_loss != 0, on_loss * functions.response.loss_curvatures(self.z), 0.0)
            block += (self.z_jacobian.T * q) @ self.z_jacobian
        if u.any():
            block += functions.scale**2 * functions.response.hessian(self.cumulative, u)
        return hessian
