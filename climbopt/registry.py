"""A named collection that answers an unknown name with the nearest known one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Generic, TypeVar

from climbopt.errors import InputError, unknown_name

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Mapping from name to member; only `register` adds one.

    Parameters
    ----------
    kind : str
        What a member is, for messages.
    members : iterable
        The members that the package brings.
    key : callable
        Gives a member's name; its attribute `name` by default.

    Examples
    --------
    >>> from climbopt.laws import LAWS
    >>> LAWS["power"].name
    'power'
    """

    def __init__(self, kind: str, members: Iterable[T], key: Callable[[T], str] = attrgetter("name")) -> None:
        self._kind = kind
        self._key = key
        self._members = {key(member): member for member in members}

    def __getitem__(self, name: str) -> T:
        if name not in self._members:
            raise unknown_name(self._kind, name, self._members)
        return self._members[name]

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def register(self, member: T) -> T:
        """Add `member` under its own name and return it; a name that another member has is refused."""
        name = self._key(member)
        if self._members.get(name, member) != member:
            raise InputError(f"{self._kind} '{name}' exists already; choose another name")
        self._members[name] = member
        return member
