"""Immutable mappings, fields that convert values, arguments that are checked, and dataclasses pickled by fields."""

from __future__ import annotations

import ast
import functools
import inspect
import os
import reprlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from numbers import Integral, Real
from types import EllipsisType, UnionType
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args, get_origin

import numpy as np

from climbopt.foundations.errors import InputError, kind_of, unknown_name, with_article

T = TypeVar("T")
Public = TypeVar("Public", bound=Callable[..., Any])
Input = TypeVar("Input")
Stored = TypeVar("Stored")


def optional(convert: Callable[[Input, str], Stored]) -> Callable[[Input | None, str], Stored | None]:
    """Return the conversion that leaves None as it is."""
    return lambda value, of: None if value is None else convert(value, of)


MOST_SHOWN = 8
"""Entries in the repr of a mapping."""


class FrozenMap(Mapping[str, T]):
    """A read-only copy of a mapping; unlike the standard library's proxy it can be sent to another process.

    Examples
    --------
    >>> FrozenMap({"en": 0.5})
    FrozenMap({'en': 0.5})
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, T]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> T:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        items = [f"{key!r}: {value!r}" for key, value in list(self._items.items())[:MOST_SHOWN]]
        items += ["..."] if len(self._items) > MOST_SHOWN else []
        return f"FrozenMap({{{', '.join(items)}}})"


class ByFields:
    """A dataclass that is pickled by its fields; cached values are computed again after unpickling."""

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class Converted(Generic[Input, Stored]):
    """A field of a frozen dataclass that converts its value, so that it has a single type for every accepted input.

    Parameters
    ----------
    convert : callable
        Takes the input and the field's name, for messages; raises InputError for unreadable input.
    default
        Value of a field that is not set; without a default the field is required.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Run:
    ...     tokens: Converted[float | str, float] = Converted(lambda value, of: float(value))
    >>> Run("5").tokens
    5.0
    """

    def __init__(self, convert: Callable[[Input, str], Stored], default: Stored | EllipsisType = ...) -> None:
        self.convert = convert
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Stored:
        if instance is not None:
            stored: Stored = instance.__dict__[self.name]
            return stored
        if isinstance(self.default, EllipsisType):  # dataclasses read a class attribute as the default
            raise AttributeError(self.name)
        return self.default

    def __set__(self, instance: object, value: Input) -> None:
        instance.__dict__[self.name] = self.convert(value, self.name)


Test = Callable[[Any], bool]
Seed: TypeAlias = int
"""Of random numbers, 0 or more."""
Count: TypeAlias = int
"""A number of things, 1 or more."""


def _whole(value: object) -> bool:
    """Whether a value is a whole number; True is one to Python only."""
    return isinstance(value, Integral) and not isinstance(value, bool)


_KINDS: dict[str, tuple[Test, str]] = {
    # True is a number to Python, and none to people; a text is a sequence to Python only.
    "int": (_whole, "a whole number"),
    "float": (lambda value: isinstance(value, Real) and not isinstance(value, bool), "a number"),
    "bool": (lambda value: isinstance(value, bool | np.bool_), "True or False"),
    "str": (lambda value: isinstance(value, str), "a text"),
    "None": (lambda value: value is None, ""),
    "Amount": (
        lambda value: isinstance(value, Real | str) and not isinstance(value, bool),
        "a number or its text",
    ),
    "os.PathLike": (lambda value: isinstance(value, os.PathLike), "a path"),
    "Sequence": (lambda value: isinstance(value, Iterable) and not isinstance(value, str | bytes), "a list"),
    "Mapping": (lambda value: isinstance(value, Mapping), "a mapping"),
    "Callable": (callable, "a function"),
    "pd.DataFrame": (
        lambda value: any(kind.__name__ == "DataFrame" for kind in type(value).__mro__),
        "a pandas DataFrame",
    ),
    "Seed": (lambda value: _whole(value) and value >= 0, "a whole number of 0 or more"),
    "Count": (lambda value: _whole(value) and value >= 1, "a whole number of 1 or more"),
}
"""What the words of an annotation hold, and their names in a message."""


def check_arguments(public: Public) -> Public:
    """Check the arguments of a public function or dataclass against their annotations when it is called.

    Numbers, texts, lists, mappings, functions and instances of classes are checked, with the entries of lists and
    mappings. An annotation with any other word, such as ``ProblemLike`` or an array, is left to what converts it.
    A keyword that the annotation of the keywords, a TypedDict, does not have is refused.

    Raises
    ------
    InputError
        From the call; names the argument, its value and what it may be.

    Examples
    --------
    >>> @check_arguments
    ... def plan(n_runs: int, floor: float | None = None) -> int:
    ...     return n_runs
    >>> plan(3)
    3
    >>> plan("3")
    Traceback (most recent call last):
    climbopt.foundations.errors.InputError: n_runs of plan() is '3'; give a whole number
    """
    function: Any = public.__init__ if isinstance(public, type) else public  # type: ignore[misc]

    @functools.cache
    def kinds() -> dict[str, tuple[Test, str] | None]:
        """Read the annotations at the first call: not at import, and after the classes that they may name."""
        annotations: dict[str, str] = {}
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                further = function.__globals__[parameter.annotation.removeprefix("Unpack[").removesuffix("]")]
                annotations |= {key: value.__forward_arg__ for key, value in further.__annotations__.items()}
            else:
                annotations[name] = _text(parameter.annotation)
        return {
            name: _kind(ast.parse(text, mode="eval").body, function.__globals__) for name, text in annotations.items()
        }

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        for keyword in keywords:
            if keyword not in kinds():
                known = [name for name in kinds() if name != "self"]
                raise unknown_name(f"keyword of {public.__name__}", keyword, known)
        for name, value in [*zip(kinds(), arguments, strict=False), *keywords.items()]:
            holds, words = kinds().get(name) or (lambda value: True, "")
            if not holds(value):
                shown = (
                    " ".join(reprlib.repr(value).split()) if type(value).__module__ == "builtins" else kind_of(value)
                )
                raise InputError(f"{name} of {public.__name__}() is {shown}; give {words}")
        return function(*arguments, **keywords)

    if not isinstance(public, type):
        return call  # type: ignore[return-value]
    public.__init__ = call  # type: ignore[misc]
    return public


def _text(annotation: object) -> str:
    """Return an annotation as it is written; modules that do not postpone their annotations have objects."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _kind(annotation: ast.expr, names: Mapping[str, Any]) -> tuple[Test, str] | None:
    """Return the test that an annotation stands for and its words; None where one of its words is unknown."""
    match annotation:
        case ast.BinOp(left=left, right=right):
            first, second = _kind(left, names), _kind(right, names)
            if first is None or second is None:
                return None
            return lambda value: first[0](value) or second[0](value), " or ".join(filter(None, (first[1], second[1])))
        case ast.Subscript(value=ast.Name("Sequence" | "Mapping") as outside, slice=of):
            outer, inner = _KINDS[outside.id], _kind(of.elts[-1] if isinstance(of, ast.Tuple) else of, names)
            if inner is None:
                return outer
            return (
                lambda value: outer[0](value) and all(map(inner[0], _entries(value, outside.id))),
                f"{outer[1]}, each entry {inner[1]}",
            )
        case ast.Subscript(value=generic):
            return _KINDS.get(ast.unparse(generic))
    word = ast.unparse(annotation)
    kind, parts = names.get(word), get_args(names.get(word))
    if get_origin(kind) is Literal:
        return lambda value: isinstance(value, str) and value in parts, " or ".join(map(repr, parts))
    classes = parts if get_origin(kind) is UnionType else (kind,)
    # Those of numbers and texts are too narrow: np.int64 is no int.
    if all(isinstance(part, type) and part.__name__ not in _KINDS for part in classes):
        words = [with_article(part.__name__) for part in classes]
        return lambda value: isinstance(value, classes), " or ".join(words)
    return _KINDS.get(word) or _KINDS.get(getattr(get_origin(kind), "__name__", ""))


def _entries(value: Iterable[Any], word: str) -> Iterable[Any]:
    """Return the values of a mapping or the entries of a list; none of an iterator, which could not be read again."""
    if word == "Mapping" and isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, Collection) else ()
