"""The functions of a mixture problem: a table over (x, z(r), L(z(r))) with outer functions.

One Jacobian of z and one weighted sum of Hessians of z give every derivative; algebraic backends read the same
table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from climbopt.model.convexity import Proofs
from climbopt.model.ensemble import Responses
from climbopt.model.mixture import Response
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval
from climbopt.numerics.polytope import Polytope, Rows
from climbopt.problem.table import Placed, Table
from climbopt.program.standard_form import System
from climbopt.program.written import Part, written_out


@dataclass(frozen=True, eq=False)
class MixtureFunctions:
    """f and c of a mixture problem: a table over x, z and L, with z at the ratios offset + scale r.

    Parameters
    ----------
    responses : Response or Responses
        The model, or the blocks of an ensemble, at the cumulative budget, with the targets that f and c depend on.
    offset : ndarray, (S,)
    scale : float
        Cumulative ratios are offset + scale r.
    table : Table
        f, then c, of the n variables, of which the first S are r, over z and L of every block's targets.
    n_excesses : int
        Number of the S, at their end, that are excesses of others over a kink.
    """

    responses: Response | Responses
    offset: Array
    scale: float
    table: Table
    n_excesses: int = 0

    @property
    def response(self) -> Response:
        """The model at the cumulative budget, where there is one form; raises ValueError for an ensemble of several."""
        (only,) = self.responses.parts
        return only

    @property
    def names(self) -> list[str]:
        """Names of the targets whose z and L are in the table, end to end."""
        return [name for names, _ in self.named_parts for name in names]

    @property
    def named_parts(self) -> list[Part]:
        """The responses with names of their targets; of an ensemble of several forms, with the form's number before."""
        parts = self.responses.parts
        prefix = [""] if len(parts) == 1 else [f"{k}:" for k in range(len(parts))]
        return [([f"{p}{name}" for name in part.model.targets], part) for p, part in zip(prefix, parts, strict=True)]

    @property
    def n_rows(self) -> int:
        """Number of entries of c."""
        return len(self.table) - 1

    def cumulative(self, x: Array) -> Array:
        """Return the ratios of history and run together, (S,), for variables (n,)."""
        return np.asarray(self.offset + self.scale * x[: self.offset.size])

    def at(self, x: Array) -> MixtureEvaluation:
        """Return the evaluation at x."""
        return MixtureEvaluation(self, np.asarray(x, dtype=float))

    def proofs(self, polytope: Polytope) -> tuple[Proofs, ...]:
        """Return what can be proved of the model over the box of a polytope."""
        lower, upper = self.cumulative(polytope.bounds.lower), self.cumulative(polytope.bounds.upper)
        # the ratios sum to 1, and the excesses add at most their bounds
        most = 1.0 + float(upper[upper.size - self.n_excesses :].sum())
        return tuple(Proofs(response, lower, upper, most) for response in self.responses.parts)

    def convex(self, polytope: Polytope, multipliers: Array) -> bool:
        """Return whether f + multipliers'c is proved convex, by convexity of L, concavity of z and signs."""
        return self._convex(np.append(1.0, multipliers), polytope, self.proofs(polytope))

    def convex_one_by_one(self, polytope: Polytope, limits: Rows) -> bool:
        """Return whether f is proved convex, and each row on the sides that have a limit.

        Where z is not affine, each function is also monotone in z in the direction that convexity requires.
        """
        proofs, units = self.proofs(polytope), np.eye(len(self.table))
        # f is minimised, so that it counts with the sign of an upper limit; weights -1 prove a row concave.
        upper, lower = np.isfinite(np.append(0.0, limits.upper)), np.isfinite(np.append(-np.inf, limits.lower))
        return all(self._convex(weights, polytope, proofs) for weights in (*units[upper], *-units[lower]))

    def _convex(self, weights: Array, polytope: Polytope, proofs: tuple[Proofs, ...]) -> bool:
        """Return whether weights'(f, c) is proved convex."""
        # Coefficients of the Lagrangian weights'(f, c) over x, z and L; those of x do not bend it.
        on_y = self.table.split(weights @ self.table.dense)
        on_z, on_loss = (Interval.enclosing(part[part != 0]) for part in (on_y.z, on_y.loss))
        return _composes(proofs, on_z, on_loss) and all(
            self._proved_convex(placed, int(np.sign(weights[k])), polytope, proofs)
            for k, placed in self.table.curved.items()
            if weights[k] != 0
        )

    def _proved_convex(self, placed: Placed, sign: int, polytope: Polytope, proofs: tuple[Proofs, ...]) -> bool:
        """Whether sign * g(x, z, L) is proved convex: g is, and bends the way of each entry that is not affine."""
        n, n_targets, first_loss = self.table.n, self.table.n_targets, self.table.first_loss
        ranges, domains = [one.loss_range for one in proofs], [one.end_of_domain for one in proofs]
        # What y = (x, z, L) can be on the polytope: z is bounded by its law's domain alone.
        box = Interval(
            np.concatenate([polytope.bounds.lower, *domains, *(losses.lower for losses in ranges)]),
            np.concatenate([polytope.bounds.upper, np.full(n_targets, np.inf), *(losses.upper for losses in ranges)]),
        )
        at = placed.positions
        slopes = placed.outer.shape(_entries(placed, box), sign)
        return slopes is not None and _composes(proofs, slopes[(at >= n) & (at < first_loss)], slopes[at >= first_loss])

    def build(self, x: Sequence[Any], system: System) -> tuple[Any, list[Any]]:
        """Return f and c of another system's scalars."""
        cumulative = [
            # no 0 + and no 1 * in the other system's expressions
            float(offset) + self.scale * ratio if offset else (ratio if self.scale == 1 else self.scale * ratio)
            for offset, ratio in zip(self.offset, x[: self.offset.size], strict=True)
        ]
        f, *c = written_out(self.table, self.named_parts, x, cumulative, system)
        return f, c


