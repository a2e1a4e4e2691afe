"""Any relation over ratios, z, losses and the budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import sympy as sp

from climbopt.foundations.errors import InputError
from climbopt.model.expressions import Relation, affine_part, entry, parse_relation
from climbopt.model.piecewise import changes_form, in_pieces
from climbopt.model.symbols import D
from climbopt.problem.constraints.constraint import ExpressionRow, LinearRow, Setting


@dataclass(frozen=True)
class Custom:
    """A relation such as ``r[sw] >= 0.5 * r[en]`` or ``L[de] <= L[fr] + 0.05``.

    Parameters
    ----------
    expression : str or sympy relation
        Text over numbers, r[language], z[language], L[language], D (tokens of the run), + - * / **, and
        sum(... for x in group); or a SymPy relation of `climbopt.r`, `climbopt.z`, `climbopt.L` and `climbopt.D`.
        Read when the problem is built.
    name : str
        Name in reports.

    Examples
    --------
    >>> setting = Setting(("en", "sw"), 1e9, {}, {}, ("en", "sw"))
    >>> dict(Custom("r[sw] >= 0.5 * r[en]").rows(setting)[0].coefficients)
    {'en': -0.5, 'sw': 1.0}
    """

    expression: str | sp.Basic
    name: str = "custom"
    kind: ClassVar[str] = "custom"

    def rows(self, setting: Setting) -> list[LinearRow | ExpressionRow]:
        """Return the row, a LinearRow where the relation is affine in the ratios alone."""
        try:
            relation = (
                parse_relation(self.expression, setting.groups)
                if isinstance(self.expression, str)
                else Relation.of_sympy(self.expression)
            )
            # D becomes a number here, which `shifted` moves into the limits.
            relation = relation.shifted(checked(relation.expression, setting, self.name))
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None
        coefficients, rest = affine_part(relation.expression)
        by_source = {language: value for (kind, language), value in coefficients.items() if kind == "r"}
        # A term in z or L, or one that is not linear: no row of the polytope.
        if rest != 0 or len(by_source) < len(coefficients):
            return [ExpressionRow(self.name, relation.expression, relation.lower, relation.upper, at_zero=None)]
        # Normalised to a largest coefficient of 1; per_unit restores prices per unit of the user's bound.
        scale = max(map(abs, by_source.values()))
        return [
            LinearRow(
                self.name,
                {language: value / scale for language, value in by_source.items()},
                relation.lower / scale,
                relation.upper / scale,
                1 / scale,
                "unit of its bound",
                None,
            )
        ]


def checked(expression: sp.Expr, setting: Setting, of: str) -> sp.Expr:
    """Return a smooth expression at the budget; every other symbol must be a quantity of a known language."""
    expression = in_pieces(expression.subs(D, setting.budget), of)
    if changes_form(expression, expression.free_symbols):
        raise InputError(
            f"{of} has Min, Max, Abs or Piecewise, and its slopes must not jump; write a largest value as "
            "one constraint per value (or the objective minimax), and a distance as stay_near"
        )
    for symbol in sorted(expression.free_symbols, key=str):
        kind, language = entry(symbol)
        if kind == "z" and not setting.has_z:
            raise InputError(
                f"{of} holds {symbol}, and an ensemble of forms has no effective ratio of its own; state it in the "
                f"loss L[{language}], or use a model of one form"
            )
        (setting.check_sources if kind == "r" else setting.check_targets)([language], f"{symbol} in {of}")
    return expression
