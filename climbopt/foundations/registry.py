"""A named collection; for an unknown name the error suggests the nearest known name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Generic, TypeVar

from climbopt.foundations.errors import InputError, unknown_name
from climbopt.foundations.view import View, Viewed

T = TypeVar("T")


class Registry(Viewed, Mapping[str, T], Generic[T]):
    """Mapping from name to member; only `register` adds members.

    Parameters
    ----------
    kind : str
        What a member is, for messages.
    members : iterable
        The members defined by the package.
    key : callable
        Gives a member's name; its attribute `name` by default.
    more : callable, optional
        Returns further members; called once, when a name is unknown or all members are needed.

    Examples
    --------
    >>> from climbopt.model.laws import LAWS
    >>> LAWS["power"].name
    'power'
    """

    def __init__(
        self,
        kind: str,
        members: Iterable[T],
        key: Callable[[T], str] = attrgetter("name"),
        more: Callable[[], Iterable[T]] = tuple,
    ) -> None:
        self._kind = kind
        self._key = key
        self._members = {key(member): member for member in members}
        self._more = more

    def _all(self) -> dict[str, T]:
        """Return every member, further ones included."""
        # Asked for once: what looks for further members, such as plugins, is replaced by what gives none.
        more, self._more = self._more, tuple
        for member in more():
            self._members.setdefault(self._key(member), member)
        return self._members

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise unknown_name(self._kind, name, self._members)
        return self._members[name]

    def member(self, member: T | str) -> T:
        """Return a member by itself or by name; an object of a type that no member has is refused.

        Examples
        --------
        >>> from climbopt.model.laws import LAWS
        >>> LAWS.member("power") is LAWS.member(LAWS["power"])
        True
        """
        if isinstance(member, str):
            return self[member]
        if not isinstance(member, tuple({type(known) for known in self._members.values()})):
            raise InputError(
                f"{type(member).__name__} is no {self._kind}; give a name ({', '.join(self._members)}) or an object"
            )
        return member

    def __contains__(self, name: object) -> bool:
        return name in self._members or name in self._all()

    def __iter__(self) -> Iterator[str]:
        # the package's own members first: iteration that stops early does not load `more`
        known = tuple(self._members)
        yield from known
        yield from [name for name in self._all() if name not in known]

    def __len__(self) -> int:
        return len(self._all())

    def view(self) -> View:
        """Return the names."""
        return View(f"registry, kind {self._kind}: {', '.join(self)}", columns=lambda: {"name": list(self)})

    def register(self, member: T) -> T:
        """Add `member` under its own name and return it; the name of another member is refused."""
        name = self._key(member)
        # The same member again is no conflict: a module may be imported twice.
        if self._members.get(name, member) != member:
            raise InputError(f"{self._kind} '{name}' exists already; choose another name")
        self._members[name] = member
        return member
