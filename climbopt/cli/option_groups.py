"""Options that several subcommands share, as fields of a dataclass: each is declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command in whose signature each parameter of a dataclass type stands as one option per field.

    Parameters
    ----------
    command : callable
        Its annotations are those of typer. A field without a default is a required option.
    """
    signature = inspect.signature(command, eval_str=True)
    kinds = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation)
    }
    options = [
        option
        for name, parameter in signature.parameters.items()
        for option in (_fields_as_options(kinds[name]) if name in kinds else [parameter])
    ]

    @wraps(command)
    def run(**values: object) -> None:
        groups = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)}) for name, kind in kinds.items()
        }
        command(**values, **groups)

    # typer reads the signature and the annotations: both show the fields in the place of their dataclass.
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
    )
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _fields_as_options(kind: type) -> list[inspect.Parameter]:
    """Return the fields of a dataclass as parameters of a command."""
    # What inspect says of the constructor, but for the annotations, which it does not evaluate.
    hints = get_type_hints(kind, include_extras=True)
    return [option.replace(annotation=hints[name]) for name, option in inspect.signature(kind).parameters.items()]
