"""The table of a mixture problem: objective and nonlinear rows over the concatenation y = (x, z, L).

    g(y) = coefficients y + constant + curved(y),   row 0 of a program is the objective

A Lagrangian is (weight, multipliers) @ table, in floating point, rational or interval arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import sympy as sp
from scipy.sparse import block_diag, csr_array, eye_array, hstack, vstack

from climbopt.foundations.errors import InputError
from climbopt.model.ensemble import applied
from climbopt.model.expressions import affine_part, entry
from climbopt.model.mixture import Indices
from climbopt.model.outer import Expression, Outer
from climbopt.model.templates import Array

Numbers = TypeVar("Numbers", bound=Any)
"""Arrays of an arithmetic: floating point, rational or interval."""


@dataclass(frozen=True, eq=False)
class Placed:
    """An outer function and where its entries stand in y.

    Parameters
    ----------
    outer : Outer
    positions : ndarray of int
        Where in y each entry stands.
    mean : csr_array, optional
        Instead, in an ensemble: entries are weighted sums of y, (k, n + 2 T); positions are then those of the first
        terms.
    """

    outer: Outer
    positions: Indices
    mean: csr_array | None = None

    def read(self, y: Array) -> Array:
        """Return the entries at y, (..., k)."""
        return np.asarray(y[..., self.positions] if self.mean is None else self.mean @ y)

    def by_y(self, size: int) -> Array:
        """Return the derivatives of the entries by y of a size, (k, size)."""
        return np.asarray(np.eye(size)[self.positions] if self.mean is None else self.mean.toarray())

    def gradient(self, y: Array) -> Array:
        """Return the derivatives by y, (n + 2 T,)."""
        slopes = self.outer.gradient(self.read(y))
        if self.mean is not None:
            return np.asarray(self.mean.T @ slopes)
        # Of one quantity read twice the slopes add up.
        return np.asarray(np.bincount(self.positions, slopes, y.size), dtype=float)


class Parts(NamedTuple, Generic[Numbers]):
    """An array over y in its three parts: x, (..., n), z, (..., T), and L, (..., T)."""

    x: Numbers
    z: Numbers
    loss: Numbers


@dataclass(frozen=True, eq=False)
class Table:
    """k functions of y = (x, z, L): coefficients y + constant + curved(y).

    Parameters
    ----------
    n : int
        Number of variables x.
    coefficients : scipy.sparse.csr_array, (k, n + 2 T)
        No explicit zeros: an entry of y without a coefficient is not read, even where it is NaN.
    constant : ndarray, (k,)
    curved : mapping of int to Placed
        Outer functions added to rows, by row.
    """

    n: int
    coefficients: csr_array
    constant: Array
    curved: Mapping[int, Placed] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        n: int,
        n_targets: int,
        k: int = 1,
        *,
        x: Any = None,
        z: Any = None,
        loss: Any = None,
        constant: Array | float = 0.0,
        curved: Mapping[int, Placed] | None = None,
    ) -> Table:
        """Return k functions of n variables and n_targets targets; parts left out are 0.

        Parts are (k, n), (k, T) and (k, T), dense or sparse; for a single function vectors are accepted.
        """

        def part(values: Any, width: int) -> csr_array:
            return csr_array((k, width) if values is None else values.reshape(k, width))

        coefficients = csr_array(hstack([part(x, n), part(z, n_targets), part(loss, n_targets)]), dtype=float)
        coefficients.eliminate_zeros()
        return cls(n, coefficients, np.full(k, constant), curved or {})

    def __len__(self) -> int:
        return self.constant.size

    def __add__(self, other: Table) -> Table:
        """Return these functions followed by others."""
        if not len(other):
            return self
        return Table(
            self.n,
            csr_array(vstack([self.coefficients, other.coefficients])),
            np.append(self.constant, other.constant),
            {**self.curved, **{len(self) + k: placed for k, placed in other.curved.items()}},
        )

    def __getitem__(self, rows: slice) -> Table:
        """Return the functions of a range of rows."""
        # New position of each row of the slice; curved parts move with their rows.
        places = {k: i for i, k in enumerate(range(len(self))[rows])}
        curved = {places[k]: placed for k, placed in self.curved.items() if k in places}
        return Table(self.n, self.coefficients[rows], self.constant[rows], curved)

    @property
    def n_targets(self) -> int:
        """Number of targets, T."""
        return int(self.coefficients.shape[1] - self.n) // 2

    @cached_property
    def first_loss(self) -> int:
        """Where the losses begin in y."""
        return self.n + self.n_targets

    def split(self, over_y: Numbers) -> Parts[Numbers]:
        """Return numbers over y, (..., n + 2 T), as the parts of x, z and L."""
        n, last = self.n, self.first_loss
        return Parts(over_y[..., :n], over_y[..., n:last], over_y[..., last : 2 * last - n])

    def over(self, mean: csr_array | None) -> Table:
        """Return the functions over (x, z, L) of all blocks of an ensemble, where this table's losses are `mean` @ L.

        Parameters
        ----------
        mean : csr_array, (T, n_L), or None
            None for a model of its own losses, whose table this is.
        """
        if mean is None:
            return self
        n, k = self.n, mean.shape[1]
        if self.parts.z.any():
            raise InputError(
                "an ensemble has no effective ratio of its own; write the row or objective in losses, L[...]"
            )
        # Losses of the ensemble are mean @ L, so that their coefficients apply to L through mean.
        coefficients = hstack(
            [self.coefficients[:, :n], csr_array((len(self), k)), self.coefficients[:, self.first_loss :] @ mean]
        )
        # (x, z, L of the ensemble) as a linear map of (x, z, L of all blocks), whose rows for z are empty.
        into = block_diag([eye_array(n), csr_array((self.n_targets, k)), mean], format="csr")
        means = {row: csr_array(into[placed.positions]) for row, placed in self.curved.items()}
        curved = {row: Placed(self.curved[row].outer, m.indices[m.indptr[:-1]], m) for row, m in means.items()}
        return Table(n, csr_array(coefficients), self.constant, curved)

    @cached_property
    def dense(self) -> Array:
        """The coefficients as a dense array."""
        return np.asarray(self.coefficients.toarray())

    @cached_property
    def parts(self) -> Parts[Array]:
        """The coefficients of x, z and L: (k, n), (k, T) and (k, T)."""
        return self.split(self.dense)

    @cached_property
    def reads_losses(self) -> bool:
        """Whether any function depends on a loss."""
        # The first position of a mean tells: an entry is a mean of losses, or a single ratio.
        return bool(self.parts.loss.any()) or any(
            (placed.positions >= self.first_loss).any() for placed in self.curved.values()
        )

    def values(self, y: Array) -> Array:
        """Return the functions at y; (..., n + 2 T) to (..., k)."""
        # Sparse: 0 times the NaN of a loss that is not read must not enter.
        result = self.constant + (self.coefficients @ y if y.ndim == 1 else applied(self.coefficients, y))
        for k, placed in self.curved.items():
            result[..., k] += placed.outer.value(placed.read(y))
        return np.asarray(result)

    def slopes(self, y: Array, rows: slice) -> Array:
        """Return the derivatives with respect to y of the functions in `rows`, (k, n + 2 T)."""
        result = self.dense[rows]
        for i, k in enumerate(range(len(self))[rows] if self.curved else ()):
            if k in self.curved:
                # a slice of `dense` is a view of the cached array
                result = result.copy() if result.base is not None else result
                result[i] += self.curved[k].gradient(y)
        return result

    def lagrangian(self, weights: Array, limits: Array, exact: Callable[[Array], Any] = np.asarray) -> Any:
        """Return the sum of weight (function - limit), affine parts alone, as coefficients of (y, 1), (n + 2 T + 1,).

        Parameters
        ----------
        weights, limits : ndarray, (k,)
        exact : callable
            Turns an array of floats into the numbers of the arithmetic that the sum is taken in.
        """
        total, limit = exact(np.zeros(self.dense.shape[1] + 1)), np.zeros(self.dense.shape[1] + 1)
        # Rows of weight 0 are left out, so that an infinite limit is not multiplied by 0.
        for k in np.flatnonzero(weights).tolist():
            limit[-1] = limits[k]
            # limit and constant are subtracted in the exact arithmetic, not in floating point
            function = exact(np.append(self.dense[k], self.constant[k])) - exact(limit)
            total = total + function * exact(weights[k : k + 1])
        return total


@dataclass(frozen=True)
class Ordering:
    """Which variables and targets a form has, and where they stand in y.

    Parameters
    ----------
    sources, targets : tuple of str
        Ratios of the former are variables; z and losses of the latter are evaluated.
    auxiliaries : tuple of str
        Variables of a procedure, the last of x.
    excesses : tuple of str
        Variables of the linear part, directly after the ratios.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    auxiliaries: tuple[str, ...] = ()
    excesses: tuple[str, ...] = ()

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names of x."""
        return (*self.sources, *self.excesses, *self.auxiliaries)

    @cached_property
    def _index(self) -> dict[tuple[str, str], int]:
        x = (*product("r", self.sources), *product("x", self.excesses + self.auxiliaries))
        return {name: k for k, name in enumerate((*x, *product("zL", self.targets)))}

    def place(self, outer: Outer) -> Placed:
        """Return an outer function with the positions of its entries."""
        return Placed(outer, np.array([self._index[entry(symbol)] for symbol in outer.entries], dtype=np.intp))

    def table(self, expressions: Sequence[sp.Expr]) -> Table:
        """Return expressions of r, z and L as functions of y, their constants and affine parts as numbers."""
        n, width = len(self.variables), len(self._index)
        dense, constant, curved = np.zeros((len(expressions), width)), np.zeros(len(expressions)), {}
        for k, expression in enumerate(expressions):
            number, terms = expression.as_coeff_Add()
            coefficients, rest = affine_part(terms)
            constant[k] = float(number)
            for name, value in coefficients.items():
                dense[k, self._index[name]] = value
            if rest != 0:
                curved[k] = self.place(Expression(rest))
        return Table(n, csr_array(dense), constant, curved)

    def moved(self, table: Table, inner: Ordering) -> Table:
        """Return functions of another ordering's y, whose names this one also has, as functions of its own y."""
        # Renumbers columns only: the row pointers of the sparse array stay valid.
        to = np.array([self._index[name] for name in inner._index], dtype=np.intp)
        part = table.coefficients
        coefficients = csr_array((part.data, to[part.indices], part.indptr), shape=(len(table), len(self._index)))
        curved = {k: Placed(placed.outer, to[placed.positions]) for k, placed in table.curved.items()}
        return Table(len(self.variables), coefficients, table.constant, curved)
