"""Why no mixture meets some constraints: a minimal set of limits in conflict, and by how much each must give."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from climbopt.foundations.errors import MOST_LISTED, listed
from climbopt.foundations.view import Columns, View, Viewed
from climbopt.model.templates import Array
from climbopt.numerics.polytope import FEASIBILITY, EmptyPolytopeError, Polytope
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import DistanceRow, ExpressionRow, LinearRow, Row, Setting
from climbopt.problem.objectives import Weighted
from climbopt.program.linear_rows import linear_part

DIGITS = 3
"""Digits of an amount in a message; it is rounded up to them, so that giving what is printed is enough."""
ROUNDING = 1e-7
"""Share of the last digit that counts as rounding of the arithmetic."""
FARTHEST = 2.0
"""Largest L1 distance of two mixtures: those without a common language."""


@dataclass(frozen=True)
class Limit:
    """One side of a row of the user.

    Parameters
    ----------
    row : Row
    upper : bool
        Which side.
    bound : float
        In the row's unit.
    """

    row: Row
    upper: bool
    bound: float

    @property
    def name(self) -> str:
        """Name of the row."""
        return self.row.name

    @property
    def side(self) -> str:
        """upper or lower."""
        return "upper" if self.upper else "lower"

    @property
    def sign(self) -> int:
        """1 for an upper limit, -1 for a lower one."""
        return 1 if self.upper else -1

    def amount(self, value: float) -> float:
        """Return by how much the user's number must give for a value of the row to be allowed."""
        return self.sign * (value - self.bound) / self.row.per_unit

    def moved(self, amount: float) -> Limit:
        """Return the limit with the user's number widened by an amount."""
        return replace(self, bound=self.bound + self.sign * amount * self.row.per_unit)


@dataclass(frozen=True)
class Member:
    """One limit of a conflict, and what it must give.

    Parameters
    ----------
    name : str
        ``constraint[language]``.
    side : str
        "lower" or "upper".
    amount : float or None
        In the user's unit: the least by which this limit must give for the conflict to be resolved; None where no
        amount does.
    unit : str
        The user's unit.
    alone_suffices : bool
        Whether that amount resolves the conflict alone; otherwise all members must give by their amounts.
    change : str
        The change as an instruction, its numbers rounded so that they are enough.
    """

    name: str
    side: str
    amount: float | None
    unit: str
    alone_suffices: bool
    change: str

    @classmethod
    def of(cls, limit: Limit, amount: float | None, *, alone: bool = True) -> Member:
        """Return the member for a limit and the amount by which it must give."""
        return cls(
            limit.name,
            limit.side,
            amount,
            limit.row.unit,
            alone and amount is not None,
            "" if amount is None else _change(limit, amount),
        )


@dataclass(frozen=True, repr=False)
class Conflict(Viewed):
    """Limits that cannot hold together.

    Parameters
    ----------
    members : tuple of Member
        Without any one of them the others can be met, where each alone suffices.
    proved : bool
        Whether it is proved that no mixture meets them; otherwise the search found no such mixture.
    others : bool
        Whether other limits may conflict: for a change made alone, no mixture that meets all limits is known.
    minimal : bool
        Whether a minimal set was found; otherwise the members form one way to relax the limits until all can be met.
    """

    members: tuple[Member, ...]
    proved: bool = True
    others: bool = False
    minimal: bool = True

    @property
    def message(self) -> str:
        """What is in conflict and what resolves it, in a sentence."""
        # Members that suffice alone are joined with "or", those that must all give with "and".
        names = listed([member.name for member in self.members], " and ")
        together = f"{names} together" if len(self.members) > 1 else names
        together = together if self.minimal else "all constraints together"
        statement = "no mixture meets {}" if self.proved else "no mixture was found that meets {} (not proved)"
        word = ", or " if self.minimal else ", and "
        changes = listed([member.change for member in self.members if member.change], word)
        more = ". Others may then be in conflict still: run again after the change" if self.others else ""
        return statement.format(together) + (f"; {changes}" if changes else "") + more

    def view(self) -> View:
        """Return what is in conflict; the table has a row for each limit."""
        members: Columns = {
            "constraint": [member.name for member in self.members],
            "side": [member.side for member in self.members],
            "must give": [member.amount for member in self.members],
            "unit": [member.unit for member in self.members],
            "change": [member.change for member in self.members],
        }
        return View(
            f"conflict: {'' if self.proved else 'not '}proved", textwrap.wrap(self.message, 92), lambda: members
        )


