"""Relations that users write over r[language], z[language], L[language] and D: as SymPy, or as text.

Text is read by a whitelist over Python's syntax tree; nothing in it is ever evaluated.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NoReturn

import sympy as sp

from climbopt.foundations.errors import InputError, refuse_unknown
from climbopt.foundations.frozen import FrozenMap
from climbopt.model.symbols import D

INFINITY = math.inf
LONGEST = 2000
"""Largest number of characters of a text."""
DEEPEST = 30
"""Largest depth of brackets."""
MOST_TERMS = 20_000
"""Largest number of terms of all sums in a text."""
LARGEST_EXPONENT = 4
GRAMMAR = (
    "numbers, r[language], z[language], L[language], D, + - * /, ** with a number from "
    f"-{LARGEST_EXPONENT} to {LARGEST_EXPONENT}, parentheses, sum(... for x in group)"
)

Kind = Literal["r", "z", "L"]


@dataclass(frozen=True)
class Quantity:
    """One of the quantities that relations are written over; indexed by language it gives a SymPy symbol.

    Examples
    --------
    >>> r["sw"] - r["en"] / 2
    -r[en]/2 + r[sw]
    """

    kind: Kind

    def __getitem__(self, language: str) -> sp.Symbol:
        return sp.Symbol(f"{self.kind}[{language}]", real=True)


r = Quantity("r")
"""Ratio of a source in the run that is planned."""
z = Quantity("z")
"""z of a target after the run."""
L = Quantity("L")
"""Loss of a target after the run, in nats per token."""
_QUANTITIES: Mapping[str, Quantity] = {"r": r, "z": z, "L": L}
_SIGNS = {sp.LessThan: "<=", sp.GreaterThan: ">=", sp.Equality: "=="}
_COMPARISONS = {ast.LtE: "<=", ast.GtE: ">=", ast.Eq: "=="}
_ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def entry(symbol: sp.Symbol) -> tuple[Kind, str]:
    """Return the quantity and the language of a symbol; raises InputError for any other symbol.

    Examples
    --------
    >>> entry(r["sw"])
    ('r', 'sw')
    """
    kind, bracket, rest = str(symbol).partition("[")
    # Compared as symbols, not as text: one with other assumptions would not be replaced later.
    if kind in _QUANTITIES and bracket and rest.endswith("]") and symbol == _QUANTITIES[kind][rest[:-1]]:
        return _QUANTITIES[kind].kind, rest[:-1]
    raise InputError(
        f"'{symbol}' is no quantity of a mixture; write r[language], z[language], L[language] or D, in "
        "Python with climbopt.r, climbopt.z, climbopt.L and climbopt.D"
    )


@dataclass(frozen=True)
class Relation:
    """lower <= expression <= upper: the variables on one side, the number that the user wrote on the other."""

    expression: sp.Expr
    lower: float
    upper: float

    @classmethod
    def of(cls, left: sp.Expr, operator: str, right: sp.Expr) -> Relation:
        """Return left <= right, left >= right or left == right as limits of an expression.

        Numbers are collected on the side opposite the variables, so that a limit rises with the number that the user
        wrote; with variables on both sides the limit is the number of the right side less that of the left.
        """
        # Swap the sides of "number <= expression", so that the variables are on the left.
        if not left.free_symbols - {D}:
            left, right, operator = right, left, {"<=": ">=", ">=": "<="}.get(operator, operator)
        lower, upper = -INFINITY if operator == "<=" else 0.0, INFINITY if operator == ">=" else 0.0
        return cls(sp.Integer(0), lower, upper).shifted(left - right)

    def shifted(self, expression: sp.Expr) -> Relation:
        """Return the relation with another expression, whose numbers are moved into the limits."""
        # lower <= rest + number <= upper is lower - number <= rest <= upper - number.
        number, rest = expression.as_coeff_Add()
        if not rest.free_symbols:
            raise InputError(
                "the relation holds no ratio, z or loss, so that it says nothing of a mixture; "
                "write for example r[sw] >= 0.05"
            )
        return Relation(rest, self.lower - _finite(number), self.upper - _finite(number))

    @classmethod
    def of_sympy(cls, relation: sp.Basic) -> Relation:
        """Return the relation that a SymPy relation (<=, >= or Eq) states."""
        # Strict relations have no closed feasible set; a minimum need not exist.
        if type(relation) not in _SIGNS:
            raise InputError(
                f"'{relation}' is no relation with <=, >= or Eq; write for example "
                'climbopt.r["sw"] >= 0.5 * climbopt.r["en"]'
            )
        return cls.of(relation.lhs, _SIGNS[type(relation)], relation.rhs)


def affine_part(expression: sp.Expr) -> tuple[dict[tuple[Kind, str], float], sp.Expr]:
    """Return the coefficients of the linear terms, each a number times a quantity, and the remaining terms.

    Examples
    --------
    >>> affine_part(2 * r["en"] + z["sw"] ** 2)
    ({('r', 'en'): 2.0}, z[sw]**2)
    """
    coefficients: dict[tuple[Kind, str], float] = {}
    rest = []
    for term in sp.Add.make_args(expression):
        number, symbol = term.as_coeff_Mul()
        if symbol.is_Symbol:
            coefficients[entry(symbol)] = _finite(number)
        else:
            rest.append(term)
    return dict(sorted(coefficients.items())), sp.Add(*rest)


def text_of(expression: sp.Basic) -> str:
    """Return the text that a SymPy expression, or relation with <=, >= or Eq, is read from.

    Examples
    --------
    >>> text_of(r["sw"] ** 0.5 + r["en"] / 3 >= 0.1)
    'r[en]/3 + r[sw]**0.5 >= 0.1'
    """
    if type(expression) in _SIGNS:
        return f"{text_of(expression.lhs)} {_SIGNS[type(expression)]} {text_of(expression.rhs)}"
    # SymPy prints 15 digits of a Float; symbols named by repr keep all 17.
    numbers = {number: sp.Symbol(_number_text(number)) for number in expression.atoms(sp.Float)}
    # SymPy prints rational exponents as fractions or roots, which the grammar does not have.
    exponents = {
        power: sp.Pow(power.base, sp.Symbol(_number_text(power.exp)))
        for power in expression.atoms(sp.Pow)
        if power.exp.is_Rational and not power.exp.is_Integer
    }
    return str(expression.xreplace(exponents).xreplace(numbers))


def _number_text(number: sp.Number) -> str:
    """Return all digits of a number in double precision, in parentheses where it has a sign."""
    text = repr(float(number))
    return text if float(number) >= 0 else f"({text})"


def parse_relation(text: str, groups: Mapping[str, Sequence[str]]) -> Relation:
    """Return the relation that a text states.

    Parameters
    ----------
    text : str
        One comparison with <=, >= or ==; or a number, <= (or >=), an expression, the same sign, and a number.
    groups : mapping of str to sequence of str
        Lists of languages that sums run over.

    Raises
    ------
    InputError
        With the position of what is not allowed, and what is.

    Examples
    --------
    >>> parse_relation("sum(r[x] for x in romance) <= 0.4", {"romance": ("es", "pt")})
    Relation(expression=r[es] + r[pt], lower=-inf, upper=0.4)
    """
    reader = _Reader(text, groups)
    node = reader.tree()
    if not isinstance(node, ast.Compare):
        reader.refuse(node, "a constraint compares two expressions with <=, >= or ==")
    if not all(type(operator) in _COMPARISONS for operator in node.ops):
        reader.refuse(node, "a comparison is <=, >= or ==")
    signs = [_COMPARISONS[type(operator)] for operator in node.ops]
    parts = [reader.value(part) for part in (node.left, *node.comparators)]
    if len(signs) == 1:
        return Relation.of(parts[0], signs[0], parts[1])
    # "0.1 <= r[a] <= r[b]" would need two relations.
    ends_are_numbers = not (parts[0].free_symbols or parts[-1].free_symbols)
    if len(signs) > 2 or signs[0] != signs[1] or signs[0] == "==" or not ends_are_numbers:
        reader.refuse(
            node,
            "a chained comparison is a number, an expression and a number with the same sign <= or >= "
            "between them; write the others as constraints of their own",
        )
    ends = [_finite(part) for part in (parts[0], parts[2])]
    lower, upper = ends if signs[0] == "<=" else reversed(ends)
    if lower > upper:
        reader.refuse(node, "no number lies between these ends")
    return Relation(sp.Integer(0), lower, upper).shifted(parts[1])


def parse_expression(text: str, groups: Mapping[str, Sequence[str]]) -> sp.Expr:
    """Return the expression that a text states; arguments and errors as of :func:`parse_relation`.

    Examples
    --------
    >>> parse_expression("2 * L[de] + r[en]**2", {})
    2*L[de] + r[en]**2
    """
    reader = _Reader(text, groups)
    return reader.value(reader.tree())


def _finite(number: sp.Expr) -> float:
    """Return a SymPy number as a float; raises InputError where it is not finite."""
    try:
        value = float(number)
    except (TypeError, OverflowError):
        value = math.nan
    # An infinite or undefined number says nothing as a limit or coefficient.
    if not math.isfinite(value):
        raise InputError(f"{number} is no finite number")
    return value


class _Reader:
    """Parser of one text; the names in brackets are hidden from Python's parser ("is" is Icelandic)."""

    def __init__(self, text: str, groups: Mapping[str, Sequence[str]]) -> None:
        self.text, self.groups = text.strip().replace("\n", " "), groups
        # Of the same length, so that positions are those of the user's text.
        self._hidden = re.sub(r"\[([^\[\]\"'\\]*)\]", lambda name: f"[{'_' * len(name[1])}]", self.text)
        self._terms = 0

    def tree(self) -> ast.expr:
        """Return the syntax tree of the text."""
        if len(self.text) > LONGEST:
            raise InputError(f"the expression has {len(self.text)} characters; {LONGEST} are allowed")
        nesting = 0
        # Counted before parsing: Python's parser and SymPy recurse on nesting.
        for position, character in enumerate(self.text):
            nesting += (character in "([{") - (character in ")]}")
            if nesting > DEEPEST:
                self._refuse_at(position, f"more than {DEEPEST} levels of brackets")
        try:
            return ast.parse(self._hidden, mode="eval").body
        except SyntaxError as error:
            self._refuse_at((error.offset or 1) - 1, "this cannot be read")
        # What the parser raises for null bytes and for texts that are too deep for it.
        except (ValueError, RecursionError, MemoryError):
            self._refuse_at(0, "this cannot be read")

    def _position(self, offset: int | None) -> int:
        """Return the position in the text of an offset in the syntax tree, which counts bytes."""
        return len(self._hidden.encode()[:offset].decode())

    def refuse(self, node: ast.expr, why: str) -> NoReturn:
        """Raise InputError for a part of the text."""
        self._refuse_at(self._position(node.col_offset), why)

    def _refuse_at(self, position: int, why: str) -> NoReturn:
        near = self.text[position : position + 20].strip() or "the end"
        raise InputError(
            f"cannot read '{self.text[:80]}' at position {position + 1} (at '{near}'): {why}. Allowed: {GRAMMAR}"
        )

    def value(self, node: ast.expr, depth: int = 0, members: Mapping[str, str] = FrozenMap({})) -> sp.Expr:
        """Return a node of the syntax tree as SymPy, built from the allowed kinds of node only.

        `members` holds the language that the loop variable of a sum stands for.
        """
        if depth > DEEPEST * 4:
            self.refuse(node, "this is nested too deeply")
        inside = partial(self.value, depth=depth + 1, members=members)
        match node:
            # Before numbers: True is an int in Python.
            case ast.Constant(value=bool()):
                self.refuse(node, "a truth value is no number")
            case ast.Constant(value=int() | float() as number):
                # An integer of many digits overflows float(), hence the comparison first.
                if not math.isfinite(float(number) if abs(number) < 1e300 else math.inf):
                    self.refuse(node, "this is no finite number")
                return sp.Integer(number) if isinstance(number, int) and number < 10**6 else sp.Float(float(number))
            case ast.Name(id="D"):
                return D
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
                value = inside(inner)
                return -value if isinstance(sign, ast.USub) else value
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self._power(inside(left), right)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as sign, right=right):
                values = inside(left), inside(right)
                if isinstance(sign, ast.Div) and values[1] == 0:
                    self.refuse(node, "this divides by 0")
                return _ARITHMETIC[type(sign)](*values)
            case ast.Subscript(
                value=ast.Name(id="r" | "z" | "L" as kind), slice=ast.Name() | ast.Constant(value=str()) as index
            ):
                hidden = self.text[self._position(index.col_offset) : self._position(index.end_col_offset)].strip()
                name = str(index.value) if isinstance(index, ast.Constant) else hidden
                return _QUANTITIES[kind][members.get(name, name)]
            case ast.Call(func=ast.Name(id="sum"), args=[ast.GeneratorExp() as loop], keywords=[]):
                return self._sum(loop, depth, members)
            case ast.Name(id=name):
                self.refuse(node, f"'{name}' is none of r, z, L and D")
            case ast.Compare():
                self.refuse(node, "a comparison stands here; write a value")
        words = {ast.Call: "a call", ast.Attribute: "an attribute", ast.Subscript: "this index"}
        self.refuse(node, f"{words.get(type(node), 'this')} is not allowed")

    def _power(self, base: sp.Expr, exponent: ast.expr) -> sp.Expr:
        """Return a power with a literal exponent."""
        match exponent:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                value = float(number)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                value = -float(number)
            case _:
                self.refuse(exponent, "an exponent is a number")
        if not abs(value) <= LARGEST_EXPONENT:
            self.refuse(exponent, f"an exponent is between -{LARGEST_EXPONENT} and {LARGEST_EXPONENT}")
        # A Float, since the digits of nested exact powers grow exponentially.
        base = sp.Float(base) if base.is_number else base
        result = base ** (sp.Integer(int(value)) if value.is_integer() else sp.Float(value))
        if result.has(sp.I, sp.zoo, sp.nan, sp.oo):
            self.refuse(exponent, "this power is no real number")
        return result

    def _sum(self, loop: ast.GeneratorExp, depth: int, members: Mapping[str, str]) -> sp.Expr:
        """Return sum(... for x in group)."""
        match loop.generators:
            case [
                ast.comprehension(
                    target=ast.Name(id=name),
                    ifs=[],
                    is_async=0,
                    iter=ast.Name(id=group) | ast.Constant(value=str(group)),
                )
            ]:
                pass
            case _:
                self.refuse(loop, "a sum is sum(... for x in group)")
        # Nested sums multiply their numbers of terms.
        if members:
            self.refuse(loop, "a sum inside a sum is not allowed")
        refuse_unknown("group", [group], self.groups)
        self._terms += len(self.groups[group])
        if self._terms > MOST_TERMS:
            self.refuse(loop, f"the sums come to more than {MOST_TERMS} terms")
        return sp.Add(*(self.value(loop.elt, depth + 1, {name: member}) for member in self.groups[group]))