def _composes(proofs: tuple[Proofs, ...], on_z: Interval, on_loss: Interval) -> bool:
    """Return whether a convex function of ratios, z and L is proved convex in the ratios, for its slopes by z and L."""
    # Composition: rising with convex entries (L), falling with concave ones (z) unless they are affine.
    losses = not on_loss.lower.size or (bool((on_loss.lower >= 0).all()) and all(one.losses_convex for one in proofs))
    return losses and (
        not on_z.lower.size
        or all(one.z_affine for one in proofs)
        or (bool((on_z.upper <= 0).all()) and all(one.z_concave for one in proofs))
    )


def _entries(placed: Placed, box: Interval) -> Interval:
    """Return the enclosures of the entries of an outer function, for those of y; means have positive weights."""
    if placed.mean is None:
        return box[placed.positions]
    lower, upper = (placed.mean @ end for end in (box.lower, box.upper))
    # The products are rounded to nearest; a relative width of 1e-12 covers their error.
    wide = 1e-12 * np.maximum(np.abs(lower), np.abs(upper))
    return Interval(lower - wide, upper + wide)


@dataclass(frozen=True, eq=False)
class MixtureEvaluation:
    """The functions of a mixture problem at one x; each part is computed once, on first access."""

    functions: MixtureFunctions
    x: Array

    @cached_property
    def cumulative(self) -> Array:
        """Ratios of history and run together, (S,)."""
        return self.functions.cumulative(self.x)

    @cached_property
    def z(self) -> Array:
        """z of each target, (T,)."""
        # A first-order evaluation that is there already has z as well.
        return (
            self._z_first_order[0] if "_z_first_order" in self.__dict__ else self.functions.responses.z(self.cumulative)
        )

    @cached_property
    def losses(self) -> Array:
        """Loss of each target, (T,)."""
        # The same for the losses.
        return (
            self._loss_first_order[0]
            if "_loss_first_order" in self.__dict__
            else self.functions.responses.losses(self.z)
        )

    @cached_property
    def _z_first_order(self) -> tuple[Array, Array]:
        return self.functions.responses.z_and_jacobian(self.cumulative)

    @cached_property
    def _loss_first_order(self) -> tuple[Array, Array]:
        return self.functions.responses.losses_and_slopes(self.z)

    @property
    def slopes(self) -> Array:
        """dL/dz of each target, (T,)."""
        return self._loss_first_order[1]

    @cached_property
    def z_jacobian(self) -> Array:
        """dz/dr, (T, S)."""
        # Chain rule: d(offset + scale r) / dr = scale.
        return self.functions.scale * self._z_first_order[1]

    @cached_property
    def _y(self) -> Array:
        """(x, z, L), (n + 2 T,); L is NaN where no function reads it."""
        losses = self.losses if self.functions.table.reads_losses else np.full(self.z.size, np.nan)
        return np.concatenate([self.x, self.z, losses])

    @cached_property
    def _values(self) -> Array:
        """f and c, (1 + k,)."""
        return self.functions.table.values(self._y)

    @property
    def value(self) -> float:
        """f(x); NaN outside the domain."""
        return float(self._values[0])

    @property
    def rows(self) -> Array:
        """c(x), (k,)."""
        return self._values[1:]

    def _by_x(self, by_y: Array) -> Array:
        """Return derivatives with respect to x, (k, n): d_x + (d_z + d_L diag(L_z)) J for d = `by_y`, (k, n + 2 T)."""
        by_x, by_z, by_loss = self.functions.table.split(by_y)
        result: Array = by_x.copy()
        by_ratios = result[:, : self.functions.offset.size]
        with np.errstate(all="ignore"):  # at the edge of the domain slopes are infinite
            if self.functions.table.reads_losses:
                # chain rule L(z(r)): 0 times an infinite slope is 0
                by_z = by_z + np.where(by_loss != 0, by_loss * self.slopes, 0.0)
            few = by_z if len(by_z) == 1 else csr_array(by_z)  # of many rows, each reads few targets
            by_ratios += few @ self.z_jacobian
        return result

    def _derivatives(self, rows: slice) -> Array:
        """Return the derivatives of the functions in `rows` with respect to x, (k, n)."""
        _ = self.z_jacobian, self.functions.table.reads_losses and self.slopes  # the values in y come with these
        return self._by_x(self.functions.table.slopes(self._y, rows))

    @cached_property
    def gradient(self) -> Array:
        """Gradient of f, (n,)."""
        return np.asarray(self._derivatives(slice(0, 1))[0])

    @cached_property
    def jacobian(self) -> Array:
        """Jacobian of c, (k, n)."""
        return self._derivatives(slice(1, None))

    def hessian(self, weight: float, multipliers: Array) -> Array:
        """Return weight * Hess f + sum_i multipliers_i Hess c_i: J' diag(q) J + sum_i u_i Hess z_i, on r.

        q = (weights of the losses) L_zz and u = (weights of z) + (weights of the losses) L_z.
        """
        functions, table = self.functions, self.functions.table
        weights = np.append(weight, multipliers)
        by_y, hessian = weights @ table.dense, np.zeros((self.x.size, self.x.size))
        for k, placed in table.curved.items():
            if weights[k] != 0:
                # g(e(x)): E' (Hess g) E, E the slopes of its entries; its own slopes join the affine part's in `by_y`.
                inner = self._by_x(placed.by_y(by_y.size))
                hessian += weights[k] * (inner.T @ placed.outer.hessian(placed.read(self._y)) @ inner)
                by_y = by_y + weights[k] * placed.gradient(self._y)
        _, u, on_loss = table.split(by_y)
        block = hessian[: functions.offset.size, : functions.offset.size]
        if on_loss.any():
            # (L o z)'' = L_zz J'J + L_z Hess z: the second part is weighted with those of z itself.
            u = u + np.where(on_loss != 0, on_loss * self.slopes, 0.0)
            q = np.where(on_loss != 0, on_loss * functions.responses.loss_curvatures(self.z), 0.0)
            block += (self.z_jacobian.T * q) @ self.z_jacobian
        if u.any():
            block += functions.scale**2 * functions.responses.hessian(self.cumulative, u)
        return hessian
