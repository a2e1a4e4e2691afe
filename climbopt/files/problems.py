"""Problem files (TOML)."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, cast, get_args, get_origin, get_type_hints

import sympy as sp
import tomli_w
from pydantic import Field

from climbopt.files.draws import draws_beside, load_draws, save_draws
from climbopt.files.models import load_model, save_model
from climbopt.files.schema import FileTable, checked, checked_value, read_toml
from climbopt.files.shipped import find_problem
from climbopt.files.text import check_places, is_special, write_text
from climbopt.foundations.errors import InputError, refuse_unknown, unknown_name
from climbopt.foundations.frozen import Converted, check_arguments
from climbopt.foundations.registry import Registry
from climbopt.model.ensemble import Ensemble, without_draws
from climbopt.model.expressions import parse_expression, parse_relation, text_of
from climbopt.model.mixture import MixtureModel
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import CONSTRAINTS, Constraint
from climbopt.problem.objectives import OBJECTIVES, Objective

Kind = TypeVar("Kind")

PROCEDURE_NAMES = ("joint", "two_step", "uniform", "natural", "temperature", "unimax", "isolated")
"""Values of the key `procedure`."""


class _ProblemFile(FileTable):
    """A problem file."""

    name: str | None = None
    model: str
    budget: float | str
    params: float | str | None = None
    procedure: str = "joint"
    iterate: bool = False
    temperature: float | None = None
    weights: dict[str, float] = Field(default_factory=dict)
    supply: dict[str, float | str] = Field(default_factory=dict)
    history: dict[str, float | str] = Field(default_factory=dict)
    groups: dict[str, list[str]] = Field(default_factory=dict)
    objective: dict[str, Any] = Field(default_factory=lambda: {"kind": "weighted"})
    constraints: list[dict[str, Any]] = Field(default_factory=list)


@dataclasses.dataclass(frozen=True, eq=False)
class ProblemFile:
    """What a problem file holds.

    Parameters
    ----------
    problem : AllocationProblem
    procedure : str
        One of `PROCEDURE_NAMES`: what the problem is solved by from the command line.
    options : mapping of str to bool or float
        Options of procedures that the file states, iterate and temperature.
    """

    problem: AllocationProblem
    procedure: str
    options: Mapping[str, bool | float]


def files_of(path: Path) -> tuple[Path, ...]:
    """Return a problem or model file and those that it names; a pipe, which can be read but once, alone."""
    if is_special(path):
        return (path,)
    table = read_toml(path)
    forms = table.get("forms")
    parts = [table, *(form for form in forms if isinstance(form, dict))] if isinstance(forms, list) else [table]
    draws = [draws_beside(path)] if forms and draws_beside(path).exists() else []
    # Models of an ensemble's file may name pair tables each, and a model may be named by a problem.
    named = [path.parent / part[key] for part in parts for key in ("model", "pairs") if isinstance(part.get(key), str)]
    return (path, *draws, *named, *(part for other in named if other.suffix == ".toml" for part in files_of(other)))


@check_arguments
def load_problem(name_or_path: str | os.PathLike[str]) -> AllocationProblem:
    """Return the problem of a TOML file, or a shipped one by name; the procedure that it names is left out.

    Parameters
    ----------
    name_or_path : str or path
        A path, or a name in :func:`shipped_problems`.

    Raises
    ------
    InputError
        One message that names the file, the key, its value and what is allowed.

    Examples
    --------
    >>> load_problem("one_source").model.sources
    ('en',)
    """
    return load_problem_file(name_or_path).problem


def load_problem_file(name_or_path: str | os.PathLike[str]) -> ProblemFile:
    """Return the problem of a TOML file, or a shipped one by name, with its procedure; raises as load_problem does."""
    path = find_problem(name_or_path)
    content = read_toml(path)
    if "law" in content and not content.keys() & {"model", "budget"}:
        raise InputError(
            f"{path} is a model, and a problem is to be solved; write problem.toml beside it:\n"
            f"  model = {json.dumps(path.name, ensure_ascii=False)}\n"
            '  budget = "1T"  # tokens of the run that is planned\n'
            f"and run: climbopt solve {path.parent / 'problem.toml'}"
        )
    table = checked(_ProblemFile, content, path)
    constraints = tuple(
        _built(CONSTRAINTS, entry, f"constraint {number} of {path.name}")
        for number, entry in enumerate(table.constraints, 1)
    )
    objective = _built(OBJECTIVES, table.objective, f"the objective of {path.name}")
    refuse_unknown("procedure", [table.procedure], PROCEDURE_NAMES)
    if table.temperature is not None and not 0 < table.temperature < math.inf:
        raise InputError(f"temperature is {table.temperature:g}; it must be a positive number")
    problem = AllocationProblem(
        model=_model_with_draws(path.parent / table.model),
        budget=table.budget,
        params=table.params,
        weights=table.weights,
        supply=table.supply,
        history=table.history,
        groups={name: tuple(members) for name, members in table.groups.items()},
        constraints=constraints,
        objective=objective,
        name=path.stem if table.name is None else table.name,
    )
    options = table.model_dump(include={"iterate", "temperature"}, exclude_none=True)
    return ProblemFile(problem, table.procedure, options)


def _model_with_draws(path: Path) -> MixtureModel | Ensemble:
    """Return the model of a file; an ensemble with the draws beside it, over all of which a problem takes the mean."""
    model, draws = load_model(path), draws_beside(path)
    return model.with_draws(load_draws(draws)) if isinstance(model, Ensemble) and draws.exists() else model


class Declared(Protocol):
    """A procedure as a file declares it: a dataclass whose fields are its options."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


