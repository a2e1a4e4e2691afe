"""How far answers lie outside the budgets, model sizes and ratios of the pilots: as JSON values and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from climbopt.fitting.prediction import PREDICTIONS
from climbopt.foundations.errors import listed
from climbopt.model.ensemble import Model, Stacked, blocks_of
from climbopt.model.mixture import WARNINGS
from climbopt.problem.allocation import AllocationProblem
from climbopt.reports.json_values import Value
from climbopt.runs.pilot_range import Ends
from climbopt.runs.pilots import PilotRuns

if TYPE_CHECKING:
    import pandas as pd

WARNED = 10.0
"""Past this many times outside the pilots a warning says that nothing was measured there."""
WARNED_RATIO = 0.01
"""The same for a ratio, in ratio units."""

Mixtures = Sequence[Mapping[str, float]]
"""Ratios by source, history included."""


def scales(problem: AllocationProblem) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the budget, history included, and the model size of a problem, if it has one."""
    return (problem.total_budget,), () if problem.params is None else (problem.params,)


def mixture(problem: AllocationProblem, ratios: Mapping[str, float] | None) -> Mixtures:
    """Return the mixture of history and run together, by source; none where there are no ratios."""
    if ratios is None:
        return ()
    cumulative = problem.cumulative(problem.model.vector(ratios)).tolist()
    return (dict(zip(problem.model.sources, cumulative, strict=True)),)


def reach(model: Model, table: pd.DataFrame) -> tuple[list[float], list[float], Mixtures]:
    """Return the budgets, the model sizes and the mixtures of the runs of a tidy table."""
    runs = PilotRuns.from_frame(
        table.drop(columns=list(PREDICTIONS), errors="ignore"), need_losses=False, missing="drop"
    )
    mixtures = [dict(zip(model.sources, row, strict=True)) for row in runs.ratios_of(model.sources).tolist()]
    return runs.tokens.tolist(), [] if runs.params is None else runs.params.tolist(), mixtures


def extrapolation_json(
    model: Model, budgets: Sequence[float], sizes: Sequence[float] = (), mixtures: Mixtures = ()
) -> dict[str, Value]:
    """Return the largest factors and the warnings of answers at some budgets (tokens) and model sizes.

    A factor is null where the model does not say what it was fitted to, or no size is given.
    """
    if model.pilots is None:
        return {
            "extrapolation": None,
            "size_extrapolation": None,
            "ratio_extrapolation": None,
            "warnings": fit_warnings(model),
        }
    # None where the model's pilots do not state their size.
    by_size = [factor for factor in map(model.pilots.size_extrapolation, sizes) if factor is not None]
    return {
        "extrapolation": max(map(model.pilots.extrapolation, budgets), default=None),
        "size_extrapolation": max(by_size, default=None),
        "ratio_extrapolation": None
        if model.pilots.ratios is None
        else {
            name: {"ratio": ratio, "pilots": list(model.pilots.ratios[name])}
            for name, ratio, _ in _ratios_outside(model, mixtures)
        },
        "warnings": [*fit_warnings(model), *extrapolation_warnings(model, budgets, sizes, mixtures)],
    }


def fit_warnings(model: Model) -> list[str]:
    """Return what the fit of a model gave reason to doubt, which every answer from it repeats."""
    texts = (
        []
        if isinstance(model, Stacked)
        else [part.provenance.get(WARNINGS, "") for part in (model, *blocks_of(model)[0])]
    )
    return [f"the fit warned: {line}" for line in dict.fromkeys(line for text in texts for line in text.splitlines())]


def extrapolation_warnings(
    model: Model, budgets: Sequence[float], sizes: Sequence[float] = (), mixtures: Mixtures = ()
) -> list[str]:
    """Return a sentence for each end of the pilots that answers lie far past: `WARNED` times, or `WARNED_RATIO`."""
    far = [words for factor, words in _sides(model, budgets, sizes) if factor > WARNED]
    outside = _ratios_outside(model, mixtures)
    if any(abs(beyond) > WARNED_RATIO for _, _, beyond in outside):
        far.append(_ratio_words(model, outside))
    return [f"{words}: nothing was measured there; plan pilots nearer to it" for words in far]


def extrapolation_words(
    model: Model, budgets: Sequence[float], sizes: Sequence[float] = (), mixtures: Mixtures = ()
) -> str | None:
    """Return one line on where budgets, sizes and ratios lie beside the pilots'; None where the model has no pilots."""
    if model.pilots is None:
        return None
    sides = [words for factor, words in _sides(model, budgets, sizes) if factor > 1]
    outside = _ratios_outside(model, mixtures)
    sides += [_ratio_words(model, outside)] if outside else []
    return f"extrapolation: {'; '.join(sides)}" if sides else "extrapolation: none, it is within the pilots' budgets"


def _ratios_outside(model: Model, mixtures: Mixtures) -> list[tuple[str, float, float]]:
    """Return the sources whose ratio lies outside the pilots', that ratio and how far, at the farthest mixture."""
    if model.pilots is None:
        return []
    farthest: dict[str, tuple[float, float]] = {}
    # By source the mixture that lies farthest out.
    for ratios in mixtures:
        for name, beyond in model.pilots.outside(ratios).items():
            if abs(beyond) > abs(farthest.get(name, (0.0, 0.0))[1]):
                farthest[name] = (ratios[name], beyond)
    return sorted(((name, *far) for name, far in farthest.items()), key=lambda source: -abs(source[2]))


def _ratio_words(model: Model, outside: Sequence[tuple[str, float, float]]) -> str:
    """Return which ratios lie outside the pilots' mixtures, the farthest first."""
    assert model.pilots is not None and model.pilots.ratios is not None  # else nothing lies outside
    named = [
        "{} is {:.3g} % and {:.3g} to {:.3g} % in the pilots".format(
            name, 100 * ratio, *(100 * end for end in model.pilots.ratios[name])
        )
        for name, ratio, _ in outside
    ]
    return f"outside the pilots' mixtures: {listed(named, most=4)}"


def _sides(model: Model, budgets: Sequence[float], sizes: Sequence[float]) -> list[tuple[float, str]]:
    """Return the factor past each end of the pilots, and a sentence that states it."""
    if model.pilots is None:
        return []
    ranges: list[tuple[str, Ends | None, Sequence[float]]] = [
        ("budget", model.pilots.tokens, budgets),
        ("model size", model.pilots.params, sizes),
    ]
    sides = []
    for name, ends, values in ranges:
        if ends is not None and len(values):
            # Factors above 1 where the values leave the pilots' range at that end.
            above, below = max(values) / ends[1], ends[0] / min(values)
            sides += [
                (above, f"the {name} is {above:.3g} times the largest pilot's"),
                (below, f"the {name} is 1/{below:.3g} of the smallest pilot's"),
            ]
    return sides
