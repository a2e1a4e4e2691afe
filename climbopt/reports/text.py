"""Tables that a person reads at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

from climbopt.certification.local import Certificate, NamedMultiplier, Verdict
from climbopt.fitting.accuracy import Errors
from climbopt.fitting.estimate import Fit
from climbopt.fitting.select import Score
from climbopt.procedures.result import Result
from climbopt.reports.as_json import backends_json
from climbopt.reports.extrapolation import extrapolation_words, scales
from climbopt.studies.ranges import Range

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 40
"""Languages shown; of more, those with the largest ratios."""
NO_VALUE = "–"


class _PlainTable(Table):
    """A table whose cells are shown as they are: names hold square brackets and colons, which rich would read."""

    def add_row(self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False) -> None:
        plain = (Text(cell) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*plain, style=style, end_section=end_section)


def new_table(title: str, *columns: str, left: int = 1, right: int = 0) -> Table:
    """Return an empty table whose first `left` and last `right` columns are text, which may be folded.

    The other columns are numbers, which are never cut.
    """
    table = _PlainTable(
        title=Text(title, style="bold"), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for position, column in enumerate(columns):
        if left <= position < len(columns) - right:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold", min_width=len(column))
    return table


def say(console: Console, line: str) -> None:
    """Print a line as it is: names hold square brackets and colons, which rich would read."""
    console.print(line, highlight=False, markup=False, emoji=False)


def number(value: float | None, form: str) -> str:
    """Return a number, or a dash for an unknown one."""
    return NO_VALUE if value is None or value != value else format(value, form)


def tokens(tokens: float) -> str:
    """Return a token count with three digits and its power of a thousand."""
    tokens = float(f"{tokens:.3g}")
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if tokens >= size:
            return f"{tokens / size:.3g} {letter}"
    return f"{tokens:.3g}"


def print_result(result: Result, console: Console, ranges: Mapping[str, Range] | None = None) -> None:
    """Print an answer: the ratios in per cent, what holds them, the two-step gap and the certificate.

    Parameters
    ----------
    result : Result
    console : Console
    ranges : mapping of str to Range, optional
        Near-optimal ranges, shown beside the ratios.
    """
    problem = result.problem
    if result.ratios is None:
        solution = result.solution
        words = "no answer" if solution is None else f"{solution.backend}: {solution.termination.value}"
        console.print(Text(f"{problem.name}: {words} ({solution.raw_status if solution else ''})", style="bold red"))
        _print_conflict(result, console)
        return
    console.print(_allocation(result, ranges))
    open_ends = [name for name, one in (ranges or {}).items() if not one.certified]
    if open_ends:
        say(console, f"no certified range of {', '.join(open_ends)}: the optimum's own ratio stands there")
    elif ranges and not all(one.proved for one in ranges.values()):
        say(console, "ranges are those that a local search from the optimum reaches")
    console.print()
    goal = problem.goal
    say(console, f"{goal.label} {number(result.objective, '.8f')} {goal.unit}".rstrip() + _gap_words(result))
    if result.certificate is not None:
        whole = [
            f"{name} ({_price(one)})"
            for name, one in result.certificate.multipliers.items()
            if one.active and "[" not in name and name != "simplex"
        ]
        if whole:
            say(console, f"active: {', '.join(whole)}")
    if (outside := extrapolation_words(problem.model, *scales(problem))) is not None:
        say(console, outside)
    if result.two_step is not None:
        _print_steps(result, console)
    if result.solution is not None:
        solution = result.solution
        say(
            console,
            f"{solution.backend} ({solution.backend_version}): {solution.termination.name.lower()}, "
            f"{number(solution.iterations, 'd')} iterations, {solution.seconds:.3f} s",
        )
    if result.certificate is not None:
        _print_certificate(result, result.certificate, console)
    _print_conflict(result, console)


def _print_conflict(result: Result, console: Console) -> None:
    """Print which constraints cannot hold together, and what each must give."""
    if result.conflict is not None:
        console.print(Text(result.conflict.message, style="bold red"))


def _allocation(result: Result, ranges: Mapping[str, Range] | None) -> Table:
    """Return the table of languages."""
    problem, ratios = result.problem, result.ratios or {}
    table = new_table(
        f"{problem.name}: {result.procedure} at {tokens(problem.budget)} tokens",
        "language",
        "ratio %",
        *(["range %"] if ranges else []),
        "tokens",
        "z %",
        "loss",
        "marginal benefit",
        "held by",
        right=1,
    )
    names = list(dict.fromkeys([*problem.model.sources, *problem.model.targets]))
    shown = sorted(names, key=lambda name: -ratios.get(name, 0.0))[:MOST_ROWS] if len(names) > MOST_ROWS else names
    for name in shown:
        ratio = ratios.get(name)
        z = result.effective_ratios.get(name)
        table.add_row(
            name,
            number(None if ratio is None else 100 * ratio, ".3f"),
            *([_range(ranges.get(name))] if ranges else []),
            NO_VALUE if ratio is None else tokens(ratio * problem.budget),
            number(None if z is None else 100 * z, ".3f"),
            number(result.losses.get(name), ".5f"),
            number(result.marginal_benefit.get(name), ".5f"),
            _held_by(result.certificate, name),
        )
    if len(shown) < len(names):
        table.add_row(f"and {len(names) - len(shown)} more", *[""] * (len(table.columns) - 1))
    return table


def _range(one: Range | None) -> str:
    """Return a range in per cent."""
    return NO_VALUE if one is None else f"{100 * one.lower:.2f}–{100 * one.upper:.2f}"


def _held_by(certificate: Certificate | None, language: str) -> str:
    """Return the active constraints on a language's own ratio, with their shadow prices."""
    if certificate is None:
        return ""
    return ", ".join(
        f"{name.split('[')[0]} ({_price(one)})"
        for name, one in certificate.multipliers.items()
        if one.active and name.endswith(f"[{language}]") and not name.startswith(("share[", "domain[", "largest["))
    )