@check_arguments
def save_problem(problem: AllocationProblem, path: str | os.PathLike[str], procedure: Declared | str = "joint") -> None:
    """Write a problem file and, beside it, the files of its model and draws: for x.toml x.model.toml is the model.

    Expressions in SymPy are written as text.

    Parameters
    ----------
    problem : AllocationProblem
    path : path
    procedure : Procedure or str
        What the command line, and `solve` with the file's path, use where none is named.

    Raises
    ------
    InputError
        Where a place cannot be written to, or the problem has parts that its file could not name: a constraint or
        objective that is not registered, an expression beyond the grammar of problem files, or another procedure.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_problem(load_problem("one_source"), f"{folder}/copy.toml")
    ...     load_problem(f"{folder}/copy.toml").budget == load_problem("one_source").budget
    True
    """
    path = Path(path)
    if is_special(path):
        raise InputError(f"cannot write {path}: a problem lies beside its model; name a file")
    model = path.with_name(f"{path.stem}.model.toml")
    text = tomli_w.dumps(_declared(procedure) | problem_table(problem, model.name))
    check_places([path, model], [])
    save_model_of(problem, model)
    write_text(path, text)


def _declared(procedure: Declared | str) -> dict[str, Any]:
    """Return the keys of a problem file that name a procedure and its options."""
    if isinstance(procedure, str):
        refuse_unknown("procedure", [procedure], PROCEDURE_NAMES)
        return {"procedure": procedure}
    if isinstance(procedure, type) and dataclasses.is_dataclass(procedure):
        raise InputError(f"{procedure.__name__} is a class; write {procedure.__name__}()")
    if not dataclasses.is_dataclass(procedure):
        raise unknown_name("procedure", type(procedure).__name__, PROCEDURE_NAMES)
    name = getattr(procedure, "name", type(procedure).__name__)
    refuse_unknown("procedure", [name], PROCEDURE_NAMES)
    return {"procedure": name, **dataclasses.asdict(procedure)}


def save_model_of(problem: AllocationProblem, path: Path) -> None:
    """Write a problem's model and, beside it, the draws that it holds; draws that were there are removed."""
    draws = draws_beside(path)
    save_model(without_draws(problem.model), path)
    # Draws of another model would be averaged with this one when the problem is read.
    draws.unlink(missing_ok=True)
    if isinstance(problem.model, Ensemble) and problem.model.n_draws:
        save_draws(problem.model, draws)


def problem_table(problem: AllocationProblem, model: str) -> dict[str, Any]:
    """Return what the file of a problem holds, for the name of its model's file; raises as save_problem does."""
    return {
        "model": model,
        "budget": problem.budget,
        **({} if problem.params is None else {"params": problem.params}),
        **{key: dict(values) for key in ("weights", "supply", "history") if (values := getattr(problem, key))},
        **({"groups": {name: list(members) for name, members in problem.groups.items()}} if problem.groups else {}),
        "constraints": [_entry(constraint, CONSTRAINTS, problem) for constraint in problem.constraints],
        "objective": _entry(problem.objective, OBJECTIVES, problem),
    }


def _entry(member: Constraint | Objective, kinds: Registry[Any], problem: AllocationProblem) -> dict[str, Any]:
    """Return the table of a constraint or objective: its kind, and the fields that are not their defaults."""
    if kinds.get(member.kind) is not type(member):
        raise InputError(
            f"{type(member).__name__} is not the registered kind '{member.kind}', which a file would stand for; "
            "give it a kind of its own and register that"
        )
    values = {each.name: (getattr(member, each.name), each.default) for each in dataclasses.fields(cast("Any", member))}
    return {
        "kind": member.kind,
        # What is left out reads back as the default.
        **{
            name: _plain(value, problem)
            for name, (value, default) in values.items()
            if value is not None and value != default and (name, value) != ("name", member.kind)
        },
    }


def _plain(value: Any, problem: AllocationProblem) -> Any:
    """Return a field's value as TOML holds it."""
    if isinstance(value, sp.Basic):
        text = text_of(value)
        # Read again before it is written: what the grammar lacks is refused now, and not when the file is used.
        (parse_relation if isinstance(value, sp.Rel) else parse_expression)(text, problem.groups)
        return text
    if isinstance(value, Mapping):
        return {name: _plain(entry, problem) for name, entry in value.items()}
    return list(value) if isinstance(value, tuple) else value


def is_problem(path: Path) -> bool:
    """Return whether a TOML file is a problem (it names a model) and not a model."""
    return "model" in read_toml(path)


def _built(kinds: Registry[type[Kind]], entry: dict[str, Any], where: str) -> Kind:
    """Return the member of a table whose key 'kind' names its class and whose other keys are that class's fields."""
    entry = dict(entry)
    if "kind" not in entry:
        raise InputError(f"{where} has no key 'kind'; known kinds: {', '.join(kinds)}")
    kind = kinds[checked_value(str, entry.pop("kind"), f"kind of {where}")]
    name = kind.kind  # type: ignore[attr-defined]
    # The constraint's own dataclass is the schema of its table: a new kind needs no other.
    hints = {key: _in_a_file(hint) for key, hint in get_type_hints(kind).items()}
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    refuse_unknown(f"key of {where} ({name})", entry, ["kind", *fields])
    for key, field in fields.items():
        if key not in entry and field.default is dataclasses.MISSING:
            raise InputError(f"{where} ({name}) has no key '{key}'; add it")
    return kind(**{key: checked_value(hints[key], value, f"'{key}' of {where}") for key, value in entry.items()})


def _in_a_file(hint: Any) -> Any:
    """Return a field's type as far as a file can hold it: no SymPy; what converts its value checks it too."""
    if get_origin(hint) is Converted:
        # Such fields check what they convert, with a message of their own.
        return Any
    return str if sp.Basic in get_args(hint) else hint
