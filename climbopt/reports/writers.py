"""What objects are written as: JSON values by the writer of each type, text of them, and pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from climbopt.foundations.errors import InputError
from climbopt.foundations.view import Reported

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Value = None | bool | int | float | str | Sequence["Value"] | Mapping[str, "Value"]
WRITERS = {
    "Comparison": ("comparisons", "comparison_json"),
    "Decision": ("decisions", "decision_json"),
    "Diagnosis": ("fits", "diagnosis_json"),
    "Extension": ("fits", "extension_json"),
    "Fit": ("fits", "fit_json"),
    "EnsembleFit": ("fits", "fit_json"),
    "Plan": ("plans", "plan_json"),
    "Result": ("results", "result_json"),
    "Robust": ("results", "robust_json"),
    "Schedule": ("sweeps", "schedule_json"),
    "Sweep": ("sweeps", "sweep_json"),
}
"""By type, the module of this package, imported on demand, and its function."""


def to_dict(reported: Reported) -> dict[str, Any]:
    """Return an object as the values of its JSON; NaN and infinity become None."""
    # By name, so that a type's writer is imported on its first use only.
    module, function = WRITERS[type(reported).__name__]
    written = getattr(import_module(f"climbopt.reports.{module}"), function)(reported)
    return cast("dict[str, Any]", finite(written))


def plot(reported: Reported, kind: str | None, ax: Axes | None) -> Axes:
    """Return axes with a picture of an object; raises InputError without matplotlib, which only pictures need."""
    if find_spec("matplotlib") is None:
        raise InputError("pictures need matplotlib, which is not installed; pip install 'climbopt[plots]'")
    figure: Figure = import_module("climbopt.reports.pictures").figure_of(reported, kind, ax)
    return figure.axes[0] if ax is None else ax


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
