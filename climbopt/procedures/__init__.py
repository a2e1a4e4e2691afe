"""Procedures: ways from a problem to ratios, one file each (the baselines share one).

A problem says what is asked; a procedure is an argument of `solve`. A problem file also names the procedure that it is
solved by from the command line, and by its name or path from Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from os import PathLike
from typing import Any

from climbopt.files import ProblemLike, as_problem, load_problem_file
from climbopt.foundations.errors import InputError
from climbopt.foundations.registry import Registry
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures.baselines import Baseline, Isolated, Natural, Temperature, Uniform, UniMax
from climbopt.procedures.joint import Joint, joint_form
from climbopt.procedures.procedure import Answer, Procedure, SlackRow, Steps
from climbopt.procedures.two_step import TwoStep

PROCEDURES: Registry[type[Procedure]] = Registry(
    "procedure", (Joint, TwoStep, Uniform, Natural, Temperature, UniMax, Isolated)
)

ProcedureLike = Procedure | str
"""A procedure, or its name where it needs no options."""


def as_procedure(procedure: ProcedureLike) -> Procedure:
    """Return a procedure: itself, or that of a name with its default options.

    Raises
    ------
    InputError
        For an unknown name, one that needs an option, and anything else.

    Examples
    --------
    >>> as_procedure("two_step")
    TwoStep(iterate=False)
    """
    return _built(procedure, {}) if isinstance(procedure, str) else _checked(procedure)


def resolve(problem: ProblemLike, procedure: ProcedureLike | None = None) -> tuple[AllocationProblem, Procedure]:
    """Return a problem and the procedure that it is to be solved by.

    Parameters
    ----------
    problem : AllocationProblem, path or name
    procedure : Procedure or str, optional
        By default joint for an AllocationProblem, and for a problem file or a shipped problem what it declares. A
        procedure of a name has the options that the file holds for it.

    Examples
    --------
    >>> resolve("libreoffice6")[1], resolve("libreoffice6", "temperature")[1]
    (Joint(), Temperature(temperature=3.3))
    """
    if not isinstance(problem, str | PathLike):
        return as_problem(problem), Joint() if procedure is None else as_procedure(procedure)
    file = load_problem_file(problem)
    chosen = file.procedure if procedure is None else procedure
    return file.problem, _built(chosen, file.options) if isinstance(chosen, str) else as_procedure(chosen)


def _built(name: str, options: Mapping[str, bool | float]) -> Procedure:
    """Return the procedure of a name with those options that are its fields."""
    kind: Any = PROCEDURES[name]
    known = {field.name: options[field.name] for field in fields(kind) if field.name in options}
    for field in fields(kind):
        if field.default is MISSING and field.name not in known:
            raise InputError(
                f"the procedure '{name}' needs the number '{field.name}'; write {field.name} = 3.3 in the problem "
                f"file, or from Python climbopt.{kind.__name__}(3.3)"
            )
    made: Procedure = kind(**known)
    return made


def _checked(procedure: object) -> Procedure:
    """Return an object that is a procedure; refuse any other."""
    if isinstance(procedure, Procedure):
        return procedure
    if isinstance(procedure, type) and issubclass(procedure, Procedure):
        raise InputError(f"{procedure.__name__} is a class; write {procedure.__name__}()")
    raise InputError(
        f"a {type(procedure).__name__} is no procedure; give a name ({', '.join(PROCEDURES)}) or an object such as "
        "climbopt.TwoStep()"
    )


__all__ = [
    "PROCEDURES",
    "Answer",
    "Baseline",
    "Isolated",
    "Joint",
    "Natural",
    "Procedure",
    "ProcedureLike",
    "SlackRow",
    "Steps",
    "Temperature",
    "TwoStep",
    "UniMax",
    "Uniform",
    "as_procedure",
    "joint_form",
    "resolve",
]
