"""Arguments and options that several subcommands share, and what their texts stand for."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
import typer

import climbopt
from climbopt.foundations.errors import ClimboptError, InputError
from climbopt.foundations.processes import MOST_JOBS
from climbopt.foundations.quantities import NUMBER, RATIO, TOKENS, Unit

if TYPE_CHECKING:
    from climbopt.backends import OptionValue
    from climbopt.procedures.optimum import Rigor


def quantity(option: str, unit: Unit) -> Callable[[str], float]:
    """Return the parser of an option's text as a number with a unit, such as 5B or 20%."""

    def read(text: str) -> float:
        try:
            return unit.read(text, option)
        except InputError as error:  # a ValueError, which the parser of options would word anew
            raise ClimboptError(str(error)) from None

    return read


PROBLEM = Annotated[
    str,
    typer.Argument(
        metavar="PROBLEM", help="A problem file, a folder of climbopt decide, or the name of a shipped problem."
    ),
]
JSON = Annotated[str | None, typer.Option("--json", metavar="FILE", help="Write JSON; - for standard output alone.")]
BACKEND = Annotated[str | None, typer.Option(metavar="NAME", help="Solver backend; see climbopt backends.")]
TOLERANCE = Annotated[
    float,
    typer.Option(
        parser=quantity("--tolerance", NUMBER), metavar="NUMBER", help="Of the certificate's scaled residuals."
    ),
]
GAP = Annotated[
    float,
    typer.Option(
        parser=quantity("--gap", NUMBER),
        metavar="NUMBER",
        help="Relative gap to the best of all mixtures that the global bound is to reach.",
    ),
]
RIGOR = Annotated[
    str, typer.Option(metavar="float|ball", help="Arithmetic of the global bound; ball proves it, rounding included.")
]
DRAWS = Annotated[
    Path | None,
    typer.Option(metavar="FILE.jsonl", help="Draws of the model, which climbopt fit --bootstrap writes."),
]
JOBS = Annotated[int, typer.Option(min=1, max=MOST_JOBS, help="Processes.")]
FORCE = Annotated[bool, typer.Option("--force", help="Replace files of the same names in a folder that holds others.")]
SEED = Annotated[int, typer.Option(min=0, help="Of the random numbers.")]

BOUND = Unit({**TOKENS.suffixes, **RATIO.suffixes}, "write a number such as 0.1, 10% or 5B")
"""Numbers of constraints, which are ratios, tokens or losses."""
MOST_VALUES = 100_000
"""Of FROM:TO:COUNT."""


def names(option: str, text: str) -> list[str]:
    """Return the names in a list with commas between them."""
    parts = [part.strip() for part in text.split(",")]
    if not any(parts):
        raise InputError(f"{option} names nothing; write names with commas between them, or leave it out")
    return [part for part in parts if part]


def pair(option: str, text: str, form: str, example: str, *, last: bool = False) -> tuple[str, str]:
    """Return what stands before and after the first sign of equality in an option's text, or the last.

    Parameters
    ----------
    option : str
    text : str
    form : str
        What the text is to be, such as KEY=VALUE.
    example : str
        A text of that form.
    last : bool, optional
        Whether the name may hold the sign, rather than the value.
    """
    name, equals, value = text.rpartition("=") if last else text.partition("=")
    if not equals or not name or not value:
        raise InputError(f"{option} {text!r} is no {form}; write for example {option} {example}")
    return name, value


def effort(gap: float, time_limit: float, rigor: str, jobs: int) -> climbopt.Effort:
    """Return the effort for a global bound, checked."""
    return climbopt.Effort(gap, time_limit, cast("Rigor", rigor), jobs)


def option_value(text: str) -> OptionValue:
    """Return the number, truth value or text that an option's value stands for."""
    if text in ("true", "false"):
        return text == "true"
    # An option that takes integers refuses 5.0, so that int is tried first.
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def spaced(option: str, text: str, *, logarithmic: bool = False) -> list[float]:
    """Return the numbers that FROM:TO:COUNT stands for; on a logarithmic scale they are tokens."""
    unit, example = (TOKENS, "1B:10T:20") if logarithmic else (BOUND, "0:10%:11")
    parts = text.split(":")
    # COUNT in digits only: int() would take blanks, signs and underscores.
    if len(parts) != 3 or not re.fullmatch("[0-9]{1,18}", parts[2]):
        raise InputError(f"{option} has the values {text!r}; write FROM:TO:COUNT, for example {example}")
    ends, n = [unit.read(part, f"an end of {option}") for part in parts[:2]], int(parts[2])
    if not 1 <= n <= MOST_VALUES or (logarithmic and min(ends) <= 0):
        raise InputError(
            f"{option} has the values {text!r}; COUNT is 1 to {MOST_VALUES}"
            + (" and the ends are above 0" if logarithmic else "")
        )
    values: list[float] = (np.geomspace if logarithmic else np.linspace)(ends[0], ends[1], n).tolist()
    return values
