"""The pair template as a sum of coefficient x gate(r_i) x source(r_j), found by SymPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from climbopt.model.symbols import D, N, Parameter, r_i, r_j
from climbopt.model.templates import Array, Template, Templates


@dataclass(frozen=True)
class Term:
    """One product of a number, a function of the target's own ratio and one of another source's.

    Parameters
    ----------
    coefficient : sympy.Expr
        Of parameters, D and N.
    gate, source : Template
        Of r_i, and of r_j; constant where their expression is 1.
    """

    coefficient: sp.Expr
    gate: Template
    source: Template

    @property
    def gated(self) -> bool:
        """Whether it depends on the target's own ratio."""
        return bool(self.gate.expression != 1)

    @property
    def sourced(self) -> bool:
        """Whether it depends on the other source's ratio."""
        return bool(self.source.expression != 1)

    def compiled_coefficient(self) -> Callable[..., Array]:
        """Return the coefficient as a NumPy function of D, N and the parameters."""
        return compiled(self.coefficient, self.gate.parameters)


@lru_cache(maxsize=256)
def compiled(coefficient: sp.Expr, parameters: tuple[Parameter, ...]) -> Callable[..., Array]:
    """Return an expression of D, N and parameters as a NumPy function."""
    function: Callable[..., Array] = sp.lambdify(
        [D, N, *(p.symbol for p in parameters)], coefficient, modules="numpy", cse=True
    )
    return function


@lru_cache(maxsize=64)
def terms(templates: Templates) -> tuple[Term, ...] | None:
    """Return the terms of the pair template, or None where it does not factor so.

    Examples
    --------
    >>> from climbopt.model.interactions import INTERACTIONS
    >>> from climbopt.model.laws import LAWS
    >>> from climbopt.model.templates import derive
    >>> for term in terms(derive(LAWS["power"], INTERACTIONS["gated"])):
    ...     print(term.coefficient, "|", term.gate.expression, "|", term.source.expression)
    l/D | 1 | r_j
    b + k/D | 1 - exp(-eta*r_i) | r_j
    """
    parameters = templates.interaction.parameters
    of_pairs = {p.symbol for p in parameters if p.per != "target"}
    found = []
    for part in sorted(sp.Add.make_args(templates.pair.exact.expression), key=sp.default_sort_key):
        whole = _factors(part)
        for piece in [whole] if whole is not None else [_factors(one) for one in sp.Add.make_args(sp.expand(part))]:
            if piece is None:
                return None
            for coefficient, gate, source in _of_targets(*piece, of_pairs):
                if coefficient != 0:
                    found.append(
                        Term(coefficient, Template(gate, (r_i,), parameters), Template(source, (r_j,), parameters))
                    )
    return tuple(found)


Factors = tuple[sp.Expr, sp.Expr, sp.Expr]
"""Coefficient, gate and source."""


def _factors(product: sp.Expr) -> Factors | None:
    """Return coefficient, gate and source of a product, or None where a factor mixes the two ratios."""
    parts: dict[bool | None, list[sp.Expr]] = {None: [], True: [], False: []}
    for factor in sp.Mul.make_args(product):
        on_own, on_other = factor.has(r_i), factor.has(r_j)
        if on_own and on_other:
            return None
        parts[True if on_own else False if on_other else None].append(factor)
    return sp.Mul(*parts[None]), sp.Mul(*parts[True]), sp.Mul(*parts[False])


def _of_targets(coefficient: sp.Expr, gate: sp.Expr, source: sp.Expr, of_pairs: set[sp.Symbol]) -> list[Factors]:
    """Return terms whose gates hold no parameter of pairs, where splitting a sum in the gate gives such; else as is.

    One gate for all of a target's pairs needs one product a target.
    """
    if not gate.free_symbols & of_pairs:
        return [(coefficient, gate, source)]
    pieces = [_factors(one) for one in sorted(sp.Add.make_args(gate), key=sp.default_sort_key)]
    split = [(coefficient * number, inner, source) for number, inner, _ in filter(None, pieces)]
    return [(coefficient, gate, source)] if any(one[1].free_symbols & of_pairs for one in split) else split
