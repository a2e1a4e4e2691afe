"""How an answer is judged: its certificate, and the answer beside the rules of thumb; as JSON values and as text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

from rich.text import Text

from climbopt.certification.local import Certificate, Verdict
from climbopt.model.ensemble import Stacked, one_form
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures.result import Result
from climbopt.reports.typesetting import MOST_ROWS, NO_VALUE, Part, TextTable, number, percent, table_of
from climbopt.reports.writers import Value
from climbopt.uncertainty.assessment import Advantage, Alternative, Assessment


def certificate_json(certificate: Certificate) -> dict[str, Value]:
    """Return a certificate as JSON values; conditions that the procedure does not require are null."""
    # A search that ended without a bound still has its cost.
    bound, proved = certificate.bound, certificate.lower_bound is not None
    search = None if bound is None else bound.search
    return {
        "verdict": certificate.verdict.value,
        "passed": certificate.passed,
        "tolerance": certificate.tolerance,
        **dict.fromkeys(("stationarity", "primal", "dual", "complementarity")),
        **{name: residual.value for name, residual in certificate.residuals.items()},
        "worst": {name: residual.worst for name, residual in certificate.residuals.items()},
        "licq": certificate.licq,
        "second_order": certificate.second_order,
        "weakly_active": list(certificate.weakly_active),
        "multiplier_disagreement": certificate.disagreement,
        "upper_bound": certificate.upper_bound,
        "lower_bound": certificate.lower_bound,
        "gap": certificate.gap,
        "relative_gap": certificate.relative_gap,
        "gap_rests_on": bound.rests_on if bound is not None and proved else None,
        "rigor": None if search is None else search.rigor,
        "nodes": None if search is None else search.nodes,
        "seconds": None if search is None else search.seconds,
        "no_bound": certificate.no_bound,
    }


def certificate_parts(result: Result, certificate: Certificate) -> list[Part]:
    """Return verdict, residuals and bound as parts of a report."""
    unit = " nats" if result.procedure.name == "joint" and result.problem.goal.unit == "nats/token" else ""
    words, bound, cost = certificate.verdict.value, certificate.bound, None
    if certificate.verdict is Verdict.GLOBAL and certificate.gap is not None:
        words = f"global within {certificate.gap:.1e}{unit}"
    if bound is not None and bound.search is not None and certificate.relative_gap is not None:
        boxes = "1 box" if bound.search.nodes == 1 else f"{bound.search.nodes} boxes"
        cost = (
            f"  relative gap {certificate.relative_gap:.1e} after {boxes} and {bound.search.seconds:.2f} s; "
            f"it rests on {bound.rests_on}"
        )
    residuals = ", ".join(
        f"{name} {residual.value:.1e}" + (f" ({residual.worst})" if residual.value else "")
        for name, residual in certificate.residuals.items()
    )
    domain = re.fullmatch(r"domain\[(.*)\]", certificate.residuals["primal"].worst)
    regret, weak = result.regret, ", ".join(certificate.weakly_active)
    better = ", ".join(f"{name} {100 * ratio:.3f} %" for name, ratio in list((result.better or {}).items())[:MOST_ROWS])
    return [
        Text(f"certificate passed: {words}", "bold green")
        if certificate.passed
        else Text(f"certificate NOT passed: {words}", "bold red"),
        f"  {residuals}; tolerance {certificate.tolerance:.0e}",
        f"  {domain[1]} has no loss at these ratios: its effective ratio is 0 there" if domain else None,
        _curvature_words(result, certificate),
        cost,
        f"  loses {regret.least:.3g} to {regret.most:.3g}{unit or ' nats'} against the best mixture"
        if regret
        else None,
        f"  a better mixture was found: {better}" if better else None,
        f"  weakly active: {weak}" if weak else None,
    ]


def _curvature_words(result: Result, certificate: Certificate) -> str | None:
    """Return LICQ, curvature and bound in words; None where only feasibility is required, and nothing was examined."""
    if certificate.licq is None:
        return None
    second = certificate.second_order
    curvature = "a vertex" if second is None else f"least curvature {second:.3g}"
    if certificate.verdict is Verdict.GLOBAL and second is not None and second <= 0:
        curvature += " (a tie: other mixtures may be as good)"
    return f"  LICQ {'holds' if certificate.licq else 'FAILS'}; {curvature}; {_bound_words(result, certificate)}"


def _bound_words(result: Result, certificate: Certificate) -> str:
    """Return what no mixture is better than, or why nothing was proved."""
    lower = certificate.lower_bound
    if lower is None:
        return "no global bound proved" if certificate.no_bound is None else f"no global bound: {certificate.no_bound}"
    if result.procedure.name != "two_step":
        return f"no mixture is below {lower:.10f}"
    # Step 2 maximises t, as a minimum of -t, on tangents where own is not affine.
    line = one_form(result.problem.model, "two_step").templates.own.second[0].is_zero
    return f"t is at most {-lower:.10f}" + ("" if line else ", to first order")


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


def assessment_parts(assessment: Assessment | None, pilots: str | None = None) -> list[Part]:
    """Return the baselines with what the answer gains on each, its band, cost by form, and whether it is a decision.

    A baseline that is not feasible is shown with the constraint that it violates most. Of an answer that is no
    decision, the next command plans runs after those of the file of pilots, by default that which the model names.
    """
    if assessment is None:
        return []
    goal, doubt, half_width = assessment.result.problem.goal, assessment.doubt, assessment.half_width
    costs = {form: cost.regret for form, cost in assessment.forms.items() if cost.regret is not None}
    worst = max(costs, key=lambda form: costs[form], default="")
    n = len(assessment.scenarios.models)
    return [
        _baselines(assessment) if assessment.baselines else None,
        "" if assessment.baselines else None,
        None
        if half_width is None
        else f"band of the {goal.label} over {n} models: {half_width:.3g} to either side (90 %)",
        f"if one form is right, the answer costs at most {costs[worst]:.3g} {goal.unit} ({worst})" if costs else None,
        None if doubt is None else Text(f"NOT a decision: {doubt}", "bold red"),
        None
        if doubt is None
        else f"  plan pilots nearer to the answer: {next_command(assessment.result.problem, pilots)}",
    ]


def _baselines(assessment: Assessment) -> TextTable:
    """Return the table of baselines."""
    answer = assessment.result.objective
    over_scenarios: dict[str, Callable[[Alternative], str]] = {
        "5 to 95 %": lambda one: (
            "{lower:.4f} to {upper:.4f}".format(**vars(one.advantage)) if one.advantage else NO_VALUE
        ),
        "chance %": lambda one: percent(None if one.advantage is None else one.advantage.probability, ".0f"),
    }
    columns: dict[str, Callable[[Alternative], str]] = {
        "baseline": lambda one: one.name,
        assessment.result.problem.goal.label: lambda one: number(one.objective, ".5f"),
        "answer better by": lambda one: number(
            one.objective - answer if one.advantage is None else one.advantage.gain, ".5f"
        ),
        **(over_scenarios if any(one.advantage for one in assessment.baselines) else {}),
        "": lambda one: "" if one.feasible else f"not feasible: {one.primal.worst}",
    }
    return table_of("", assessment.baselines, columns, right=1)
