"""Options of the backends as keywords of public functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias, TypedDict

from climbopt.backends.backend import Options, OptionValue
from climbopt.foundations.errors import InputError, unknown_name

OptionsLike: TypeAlias = Options | Mapping[str, OptionValue] | None
"""Options, or a mapping of a solver's own ones."""


class CommonOptions(TypedDict, total=False):
    """What every backend understands, as of :class:`Options`."""

    tolerance: float
    max_iterations: int | None
    time_limit: float | None


def options_of(options: OptionsLike, common: CommonOptions) -> Options:
    """Return options: themselves, or a mapping of a solver's own ones; with those that keywords set.

    Raises
    ------
    InputError
        For what are no options, and for an unknown keyword, with the nearest known one.

    Examples
    --------
    >>> options_of({"print_level": 5}, {"tolerance": 1e-8})
    Options(tolerance=1e-08, max_iterations=None, time_limit=None, native=FrozenMap({'print_level': 5}))
    """
    for name in common:
        if name not in CommonOptions.__annotations__:
            raise unknown_name("keyword", name, [*CommonOptions.__annotations__, "options"])
    if options is None or isinstance(options, Mapping):
        options = Options(native=options or {})
    if not isinstance(options, Options):
        raise InputError(
            f"a {type(options).__name__} is no Options; give those, or a mapping of the solver's own options"
        )
    return replace(options, **common)
