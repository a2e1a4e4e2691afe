"""Derivation: a law, an interaction and a use differentiated once as scalars, and compiled to broadcasting functions.

Nothing here depends on the number of languages. `mixture.py` assembles the arrays that these functions
return into Jacobians and Hessians; `Templates.expand` writes the same model out for named languages, for
reading and as the independent oracle of the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from climbopt.foundations.errors import InputError
from climbopt.model.interactions import INTERACTIONS, Interaction
from climbopt.model.laws import LAWS, Law
from climbopt.model.piecewise import Pieces, changes_form, pieces
from climbopt.model.symbols import D, N, Parameter, r_i, r_j
from climbopt.model.uses import ONCE, SUPPLY, Use

Array = NDArray[np.float64]
Compiled = Callable[..., list[Array]]

ROUNDING = sp.Rational(1, 10**15)
"""Width of the smoothing at a kink: of the order of the spacing of floats near 1."""

_ARTICLE = {
    "ratio": "a ratio",
    "exponent": "an exponent",
    "reciprocal": "the reciprocal of a loss",
    "information": "an amount of information",
}


def _compile(arguments: Sequence[sp.Symbol], expressions: Sequence[sp.Expr]) -> Compiled:
    """Return a NumPy function from `arguments` to the list of `expressions`, common subexpressions computed once."""
    function: Compiled = sp.lambdify(list(arguments), list(expressions), modules="numpy", cse=True)
    return function


@dataclass(frozen=True)
class Template:
    """One scalar expression with its derivatives up to the second order.

    Parameters
    ----------
    expression : sympy.Expr
        The template itself.
    variables : tuple of sympy.Symbol
        What it is differentiated by, twice: (z,), (r_i,) or (r_i, r_j).
    parameters : tuple of Parameter
        In the order in which the compiled functions take them, after the variables, D and N.
    """

    expression: sp.Expr
    variables: tuple[sp.Symbol, ...]
    parameters: tuple[Parameter, ...]

    @cached_property
    def arguments(self) -> tuple[sp.Symbol, ...]:
        """Arguments of every compiled function: variables, D, N, then the parameters' symbols."""
        return (*self.variables, D, N, *(parameter.symbol for parameter in self.parameters))

    @cached_property
    def first(self) -> tuple[sp.Expr, ...]:
        """First derivatives, one per variable."""
        return tuple(_collected(sp.diff(self.expression, variable), self.variables) for variable in self.variables)

    @cached_property
    def second(self) -> tuple[sp.Expr, ...]:
        """Second derivatives: upper triangle, row by row."""
        # By Schwarz's theorem the order of differentiation does not matter, so that one triangle is all.
        n = len(self.variables)
        return tuple(
            _collected(sp.diff(self.first[i], self.variables[j]), self.variables) for i in range(n) for j in range(i, n)
        )

    @cached_property
    def exact(self) -> Template:
        """The same with each decimal number as its exact fraction, so that SymPy rounds no product of them."""
        # A decimal number in the declaration stands for the nearest double, which is a fraction.
        numbers = {number: sp.Rational(float(number)) for number in self.expression.atoms(sp.Float)}
        return replace(self, expression=self.expression.xreplace(numbers)) if numbers else self

    @cached_property
    def value(self) -> Compiled:
        """Compiled [expression]."""
        return _compile(self.arguments, [self.expression])

    @cached_property
    def slopes(self) -> Compiled:
        """Compiled [expression, *first]."""
        return _compile(self.arguments, [self.expression, *self.first])

    @cached_property
    def curvatures(self) -> Compiled:
        """Compiled [*second]."""
        return _compile(self.arguments, self.second)

    @cached_property
    def by_parameter(self) -> Compiled:
        """Compiled derivatives by each parameter, in the order of `parameters`."""
        return _compile(
            self.arguments, [_with_limits(sp.diff(self.expression, p.symbol), self.variables) for p in self.parameters]
        )

    @cached_property
    def whole(self) -> bool:
        """Whether one formula holds for all values of the variables."""
        return not self.expression.has(sp.Piecewise) or not changes_form(self.expression, self.variables)

    @cached_property
    def pieces(self) -> Pieces | None:
        """Its two pieces by the last variable, where it has two that meet; else None."""
        parts = None if self.whole else pieces(self.expression, self.variables[-1])
        return parts if parts is not None and parts.continuous else None

    @cached_property
    def written(self) -> sp.Expr:
        """The expression without conditions, for systems that have none; as it is where its slope may jump.

        With x the variable, it is below(x) + gain(max(0, x - kink)), and max(0, e) = (e + sqrt(e^2 + 1e-30)) / 2 up to
        rounding.
        """
        if self.kinked or self.pieces is None:
            return self.expression
        # gain(0) = gain'(0) = 0 where the slope does not jump: the smoothing changes nothing above rounding.
        excess = self.pieces.variable - self.pieces.kink
        positive = (excess + sp.sqrt(excess**2 + ROUNDING**2)) / 2
        return self.pieces.below + sp.simplify(self.pieces.gain).subs(self.pieces.variable, positive)

    @property
    def joined(self) -> bool:
        """Whether it is of one formula, or of two pieces that meet."""
        return self.whole or self.pieces is not None

    @cached_property
    def kinked(self) -> bool:
        """Whether its first derivatives may jump."""
        return not self.joined or (self.pieces is not None and self.pieces.jump != 0)

    @cached_property
    def jump(self) -> Compiled:
        """Compiled [change of the slope at the kink]; [] where it has no two pieces."""
        return _compile(self.arguments, [] if self.pieces is None else [self.pieces.jump])


