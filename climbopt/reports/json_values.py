"""JSON values: text of them, and arrays that are shaped as a model's parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from climbopt.files.models import by_language
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array

Value = None | bool | int | float | str | Sequence["Value"] | Mapping[str, "Value"]


def dumps(value: Value) -> str:
    """Return JSON text; what is no finite number is null."""
    return json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def finite(value: Value) -> Value:
    """Return a value whose numbers are finite or None, and whose mappings and sequences are dicts and lists."""
    if isinstance(value, float):
        # JSON has neither NaN nor infinity.
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [finite(entry) for entry in value]
    return value


def values_json(model: MixtureModel, values: Mapping[str, Array]) -> dict[str, Value]:
    """Return arrays shaped as a model's parameters by name and language; pairs by target, then source."""
    return {p.name: by_language(model, p, values[p.name]) for p in model.templates.parameters}
