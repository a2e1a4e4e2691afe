"""Options that several subcommands share, as fields of a dataclass: each is declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from typing import get_type_hints


@dataclass(frozen=True)
class _OptionGroup:
    """A parameter of a command that stands for options.

    Parameters
    ----------
    kind : type
        A dataclass; its fields are the options.
    options : tuple of inspect.Parameter
    """

    kind: type
    options: tuple[inspect.Parameter, ...]

    @classmethod
    def of(cls, kind: type) -> _OptionGroup:
        """Return the group whose options are the fields of a dataclass."""
        hints = get_type_hints(kind, include_extras=True)
        options = (
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
            )
            for field in fields(kind)
        )
        return cls(kind, tuple(options))

    def taken_from(self, values: dict[str, object]) -> object:
        """Return the dataclass of its fields' values, which are removed."""
        return self.kind(**{option.name: values.pop(option.name) for option in self.options})


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command in whose signature each parameter of a dataclass type stands as one option per field.

    Parameters
    ----------
    command : callable
        Its annotations are those of typer. A field without a default is a required option.
    """
    signature = inspect.signature(command, eval_str=True)
    kinds = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    groups = {
        name: _OptionGroup.of(kind) for name, kind in kinds.items() if isinstance(kind, type) and is_dataclass(kind)
    }
    options = [
        option
        for name, parameter in signature.parameters.items()
        for option in (
            groups[name].options if name in groups else [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
        )
    ]

    @wraps(command)
    def run(**values: object) -> None:
        taken = {name: group.taken_from(values) for name, group in groups.items()}
        command(**values, **taken)

    # typer reads the signature and the annotations: both show the fields in the place of their dataclass.
    run.__signature__ = signature.replace(parameters=options)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run
