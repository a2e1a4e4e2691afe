"""SymPy expressions in another system: one walk over the nodes, with a table of rules by kind of node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, reduce
from operator import add, mul, truediv
from typing import Any

import sympy as sp

Value = Any
"""An expression of the other system, or a number."""
Known = Mapping[sp.Expr, Value]
"""Values of nodes by node; arguments come before the nodes that contain them."""
Rule = Callable[[sp.Expr, Known], Value]
"""Returns the value of a node from the values of its arguments."""


class UntranslatableError(TypeError):
    """A kind of node that the other system cannot represent; the message names it."""


def translate(
    expression: sp.Expr,
    values: Mapping[sp.Symbol, Value],
    functions: Mapping[str, Callable[[Value], Value]],
    rules: Mapping[str, Rule] | None = None,
) -> Value:
    """Return an expression in another system; each of its nodes is translated once.

    Parameters
    ----------
    expression : sympy.Expr
    values : mapping of sympy.Symbol to value
        Values of its symbols.
    functions : mapping of str to callable
        The system's functions of one argument, by SymPy's names: exp, log, tanh, ...
    rules : mapping of str to Rule, optional
        By SymPy's kinds of node: Add, Mul and Pow; by default the system's own operators.

    Raises
    ------
    UntranslatableError
        For a kind of node that neither table has.

    Examples
    --------
    >>> from math import exp
    >>> x, y = sp.symbols("x y")
    >>> translate(sp.exp(x) / y + 1, {x: 0.0, y: 4.0}, {"exp": exp})
    1.25
    >>> translate(sp.Max(x, y), {x: 0.0, y: 4.0}, {"exp": exp})
    Traceback (most recent call last):
    climbopt.model.translation.UntranslatableError: there is no Max among its functions (exp)
    """
    rules = OPERATORS if rules is None else rules
    numbers, nodes = _ordered(expression)
    known: dict[sp.Expr, Value] = {**numbers, **values}
    for node in nodes:
        kind = node.func.__name__
        # Rules before functions: a system may have its own form of a sum, product or power.
        if kind in rules:
            known[node] = rules[kind](node, known)
        elif kind in functions and len(node.args) == 1:
            known[node] = functions[kind](known[node.args[0]])
        else:
            raise UntranslatableError(f"there is no {kind} among its functions ({', '.join(functions)})")
    return known[expression]


@lru_cache(maxsize=1024)
def _ordered(expression: sp.Expr) -> tuple[dict[sp.Expr, float], tuple[sp.Expr, ...]]:
    """Return the numbers in an expression, and its other distinct nodes except symbols, arguments first."""
    # A dict as an ordered set: each node once, after its arguments.
    nodes = dict.fromkeys(node for node in sp.postorder_traversal(expression) if not node.is_Symbol)
    # A subtree of numbers alone is one number, exact where it is an integer.
    numbers = {node: int(node) if node.is_Integer else float(node) for node in nodes if node.is_number}
    return numbers, tuple(node for node in nodes if node not in numbers)


def _product(node: sp.Expr, known: Known) -> Value:
    """Return the product of a node's parts, reciprocals as divisions."""
    # SymPy writes a / b as a * b^-1; a division rounds once, a product by a reciprocal twice.
    below = [part for part in node.args if part.is_Pow and part.exp == -1]
    above = [known[part] for part in node.args if part not in below]
    return reduce(truediv, (known[part.base] for part in below), reduce(mul, above) if above else 1.0)


def _power(node: sp.Expr, known: Known) -> Value:
    """Return a power, a reciprocal as a division."""
    return 1.0 / known[node.base] if node.exp == -1 else known[node.base] ** known[node.exp]


OPERATORS: Mapping[str, Rule] = {
    "Add": lambda node, known: reduce(add, (known[part] for part in node.args)),
    "Mul": _product,
    "Pow": _power,
}
"""Rules for a system whose expressions overload Python's operators."""
