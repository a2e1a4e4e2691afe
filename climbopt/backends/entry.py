"""Where backends live and what they need: this package's own, and those that other packages add.

A package adds one through the entry-point group ``climbopt.backends``: its name on the command line, and
``module:Class``.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec

from climbopt.backends.backend import Backend

GROUP = "climbopt.backends"


@dataclass(frozen=True)
class Entry:
    """Where a backend lives and what it needs.

    Parameters
    ----------
    name : str
        Name on the command line.
    target : str
        ``module:Class``.
    requires : tuple of str
        Modules it imports beyond the core; looked for without importing them.
    remedy : str
        How to install those.
    instead : str
        Executable on the PATH that serves instead of the last of those modules.
    by_default : bool
        Whether it may be chosen where no backend is named.
    """

    name: str
    target: str
    requires: tuple[str, ...] = ()
    remedy: str = ""
    instead: str = ""
    by_default: bool = True

    @property
    def missing(self) -> str | None:
        """Why the backend is not available here, or None where it is."""
        served = bool(self.instead) and shutil.which(self.instead) is not None
        needed = self.requires[:-1] if served else self.requires
        absent = [module for module in needed if find_spec(module) is None]
        neither = f" and there is no {self.instead} on the PATH" if self.instead and not served else ""
        return f"{', '.join(absent)} is not installed{neither}; {self.remedy}" if absent else None

    def backend(self) -> Backend:
        """Return the backend itself; imports its module."""
        module, _, attribute = self.target.partition(":")
        backend: Backend = getattr(import_module(module), attribute)()
        return backend


@dataclass(frozen=True)
class Plugin(Entry):
    """A backend of another package, chosen only by its name.

    Parameters
    ----------
    package : str
        Distribution that brings it.
    conflict : str, optional
        Why its name cannot be its own.
    """

    by_default: bool = False
    package: str = ""
    conflict: str | None = None

    @property
    def missing(self) -> str | None:
        """Why the backend is not available here, or None where it is; found by importing it."""
        if self.conflict is not None:
            return self.conflict
        where = f"{self.target} of package '{self.package}'"
        try:
            backend = self.backend()
            lacking = [part for part in ("name", "version", "refusal", "solve") if not hasattr(backend, part)]
        except (Exception, SystemExit) as error:  # another package's fault must not end this program
            return f"{where} does not load: {type(error).__name__}: {error}"
        if lacking:
            return f"{where} is no backend: it has no {', '.join(lacking)}"
        if backend.name != self.name:
            return f"{where} calls itself '{backend.name}', and its entry point calls it '{self.name}'"
        return None


def plugins(taken: Collection[str]) -> Iterator[Plugin]:
    """Yield the backends of other packages; one whose name is taken is listed under that of its package too."""
    names = set(taken)
    for point in entry_points(group=GROUP):
        package = point.dist.name if point.dist else "?"
        if point.name in names:
            yield Plugin(
                f"{point.name} ({package})",
                point.value,
                package=package,
                conflict=f"another backend is called '{point.name}'",
            )
        else:
            names.add(point.name)
            yield Plugin(point.name, point.value, package=package)
