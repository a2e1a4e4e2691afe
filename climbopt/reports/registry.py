"""What writes each type as JSON values: behind `to_dict` of public objects, and the command line's ``--json``."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from climbopt.foundations.view import Reported
from climbopt.reports.json_values import finite

WRITERS = {
    "Comparison": ("comparisons", "comparison_json"),
    "Diagnosis": ("diagnoses", "diagnosis_json"),
    "Fit": ("fits", "fit_json"),
    "Plan": ("plans", "plan_json"),
    "Result": ("results", "result_json"),
    "Robust": ("regrets", "robust_json"),
    "Schedule": ("sweeps", "schedule_json"),
    "Sweep": ("sweeps", "sweep_json"),
}
"""By type, the module beside this one, which is loaded when it is needed, and its function."""


def to_dict(reported: Reported) -> dict[str, Any]:
    """Return an object as the values of its JSON; what is no finite number is None."""
    module, function = WRITERS[type(reported).__name__]
    written = getattr(import_module(f"climbopt.reports.{module}"), function)(reported)
    return cast("dict[str, Any]", finite(written))
