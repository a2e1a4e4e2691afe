"""What the functions of a mixture problem are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, vstack

from climbopt.model.mixture import Indices
from climbopt.model.outer import Outer
from climbopt.model.templates import Array


@dataclass(frozen=True, eq=False)
class Placed:
    """An outer function and where its entries stand in (x, z, L) put end to end.

    Parameters
    ----------
    outer : Outer
    positions : ndarray of int
    """

    outer: Outer
    positions: Indices


@dataclass(frozen=True, eq=False)
class Combination:
    """One function: x_part'x + z_part'z + loss_part'L + constant + curved(x, z, L).

    Parameters
    ----------
    x_part, z_part, loss_part : ndarray, (n,), (T,), (T,)
    constant : float
    curved : Placed, optional
    """

    x_part: Array
    z_part: Array
    loss_part: Array
    constant: float = 0.0
    curved: Placed | None = None


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
    def build(
        cls,
        n: int,
        n_targets: int,
        k: int,
        *,
        x: object = None,
        z: object = None,
        loss: object = None,
        constant: Array | None = None,
    ) -> Affine:
        """Return k functions of n variables and n_targets targets; parts left out are 0."""

        def part(given: object, width: int) -> csr_array:
            return csr_array((k, width)) if given is None else csr_array(given)

        return cls(part(x, n), part(z, n_targets), part(loss, n_targets), np.zeros(k) if constant is None else constant)

    def and_also(self, other: Affine) -> Affine:
        """Return these functions with others behind them."""
        return Affine(
            csr_array(vstack([self.x_part, other.x_part])),
            csr_array(vstack([self.z_part, other.z_part])),
            csr_array(vstack([self.loss_part, other.loss_part])),
            np.append(self.constant, other.constant),
        )

    @property
    def uses_loss(self) -> bool:
        """Whether any of the functions depends on a loss."""
        return bool(self.loss_part.nnz)
