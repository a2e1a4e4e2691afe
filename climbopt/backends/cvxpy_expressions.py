"""SymPy expressions of CVXPY vectors.

What holds no variable is folded in NumPy first. A power with a negative exponent, or with a vector of exponents, is
exp(exponent log(base)): CVXPY would replace the exponents of a vector by fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cvxpy as cp
import numpy as np
import sympy as sp

Value = Any
"""A CVXPY expression, or numbers of the same shape."""


class UntranslatableError(TypeError):
    """What CVXPY has no form of."""


def translate(expression: sp.Expr, values: Mapping[sp.Symbol, Value]) -> Value:
    """Return a SymPy expression of CVXPY expressions and arrays.

    Raises
    ------
    UntranslatableError
        Where it holds a function without a CVXPY form, or a power whose domain CVXPY would narrow.
    """
    if expression.is_number:
        return float(expression)
    if expression.is_Symbol:
        return values[expression]
    if expression.is_Pow:
        return _power(expression, values)
    if not (expression.is_Add or expression.is_Mul or expression.func in _FUNCTIONS):
        raise UntranslatableError(f"CVXPY has no form of {expression.func.__name__}")
    parts = [translate(part, values) for part in expression.args]
    if expression.is_Add:
        return _folded(parts, np.add, lambda a, b: a + b)
    if expression.is_Mul:
        return _folded(parts, np.multiply, cp.multiply)
    numeric, symbolic = _FUNCTIONS[expression.func]
    return (symbolic if varies(parts[0]) else numeric)(parts[0])


_FUNCTIONS = {sp.exp: (np.exp, cp.exp), sp.log: (np.log, cp.log)}


def varies(value: Value) -> bool:
    """Return whether a value holds variables."""
    return isinstance(value, cp.Expression)


def _folded(parts: list[Value], numeric: Callable[..., Value], symbolic: Callable[..., Value]) -> Value:
    """Return the sum or product of values, the constant ones taken together first."""
    constants = [part for part in parts if not varies(part)]
    varying = [part for part in parts if varies(part)]
    total = constants[0] if constants else None
    for part in constants[1:]:
        total = numeric(total, part)
    for part in varying:
        total = part if total is None else symbolic(total, part)
    return total


def _power(expression: sp.Expr, values: Mapping[sp.Symbol, Value]) -> Value:
    """Return base**exponent, with the base's positive constant factors apart."""
    exponent = translate(expression.exp, values)
    factors = {part: translate(part, values) for part in sp.Mul.make_args(expression.base)}
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
    if not varies(base) and not varies(exponent):
        return np.asarray(base, dtype=float) ** exponent
    whole = not varies(exponent) and bool(np.all(np.asarray(exponent) % 1 == 0))
    if whole and np.ndim(exponent) == 0 and exponent in (1, 2, 4):  # of any sign
        return base if exponent == 1 else cp.square(_power_of(base, exponent / 2, inside))
    if whole and not inside.is_nonnegative and not base.is_nonneg():
        raise UntranslatableError(f"CVXPY would take ({inside})**{exponent} only where {inside} is not negative")
    if not varies(exponent) and np.ndim(exponent) == 0 and exponent > 0:
        return cp.power(base, float(exponent), approx=False)
    return cp.exp(cp.multiply(exponent, cp.log(base) if varies(base) else np.log(base)))
