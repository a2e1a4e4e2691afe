"""The writer and the pictures of each type, for `to_dict` and `plot` of public objects."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from climbopt.foundations.errors import InputError
from climbopt.foundations.view import Reported
from climbopt.reports.json_values import finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WRITERS = {
    "Comparison": ("comparisons", "comparison_json"),
    "Decision": ("decisions", "decision_json"),
    "Diagnosis": ("diagnoses", "diagnosis_json"),
    "Extension": ("extensions", "extension_json"),
    "Fit": ("fits", "fit_json"),
    "EnsembleFit": ("fits", "fit_json"),
    "Plan": ("plans", "plan_json"),
    "Result": ("results", "result_json"),
    "Robust": ("regrets", "robust_json"),
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
    figure: Figure = import_module("climbopt.reports.drawings").figure_of(reported, kind, ax)
    return figure.axes[0] if ax is None else ax
