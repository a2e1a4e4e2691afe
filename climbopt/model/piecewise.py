"""Pieces: expressions that change their form, and the two pieces of a template that does so at one value of a ratio."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import sympy as sp

from climbopt.foundations.errors import InputError
from climbopt.model.symbols import Parameter

BENT = (sp.Min, sp.Max, sp.Abs)
"""Functions with kinks, which Piecewise can state."""
STEPS = (sp.Heaviside, sp.DiracDelta, sp.sign, sp.floor, sp.ceiling, sp.frac, sp.Mod)


@dataclass(frozen=True)
class Pieces:
    """An expression that is `below` up to variable = `kink`, and `beyond` from there on.

    Parameters
    ----------
    variable : sympy.Symbol
    kink : sympy.Expr
        In parameters, D and N.
    below, beyond : sympy.Expr
        Smooth in the variable.
    """

    variable: sp.Symbol
    kink: sp.Expr
    below: sp.Expr
    beyond: sp.Expr

    @cached_property
    def gain(self) -> sp.Expr:
        """The second piece less the first, at `variable` beyond the kink."""
        return (self.beyond - self.below).subs(self.variable, self.kink + self.variable)

    @cached_property
    def continuous(self) -> bool:
        """Whether the pieces are proved equal at the kink."""
        return _is_zero((self.beyond - self.below).subs(self.variable, self.kink))

    @cached_property
    def jump(self) -> sp.Expr:
        """Change of the slope at the kink; 0 where the first derivative is proved continuous."""
        change = sp.diff(self.beyond - self.below, self.variable).subs(self.variable, self.kink)
        return sp.S.Zero if _is_zero(change) else change


def stray(expression: sp.Expr, known: Iterable[sp.Symbol], parameters: Iterable[Parameter]) -> str:
    """Return the names of the symbols in an expression that are neither known nor those of parameters."""
    return ", ".join(sorted(map(str, expression.free_symbols.difference(known, (p.symbol for p in parameters)))))


def in_pieces(expression: sp.Expr, of: str) -> sp.Expr:
    """Return an expression with Min, Max and Abs written as Piecewise, whose derivatives are functions.

    Raises
    ------
    InputError
        Where it has steps; `of` names its owner in the message.

    Examples
    --------
    >>> x, U = sp.symbols("x U", positive=True)
    >>> in_pieces(1 + sp.Min(x, U), "own")
    Piecewise((U, U <= x), (x, True)) + 1
    """
    steps = sorted(str(part.func) for part in expression.atoms(*STEPS))
    if steps:
        raise InputError(
            f"{of} has {steps[0]}, which jumps; write what is continuous, with Min, Max, Abs or Piecewise "
            "where it bends"
        )
    # Innermost first: the branches of an outer function must be free of kinks when it is split.
    while bent := expression.atoms(*BENT):
        inner = next(part for part in bent if not any(arg.has(*BENT) for arg in part.args))
        expression = expression.xreplace({inner: _unbent(inner)})
    return expression


def _unbent(part: sp.Expr) -> sp.Expr:
    """Return Min, Max or Abs of smooth or piecewise arguments as Piecewise, two arguments at a time.

    Conditions are single relations: arrays of different shapes broadcast in one relation, but not in an And.
    """
    if part.has(sp.Piecewise):
        return sp.piecewise_fold(part)
    first, second, *others = (*part.args, -part.args[0]) if isinstance(part, sp.Abs) else part.args
    condition, form = (first <= second, sp.Min) if isinstance(part, sp.Min) else (first >= second, sp.Max)
    return sp.Piecewise((form(first, *others), condition), (form(second, *others), True))


def changes_form(expression: sp.Expr, variables: Iterable[sp.Symbol]) -> bool:
    """Return whether an expression is piecewise in any of the variables."""
    return any(condition.has(*variables) for condition in _conditions(expression))


def pieces(expression: sp.Expr, variable: sp.Symbol) -> Pieces | None:
    """Return the two pieces of an expression with one condition, linear in the variable; else None.

    Examples
    --------
    >>> x, U = sp.symbols("x U", positive=True)
    >>> parts = pieces(sp.Piecewise((2 * x, 3 * x <= U), (x + U / 3, True)), x)
    >>> parts.kink, parts.jump, parts.continuous
    (U/3, -1, True)
    """
    (condition, *others) = _conditions(expression) or (None,)
    # One inequality means one kink; Ne, Eq or And would mean others.
    if others or not isinstance(condition, sp.Le | sp.Lt | sp.Ge | sp.Gt):
        return None
    # The condition is excess <= 0, with excess linear in the variable: kink = -excess(0) / slope.
    excess = condition.lts - condition.gts
    slope = sp.diff(excess, variable)
    # A slope of unknown sign would leave open which branch is `below`.
    if slope.has(variable) or not (slope.is_positive or slope.is_negative):
        return None
    # With a rising excess the condition holds below the kink, so that the first branch is `below`.
    order = (0, -1) if slope.is_positive else (-1, 0)
    below, beyond = (expression.replace(sp.Piecewise, lambda *branches, k=k: branches[k][0]) for k in order)
    return Pieces(variable, -excess.subs(variable, 0) / slope, below, beyond)


def _conditions(expression: sp.Expr) -> list[sp.Basic]:
    """Return the distinct conditions in an expression, without "else"."""
    conditions = {condition for part in expression.atoms(sp.Piecewise) for _, condition in part.args}
    return sorted(conditions - {sp.true}, key=sp.default_sort_key)


def _is_zero(expression: sp.Expr) -> bool:
    """Return whether SymPy proves an expression to be 0."""
    return expression.equals(0) is True
