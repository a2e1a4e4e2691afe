"""varied: a problem with one number of one constraint changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from climbopt.foundations.errors import InputError, unknown_name
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Cap, Constraint, Floor
from climbopt.problem.constraints.constraint import RatioBounds


def varied(problem: AllocationProblem, place: str, value: float | None = None) -> AllocationProblem:
    """Return the problem with a constraint's number set to a value; unchanged for None.

    Parameters
    ----------
    problem : AllocationProblem
    place : str
        ``NAME.LANGUAGE`` for a number by language (a floor, a cap, epochs, a loss ceiling), ``NAME`` for a
        constraint's only number (a distance, an excess, epochs), ``NAME.lower`` and ``NAME.upper`` where it has two.
        A floor or cap that the problem lacks is added for that language alone.
    value : float, optional
        In the constraint's own unit.

    Raises
    ------
    InputError
        Where there is no such number, or the constraint refuses the value.

    Examples
    --------
    >>> import climbopt
    >>> dict(varied(climbopt.load_problem("equal_beta"), "floor.sw", 0.1).constraints[-1].ratios)
    {'sw': 0.1}
    """
    name, _, key = place.partition(".")
    constraint = next((known for known in problem.constraints if known.name == name), None)
    # "floor.sw" means something in a problem without floors: one is added.
    if constraint is None and name in _EMPTY and key:
        constraint = _EMPTY[name]
        problem = dataclasses.replace(problem, constraints=(*problem.constraints, constraint))
    if constraint is None:
        raise unknown_name("constraint", name, [known.name for known in problem.constraints])
    field, by_language = _field(constraint, key, place)
    # A misspelt language would otherwise add a bound on a source that does not exist.
    if by_language and key not in (*problem.model.sources, *problem.model.targets):
        raise unknown_name(f"language of {name}", key, problem.model.sources)
    if value is None:
        return problem
    number = {**getattr(constraint, field), key: value} if by_language else value
    changed = dataclasses.replace(constraint, **{field: number})  # type: ignore[type-var]
    return dataclasses.replace(
        problem, constraints=tuple(changed if known is constraint else known for known in problem.constraints)
    )


def _field(constraint: Constraint, key: str, place: str) -> tuple[str, bool]:
    """Return the field that holds a number, and whether it is a mapping by language."""
    fields = {field.name: getattr(constraint, field.name) for field in dataclasses.fields(constraint)}  # type: ignore[arg-type]
    numbers = [name for name, value in fields.items() if isinstance(value, (int, float))]
    tables = [name for name, value in fields.items() if isinstance(value, Mapping) and name in _BY_LANGUAGE]
    if key in numbers or (not key and len(numbers) == 1):
        return key or numbers[0], False
    if key and tables and (isinstance(constraint, RatioBounds) or key in fields[tables[0]]):
        return tables[0], True
    known = [
        *(f"{constraint.name}.{name}" for name in numbers),
        *(f"{constraint.name}.{language}" for table in tables for language in fields[table]),
    ]
    raise InputError(
        f"'{place}' is no number of {constraint.name}; "
        + (f"it has {', '.join(known)}" if known else "it has none that can be swept")
    )


_EMPTY: Mapping[str, Constraint] = {"floor": Floor({}), "cap": Cap({})}
_BY_LANGUAGE = ("ratios", "epochs", "losses")
"""Fields whose entries are the numbers a user sets by language."""