def _collected(derivative: sp.Expr, variables: Sequence[sp.Symbol]) -> sp.Expr:
    """Return a derivative with x^g / x as x^(g - 1): not 0/0 at x = 0, and of one sign where x^(g - 1) is.

    SymPy writes the power rule as g x^g / x. Where the base is x plus a number w is written for it, so that the
    derivatives of x w^(g - 1) are sums of terms of one sign.
    """
    bases = {power.base for power in derivative.atoms(sp.Pow) if power.exp.free_symbols}
    for x, base in [(x, base) for x in variables for base in bases if base != x and (base - x).is_number]:
        # In w the factor x = w + (x - base) multiplies out, and each term is a power of w with its own sign.
        w = sp.Dummy("w", positive=True)
        moved = sp.expand(sp.powsimp(sp.expand(derivative.subs(x, w + (x - base)))))
        derivative = sp.powsimp(sp.collect(moved, w, func=sp.factor)).subs(w, base)
    # Only symbolic exponents need it: SymPy simplifies x^2 / x by itself.
    if not any(power.base in variables and power.exp.free_symbols for power in derivative.atoms(sp.Pow)):
        return derivative
    return sp.powsimp(sp.factor_terms(derivative))


def _with_limits(derivative: sp.Expr, variables: Sequence[sp.Symbol]) -> sp.Expr:
    """Return an expression in which x^p log x is 0 at x = 0 for p > 0, as it is in the limit, and not 0 times -oo."""

    def vanishing(part: sp.Basic) -> bool:
        return part.is_Mul and any(
            # Without a positive power of x beside it, log x is unbounded at 0 and stays as it is.
            part.has(sp.log(x)) and any(f.is_Pow and f.base == x and f.exp.is_positive for f in part.args)
            for x in variables
        )

    limits = {sp.log(x): sp.Piecewise((sp.log(x), x > 0), (0, True)) for x in variables}
    return derivative.replace(vanishing, lambda product: product.subs(limits))


def form_label(law: str, interaction: str, use: str) -> str:
    """Return the names of a form's parts, as reports write them; the use where it is not `once`."""
    return " + ".join((law, interaction) if use == ONCE.name else (law, interaction, f"{use} use"))


class Form(NamedTuple):
    """What a model is written in: L_i = law(z_i), z_i = interaction of u, u_j = use(r_j)."""

    law: Law
    interaction: Interaction
    use: Use = ONCE

    @property
    def label(self) -> str:
        """Names of the parts, as reports write them; the use where it is not `once`."""
        return form_label(self.law.name, self.interaction.name, self.use.name)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter: the law's, the interaction's, the use's."""
        return derive(*self).parameters


