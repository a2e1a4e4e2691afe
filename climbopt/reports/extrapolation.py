"""How far answers lie outside the budgets and model sizes of the pilots: as JSON values and in words."""

from __future__ import annotations

from collections.abc import Sequence

from climbopt.model.mixture import MixtureModel
from climbopt.problem.allocation import AllocationProblem
from climbopt.runs.pilot_range import Ends

WARNED = 10.0
"""Past this many times outside the pilots a warning says that nothing was measured there."""


def scales(problem: AllocationProblem) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the budget, history included, and the model size of a problem, if it has one."""
    return (problem.total_budget,), () if problem.params is None else (problem.params,)


def extrapolation_json(
    model: MixtureModel, budgets: Sequence[float], sizes: Sequence[float] = ()
) -> dict[str, None | float | list[str]]:
    """Return the largest factors and the warnings of answers at some budgets (tokens) and model sizes.

    A factor is null where the model does not say what it was fitted to, or no size is given.
    """
    if model.pilots is None:
        return {"extrapolation": None, "size_extrapolation": None, "warnings": []}
    by_size = [factor for factor in map(model.pilots.size_extrapolation, sizes) if factor is not None]
    return {
        "extrapolation": max(map(model.pilots.extrapolation, budgets), default=None),
        "size_extrapolation": max(by_size, default=None),
        "warnings": extrapolation_warnings(model, budgets, sizes),
    }


def extrapolation_warnings(model: MixtureModel, budgets: Sequence[float], sizes: Sequence[float] = ()) -> list[str]:
    """Return a sentence for each end of the pilots that answers lie past by more than `WARNED` times."""
    return [
        f"{words}: nothing was measured there; plan pilots nearer to it"
        for factor, words in _sides(model, budgets, sizes)
        if factor > WARNED
    ]


def extrapolation_words(model: MixtureModel, budgets: Sequence[float], sizes: Sequence[float] = ()) -> str | None:
    """Return one line on where budgets and sizes lie beside the pilots'; None where the model names no pilots."""
    if model.pilots is None:
        return None
    sides = [words for factor, words in _sides(model, budgets, sizes) if factor > 1]
    return f"extrapolation: {'; '.join(sides)}" if sides else "extrapolation: none, it is within the pilots' budgets"


def _sides(model: MixtureModel, budgets: Sequence[float], sizes: Sequence[float]) -> list[tuple[float, str]]:
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
            above, below = max(values) / ends[1], ends[0] / min(values)
            sides += [
                (above, f"the {name} is {above:.3g} times the largest pilot's"),
                (below, f"the {name} is 1/{below:.3g} of the smallest pilot's"),
            ]
    return sides