@dataclass(frozen=True)
class _FixedRows:
    """A constraint whose rows do not depend on the setting."""

    fixed: tuple[Row, ...]
    name: str = "fixed rows"
    kind: ClassVar[str] = "fixed rows"

    def rows(self, setting: Setting) -> tuple[Row, ...]:
        return self.fixed


def limits_of(rows: Iterable[Row]) -> list[Limit]:
    """Return the finite sides of rows, in order."""
    sides = [Limit(row, upper, row.upper if upper else row.lower) for row in rows for upper in (False, True)]
    return [limit for limit in sides if math.isfinite(limit.bound)]


def restricted(problem: AllocationProblem, limits: Sequence[Limit]) -> AllocationProblem:
    """Return the problem under `limits` alone, with an arbitrary objective."""
    # Both sides of one row meet again in one row; a side that is not listed becomes infinite.
    lower = {limit.name: limit.bound for limit in limits if not limit.upper}
    upper = {limit.name: limit.bound for limit in limits if limit.upper}
    rows = tuple(
        replace(row, upper=upper[name])
        if isinstance(row, DistanceRow)  # which has an upper side only
        else replace(row, lower=lower.get(name, -math.inf), upper=upper.get(name, math.inf))
        for name, row in {limit.name: limit.row for limit in limits}.items()
    )
    return replace(problem, constraints=(_FixedRows(rows),), objective=Weighted())


def minimal_conflict(limits: Sequence[Limit], feasible: Callable[[Sequence[Limit]], bool]) -> list[Limit]:
    """Return a minimal infeasible subset, of size k, of n infeasible limits, by about 2 k log2(n / k) tests.

    Source: Junker, QuickXplain: preferred explanations and relaxations for over-constrained problems, AAAI 2004.
    """

    def needed(background: list[Limit], grown: bool, rest: list[Limit]) -> list[Limit]:
        # QuickXplain: the background alone conflicts, and nothing of `rest` is needed
        if grown and not feasible(background):
            return []
        if len(rest) <= 1:
            return rest
        first, second = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        # what is needed of the second half given all of the first, then of the first given only that
        late = needed(background + first, True, second)
        return needed(background + late, bool(late), first) + late

    return needed([], False, list(limits))


def conflict_of(
    limits: Sequence[Limit],
    members: Sequence[tuple[Limit, float | None]],
    proved: bool,
    feasible: Callable[[Sequence[Limit]], bool],
) -> Conflict:
    """Return the conflict of `members`, after testing each change alone against all limits."""
    # Those of constraints with few members first: a message may not name them all.
    count = Counter(limit.name.split("[")[0] for limit, _ in members)
    ordered = sorted(members, key=lambda member: count[member[0].name.split("[")[0]])
    changes = [
        (member, member.moved(rounded_up(amount))) for member, amount in ordered[:MOST_LISTED] if amount is not None
    ]
    # One minimal set may not be the only one: each change is tried with all limits in place.
    others = any(not feasible([moved if limit == member else limit for limit in limits]) for member, moved in changes)
    return Conflict(tuple(Member.of(limit, amount) for limit, amount in ordered), proved, others)


