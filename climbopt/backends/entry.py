"""Where backends are defined and what they need: those of this package, and those of other packages.

A package adds a backend through the entry-point group ``climbopt.backends``: its name on the command line, and
``module:Class``.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from inspect import signature

from climbopt.backends.apart import FailedError, apart
from climbopt.backends.backend import Backend
from climbopt.foundations.errors import ClimboptError, InputError
from climbopt.foundations.registry import Registry

GROUP = "climbopt.backends"
NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Entry:
    """Where a backend is defined and what it needs.

    Parameters
    ----------
    name : str
        Name on the command line.
    target : str
        ``module:Class``.
    requires : tuple of str
        Modules that it imports beyond the core dependencies; their presence is checked without an import.
    remedy : str
        How to install them.
    instead : str
        Executable on the PATH that replaces the last of these modules.
    by_default : bool
        Whether it may be chosen where no backend is named.
    foreign : bool
        Whether it comes from outside the package.
    instance : Backend, optional
        The backend itself, where it was registered as an object in this process.
    """

    name: str
    target: str
    requires: tuple[str, ...] = ()
    remedy: str = ""
    instead: str = ""
    by_default: bool = True
    foreign: bool = False
    instance: Backend | None = None

    @property
    def missing(self) -> str | None:
        """Why the backend is not available here, or None where it is."""
        # An executable on the PATH stands in for the module that would bring one.
        served = bool(self.instead) and shutil.which(self.instead) is not None
        # Without an import: solvers are slow to load, and some print on import.
        absent = [module for module in (self.requires[:-1] if served else self.requires) if find_spec(module) is None]
        neither = f" and there is no {self.instead} on the PATH" if self.instead and not served else ""
        return f"{', '.join(absent)} is not installed{neither}; {self.remedy}" if absent else None

    def backend(self) -> Backend:
        """Return the backend itself; imports its module, whose output goes to standard error."""
        if self.instance is not None:
            return self.instance
        module, _, attribute = self.target.partition(":")
        with redirect_stdout(sys.stderr):
            backend: Backend = getattr(import_module(module), attribute)()
        return backend


@dataclass(frozen=True)
class Plugin(Entry):
    """A backend of another package, chosen only by its name.

    Parameters
    ----------
    package : str
        Distribution that contains it.
    conflict : str, optional
        Why its name cannot be used.
    """

    by_default: bool = False
    foreign: bool = True
    package: str = ""
    conflict: str | None = None

    @cached_property
    def _fault(self) -> str | None:
        """Why it does not load; tested in a forked process, which its import may end."""
        try:
            return apart(lambda: fault(self.backend(), self.name))
        except (FailedError, ClimboptError) as error:
            return f"it does not load: {error}"

    @property
    def missing(self) -> str | None:
        """Why the backend is not available here, or None; tested by importing it."""
        if self.conflict is not None or self._fault is None:
            return self.conflict
        return f"{self.target} of package '{self.package}': {self._fault}"


class Backends(Registry[Entry]):
    """The registry of backends, which accepts a backend object or its entry."""

    def register(self, member: Entry | Backend) -> Entry:
        """Add a backend, or its entry, under its own name.

        Raises
        ------
        InputError
            For an object that is not a backend, or a name that is taken.
        """
        if isinstance(member, Entry):
            return super().register(member)
        try:
            # In a forked process, since properties of a foreign object may do anything.
            reason = apart(lambda: fault(member))
        except (FailedError, ClimboptError) as error:
            reason = str(error)
        if reason is not None:
            raise InputError(f"{type(member).__name__} cannot be registered as a backend: {reason}")
        return super().register(Entry(str(member.name), "", by_default=False, foreign=True, instance=member))


def fault(backend: object, name: str | None = None) -> str | None:
    """Return why an object is not a backend, or None.

    Parameters
    ----------
    backend : object
    name : str, optional
        Its required name; any plain name by default.
    """
    if isinstance(backend, type):
        return f"it is a class; write {backend.__name__}()"
    lacking = [part for part in ("name", "version", "refusal", "solve") if not hasattr(backend, part)]
    if lacking:
        return f"it has no {', '.join(lacking)}"
    own = getattr(backend, "name")  # noqa: B009 - the object may be of any class
    if not isinstance(own, str) or not NAME.fullmatch(own):
        return f"its name is {own!r:.60}; a name is made of letters, digits, _ and -, such as 'frank_wolfe'"
    if name is not None and own != name:
        return f"it calls itself '{own}', and its entry point calls it '{name}'"
    for method, arguments in (("refusal", "form"), ("solve", "form, options")):
        try:
            # The call is checked without being made.
            signature(getattr(backend, method)).bind(*arguments.split(", "))
        except (TypeError, ValueError):
            return f"its {method} does not take ({arguments})"
    return None


def plugins(taken: Collection[str]) -> Iterator[Plugin]:
    """Yield the backends of other packages; where a name is taken, the package is added to it."""
    names = set(taken)
    for point in entry_points(group=GROUP):
        package = point.dist.name if point.dist else "?"
        conflict = f"another backend is called '{point.name}'" if point.name in names else None
        name = f"{point.name} ({package})" if conflict else point.name
        names.add(point.name)
        yield Plugin(name, point.value, package=package, conflict=conflict)
