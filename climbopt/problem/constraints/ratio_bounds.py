"""Closed-form checks for contradictory bounds on single ratios and on sums of ratios."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from climbopt.foundations.errors import InputError, listed
from climbopt.numerics.polytope import FEASIBILITY, Label
from climbopt.problem.constraints.constraint import LinearRow, Row

ROUNDED = 0.005
"""Bounds that miss a sum by at most this were likely rounded; the ratios of runs are rescaled within the same."""


@dataclass(frozen=True)
class NamedBound:
    """A bound of a ratio or of a sum of ratios.

    Parameters
    ----------
    value : float
    label : Label or None
        Of its row; None for the 0 and the 1 that every ratio has.
    tied : tuple of str
        Names of further rows that set the same bound.
    """

    value: float
    label: Label | None = None
    tied: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of its row, or the number itself."""
        return f"{self.value:g}" if self.label is None else self.label.name


NamedBounds = tuple[Mapping[str, NamedBound], Mapping[str, NamedBound]]
"""The lower and the upper bound of each ratio, by source."""


def check_bounds(bounds: NamedBounds, rows: Iterable[Row]) -> None:
    """Refuse bounds of ratios and rows that no mixture satisfies; the message states how they contradict each other.

    Compared are the two bounds of each ratio; the sums of lower and of upper bounds with 1; those over the members
    of a sum (a group) with its own limits; and its limits with 1, beside the bounds of the other ratios.

    Raises
    ------
    InputError
    """
    lower, upper = bounds
    for language, low in lower.items():
        # Bounds that miss each other by rounding do not contradict each other.
        high = upper[language]
        if low.value > high.value + FEASIBILITY:
            raise InputError(
                f"{low.name} asks for a ratio of {low.value:g} or more, and {high.name} allows "
                f"{high.value:.6g}: {low.value - high.value:.3g} too much; lower the former or widen the "
                "latter"
            )
    _check_least(list(lower.values()))
    _check_most(list(upper.values()))
    for row in rows:
        # Only sums of ratios have these closed forms; other rows are left to the linear program.
        if not isinstance(row, LinearRow) or len(row.coefficients) == 1 or set(row.coefficients.values()) != {1.0}:
            continue
        others = [name for name in lower if name not in row.coefficients]
        least, most = (NamedBound(value, Label(row.name, unit=row.unit)) for value in (row.lower, row.upper))
        _check_least([lower[name] for name in row.coefficients], most)
        _check_most([upper[name] for name in row.coefficients], least)
        # The ratios outside the sum share what it leaves of 1.
        _check_least([least, *(lower[name] for name in others)])
        _check_most([most, *(upper[name] for name in others)])


def tightest(sources: Sequence[str], rows: Iterable[Row]) -> NamedBounds:
    """Return the largest lower and the least upper bound of each ratio by the rows with one coefficient.

    Of equal ones the first, the others being tied to it.
    """
    lower, upper = dict.fromkeys(sources, NamedBound(0.0)), dict.fromkeys(sources, NamedBound(1.0))
    for row in rows:
        if not isinstance(row, LinearRow) or len(row.coefficients) > 1:
            continue
        ((source, coefficient),) = row.coefficients.items()
        # A negative coefficient exchanges the sides.
        low, high = sorted((row.lower / coefficient, row.upper / coefficient))
        # A shadow price is per unit of the user's number: d bound / d number = per_unit / coefficient.
        label = Label(row.name, row.per_unit / coefficient, row.unit)
        for bounds, value, sign in ((lower, low, 1), (upper, high, -1)):
            known = bounds[source]
            if sign * (value - known.value) > 0:
                bounds[source] = NamedBound(value, label)
            elif value == known.value:
                bounds[source] = replace(known, tied=(*known.tied, label.name))
    return lower, upper


def _check_least(parts: Sequence[NamedBound], limit: NamedBound | None = None) -> None:
    """Refuse lower bounds that sum to more than a limit, which is 1 where there is none."""
    total, most = sum(part.value for part in parts), 1.0 if limit is None else limit.value
    if total > most + FEASIBILITY:
        shown, most_shown = _apart(total, most)
        of, remedy = (
            ("1", "") if limit is None else (f"the {most_shown} that {limit.name} allows", f", or raise {limit.name}")
        )
        named = listed([part.name for part in parts if part.value > 0])
        raise InputError(
            f"the lower bounds sum to {shown}, which is {total - most:.3g} more than {of}; "
            f"lower some of {named}{remedy}{_rounded(total - most)}"
        )


def _check_most(parts: Sequence[NamedBound], limit: NamedBound | None = None) -> None:
    """Refuse upper bounds that sum to less than a limit, which is 1 where there is none."""
    total, least = sum(part.value for part in parts), 1.0 if limit is None else limit.value
    if total < least - FEASIBILITY:
        shown, least_shown = _apart(total, least)
        of, remedy = (
            ("1", "")
            if limit is None
            else (f"the {least_shown} that {limit.name} asks for", f", or lower {limit.name}")
        )
        # An upper bound of 1 is implied by the simplex, and widening it changes nothing.
        binding = [part for part in parts if part.value < 1]
        named = sorted({part.name.split("[")[0] for part in binding})
        if any(part.label is not None and part.label.unit.startswith("token") for part in binding):
            remedy += ", or lower the budget"
        raise InputError(
            f"the upper bounds sum to {shown}, which is {least - total:.3g} less than {of}; "
            f"widen {' or '.join(named)}{remedy}{_rounded(least - total)}"
        )


def _apart(value: float, other: float) -> tuple[str, str]:
    """Return two numbers with the fewest digits, at least six, in which they differ."""
    texts = ((f"{value:.{digits}g}", f"{other:.{digits}g}") for digits in range(6, 17))
    return next((pair for pair in texts if pair[0] != pair[1]), (repr(value), repr(other)))


def _rounded(excess: float) -> str:
    """Return a hint where bounds miss by so little that rounding them is the likely cause."""
    return "" if excess > ROUNDED else "; if they were rounded, write more digits or leave room"
