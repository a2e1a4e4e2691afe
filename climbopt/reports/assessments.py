"""An answer beside the rules of thumb, and how far it leans on the model: as JSON values and as text."""

from __future__ import annotations

import shlex

from rich.console import Console

from climbopt.model.ensemble import Stacked
from climbopt.problem.allocation import AllocationProblem
from climbopt.reports.json_values import Value
from climbopt.reports.typesetting import NO_VALUE, TextTable, number, say
from climbopt.uncertainty.assessment import Advantage, Assessment


def assessment_json(assessment: Assessment | None) -> dict[str, Value]:
    """Return the baselines by name and the decision as JSON values; none and null where there is no assessment."""
    if assessment is None:
        return {"baselines": {}, "decision": None}
    sources = assessment.result.problem.model.sources
    return {
        "baselines": {
            baseline.name: {
                "ratios": dict(zip(sources, baseline.ratios.tolist(), strict=True)),
                "objective": baseline.objective,
                "feasible": baseline.feasible,
                "violation": baseline.primal.value,
                "violated": None if baseline.feasible else baseline.primal.worst,
                **advantage_json(baseline.advantage),
            }
            for baseline in assessment.baselines
        },
        "decision": {
            "stands": assessment.doubt is None,
            "reason": assessment.doubt,
            "next": None if assessment.doubt is None else next_command(assessment.result.problem),
            "half_width": assessment.half_width,
            "scenarios": len(assessment.scenarios.models),
            "forms": {form: {"weight": cost.weight, "regret": cost.regret} for form, cost in assessment.forms.items()},
        },
    }


def next_command(problem: AllocationProblem, pilots: str | None = None) -> str:
    """Return the command that plans pilots for a problem whose answer is no decision, after those of a file."""
    model = problem.model
    budgets = "BUDGETS" if model.pilots is None else ",".join(f"{tokens:g}" for tokens in model.pilots.tokens)
    if pilots is None:
        pilots = "PILOTS" if isinstance(model, Stacked) else model.provenance.get("file", "PILOTS")
    words = ["climbopt", "plan", "--languages", ",".join(model.sources), "--budgets", budgets, "--after", pilots]
    # A command to be copied: names with blanks are quoted.
    return shlex.join([*words, "--target-budget", f"{problem.budget:g}"])


def advantage_json(advantage: Advantage | None) -> dict[str, Value]:
    """Return how an answer does against another mixture as JSON values; null without scenarios."""
    return {key: getattr(advantage, key, None) for key in ("probability", "gain", "lower", "upper")}


def print_assessment(assessment: Assessment, console: Console, pilots: str | None = None) -> None:
    """Print the baselines with what the answer gains on each, its band, its cost by form, and whether it is a decision.

    A baseline that is not feasible is shown with the constraint that it violates most. Of an answer that is no
    decision, the next command plans runs after those of the file of pilots, by default that which the model names.
    """
    if assessment.baselines:
        console.print(_table(assessment))
        console.print()
    goal = assessment.result.problem.goal
    if assessment.half_width is not None:
        n = len(assessment.scenarios.models)
        say(console, f"band of the {goal.label} over {n} models: {assessment.half_width:.3g} to either side (90 %)")
    costs = {form: cost.regret for form, cost in assessment.forms.items() if cost.regret is not None}
    if costs:
        worst = max(costs, key=lambda form: costs[form])
        say(console, f"if one form is right, the answer costs at most {costs[worst]:.3g} {goal.unit} ({worst})")
    if assessment.doubt is not None:
        say(console, f"NOT a decision: {assessment.doubt}", "bold red")
        say(console, f"  plan pilots nearer to the answer: {next_command(assessment.result.problem, pilots)}")


def _table(assessment: Assessment) -> TextTable:
    """Return the table of baselines."""
    goal, answer = assessment.result.problem.goal, assessment.result.objective
    drawn = any(baseline.advantage for baseline in assessment.baselines)
    heads = ["answer better by", "5 to 95 %", "chance %"] if drawn else ["answer better by"]
    table = TextTable("", ("baseline", goal.label, *heads, ""), right=1)
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
    return table
