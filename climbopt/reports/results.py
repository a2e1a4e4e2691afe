"""A solved problem: as JSON values, whose keys are a contract, and as a table with its certificate."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import Console

from climbopt.certification.local import Certificate, NamedMultiplier
from climbopt.procedures import Steps
from climbopt.procedures.result import Result
from climbopt.program import Conflict
from climbopt.reports.assessments import assessment_json, print_assessment
from climbopt.reports.certificates import certificate_json, print_certificate
from climbopt.reports.extrapolation import Reach
from climbopt.reports.json_values import Value
from climbopt.reports.typesetting import (
    MOST_ROWS,
    NO_VALUE,
    TextTable,
    language_table,
    number,
    percent,
    say,
    tokens,
)
from climbopt.studies.ranges import Range
from climbopt.uncertainty.assessment import Assessment, assessed

RESULT_FORMATS = ("climbopt result 1", "climbopt result 2")
"""Formats of a result, the last of which is written; in the first, effective_ratios is z."""
DIGITS = 12
"""Decimals of a gap in words."""


def result_json(result: Result, assessment: Assessment | None = None) -> dict[str, Value]:
    """Return a solved problem as JSON values: multipliers by constraint name, null where unknown.

    The assessment is that under the problem's own model unless one under draws is given.
    """
    solution, answer, gap = result.solution, result.allocation, result.two_step_gap
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
        "conflict": None if result.conflict is None else conflict_json(result.conflict),
        **Reach.of_problem(result.problem, None if answer is None else result.ratios).json(),
    }


def conflict_json(conflict: Conflict) -> dict[str, Value]:
    """Return a conflict as JSON values; an amount is null where none resolves it."""
    return {
        "members": [
            {
                "name": member.name,
                "side": member.side,
                "amount": member.amount,
                "unit": member.unit,
                "alone_suffices": member.alone_suffices,
                "change": member.change,
            }
            for member in conflict.members
        ],
        "proved": conflict.proved,
        "minimal": conflict.minimal,
        "others": conflict.others,
        "message": conflict.message,
    }


def ranges_json(ranges: Mapping[str, Range] | None) -> dict[str, Value]:
    """Return near-optimal ranges by language, or nothing where none were requested."""
    if ranges is None:
        return {}
    return {
        "ranges": {
            name: {
                "lower": interval.lower,
                "upper": interval.upper,
                "certified": interval.certified,
                "proved": interval.proved,
            }
            for name, interval in ranges.items()
        }
    }


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
    if result.allocation is None:
        words = "no answer" if solution is None else f"{solution.backend}: {solution.termination.value}"
        say(console, f"{problem.name}: {words} ({solution.raw_status if solution else ''})", "bold red")
        _print_conflict(result, console)
        return
    console.print(_allocation(result, ranges))
    # What is printed as a range must not claim more than was certified.
    open_ends = [name for name, interval in (ranges or {}).items() if not interval.certified]
    if open_ends:
        say(console, f"no certified range of {', '.join(open_ends)}: the optimum's own ratio stands there")
    elif ranges and not all(interval.proved for interval in ranges.values()):
        say(console, "ranges are those that a local search from the optimum reaches")
    console.print()
    goal = problem.goal
    say(console, f"{goal.label} {number(result.objective, '.8f')} {goal.unit}".rstrip() + _gap_words(result))
    # Active limits of no single language; the others stand in its own row.
    of_groups = [
        f"{name} ({_price(entry)})"
        for name, entry in result.certificate.multipliers.items()
        if entry.active and "[" not in name and name != "simplex"
    ]
    if of_groups:
        say(console, f"active: {', '.join(of_groups)}")
    if (outside := Reach.of_problem(problem, result.ratios).words()) is not None:
        say(console, outside)
    if (assessment := assessment or assessed(result)) is not None:
        print_assessment(assessment, console)
    if result.two_step is not None:
        _print_steps(result.two_step, console)
    if solution is not None:
        say(
            console,
            f"{solution.backend} ({solution.backend_version}): {solution.termination.name.lower()}, "
            f"{number(solution.iterations, 'd')} iterations, {solution.seconds:.3f} s",
        )
    print_certificate(result, result.certificate, console)
    _print_conflict(result, console)


def _print_conflict(result: Result, console: Console) -> None:
    """Print which constraints cannot hold together, and what each must give."""
    if result.conflict is not None:
        say(console, result.conflict.message, "bold red")


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


def _print_steps(steps: Steps, console: Console) -> None:
    """Print direction, magnitude and slack rows."""
    # Smallest and largest share of the direction.
    ends = sorted(zip(steps.direction.tolist(), steps.targets, strict=True))
    say(
        console,
        f"magnitude t = {steps.magnitude:.6f}; direction from {100 * ends[0][0]:.2f} % ({ends[0][1]}) to "
        f"{100 * ends[-1][0]:.2f} % ({ends[-1][1]})",
    )
    if not steps.unique:
        say(console, "  other ratios may reach the same t with a lower loss: the choice among them did not settle")
    for row in steps.slack[:MOST_ROWS]:
        say(console, f"  {row.target} has {100 * row.excess:.2g} % more than its share: {row.reason}")
