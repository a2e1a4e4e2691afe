"""Checking what a file holds against a schema, in the words of this project."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from climbopt.files.text import read_text
from climbopt.foundations.errors import InputError, refuse_unknown


class FileTable(BaseModel):
    """A table of a file: it has no other keys than these fields, and values of exactly their types."""

    model_config = ConfigDict(extra="forbid", strict=True)


Schema = TypeVar("Schema", bound=FileTable)


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's table, or say why there is none."""
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no TOML, the format of problems and models: {error}") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be read") from None


def checked(schema: type[Schema], table: dict[str, Any], path: Path) -> Schema:
    """Return a table as its schema, or say which key is wrong."""
    # Unknown keys are named with the nearest known one, which pydantic would not do.
    refuse_unknown(f"key in {path.name}", table, schema.model_fields)
    try:
        return schema.model_validate(table)
    except ValidationError as error:
        raise input_error(error, path.name) from None


def checked_value(kind: Any, value: object, where: str) -> Any:
    """Return a value of a type, or say what is wrong with it."""
    try:
        return TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        raise input_error(error, where) from None


def input_error(error: ValidationError, where: str) -> InputError:
    """Return pydantic's first complaint in the words of this project."""
    first = error.errors()[0]
    # Branches of a union, such as float and str, stand in the path to the value, and are no keys.
    key = ".".join(str(part) for part in first["loc"] if part not in ("float", "str") and "[" not in str(part))
    if first["type"] == "missing":
        return InputError(f"{where} has no key '{key}'; add it")
    value = "" if isinstance(first["input"], (dict, list)) else f" is {first['input']!r}"
    named = f"'{key}' in {where}" if key else where
    return InputError(f"{named}{value}: {first['msg'][0].lower()}{first['msg'][1:]}")
