"""SymPy expressions of CVXPY vectors.

Constant parts are first evaluated in NumPy. A power with a negative exponent, or with a vector of exponents, is
exp(exponent log(base)): CVXPY would replace the exponents of a vector by fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cvxpy as cp
import numpy as np
import sympy as sp

from climbopt.model import translation
from climbopt.model.translation import Known, Rule, UntranslatableError, Value


def translate(expression: sp.Expr, values: Mapping[sp.Symbol, Value]) -> Value:
    """Return a SymPy expression of CVXPY expressions and arrays.

    Raises
    ------
    UntranslatableError
        For a function without a CVXPY form, or a power whose domain CVXPY would restrict.
    """
    return translation.translate(expression, values, _FUNCTIONS, _RULES)


def varies(value: Value) -> bool:
    """Return whether a value contains variables."""
    return isinstance(value, cp.Expression)


def _folded(parts: list[Value], numeric: Callable[..., Value], symbolic: Callable[..., Value]) -> Value:
    """Return the sum or product of values, constants first."""
    # Folded in NumPy first: every CVXPY atom costs time in its reductions.
    constants = [part for part in parts if not varies(part)]
    varying = [part for part in parts if varies(part)]
    total = constants[0] if constants else None
    for part in constants[1:]:
        total = numeric(total, part)
    for part in varying:
        total = part if total is None else symbolic(total, part)
    return total


def _power(node: sp.Expr, known: Known) -> Value:
    """Return base**exponent, with positive constant factors of the base separated."""
    exponent = known[node.exp]
    factors = {part: known[part] for part in sp.Mul.make_args(node.base)}
    # (c b)**p = c**p b**p needs c > 0; DCP rules then see a power of b alone
    constant = [part for part, value in factors.items() if not varies(value) and np.all(np.asarray(value) > 0)]
    groups = (constant, [part for part in factors if part not in constant])
    powers = [
        _power_of(_folded([factors[part] for part in group], np.multiply, cp.multiply), exponent, sp.Mul(*group))
        for group in groups
        if group
    ]
    return _folded(powers, np.multiply, cp.multiply)


def _power_of(base: Value, exponent: Value, inside: sp.Expr) -> Value:
    """Return base**exponent in the form that CVXPY takes exactly; `inside` is the base in SymPy."""
    # Numbers alone.
    if not varies(base) and not varies(exponent):
        return np.asarray(base, dtype=float) ** exponent
    whole = not varies(exponent) and bool(np.all(np.asarray(exponent) % 1 == 0))
    if whole and np.ndim(exponent) == 0 and exponent in (1, 2, 4):  # defined for a base of any sign
        return base if exponent == 1 else cp.square(_power_of(base, exponent / 2, inside))
    if whole and not inside.is_nonnegative and not base.is_nonneg():
        raise UntranslatableError(f"CVXPY would take ({inside})**{exponent} only where {inside} is not negative")
    # approx=False: a power cone, and no rational approximation of the exponent.
    if not varies(exponent) and np.ndim(exponent) == 0 and exponent > 0:
        return cp.power(base, float(exponent), approx=False)
    return cp.exp(cp.multiply(exponent, cp.log(base) if varies(base) else np.log(base)))


_FUNCTIONS: Mapping[str, Callable[[Value], Value]] = {
    "exp": lambda value: (cp.exp if varies(value) else np.exp)(value),
    "log": lambda value: (cp.log if varies(value) else np.log)(value),
}
_RULES: Mapping[str, Rule] = {
    "Add": lambda node, known: _folded([known[part] for part in node.args], np.add, lambda a, b: a + b),
    "Mul": lambda node, known: _folded([known[part] for part in node.args], np.multiply, cp.multiply),
    "Pow": _power,
}
