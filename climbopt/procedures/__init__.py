"""Procedures, each of which computes ratios for a problem.

A problem states objective and constraints; a procedure is an argument of `solve`. A problem file also names the default
procedure, used on the command line and where Python solves a problem by its name or path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from climbopt.foundations.errors import InputError, kind_of
from climbopt.foundations.registry import Registry
from climbopt.procedures.baselines import Isolated, Natural, Temperature, Uniform, UniMax
from climbopt.procedures.procedure import Answer, Joint, Procedure, SlackRow, Steps
from climbopt.procedures.two_step import TwoStep
from climbopt.program import joint_form

PROCEDURES: Registry[type[Procedure]] = Registry(
    "procedure", (Joint, TwoStep, Uniform, Natural, Temperature, UniMax, Isolated)
)

ProcedureLike = Procedure | str
"""A procedure, or its name where it needs no options."""


def as_procedure(procedure: ProcedureLike, options: Mapping[str, bool | float] | None = None) -> Procedure:
    """Return a procedure itself, or the one with a given name.

    Parameters
    ----------
    procedure : Procedure or str
    options : mapping of str to bool or float, optional
        By the name of a procedure's field, used where the procedure is a name; those of other procedures are ignored.

    Raises
    ------
    InputError
        For an unknown name, or an object that is no procedure.

    Examples
    --------
    >>> as_procedure("two_step")
    TwoStep(iterate=False)
    """
    if isinstance(procedure, Procedure):
        return procedure
    if isinstance(procedure, type) and issubclass(procedure, Procedure):
        raise InputError(f"{procedure.__name__} is a class; write {procedure.__name__}()")
    if not isinstance(procedure, str):
        raise InputError(
            f"{kind_of(procedure)} is no procedure; give a name ({', '.join(PROCEDURES)}) or an object such "
            "as climbopt.TwoStep()"
        )
    # A file may hold options of several procedures; each takes the fields that it declares.
    kind: Any = PROCEDURES[procedure]
    own = {field.name for field in fields(kind)}
    result: Procedure = kind(**{name: value for name, value in (options or {}).items() if name in own})
    return result


__all__ = [
    "PROCEDURES",
    "Answer",
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
]
