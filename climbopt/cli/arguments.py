"""Arguments and options that several subcommands share, and what their texts stand for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
import typer

from climbopt.foundations.errors import InputError
from climbopt.foundations.processes import MOST_JOBS

if TYPE_CHECKING:
    from climbopt.backends import Options, OptionValue
    from climbopt.procedures.optimum import Effort, Rigor

PROBLEM = Annotated[str, typer.Argument(metavar="PROBLEM", help="A problem file, or the name of a shipped problem.")]
JSON = Annotated[str | None, typer.Option("--json", metavar="FILE", help="Write JSON; - for standard output alone.")]
BACKEND = Annotated[str | None, typer.Option(metavar="NAME", help="Solver backend; see climbopt backends.")]
TOLERANCE = Annotated[float, typer.Option(help="Of the certificate's scaled residuals.")]
TIME_LIMIT = Annotated[float, typer.Option(help="Seconds for one solve.")]
GAP = Annotated[float, typer.Option(help="Relative gap to the best of all mixtures that the global bound is to reach.")]
RIGOR = Annotated[
    str, typer.Option(metavar="float|ball", help="Arithmetic of the global bound; ball proves it, rounding included.")
]
DRAWS = Annotated[
    Path | None,
    typer.Option(metavar="FILE.jsonl", help="Draws of the model, which climbopt fit --bootstrap writes."),
]
JOBS = Annotated[int, typer.Option(min=1, max=MOST_JOBS, help="Processes.")]
SEED = Annotated[int, typer.Option(min=0, help="Of the random numbers.")]

MOST_VALUES = 100_000
"""Of FROM:TO:COUNT."""


def names(option: str, text: str) -> list[str]:
    """Return the names in a list with commas between them."""
    parts = [part.strip() for part in text.split(",")]
    if not any(parts):
        raise InputError(f"{option} names nothing; write names with commas between them, or leave it out")
    return [part for part in parts if part]


def effort(gap: float, time_limit: float, rigor: str, jobs: int) -> Effort:
    """Return the effort for a global bound, checked."""
    from climbopt.procedures.optimum import Effort

    return Effort(gap, time_limit, cast("Rigor", rigor), jobs)


def share(option: str, text: str) -> float:
    """Return the share that a number or a percentage stands for."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise InputError(f"{option} {text!r} is no share; write 0.1% or 0.001") from None


def native_options(
    tolerance: float, max_iterations: int | None, time_limit: float | None, pairs: list[str] | None
) -> Options:
    """Return typed options; the value of KEY=VALUE is read as a number, true or false, or text."""
    from climbopt.backends import Options

    native: dict[str, OptionValue] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"--option {pair!r} is no KEY=VALUE; write for example --option print_level=5")
        native[key] = _option_value(value)
    return Options(tolerance, max_iterations, time_limit, native)


def _option_value(text: str) -> OptionValue:
    """Return the number, truth value or text that an option's value stands for."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def spaced(option: str, text: str, *, logarithmic: bool = False) -> list[float]:
    """Return the numbers that FROM:TO:COUNT stands for."""
    try:
        begin, end, count = text.split(":")
        ends, n = (float(begin), float(end)), int(count)
    except ValueError:
        raise InputError(
            f"{option} has the values {text!r}; write FROM:TO:COUNT, for example "
            f"{'1e9:1e13:20' if logarithmic else '0:0.1:11'}"
        ) from None
    if not 1 <= n <= MOST_VALUES or not np.isfinite(ends).all() or (logarithmic and min(ends) <= 0):
        raise InputError(
            f"{option} has the values {text!r}; COUNT is 1 to {MOST_VALUES}, and the ends are finite"
            + (" and above 0" if logarithmic else "")
        )
    values: list[float] = (np.geomspace if logarithmic else np.linspace)(*ends, n).tolist()
    return values
