"""Immutable mappings, fields that convert the values they are set to, and dataclasses pickled by their fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from types import EllipsisType
from typing import Any, Generic, TypeVar

T = TypeVar("T")
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
