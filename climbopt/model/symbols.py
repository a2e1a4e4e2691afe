"""The variables that every template is written in, and the parameters it declares.

A law is an expression in ``z``, ``D`` and ``N``; an interaction has one expression in ``r_i`` (a target's own
ratio) and one in ``r_i`` and ``r_j`` (the ratio of another source). The assumptions carried by a symbol are its
domain: a law whose ``z`` is declared positive is evaluated at z > 0 only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import sympy as sp

from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import check_arguments

Languages = TypeVar("Languages")
Per = Literal["target", "source", "pair"]
Unit = Literal["1", "nats", "1/nats", "tokens", "params"]
Quantity = Literal["ratio", "exponent", "reciprocal", "information"]
"""What z is: a ratio of data, an exponent, the reciprocal of a part of the loss, or an amount of information."""

z = sp.Symbol("z", positive=True)
"""The value of an interaction, which the law takes; both declare its meaning as a `Quantity`."""
D = sp.Symbol("D", positive=True)
"""Token budget, in token units."""
N = sp.Symbol("N", positive=True)
"""Model size, in parameter units."""
r_i = sp.Symbol("r_i", nonnegative=True)
"""The target's own ratio; 0 for a target that is no source."""
r_j = sp.Symbol("r_j", nonnegative=True)
"""The ratio of another source."""


@check_arguments
@dataclass(frozen=True)
class Prior:
    """Normal prior of a parameter, or of its logarithm where its symbol is positive.

    Parameters
    ----------
    center : float
        Mean; for a positive symbol the median.
    spread : float
        Standard deviation; for a positive symbol that of the logarithm.

    Notes
    -----
    Tokens and model sizes count in the model's units, nats in multiples of the target's median loss.
    """

    center: float
    spread: float


@dataclass(frozen=True)
class Parameter:
    """One parameter of a template: its symbol, what it is indexed by, its unit and its prior.

    Parameters
    ----------
    symbol : sympy.Symbol
        Its name is the key in model files; its assumptions are the domain (positive, nonnegative or real).
    per : {"target", "source", "pair"}
        Shape of its values: (n_targets,), (n_sources,) or (n_targets, n_sources); a pair parameter has no
        value where the source is the target itself.
    unit : {"1", "nats", "1/nats", "tokens", "params"}
        Tokens and params count in the model's units.
    prior : Prior, optional
        Prior distribution in `fit`; by default around 1 for a positive symbol, around 0 for
        others, with spread 1.
    meaning : str
        A few words for reports.

    Attributes
    ----------
    name : str
        The symbol's, as in model files.
    lower : float
        Least value allowed: 0 for positive and nonnegative symbols, else minus infinity.
    """

    symbol: sp.Symbol
    per: Per
    unit: Unit = "1"
    prior: Prior = Prior(math.nan, 1.0)
    meaning: str = ""
    name: str = field(init=False, compare=False, repr=False)
    lower: float = field(init=False, compare=False, repr=False)

    def axes(self, targets: Languages, sources: Languages) -> tuple[Languages, ...]:
        """Return what its values are indexed by: the targets, the sources, or both, as they are or as their numbers."""
        return {"target": (targets,), "source": (sources,), "pair": (targets, sources)}[self.per]

    def __post_init__(self) -> None:
        positive = bool(self.symbol.is_positive)
        object.__setattr__(self, "name", self.symbol.name)
        # Positive symbols are nonnegative too.
        object.__setattr__(self, "lower", 0.0 if self.symbol.is_nonnegative else -math.inf)
        # NaN stands for the default: a median of 1 for positive symbols, a mean of 0 for others.
        if math.isnan(self.prior.center):
            object.__setattr__(self, "prior", Prior(1.0 if positive else 0.0, self.prior.spread))
        if self.prior.spread <= 0 or (positive and self.prior.center <= 0):
            raise InputError(
                f"the prior of '{self.name}' is {self.prior}; a spread is positive, and so is the center "
                "of a positive parameter"
            )
