"""Use: the template that turns a source's ratio into what its tokens are worth."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from climbopt.foundations.errors import InputError
from climbopt.foundations.view import View, Viewed
from climbopt.model.piecewise import in_pieces, stray
from climbopt.model.symbols import D, N, Parameter, Prior, r_j

U = sp.Symbol("U", positive=True)
"""Supply of a source, in token units: the number of different tokens available."""

SUPPLY = U.name
"""Name of the parameter that a known supply gives, in uses and in interactions."""

OF_SUPPLY = Parameter(U, "source", "tokens", Prior(0.5, 2.0), meaning="supply: different tokens available")

epochs = r_j * D / U
"""Passes over the supply of a source."""


@dataclass(frozen=True, repr=False)
class Use(Viewed):
    """u_j = expression(r_j, D), the ratio of unrepeated data that a source's tokens are worth.

    Parameters
    ----------
    name : str
        Key in model files and on the command line.
    expression : sympy.Expr
        In `r_j`, `D`, `N` of :mod:`climbopt.model.symbols` and the parameters' symbols; 0 at r_j = 0, and 0 or more
        elsewhere. Min, Max and Abs are stored as Piecewise.
    parameters : tuple of Parameter
        Of a source each.
    source : str
        Paper and equation.

    Raises
    ------
    InputError
        When the expression holds a symbol that is neither a variable nor a declared parameter, or a step; when it is
        not 0 without data; when a parameter is not of a source.
    """

    name: str
    expression: sp.Expr
    parameters: tuple[Parameter, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "expression", in_pieces(sp.sympify(self.expression), f"use '{self.name}'"))
        if names := stray(self.expression, (r_j, D, N), self.parameters):
            raise InputError(f"use '{self.name}' has {names}, which it does not declare")
        shared = [p.name for p in self.parameters if p.per != "source"]
        if shared:
            raise InputError(f"parameter '{shared[0]}' of use '{self.name}' is not per source; a use is of one source")
        # Bounds of u rest on it: u is the integral of its slope from 0.
        if sp.simplify(self.expression.subs(r_j, 0)) != 0:
            raise InputError(f"use '{self.name}' is not 0 at r_j = 0; data that are not there are worth nothing")

    def view(self) -> View:
        """Return the formula and the parameters."""
        return View(
            f"use {self.name}: u_j = use(r_j)",
            [f"u_j: {self.expression}", *(f"{p.name} per {p.per}: {p.meaning}" for p in self.parameters)],
        )


def beyond_one_epoch(worth: sp.Expr) -> sp.Expr:
    """Return the use r_j up to one epoch and (U / D) worth beyond it, with `worth` in supplies, 1 at one epoch."""
    return sp.Piecewise((r_j, r_j * D <= U), (U / D * worth, True))
