"""Immutable mappings, and dataclasses that travel to other processes by their fields alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


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
        return f"FrozenMap({self._items!r})"


class ByFields:
    """A dataclass that is pickled by its fields; what it computed from them is computed anew where it arrives."""

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