def _price(one: NamedMultiplier) -> str:
    """Return a shadow price in nats; per billion where it is per token."""
    if one.unit.startswith("token"):
        return f"{1e9 * one.shadow_price:+.2g} per B {one.unit.replace('token', 'tokens', 1)}"
    return f"{one.shadow_price:+.2g} per {one.unit}"


def _gap_words(result: Result) -> str:
    """Return what two_step loses, in words."""
    gap = result.two_step_gap
    if gap is None:
        return ""
    share = "" if gap.share is None else f", {100 * gap.share:.2f} % of the reducible loss"
    who = "this" if result.procedure == "two_step" else "two-step"
    return f"; {who} loses {gap.absolute:.3g} nats{share}" + (" against joint" if who == "this" else " against this")


def _print_steps(result: Result, console: Console) -> None:
    """Print direction, magnitude and slack rows."""
    steps = result.two_step
    if steps is None:
        return
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


def _print_certificate(result: Result, certificate: Certificate, console: Console) -> None:
    """Print verdict, residuals and bound."""
    procedure = result.procedure
    unit = " nats" if procedure == "joint" and result.problem.goal.unit == "nats/token" else ""
    words = certificate.verdict.value
    if certificate.verdict is Verdict.GLOBAL and certificate.gap is not None:
        words = f"global within {certificate.gap:.1e}{unit}"
    style = "bold green" if certificate.passed else "bold red"
    console.print(Text(f"certificate {'passed' if certificate.passed else 'NOT passed'}: {words}", style=style))
    residuals = ", ".join(
        f"{name} {residual.value:.1e}" + (f" ({residual.worst})" if residual.value else "")
        for name, residual in certificate.residuals.items()
    )
    say(console, f"  {residuals}; tolerance {certificate.tolerance:.0e}")
    if certificate.licq is not None:
        second = certificate.second_order
        curvature = "a vertex" if second is None else f"least curvature {second:.3g}"
        lower = certificate.lower_bound
        none = "no global bound proved" if certificate.no_bound is None else f"no global bound: {certificate.no_bound}"
        bound = (
            none
            if lower is None
            else (f"t is at most {-lower:.10f}" if procedure == "two_step" else f"no mixture is below {lower:.10f}")
        )
        say(console, f"  LICQ {'holds' if certificate.licq else 'FAILS'}; {curvature}; {bound}")
    if certificate.rigor is not None and certificate.relative_gap is not None:
        say(
            console,
            f"  relative gap {certificate.relative_gap:.1e} after {certificate.nodes} boxes and "
            f"{certificate.bound_seconds or 0.0:.2f} s; it rests on {certificate.gap_rests_on}",
        )
    if result.regret is not None:
        say(
            console,
            f"  loses {result.regret.least:.3g} to {result.regret.most:.3g}{unit or ' nats'} against the best mixture",
        )
    if result.better is not None:
        say(
            console,
            "  a better mixture was found: "
            + ", ".join(f"{name} {100 * ratio:.3f} %" for name, ratio in list(result.better.items())[:MOST_ROWS]),
        )
    if certificate.weakly_active:
        say(console, f"  weakly active: {', '.join(certificate.weakly_active)}")


