"""The coordinates that a fit moves in: logarithms of positive parameters, and what an interaction declares.

Rewriting the templates in coordinates keeps the fit inside the domain by plain bounds, and its derivatives are
still those of the templates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import sympy as sp

from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import ByFields
from climbopt.model.interactions import Coordinates, Interaction, smallest_budget
from climbopt.model.laws import Law
from climbopt.model.mixture import MixtureModel
from climbopt.model.symbols import Parameter, Prior
from climbopt.model.templates import Array, Compiled, Form
from climbopt.model.uses import ONCE, Use

_D_MIN = Parameter(smallest_budget, "target", "tokens", meaning="smallest pilot budget, held fixed")


@dataclass(frozen=True)
class FitForm(ByFields):
    """A form, and the same rewritten in the coordinates of the fit.

    Parameters
    ----------
    law, interaction, use : Law, Interaction, Use
        As declared.
    """

    law: Law
    interaction: Interaction
    use: Use = ONCE

    @property
    def form(self) -> Form:
        """The parts as declared."""
        return Form(self.law, self.interaction, self.use)

    @property
    def _own(self) -> Coordinates:
        """What the interaction declares in place of some of its parameters; nothing in most."""
        return self.interaction.coordinates or Coordinates((), {})

    @cached_property
    def values(self) -> dict[sp.Symbol, sp.Expr]:
        """Each declared parameter as an expression in the coordinates."""
        values = {p.symbol: p.symbol for p in self.form.parameters} | dict(self._own.values)
        # Applied to the coordinates' own values too: a positive coordinate is moved in its logarithm.
        logs = {p.symbol: sp.exp(_log(p.symbol)) for p in self._moved if p.symbol.is_positive}
        return {symbol: value.subs(logs, simultaneous=True) for symbol, value in values.items()}

    @cached_property
    def _moved(self) -> tuple[Parameter, ...]:
        """The declared parameters and coordinates that the fit moves, before logarithms are taken."""
        return self.law.parameters + self._moved_interaction + self.use.parameters

    @cached_property
    def _moved_interaction(self) -> tuple[Parameter, ...]:
        kept = (p for p in self.interaction.parameters if p.symbol not in self._own.values)
        return (*kept, *self._own.parameters)

    @cached_property
    def moved(self) -> Form:
        """The form as a function of the coordinates; D_min is a parameter of the interaction that is held fixed."""

        def rewritten(expression: sp.Expr) -> sp.Expr:
            return expression.subs(self.values, simultaneous=True)

        law, interaction, use = self.form
        return Form(
            Law(law.name, rewritten(law.expression), tuple(map(_coordinate, law.parameters)), quantity=law.quantity),
            Interaction(
                interaction.name,
                rewritten(interaction.own),
                rewritten(interaction.pair),
                (*map(_coordinate, self._moved_interaction), _D_MIN),
                interaction.quantity,
            ),
            Use(use.name, rewritten(use.expression), tuple(map(_coordinate, use.parameters))),
        )

    @cached_property
    def coordinates(self) -> tuple[Parameter, ...]:
        """Everything the fit moves."""
        return tuple(map(_coordinate, self._moved))

    def held(self, parameter: Parameter, values: Array) -> tuple[str, Array]:
        """Return the coordinate that stands for a declared parameter alone, by name, with its values; NaN stays.

        Raises
        ------
        InputError
            Where the fit moves other coordinates in its place.
        """
        if parameter.symbol in self._own.values or parameter.per == "pair":
            raise InputError(
                f"parameter '{parameter.name}' of {self.form.label} cannot be "
                "fixed; one of a target or of a source can be, where no bound ties it to others"
            )
        positive = bool(parameter.symbol.is_positive)
        return (_log(parameter.symbol).name, np.log(values)) if positive else (parameter.name, values)

    @cached_property
    def _declared(self) -> Compiled:
        """The declared parameters as a function of the coordinates and D_min."""
        return _compiled(self.coordinates, [self.values[p.symbol] for p in self.form.parameters])

    @cached_property
    def _slopes(self) -> tuple[tuple[tuple[Parameter, Parameter], ...], Compiled]:
        """Which declared parameter depends on which coordinate, and the derivatives as functions as `_declared`."""
        slopes = {
            (declared, moved): sp.diff(self.values[declared.symbol], moved.symbol)
            for declared in self.form.parameters
            for moved in self.coordinates
        }
        # Most parameters depend on one coordinate, or on two.
        slopes = {pair: slope for pair, slope in slopes.items() if slope != 0}
        return tuple(slopes), _compiled(self.coordinates, list(slopes.values()))

    @cached_property
    def _inverse(self) -> Compiled:
        """The coordinates as a function of the declared parameters and D_min."""
        own, moved = self._own, {p.symbol: p.symbol for p in self._moved}
        if own.values:
            # Without assumptions, so that no solution is dropped for a sign that SymPy cannot see.
            unknown = {p.symbol: sp.Dummy(p.name) for p in own.parameters}
            equations = [symbol - value.subs(unknown, simultaneous=True) for symbol, value in own.values.items()]
            (solution,) = sp.solve(equations, list(unknown.values()), dict=True)
            moved |= {symbol: solution[dummy] for symbol, dummy in unknown.items()}
        values = [sp.log(value) if symbol.is_positive else value for symbol, value in moved.items()]
        return _compiled(self.form.parameters, values)

    def coordinates_of(self, model: MixtureModel, smallest: float) -> dict[str, Array]:
        """Return the coordinates of a model's parameters, the smallest pilot budget in token units; inverts `declared`.

        Those of a language with itself as a pair mean nothing, and may be infinite.
        """
        values = {**model.parameters, smallest_budget.name: np.full(len(model.targets), smallest)}
        with np.errstate(all="ignore"):
            results = self._inverse(*self._columns(values, self.form.parameters))
        return {p.name: self._shaped(model, p, v) for p, v in zip(self.coordinates, results, strict=True)}

    def declared(self, values: Mapping[str, Array], like: MixtureModel) -> dict[str, Array]:
        """Return the declared parameters of values of the coordinates and D_min, in the shapes of a model's."""
        results = self._declared(*self._columns(values, self.coordinates))
        return {p.name: self._shaped(like, p, v) for p, v in zip(self.form.parameters, results, strict=True)}

    def slopes(self, fitted: MixtureModel) -> dict[tuple[Parameter, Parameter], Array]:
        """Return d(declared parameter) / d(coordinate) by both, shaped as the declared parameter.

        An entry depends on the coordinate's entry of the same target, source or pair alone; pairs of parameters that
        are not there have a derivative of 0.
        """
        pairs, function = self._slopes
        values = function(*self._columns(fitted.parameters, self.coordinates))
        return {pair: self._shaped(fitted, pair[0], value) for pair, value in zip(pairs, values, strict=True)}

    @cached_property
    def _pairwise(self) -> bool:
        return any(p.per == "pair" for p in self.form.parameters)

    def _columns(self, values: Mapping[str, Array], parameters: Sequence[Parameter]) -> list[Array]:
        """Return the values of parameters and of D_min, broadcasting over targets and sources."""
        return [
            values[p.name][:, None] if self._pairwise and p.per == "target" else values[p.name]
            for p in (*parameters, _D_MIN)
        ]

    def _shaped(self, fitted: MixtureModel, parameter: Parameter, value: Array) -> Array:
        """Return what was broadcast as an array of the parameter's own shape."""
        if self._pairwise and parameter.per == "target" and np.ndim(value):
            # Broadcast over sources, all of its columns are the same.
            value = value[:, 0]
        return np.array(np.broadcast_to(value, fitted.shape(parameter)))


def _compiled(parameters: Sequence[Parameter], expressions: Sequence[sp.Expr]) -> Compiled:
    """Return expressions as a function of the values of parameters and of D_min."""
    symbols = [p.symbol for p in (*parameters, _D_MIN)]
    function: Compiled = sp.lambdify(symbols, expressions, modules="numpy", cse=True)
    return function


def _log(symbol: sp.Symbol) -> sp.Symbol:
    return sp.Symbol(f"log_{symbol}", real=True)


def _coordinate(parameter: Parameter) -> Parameter:
    """Return `parameter`, or its logarithm with the same prior where it is positive."""
    if not parameter.symbol.is_positive:
        return parameter
    # Log-normal with that median: the normal prior of the logarithm.
    prior = Prior(float(np.log(parameter.prior.center)), parameter.prior.spread)
    return Parameter(_log(parameter.symbol), parameter.per, parameter.unit, prior, f"log of {parameter.meaning}")


@lru_cache(maxsize=64)
def fit_form(law: Law, interaction: Interaction, use: Use = ONCE) -> FitForm:
    """Return the fit form of a form, rewritten at most once per process."""
    return FitForm(law, interaction, use)
