"""An answer beside the rules of thumb: as JSON values and as a table."""

from __future__ import annotations

from rich.console import Console

from climbopt.reports.json_values import Value
from climbopt.reports.typesetting import NO_VALUE, new_table, number
from climbopt.uncertainty.assessment import Advantage, Alternative, Assessment


def assessment_json(assessment: Assessment | None) -> dict[str, Value]:
    """Return the baselines by name as JSON values; none where there is no assessment."""
    baselines = () if assessment is None else assessment.baselines
    return {"baselines": {baseline.name: _baseline_json(baseline, assessment) for baseline in baselines}}


def _baseline_json(baseline: Alternative, assessment: Assessment | None) -> dict[str, Value]:
    """Return a baseline's ratios, objective and violation, and how the answer does against it."""
    assert assessment is not None  # it has a baseline
    sources = assessment.result.problem.model.sources
    return {
        "ratios": dict(zip(sources, baseline.ratios.tolist(), strict=True)),
        "objective": baseline.objective,
        "feasible": baseline.feasible,
        "violation": baseline.primal.value,
        "violated": None if baseline.feasible else baseline.primal.worst,
        **advantage_json(baseline.advantage),
    }


def advantage_json(advantage: Advantage | None) -> dict[str, Value]:
    """Return how an answer does against another mixture as JSON values; null without scenarios."""
    return {key: getattr(advantage, key, None) for key in ("probability", "gain", "lower", "upper")}


def print_assessment(assessment: Assessment, console: Console) -> None:
    """Print each baseline's objective, by how much the answer is better, and whether the baseline is feasible."""
    if not assessment.baselines:
        return
    goal, answer = assessment.result.problem.goal, assessment.result.objective
    drawn = any(baseline.advantage for baseline in assessment.baselines)
    heads = ["answer better by", "5 to 95 %", "chance %"] if drawn else ["answer better by"]
    table = new_table("", "baseline", goal.label, *heads, "", right=1)
    for baseline in assessment.baselines:
        advantage = baseline.advantage
        cells = [number(baseline.objective - answer if advantage is None else advantage.gain, ".5f")]
        if drawn:
            cells += (
                [NO_VALUE, NO_VALUE]
                if advantage is None
                else [f"{advantage.lower:.4f} to {advantage.upper:.4f}", f"{100 * advantage.probability:.0f}"]
            )
        violated = "" if baseline.feasible else f"not feasible: {baseline.primal.worst}"
        table.add_row(baseline.name, number(baseline.objective, ".5f"), *cells, violated)
    console.print(table)
    console.print()
