"""Law: the template that turns z, the budget D and the model size N into a loss."""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from climbopt.foundations.errors import InputError
from climbopt.foundations.view import View, Viewed
from climbopt.model.piecewise import in_pieces, stray
from climbopt.model.symbols import D, N, Parameter, Quantity


@dataclass(frozen=True, repr=False)
class Law(Viewed):
    """A loss law, declared as one scalar SymPy expression for any target.

    Parameters
    ----------
    name : str
        Key in model files and on the command line.
    expression : sympy.Expr
        Loss in nats per token, in a symbol named z, the symbols `D`, `N` of :mod:`climbopt.model.symbols`, and the
        parameters' symbols. z is evaluated at positive values only where its symbol is declared positive. Its slope
        by z must not jump.
    parameters : tuple of Parameter
        All are indexed by target.
    quantity : {"ratio", "exponent", "reciprocal", "information"}
        What the law takes z for; interactions that give another quantity are refused.
    irreducible : sympy.Symbol, optional
        The parameter that no data can remove (E), where the law has one.
    source : str
        Paper and equation.

    Attributes
    ----------
    z : sympy.Symbol
        The expression's z.
    needs_positive_z : bool
        Whether the law is defined at z > 0 only.

    Raises
    ------
    InputError
        When the expression holds a symbol that is neither a variable nor a declared parameter, or a step.
    """

    name: str
    expression: sp.Expr
    parameters: tuple[Parameter, ...]
    quantity: Quantity = "ratio"
    irreducible: sp.Symbol | None = None
    source: str = ""
    z: sp.Symbol = field(init=False, compare=False)
    needs_positive_z: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "expression", in_pieces(sp.sympify(self.expression), f"law '{self.name}'"))
        # By name: a law may declare z positive, real or without assumption, which are different symbols.
        z = [symbol for symbol in self.expression.free_symbols if str(symbol) == "z"]
        if len(z) != 1:
            raise InputError(f"law '{self.name}' must contain one symbol named z; it has {len(z)}")
        object.__setattr__(self, "z", z[0])
        object.__setattr__(self, "needs_positive_z", bool(z[0].is_positive))
        if names := stray(self.expression, (self.z, D, N), self.parameters):
            raise InputError(f"law '{self.name}' uses {names}, which it does not declare; add a Parameter for each")
        if any(parameter.per != "target" for parameter in self.parameters):
            raise InputError(f"law '{self.name}' has a parameter that is not per target; only interactions may")

    @property
    def uses_model_size(self) -> bool:
        """Whether the loss depends on N."""
        return N in self.expression.free_symbols

    def view(self) -> View:
        """Return the formula and the parameters."""
        return View(f"law {self.name}: L = {self.expression}", [f"{p.name}: {p.meaning}" for p in self.parameters])
