"""Pictures of objects, drawn into axes, for `plot` of public objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climbopt.fitting.ensemble_fit import EnsembleFit
from climbopt.fitting.estimate import Fit
from climbopt.foundations.errors import InputError, unknown_name
from climbopt.foundations.view import Reported
from climbopt.procedures.result import Result, solve
from climbopt.reports import plots
from climbopt.reports.pictures import (
    NEAR,
    answer_bars,
    benefit_bars,
    path_of,
    predictions,
    range_lines,
    ratio_bars,
    transfer_map,
)
from climbopt.studies.comparison.backend_runs import Comparison
from climbopt.studies.comparison.profiles import profiles
from climbopt.studies.design.plan import Plan
from climbopt.studies.ranges import ranges
from climbopt.studies.schedule import Schedule
from climbopt.studies.sweep import Sweep
from climbopt.uncertainty.decision import Decision
from climbopt.uncertainty.robust import Robust


def _fit(fitted: Fit | EnsembleFit, ax: Axes | None) -> Figure:
    """Predicted against measured losses of the runs that were fitted."""
    return predictions(fitted.model, fitted.pilots, ax=ax)


def _transfer(fitted: Fit, ax: Axes | None) -> Figure:
    """Transfer at the largest budget, and the largest model, that was fitted."""
    runs = fitted.pilots
    size = None if runs.params is None else float(runs.params.max())
    return transfer_map(fitted.model, float(runs.tokens.max()), size, ax=ax)


def _allocation(result: Result, ax: Axes | None) -> Figure:
    """Ratios beside those of the baselines that need no more than the problem states."""
    return answer_bars(result, lambda name: solve(result.problem, name), ax=ax)


def _ranges(result: Result, ax: Axes | None) -> Figure:
    """Near-optimal range of every ratio."""
    return range_lines(result.ratios, ranges(result, NEAR), ax=ax)


def _marginal(result: Result, ax: Axes | None) -> Figure:
    """Benefits of more data before (uniform) and after."""
    return benefit_bars(result, solve(result.problem, "uniform"), ax=ax)


def _decision(decision: Decision, ax: Axes | None) -> Figure:
    """Ratios of the answer, with their near-optimal ranges, beside those of the baselines."""
    names, baselines = decision.problem.model.sources, decision.assessment.baselines if decision.assessment else ()
    series = {"answer": decision.ratios} | {
        baseline.name: dict(zip(names, baseline.ratios.tolist(), strict=True))
        for baseline in baselines
        if baseline.name != "isolated"
    }
    return ratio_bars(names, series, decision.ranges, ax=ax)


def _decided_ranges(decision: Decision, ax: Axes | None) -> Figure:
    """Near-optimal range of every ratio."""
    if not decision.ranges:
        raise InputError("there are no ranges, since the answer is not certified")
    return range_lines(decision.ratios, decision.ranges, ax=ax)


def _sweep(path: Sweep, ax: Axes | None) -> Figure:
    """Ratios along a path."""
    return path_of(path.to_dict(), f"the sweep of {path.problem.name}", ax=ax)


def _plan(plan: Plan, ax: Axes | None) -> Figure:
    """Bars of the designs' expected errors, in per cent."""
    errors = {"expected error": np.array([design.error for design in plan.designs])}
    names = [f"{design.name}, {len(design.runs)} runs" for design in plan.designs]
    return plots.bars_figure(names, errors, "expected error (%)", unit=0.01, ax=ax)


DRAWINGS: Mapping[type[Reported], Mapping[str, Callable[..., Figure]]] = {
    Comparison: {"profile": lambda comparison, ax: plots.profile_figure(profiles(comparison), ax)},
    Decision: {
        "allocation": _decision,
        "ranges": _decided_ranges,
        "fit": lambda decision, ax: _fit(decision.fitted, ax),
    },
    Fit: {"fit": _fit, "transfer": _transfer},
    Plan: {"errors": _plan},
    Result: {"allocation": _allocation, "ranges": _ranges, "marginal": _marginal},
    Robust: {"allocation": lambda answer, ax: _allocation(answer.result, ax)},
    Schedule: {"sweep": lambda staged, ax: _sweep(staged.path, ax)},
    Sweep: {"sweep": _sweep},
}
"""By type, its pictures by kind; the first is the default."""


def figure_of(reported: Reported, kind: str | None = None, ax: Axes | None = None) -> Figure:
    """Return the figure with a picture of an object, of a kind or of its first."""
    kinds = DRAWINGS.get(type(reported), {})
    chosen = next(iter(kinds), "") if kind is None else kind
    if chosen not in kinds:
        raise unknown_name(f"picture of a {type(reported).__name__}", chosen, kinds)
    return kinds[chosen](reported, ax)