def print_fit(fitted: Fit, scores: Sequence[Score], console: Console) -> None:
    """Print a fit: errors by language, what is at a bound, what the runs do not show, and the cross-validation."""
    if scores:
        table = new_table(
            "cross-validation over whole runs",
            "law",
            "interaction",
            "mae",
            "mre %",
            "spearman",
            "zero-shot mae",
            "by-scale mae",
        )
        refused = [score for score in scores if score.refused]
        for score in scores:
            if score not in refused:
                table.add_row(
                    score.law,
                    score.interaction,
                    f"{score.mae:.5f}",
                    f"{100 * score.mre:.3f}",
                    number(score.spearman, ".4f"),
                    number(score.zero_shot_mae, ".4f"),
                    number(score.by_scale, ".4f"),
                )
        console.print(table)
        for score in refused:
            say(console, f"{score.law} + {score.interaction} cannot be fitted: {score.refused}")
        console.print()
    model = fitted.model
    table = new_table(
        f"{model.law.name} + {model.interaction.name}: {fitted.n_losses} losses of {fitted.n_runs} runs",
        "language",
        "mae",
        "mre %",
        "R2",
        "zero-shot mae",
    )
    for name, one in (*fitted.errors.items(), ("all", fitted.overall)):
        table.add_row(
            name,
            number(one.mae, ".5f"),
            number(100 * one.mre, ".3f"),
            number(one.r2, ".5f"),
            number(one.zero_shot_mae, ".4f"),
        )
    console.print(table)
    for label, names in (("at a bound", fitted.at_bound), ("not identified by the runs", fitted.unidentified)):
        if names:
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            say(console, f"{label}: {', '.join(names[:8])}{more}")
    if fitted.left_out:
        say(console, fitted.left_out)
    say(console, f"{fitted.seconds:.2f} s")


def print_backends(console: Console) -> None:
    """Print each backend: its solver's version, or why it is not available."""
    table = new_table("backends", "name", "available", "solver", left=3)
    for row in backends_json():
        if isinstance(row, dict):
            table.add_row(
                str(row["name"]),
                "yes" if row["available"] else "no",
                str(row["version"] if row["available"] else row["reason"]),
            )
    console.print(table)


def print_prediction(
    table: pd.DataFrame, errors: Errors | None, console: Console, *, listed: bool, outside: str | None = None
) -> None:
    """Print predictions, and how far they are from losses that were given.

    Parameters
    ----------
    table : pandas.DataFrame
        With the column predicted.
    errors : Errors or None
    console : Console
    listed : bool
        Whether to list the rows; they may have gone to a file.
    outside : str, optional
        Where the budgets lie beside the pilots'.
    """
    missing = int(table["predicted"].isna().sum())
    if listed:
        rows = new_table("predicted losses", "run", "language", "ratio %", "tokens", "loss", "predicted", left=2)
        for row in table.head(MOST_ROWS).to_dict("records"):
            loss = row.get("loss")
            rows.add_row(
                str(row["run"]),
                str(row["language"]),
                f"{100 * float(row['ratio']):.3f}",
                tokens(float(row["tokens"])),
                number(None if loss is None else float(loss), ".5f"),
                number(float(row["predicted"]), ".5f"),
            )
        console.print(rows)
        if len(table) > MOST_ROWS:
            say(console, f"and {len(table) - MOST_ROWS} more rows; write them all with -o FILE.csv")
    say(
        console,
        f"{len(table)} rows, {missing} without a prediction (no target of the model, or z outside the law's domain)"
        if missing
        else f"{len(table)} rows predicted",
    )
    if outside is not None:
        say(console, outside)
    if errors is not None:
        zero_shot = "" if errors.zero_shot_mae is None else f"; at a ratio of 0: MAE {errors.zero_shot_mae:.5f}"
        say(
            console,
            f"MAE {number(errors.mae, '.5f')} nats, MRE {number(100 * errors.mre, '.3f')} %, "
            f"R2 {number(errors.r2, '.5f')}{zero_shot}",
        )
