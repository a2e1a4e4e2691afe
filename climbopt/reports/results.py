"""A solved problem, also by least regret: as JSON values, whose keys are a contract, and as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from climbopt.certification.local import Certificate, NamedMultiplier
from climbopt.procedures import Steps
from climbopt.procedures.result import Result
from climbopt.reports.certificates import (
    advantage_json,
    assessment_json,
    assessment_parts,
    certificate_json,
    certificate_parts,
)
from climbopt.reports.extrapolation import Reach
from climbopt.reports.typesetting import (
    MOST_ROWS,
    NO_VALUE,
    Part,
    TextTable,
    language_table,
    number,
    percent,
    say,
    table_of,
    tokens,
)
from climbopt.reports.writers import Value
from climbopt.studies.ranges import Range
from climbopt.uncertainty.assessment import Assessment, assessed
from climbopt.uncertainty.robust import Robust

RESULT_FORMATS = ("climbopt result 1", "climbopt result 2")
"""Formats of a result, the last of which is written; in the first, effective_ratios is z."""
DIGITS = 12
"""Decimals of a gap in words."""


def result_json(result: Result, assessment: Assessment | None = None) -> dict[str, Value]:
    """Return a solved problem as JSON values: multipliers by constraint name, null where unknown.

    The assessment is that under the problem's own model unless one under draws is given.
    """
    solution, answer, gap, conflict = result.solution, result.allocation, result.two_step_gap, result.conflict
    certificate, steps = (None, None) if answer is None else (answer.certificate, answer.steps)
    return {
        "format": RESULT_FORMATS[-1],
        "problem": result.problem.name,
        "procedure": result.procedure.name,
        "backend": solution.backend if solution else None,
        "backend_version": solution.backend_version if solution else None,
        "budget": result.problem.budget,
        "ratios": None if answer is None else result.ratios,
        "effective_ratios": {} if answer is None else result.effective_ratios,
        "effective_tokens": {} if answer is None else result.effective_tokens,
        "z": {} if answer is None else result.z,
        "losses": {} if answer is None else result.losses,
        "marginal_benefit": {} if answer is None else result.marginal_benefit,
        "objective": None if answer is None else result.objective,
        "two_step_gap": None if gap is None else {"absolute": gap.absolute, "share": gap.share},
        "two_step": None
        if steps is None
        else {
            "direction": dict(zip(steps.targets, steps.direction.tolist(), strict=True)),
            "magnitude": steps.magnitude,
            "slack": [{"target": row.target, "excess": row.excess, "reason": row.reason} for row in steps.slack],
            "unique": steps.unique,
            "iterations": steps.iterations,
        },
        "multipliers": {}
        if certificate is None
        else {
            name: {
                "multiplier": entry.multiplier,
                "shadow_price": entry.shadow_price,
                "unit": entry.unit,
                "active": entry.active,
                "tied": list(entry.tied),
            }
            for name, entry in certificate.multipliers.items()
        },
        "termination": solution.termination.name.lower() if solution else None,
        "raw_status": solution.raw_status if solution else None,
        "iterations": solution.iterations if solution else None,
        "evaluations": solution.evaluations if solution else None,
        "seconds": solution.seconds if solution else None,
        "bound": solution.bound if solution else None,
        "certificate": None if certificate is None else certificate_json(certificate),
        **assessment_json(assessment or assessed(result)),
        "regret": None if result.regret is None else {"least": result.regret.least, "most": result.regret.most},
        "better": result.better,
        # An amount is null where none resolves the conflict.
        "conflict": None if conflict is None else {**asdict(conflict), "message": conflict.message},
        **Reach.of_problem(result.problem, None if answer is None else result.ratios).json(),
    }


def ranges_json(ranges: Mapping[str, Range] | None) -> dict[str, Value]:
    """Return near-optimal ranges by language, or nothing where none were requested."""
    return {} if ranges is None else {"ranges": {name: asdict(interval) for name, interval in ranges.items()}}


def print_result(
    result: Result,
    console: Console,
    ranges: Mapping[str, Range] | None = None,
    assessment: Assessment | None = None,
) -> None:
    """Print an answer: the ratios in per cent, what holds them, the two-step gap and the certificate.

    Parameters
    ----------
    result : Result
    console : Console
    ranges : mapping of str to Range, optional
        Near-optimal ranges, shown beside the ratios.
    assessment : Assessment, optional
        Under draws; by default that under the problem's own model.
    """
    problem, solution = result.problem, result.solution
    conflict = None if result.conflict is None else Text(result.conflict.message, "bold red")
    if result.allocation is None:
        words = (
            f"{solution.backend}: {solution.termination.value} ({solution.raw_status})" if solution else "no answer ()"
        )
        return say(console, Text(f"{problem.name}: {words}", "bold red"), conflict)
    # What is printed as a range must not claim more than was certified.
    open_ends = [name for name, interval in (ranges or {}).items() if not interval.certified]
    searched = ranges and not all(interval.proved for interval in ranges.values())
    # Active limits of no single language; the others stand in its own row.
    of_groups = [
        f"{name} ({_price(entry)})"
        for name, entry in result.certificate.multipliers.items()
        if entry.active and "[" not in name and name != "simplex"
    ]
    say(
        console,
        _allocation(result, ranges),
        f"no certified range of {', '.join(open_ends)}: the optimum's own ratio stands there" if open_ends else None,
        "ranges are those that a local search from the optimum reaches" if searched and not open_ends else None,
        "",
        f"{problem.goal.label} {number(result.objective, '.8f')} {problem.goal.unit}".rstrip() + _gap_words(result),
        f"active: {', '.join(of_groups)}" if of_groups else None,
        Reach.of_problem(problem, result.ratios).words(),
        *assessment_parts(assessment or assessed(result)),
        *([] if result.two_step is None else _steps(result.two_step)),
        None
        if solution is None
        else f"{solution.backend} ({solution.backend_version}): {solution.termination.name.lower()}, "
        f"{number(solution.iterations, 'd')} iterations, {solution.seconds:.3f} s",
        *certificate_parts(result, result.certificate),
        conflict,
    )


def _allocation(result: Result, ranges: Mapping[str, Range] | None) -> TextTable:
    """Return the table of languages."""
    problem, ratios = result.problem, result.ratios
    columns: dict[str, Callable[[str], str]] = {
        "language": str,
        "ratio %": lambda name: percent(ratios.get(name), ".3f"),
        **({"range %": lambda name: range_words(ranges.get(name), ".2f")} if ranges else {}),
        "tokens": lambda name: tokens(ratios[name] * problem.budget) if name in ratios else NO_VALUE,
        "D_e %": lambda name: percent(result.effective_ratios.get(name), ".3f"),
        "loss": lambda name: number(result.losses.get(name), ".5f"),
        "marginal benefit": lambda name: number(result.marginal_benefit.get(name), ".5f"),
        "held by": lambda name: _held_by(result.certificate, name),
    }
    names = list(dict.fromkeys([*problem.model.sources, *problem.model.targets]))
    title = f"{problem.name}: {result.procedure.name} at {tokens(problem.budget)} tokens"
    return language_table(title, names, ratios, columns, right=1)


def range_words(interval: Range | None, form: str) -> str:
    """Return a range in per cent, its ends in a format."""
    return NO_VALUE if interval is None else f"{percent(interval.lower, form)}–{percent(interval.upper, form)}"


def _held_by(certificate: Certificate, language: str) -> str:
    """Return the active constraints on a language's own ratio, with their shadow prices."""
    # Rows of the form called share[...], domain[...] and largest[...] are no limits of a ratio.
    return ", ".join(
        f"{name.split('[')[0]} ({_price(entry)})"
        for name, entry in certificate.multipliers.items()
        if entry.active and name.endswith(f"[{language}]") and not name.startswith(("share[", "domain[", "largest["))
    )