def linear_conflict(problem: AllocationProblem) -> Conflict | None:
    """Return why the linear constraints of a problem leave no mixture; None where they leave a mixture."""
    limits = limits_of(row for row in problem.rows if not isinstance(row, ExpressionRow))

    def feasible(chosen: Sequence[Limit]) -> bool:
        try:
            linear_part(restricted(problem, chosen)).polytope.interior_point()
        except EmptyPolytopeError:
            return False
        return True

    if feasible(limits):
        return None
    conflict = minimal_conflict(limits, feasible)
    # Without this member the others can be met; the least change of it follows from one linear program.
    members = [
        (member, _least_amount(problem, member, [limit for limit in conflict if limit != member]))
        for member in conflict
    ]
    return conflict_of(limits, members, True, feasible)


def _least_amount(problem: AllocationProblem, limit: Limit, others: Sequence[Limit]) -> float | None:
    """Return the least amount that a linear limit must give to hold with others; None where these leave no mixture."""
    try:
        part = linear_part(restricted(problem, [*others, *kept_open(limit)]))
        # the least violation of this limit over the mixtures that meet the others
        slopes, constant = value_of(limit.row, problem.model.sources, part.polytope)
        _, x = part.polytope.linear_minimum(limit.sign * slopes)
    except EmptyPolytopeError:
        return None
    # Not below the tolerance, at which the limit would count as met already.
    return max(limit.amount(float(slopes @ x) + constant), FEASIBILITY)


def kept_open(limit: Limit) -> list[Limit]:
    """Return the limit itself, at a bound that every mixture meets, where only its row gives it auxiliaries."""
    return [replace(limit, bound=FARTHEST)] if isinstance(limit.row, DistanceRow) else []


def value_of(row: Row, sources: Sequence[str], polytope: Polytope) -> tuple[Array, float]:
    """Return slopes by x, (n,), and constant of what a linear row bounds; excesses are at their least values."""
    if isinstance(row, DistanceRow):
        # The row that ends at half the distance, over ratios and excesses; it is there for a distance of FARTHEST.
        k = [label.name for label in polytope.rows.labels].index(row.name)
        return 2 * polytope.dense[k], FARTHEST - 2 * float(polytope.rows.upper[k])
    assert isinstance(row, LinearRow)  # the linear limits have no other kind
    slopes = np.zeros(polytope.bounds.lower.size)
    slopes[[sources.index(name) for name in row.coefficients]] = list(row.coefficients.values())
    return slopes, 0.0


def rounded_up(amount: float) -> float:
    """Return an amount rounded up to `DIGITS` digits."""
    return _up(amount, _last_digit(amount))


def _last_digit(amount: float) -> float:
    return float(10.0 ** float(math.floor(math.log10(amount)) - DIGITS + 1))


def _up(value: float, unit: float) -> float:
    """Return a value rounded up to a multiple of a unit."""
    return math.ceil(value / unit - ROUNDING) * unit


def _change(limit: Limit, amount: float) -> str:
    """Return an instruction such as "lower floor[sw] by 0.07 (to 0.13)"."""
    row, sign, digit = limit.row, limit.sign, _last_digit(amount)
    owner = limit.name
    if math.isfinite(row.lower) and row.lower < row.upper < math.inf:
        owner = f"the {limit.side} side of {limit.name}"
    unit = {"nat": " nats", "token of supply": " tokens"}.get(row.unit, "")
    to = ""
    if row.at_zero is not None:
        number = (limit.bound - row.at_zero) / row.per_unit
        # Rounded in the direction of the change, so that the number printed is enough.
        to = f" (to {_text(sign * _up(sign * number + amount, digit))})"
    return f"{'raise' if limit.upper else 'lower'} {owner} by {_text(_up(amount, digit))}{unit}{to}"


def _text(number: float) -> str:
    """Return a number with the digits that it has; with a power of ten from a million on."""
    if abs(number) < 1e6:
        return f"{number + 0.0:.12g}"  # no -0
    digits, _, power = f"{number:.11e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
