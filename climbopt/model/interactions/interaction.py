"""Interaction: the template that turns ratios into the z of each target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import sympy as sp

from climbopt.foundations.errors import InputError, listed
from climbopt.foundations.frozen import FrozenMap
from climbopt.foundations.view import View, Viewed
from climbopt.model.piecewise import in_pieces, pieces, stray
from climbopt.model.symbols import D, N, Parameter, Prior, Quantity, r_i, r_j

smallest_budget = sp.Symbol("D_min", positive=True)
"""The smallest pilot budget, in token units; allowed in the values of coordinates."""


@dataclass(frozen=True, repr=False)
class Coordinates(Viewed):
    """Variables that `fit` uses in place of parameters, so that plain bounds on them keep z positive.

    Parameters
    ----------
    parameters : tuple of Parameter
        The coordinates: index, bound (by the symbol's assumption) and prior of each.
    values : mapping of sympy.Symbol to sympy.Expr
        The parameters they replace, as functions of the coordinates, of the other parameters and of
        `smallest_budget`.
    """

    parameters: tuple[Parameter, ...]
    values: Mapping[sp.Symbol, sp.Expr]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", FrozenMap(self.values))

    def view(self) -> View:
        """Return the parameters that are replaced, as functions of the coordinates."""
        return View(
            f"coordinates {listed([p.name for p in self.parameters])}",
            [f"{symbol} = {value}" for symbol, value in self.values.items()],
        )


@dataclass(frozen=True, repr=False)
class Interaction(Viewed):
    """z_i = own(r_i, D) + sum over sources j != i of pair(r_i, r_j, D), declared as two SymPy expressions.

    Parameters
    ----------
    name : str
        Key in model files and on the command line.
    own, pair : sympy.Expr
        In `r_i`, `r_j` (pair only), `D`, `N` of :mod:`climbopt.model.symbols` and the parameters' symbols. Min, Max and
        Abs are stored as Piecewise.
    parameters : tuple of Parameter
        Indexed by target, source or pair. In `own` a source parameter is the target's own.
    quantity : {"ratio", "exponent", "reciprocal", "information"}
        What z is; laws that take it for another quantity are refused.
    coordinates : Coordinates, optional
        Where bounds on the parameters themselves would not keep z positive.
    source : str
        Paper and equation.

    Raises
    ------
    InputError
        When an expression holds a symbol that is neither a variable nor a declared parameter, or a step.
    """

    name: str
    own: sp.Expr
    pair: sp.Expr
    parameters: tuple[Parameter, ...] = ()
    quantity: Quantity = "ratio"
    coordinates: Coordinates | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for part, variables in (("own", (r_i, D, N)), ("pair", (r_i, r_j, D, N))):
            expression = in_pieces(sp.sympify(getattr(self, part)), f"interaction '{self.name}' in {part}")
            object.__setattr__(self, part, expression)
            if names := stray(expression, variables, self.parameters):
                raise InputError(f"interaction '{self.name}' uses {names} in {part}, which it does not declare there")
        # `own` is evaluated once per target, where no source of a pair is defined.
        if self.own.free_symbols & {parameter.symbol for parameter in self.parameters if parameter.per == "pair"}:
            raise InputError(f"interaction '{self.name}' uses a pair parameter in own; own knows one language only")

    @property
    def vanishes_without_own_data(self) -> bool:
        """Whether z is 0 at r_i = 0 whatever the other ratios are, so that a target needs data of its own."""
        # is_zero is None where SymPy cannot decide: then nothing is refused.
        return bool(self.own.subs(r_i, 0).is_zero and self.pair.subs(r_i, 0).is_zero)

    @property
    def shut_without_own_data(self) -> bool:
        """Whether z at r_i = 0 falls to 0 as the budget grows: what others give needs data of the target's own."""
        # Terms in 1 / D (a head start, a leak) remain at small budgets only.
        at_zero = [part.subs(r_i, 0) for part in (self.own, self.pair)]
        return not any(part.has(sp.Piecewise) or sp.limit(part, D, sp.oo) != 0 for part in at_zero)

    @cached_property
    def alone(self) -> sp.Expr | None:
        """z of a language alone, at a ratio of 1 of unrepeated data without a head start; None where that is not clear.

        Terms of own that vanish as the budget grows are a head start; unrepeated is up to the kink, where it has one.
        """
        parts = pieces(self.own, r_i)
        own = sp.simplify((self.own if parts is None else parts.below).subs(r_i, 1))
        limit = sp.limit(own, D, sp.oo) if own.has(D) else own
        # A limit that depends on a parameter of the source would need one for a target that is none.
        known = {p.symbol for p in self.parameters if p.per == "target"}
        return limit if limit.is_finite is not False and limit.free_symbols <= known | {N} else None

    def view(self) -> View:
        """Return the formula and the parameters."""
        parameters = (f"{p.name} per {p.per}: {p.meaning}" for p in self.parameters)
        return View(
            f"interaction {self.name}: z_i = own(r_i) + sum over j != i of pair(r_i, r_j)",
            [f"own: {self.own}", f"pair: {self.pair}", *parameters],
        )


def transfer_coordinates(b: sp.Symbol, k: sp.Symbol) -> Coordinates:
    """Return coordinates with transfer b + k / D >= 0 at every budget from the smallest pilot budget upwards.

    A form whose z has no other term at r_i = 0 is positive on every mixture only with transfer of that sign.
    """
    limit, smallest = sp.symbols("alpha_limit alpha_smallest", nonnegative=True)
    prior = Prior(0.0, 0.1)
    return Coordinates(
        parameters=(
            Parameter(limit, "pair", "1", prior, "transfer at an unbounded budget"),
            Parameter(smallest, "pair", "1", prior, "transfer at the smallest pilot budget"),
        ),
        values={b: limit, k: (smallest - limit) * smallest_budget},
    )
