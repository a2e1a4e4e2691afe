"""Where the quantities of a form stand, and the user's nonlinear rows written over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array, hstack

from climbopt.model.expressions import affine_part, entry
from climbopt.model.outer import Expression, Outer
from climbopt.numerics.polytope import Label, Rows
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import ExpressionRow
from climbopt.program.parts import Affine, Placed


@dataclass(frozen=True, eq=False)
class RowFunctions:
    """Nonlinear rows: their functions and limits.

    Parameters
    ----------
    functions : Affine
    limits : Rows
    curved : mapping of int to Placed
        Outer functions that are added to some rows.
    """

    functions: Affine
    limits: Rows
    curved: dict[int, Placed]

    def and_also(self, other: RowFunctions) -> RowFunctions:
        """Return these rows with others behind them."""
        k = len(self.limits)
        return RowFunctions(
            self.functions.and_also(other.functions),
            self.limits + other.limits,
            self.curved | {k + i: placed for i, placed in other.curved.items()},
        )


@dataclass(frozen=True)
class Layout:
    """Which variables and targets a form has, and where.

    Parameters
    ----------
    sources, excesses, auxiliaries : tuple of str
        The variables: ratios, the linear part's auxiliaries, then those of a procedure.
    targets : tuple of str
        Those whose z and losses are evaluated.
    """

    sources: tuple[str, ...]
    excesses: tuple[str, ...]
    auxiliaries: tuple[str, ...]
    targets: tuple[str, ...]

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names of x."""
        return (*self.sources, *self.excesses, *self.auxiliaries)

    @cached_property
    def _index(self) -> dict[tuple[str, str], int]:
        """Position of each quantity in (x, z, L) put end to end."""
        n, n_targets = len(self.variables), len(self.targets)
        index = {("r", name): j for j, name in enumerate(self.sources)}
        index |= {("z", name): n + i for i, name in enumerate(self.targets)}
        return index | {("L", name): n + n_targets + i for i, name in enumerate(self.targets)}

    def position(self, kind: str, language: str) -> int:
        """Return where a quantity stands in (x, z, L) put end to end."""
        return self._index[kind, language]

    def place(self, outer: Outer) -> Placed:
        """Return an outer function with the positions of its entries."""
        return Placed(outer, np.array([self.position(*entry(symbol)) for symbol in outer.entries], dtype=np.intp))

    def widened(self, part: csr_array) -> csr_array:
        """Return coefficients of (ratios, auxiliaries) as coefficients of x."""
        n = len(self.sources)
        gap = csr_array((part.shape[0], len(self.excesses)))
        return csr_array(hstack([part[:, :n], gap, part[:, n:]]))

    def wide(self, given: Affine) -> Affine:
        """Return functions of (ratios, auxiliaries) and of the first targets as functions of x and of all targets."""

        def padded(part: csr_array) -> csr_array:
            return csr_array(hstack([part, csr_array((part.shape[0], len(self.targets) - part.shape[1]))]))

        return Affine(self.widened(given.x_part), padded(given.z_part), padded(given.loss_part), given.constant)

    def rows(self, rows: Sequence[ExpressionRow]) -> RowFunctions:
        """Return the user's nonlinear rows: what is affine in them apart from what is not."""
        n, n_targets = len(self.variables), len(self.targets)
        table, curved = np.zeros((len(rows), n + 2 * n_targets)), {}
        for k, row in enumerate(rows):
            coefficients, rest = affine_part(row.expression)
            for (kind, language), value in coefficients.items():
                table[k, self.position(kind, language)] = value
            if rest != 0:
                curved[k] = self.place(Expression(rest))
        functions = Affine.build(
            n, n_targets, len(rows), x=table[:, :n], z=table[:, n : n + n_targets], loss=table[:, n + n_targets :]
        )
        return RowFunctions(
            functions,
            Rows(
                np.array([row.lower for row in rows]),
                np.array([row.upper for row in rows]),
                tuple(Label(row.name, row.per_unit, row.unit) for row in rows),
            ),
            curved,
        )


def expression_rows(problem: AllocationProblem) -> tuple[ExpressionRow, ...]:
    """Return the rows of a problem that are not linear in the ratios."""
    return tuple(row for row in problem.rows if isinstance(row, ExpressionRow))


def targets_read(rows: Iterable[ExpressionRow]) -> list[str]:
    """Return the targets whose z or loss some rows depend on."""
    return [
        language for row in rows for kind, language in sorted(map(entry, row.expression.free_symbols)) if kind != "r"
    ]