@dataclass(frozen=True)
class Templates:
    """The derived templates of one form; use :func:`derive` to build (and reuse) them."""

    law: Law
    interaction: Interaction
    use: Use = ONCE

    def __post_init__(self) -> None:
        # A law of an effective ratio given an exponent would be evaluated without an error, and mean nothing.
        if self.law.quantity != self.interaction.quantity:
            raise InputError(
                f"law '{self.law.name}' takes z for {_ARTICLE[self.law.quantity]}, and interaction "
                f"'{self.interaction.name}' gives {_ARTICLE[self.interaction.quantity]}; choose two that agree"
            )
        # Repetition counted twice would discount the same tokens twice.
        if SUPPLY in {p.name for p in self.interaction.parameters} & {p.name for p in self.use.parameters}:
            raise InputError(
                f"interaction '{self.interaction.name}' counts repeated tokens itself; take it with the use 'once', "
                f"and '{self.use.name}' with another interaction"
            )
        owner: dict[str, str] = {}
        for label, parameters in (
            (f"law '{self.law.name}'", self.law.parameters),
            (f"interaction '{self.interaction.name}'", self.interaction.parameters),
            (f"use '{self.use.name}'", self.use.parameters),
        ):
            for p in parameters:
                if p.name in owner:
                    raise InputError(f"{owner[p.name]} and {label} both declare a parameter '{p.name}'; rename one")
                owner[p.name] = label
        if self.loss.kinked:
            raise InputError(
                f"the slope of law '{self.law.name}' may jump in z; write a law whose slope does not (an "
                "interaction may have kinks)"
            )

    @cached_property
    def loss(self) -> Template:
        """L(z), with L_z and L_zz."""
        return Template(self.law.expression, (self.law.z,), self.law.parameters)

    @cached_property
    def own(self) -> Template:
        """own(u_i), with its two derivatives; the variable is written r_i."""
        return Template(self.interaction.own, (r_i,), self.interaction.parameters)

    @cached_property
    def pair(self) -> Template:
        """pair(u_i, u_j), with its two first and three second derivatives; the variables are written r_i and r_j."""
        return Template(self.interaction.pair, (r_i, r_j), self.interaction.parameters)

    @cached_property
    def used(self) -> Template | None:
        """u_j = use(r_j), with its two derivatives; None where u is the ratio itself."""
        return None if self.use.expression == r_j else Template(self.use.expression, (r_j,), self.use.parameters)

    @property
    def uses_model_size(self) -> bool:
        """Whether losses depend on N, through the law, z or u."""
        return any(
            N in part.free_symbols
            for part in (self.law.expression, self.interaction.own, self.interaction.pair, self.use.expression)
        )

    @cached_property
    def kinked(self) -> bool:
        """Whether the slopes of z may jump."""
        return self.own.kinked or self.pair.kinked or (self.used is not None and self.used.kinked)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter: the law's, the interaction's, the use's."""
        return self.law.parameters + self.interaction.parameters + self.use.parameters

    @cached_property
    def alone(self) -> Template | None:
        """The loss of a language alone, at `Interaction.alone`, of no variable; None where the interaction has none."""
        if self.interaction.alone is None:
            return None
        # A language alone has no other source: the parameters of pairs and sources do not enter.
        of_target = tuple(p for p in self.law.parameters + self.interaction.parameters if p.per == "target")
        return Template(self.law.expression.subs(self.law.z, self.interaction.alone), (), of_target)

    @cached_property
    def gives_effective_ratio(self) -> bool:
        """Whether z itself is the effective ratio: the loss depends on D z, and z is 1 for a language alone."""
        by_product = self.law.expression.subs(self.law.z, self.law.z / D)
        return D not in sp.simplify(by_product).free_symbols and self.interaction.alone == 1

    def expand(self, sources: Sequence[str], targets: Sequence[str]) -> Mapping[str, sp.Expr]:
        """Return each target's loss as one SymPy expression in r[<source>], D, N and <parameter>[<language>].

        Parameters
        ----------
        sources, targets : sequence of str
            Names; a target that is no source has no own ratio. Pair parameters are
            <name>[<target>, <source>].

        Notes
        -----
        For reading and testing only: its size, and that of its Hessian, grows with the square of the languages.
        """
        return {
            target: self.law.expression.subs(self.law.z, self.expand_z(sources, target)).subs(
                {p.symbol: indexed(p.symbol, target) for p in self.law.parameters}
            )
            for target in targets
        }

    def expand_z(self, sources: Sequence[str], target: str) -> sp.Expr:
        """Return z of `target` as one SymPy expression, named as in :meth:`expand`."""
        # A target that is no source has no data of its own: u_i = 0.
        ratio = self.expand_use(target) if target in sources else sp.Integer(0)
        swap = {r_i: ratio} | {p.symbol: indexed(p.symbol, target) for p in self.interaction.parameters}
        # z_i = own(u_i, D) + sum over j != i of pair(u_i, u_j, D).
        z = self.interaction.own.subs(swap, simultaneous=True)
        for source in (name for name in sources if name != target):
            swap |= {p.symbol: indexed(p.symbol, *p.axes(target, source)) for p in self.interaction.parameters}
            swap |= {r_j: self.expand_use(source)}
            z += self.interaction.pair.subs(swap, simultaneous=True)
        return z

    def expand_use(self, source: str) -> sp.Expr:
        """Return u of `source` in r[source]."""
        swap = {r_j: indexed(r_j, source, stem="r")} | {
            p.symbol: indexed(p.symbol, source) for p in self.use.parameters
        }
        return self.use.expression.subs(swap, simultaneous=True)


def indexed(symbol: sp.Symbol, *languages: str, stem: str | None = None) -> sp.Symbol:
    """Return `symbol` renamed for `languages`, as in b[en, de], with its assumptions."""
    return sp.Symbol(f"{stem or symbol}[{', '.join(languages)}]", **symbol.assumptions0)


@lru_cache(maxsize=64)
def derive(law: Law, interaction: Interaction, use: Use = ONCE) -> Templates:
    """Return the templates of a form, differentiated and compiled at most once per process.

    Examples
    --------
    >>> from climbopt.model.interactions import INTERACTIONS
    >>> from climbopt.model.laws import LAWS
    >>> derive(LAWS["power"], INTERACTIONS["linear"]).pair.first
    (0, b + k/D)
    """
    return Templates(law, interaction, use)


def agreeing_pairs(
    laws: Iterable[Law] | None = None, interactions: Iterable[Interaction] | None = None
) -> tuple[tuple[Law, Interaction], ...]:
    """Return all pairs of a law and an interaction that agree in the quantity z; of all registered by default.

    Examples
    --------
    >>> [interaction.name for law, interaction in agreeing_pairs() if law.name == "exponential"]
    ['mixing']
    """
    every = product(
        LAWS.values() if laws is None else laws, INTERACTIONS.values() if interactions is None else interactions
    )
    return tuple((law, interaction) for law, interaction in every if law.quantity == interaction.quantity)
