"""The functions of a mixture problem: f and c affine in (x, z(r), L(z(r))).

One Jacobian of z and one weighted sum of Hessians of z give every derivative; algebraic backends read the same
coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from climbopt.model import Response
from climbopt.polytope import Polytope
from climbopt.proofs import Proofs
from climbopt.templates import Array


@dataclass(frozen=True, eq=False)
class Weighted:
    """One function: x_part'x + z_part'z + loss_part'L.

    Parameters
    ----------
    x_part, z_part, loss_part : ndarray, (n,), (T,), (T,)
    """

    x_part: Array
    z_part: Array
    loss_part: Array


@dataclass(frozen=True, eq=False)
class Affine:
    """k functions: x_part x + z_part z + loss_part L + constant.

    Parameters
    ----------
    x_part, z_part, loss_part : scipy.sparse.csr_array, (k, n), (k, T), (k, T)
    constant : ndarray, (k,)
    """

    x_part: csr_array
    z_part: csr_array
    loss_part: csr_array
    constant: Array

    @classmethod
    def build(cls, n: int, n_targets: int, k: int, *, x: object = None, z: object = None, loss: object = None,
              constant: Array | None = None) -> Affine:
        """Return k functions of n variables and n_targets targets; parts left out are 0."""

        def part(given: object, width: int) -> csr_array:
            return csr_array((k, width)) if given is None else csr_array(given)

        return cls(part(x, n), part(z, n_targets), part(loss, n_targets),
                   np.zeros(k) if constant is None else constant)

    @property
    def uses_loss(self) -> bool:
        """Whether any of the functions depends on a loss."""
        return bool(self.loss_part.nnz)


@dataclass(frozen=True, eq=False)
class MixtureFunctions:
    """f and c of a mixture problem: affine in x, z and L, with z evaluated at offset + scale r.

    Parameters
    ----------
    response : Response
        The model at the cumulative budget, with the targets that f and c depend on.
    offset : ndarray, (S,)
    scale : float
        Cumulative ratios are offset + scale r.
    objective : Weighted
    constraints : Affine
        Functions of the n variables, of which the first S are r.
    """

    response: Response
    offset: Array
    scale: float
    objective: Weighted
    constraints: Affine

    @property
    def n_rows(self) -> int:
        """Number of entries of c."""
        return len(self.constraints.constant)

    def at(self, x: Array) -> MixtureEvaluation:
        """Return the evaluation at x."""
        return MixtureEvaluation(self, np.asarray(x, dtype=float))

    def proofs(self, polytope: Polytope) -> Proofs:
        """Return what can be proved of the model over the box of a polytope."""
        ratios = self.offset.size
        return Proofs(self.response, self.offset + self.scale * polytope.x_lower[:ratios],
                      self.offset + self.scale * polytope.x_upper[:ratios])

    def convex(self, polytope: Polytope, multipliers: Array) -> bool:
        """Return whether f + multipliers'c is proved convex: losses and z enter with signs that keep them so."""
        f, c = self.objective, self.constraints
        on_loss = f.loss_part + (c.loss_part.T @ multipliers if self.n_rows else 0.0)
        on_z = f.z_part + (c.z_part.T @ multipliers if self.n_rows else 0.0)
        proofs = self.proofs(polytope)
        losses = not on_loss.any() or (bool((on_loss >= 0).all()) and proofs.losses_convex)
        return losses and (not on_z.any() or proofs.z_affine or (bool((on_z <= 0).all()) and proofs.z_concave))


@dataclass(frozen=True, eq=False)
class MixtureEvaluation:
    """The functions of a mixture problem at one x; each part is computed once, when asked for."""

    functions: MixtureFunctions
    x: Array

    @cached_property
    def cumulative(self) -> Array:
        """Ratios of history and run together, (S,)."""
        functions = self.functions
        return np.asarray(functions.offset + functions.scale * self.x[: functions.offset.size])

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
        return float(f.x_part @ self.x + f.z_part @ self.z + on_losses)

    @cached_property
    def gradient(self) -> Array:
        """Gradient of f, (n,)."""
        f, jacobian = self.functions.objective, self.z_jacobian
        by_z = f.z_part + f.loss_part * self.slopes if f.loss_part.any() else f.z_part
        gradient = f.x_part.copy()
        with np.errstate(all="ignore"):  # at the edge of the domain slopes are infinite
            gradient[: self.functions.offset.size] += by_z @ jacobian
        return gradient

    @cached_property
    def rows(self) -> Array:
        """c(x), (k,)."""
        c = self.functions.constraints
        result: Array = c.x_part @ self.x + c.z_part @ self.z + c.constant
        return result + c.loss_part @ self.losses if c.uses_loss else result

    @cached_property
    def jacobian(self) -> Array:
        """Jacobian of c, (k, n): x_part + (z_part + loss_part diag(L_z)) J."""
        c = self.functions.constraints
        by_z = c.z_part + c.loss_part.multiply(self.slopes[None, :]) if c.uses_loss else c.z_part
        result = np.asarray(c.x_part.toarray(), dtype=float)
        if by_z.nnz:
            result[:, : self.functions.offset.size] += csr_array(by_z) @ self.z_jacobian
        return result

    def hessian(self, weight: float, multipliers: Array) -> Array:
        """Return weight * Hess f + sum_i multipliers_i Hess c_i: J' diag(q) J + sum_i u_i Hess z_i, on r.

        q = (weights of the losses) L_zz and u = (weights of z) + (weights of the losses) L_z.
        """
        functions, f, c = self.functions, self.functions.objective, self.functions.constraints
        on_loss, u = weight * f.loss_part, weight * f.z_part
        if functions.n_rows:
            on_loss, u = on_loss + c.loss_part.T @ multipliers, u + c.z_part.T @ multipliers
        ratios = functions.offset.size
        hessian = np.zeros((self.x.size, self.x.size))
        block = hessian[:ratios, :ratios]
        if on_loss.any():
            u = u + np.where(on_loss != 0, on_loss * self.slopes, 0.0)
            q = np.where(on_loss != 0, on_loss * functions.response.loss_curvatures(self.z), 0.0)
            block += (self.z_jacobian.T * q) @ self.z_jacobian
        if u.any():
            block += functions.scale**2 * functions.response.hessian(self.cumulative, u)
        return hessian
