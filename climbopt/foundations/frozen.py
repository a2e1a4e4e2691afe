"""Immutable mappings, fields that convert what they are given, and dataclasses that travel by their fields alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from types import EllipsisType
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Given = TypeVar("Given")
Held = TypeVar("Held")


def optional(convert: Callable[[Given, str], Held]) -> Callable[[Given | None, str], Held | None]:
    """Return the conversion that leaves None as it is."""
    return lambda value, of: None if value is None else convert(value, of)


MOST_SHOWN = 8
"""Entries that a mapping shows of itself."""


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
    """A dataclass that is pickled by its fields; what it computed from them is computed anew where it arrives."""

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class Converted(Generic[Given, Held]):
    """A field of a frozen dataclass that converts what it is set to, so that its type is one whatever was given.

    Parameters
    ----------
    convert : callable
        Takes what was given and the field's name for messages; raises InputError where it cannot be read.
    default
        What a field that is not given holds; without it the field is required.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Run:
    ...     tokens: Converted[float | str, float] = Converted(lambda value, of: float(value))
    >>> Run("5").tokens
    5.0
    """

    def __init__(self, convert: Callable[[Given, str], Held], default: Held | EllipsisType = ...) -> None:
        self.convert = convert
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Held:
        if instance is not None:
            held: Held = instance.__dict__[self.name]
            return held
        if isinstance(self.default, EllipsisType):  # dataclasses take a class attribute for a default
            raise AttributeError(self.name)
        return self.default

    def __set__(self, instance: object, value: Given) -> None:
        instance.__dict__[self.name] = self.convert(value, self.name)