def _price(entry: NamedMultiplier) -> str:
    """Return a shadow price in nats; per billion where it is per token."""
    if entry.unit.startswith("token"):
        # A single token is too small a unit to read.
        return f"{1e9 * entry.shadow_price:+.2g} per B {entry.unit.replace('token', 'tokens', 1)}"
    return f"{entry.shadow_price:+.2g} per {entry.unit}"


def _gap_words(result: Result) -> str:
    """Return what two_step loses, in words."""
    gap = result.two_step_gap
    if gap is None:
        return ""
    lost = round(gap.absolute, DIGITS) + 0.0  # no sign where only rounding is left
    share = "" if gap.share is None else f", {100 * round(gap.share, DIGITS) + 0.0:.2f} % of the reducible loss"
    who = "this" if result.procedure.name == "two_step" else "two-step"
    return f"; {who} loses {lost:.3g} nats{share}" + (" against joint" if who == "this" else " against this")


def _steps(steps: Steps) -> list[Part]:
    """Return direction, magnitude and slack rows as parts of a report."""
    # Smallest and largest share of the direction.
    ends = sorted(zip(steps.direction.tolist(), steps.targets, strict=True))
    least, largest = (f"{100 * share:.2f} % ({name})" for share, name in (ends[0], ends[-1]))
    return [
        f"magnitude t = {steps.magnitude:.6f}; direction from {least} to {largest}",
        None
        if steps.unique
        else "  other ratios may reach the same t with a lower loss: the choice among them did not settle",
        *(
            f"  {row.target} has {100 * row.excess:.2g} % more than its share: {row.reason}"
            for row in steps.slack[:MOST_ROWS]
        ),
    ]


def robust_json(robust: Robust) -> dict[str, Value]:
    """Return a robust allocation as JSON values: those of its result, and more."""
    measure, confidence = robust.measure, robust.confidence
    return result_json(robust.result, robust.assessment) | {
        "probability_better_than": {
            baseline.name: advantage_json(baseline.advantage)
            for baseline in robust.assessment.baselines
            if baseline.advantage is not None
        },
        "robust": {
            "measure": measure.kind,
            "level": measure.level if measure.kind == "cvar" else None,
            "draws": len(robust.regrets.draws),
            "unsettled": list(robust.regrets.unsettled),
            "regret": measure.of(robust.regret),
            "regret_of_joint": measure.of(robust.plug_in_regret),
            "joint_ratios": robust.plug_in.ratios,
            "optimum_quantiles": {name: list(values) for name, values in robust.optimum_quantiles().items()},
            "confidence_set": {
                "level": confidence.level,
                "ranges": {name: list(ends) for name, ends in confidence.ranges.items()},
                "share_of_optima": confidence.share_of_optima,
                "sample": [dict(zip(confidence.ranges, row, strict=True)) for row in confidence.sample.tolist()],
            },
            "seconds": robust.seconds,
        },
    }


def print_robust(robust: Robust, console: Console) -> None:
    """Print the answer beside the optimum's distribution and the confidence set, and its regret."""
    measure, confidence, n = robust.measure, robust.confidence, len(robust.regrets.draws)
    quantiles, unsettled = robust.optimum_quantiles(), len(robust.regrets.unsettled)
    columns: dict[str, Callable[[str], str]] = {
        "language": str,
        "robust": lambda name: percent(robust.result.ratios[name], ".2f"),
        "joint": lambda name: percent(robust.plug_in.ratios[name], ".2f"),
        "optimum 5 to 95 %": lambda name: f"{100 * quantiles[name][0]:.2f} to {100 * quantiles[name][2]:.2f}",
        f"not worse at {100 * confidence.level:.0f} %": lambda name: "{:.2f} to {:.2f}".format(
            *(100 * end for end in confidence.ranges[name])
        ),
    }
    kind = "mean" if measure.kind == "mean" else f"mean of the worst {100 * (1 - measure.level):.3g} %"
    say(
        console,
        "",
        table_of(f"ratios in % over {n} draws", quantiles, columns),
        f"regret, {kind}: {measure.of(robust.regret):.6f} nats; of the joint answer "
        f"{measure.of(robust.plug_in_regret):.6f}",
        f"WARNING: {unsettled} draws were not solved to the end" if unsettled else None,
        f"{robust.seconds:.2f} s",
    )
