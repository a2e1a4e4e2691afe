"""What the public functions take where they ask for an object: the object, its file's path, or its name."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from types import UnionType
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from climbopt.files.draws import load_draws
from climbopt.files.models import load_model
from climbopt.files.problems import is_problem, load_problem
from climbopt.files.shipped import find_problem
from climbopt.files.tables import load_features, load_pilots
from climbopt.foundations.errors import InputError, kind_of
from climbopt.model.ensemble import Ensemble, Model
from climbopt.model.mixture import MixtureModel
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Row
from climbopt.runs.features import Features
from climbopt.runs.pilots import PilotRuns

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

FilePath = str | os.PathLike[str]
ProblemLike = AllocationProblem | FilePath
"""A problem, the path of its file, or the name of a shipped one."""
ModelLike = Model | FilePath
"""A model, or the path of its file."""
DrawsLike = Sequence[Model] | FilePath
"""Draws of a model, or the path of their file."""
PilotsLike: TypeAlias = "PilotRuns | pd.DataFrame | FilePath"
"""Pilot runs, a tidy table of them, or the path of one."""


def as_problem(problem: ProblemLike) -> AllocationProblem:
    """Return a problem: itself, or what its file or the shipped problem of its name holds.

    Raises
    ------
    InputError
        For anything else, with what to write instead.

    Examples
    --------
    >>> as_problem("one_source").name
    'one_source'
    >>> as_problem(as_problem("one_source").model)
    Traceback (most recent call last):
    climbopt.foundations.errors.InputError: a MixtureModel is no problem; write AllocationProblem(model, budget=1e10)
    """
    fix = (
        "write AllocationProblem(model, budget=1e10)"
        if isinstance(problem, MixtureModel | Ensemble)
        else "give an AllocationProblem, the path of a problem file or the name of a shipped problem"
    )
    return _resolved(problem, AllocationProblem, load_problem, "problem", fix)


def as_model(model: ModelLike) -> Model:
    """Return a model: itself, or that of its file; raises InputError for anything else."""
    return _resolved(
        model,
        MixtureModel | Ensemble,
        load_model,
        "model",
        "give a MixtureModel or an Ensemble (of a Fit, its attribute model) or the path of a model file",
    )


def as_model_and_rows(model: ModelLike | AllocationProblem) -> tuple[Model, tuple[Row, ...]]:
    """Return a model and no rows, or a problem's model and the rows of its constraints; each itself, a path or name."""
    if isinstance(model, str | os.PathLike):
        # Both are TOML: the key `model` tells a problem from a model.
        file = find_problem(model)
        model = load_problem(file) if is_problem(file) else load_model(file)
    return (model.model, model.rows) if isinstance(model, AllocationProblem) else (as_model(model), ())


def as_pilots(pilots: PilotsLike) -> PilotRuns:
    """Return pilot runs: themselves, or those of a tidy table or its file; raises InputError for anything else."""
    pandas = sys.modules.get("pandas")  # where nobody has loaded it, this is no table of it
    if pandas is not None and isinstance(pilots, pandas.DataFrame):
        return load_pilots(pilots)
    return _resolved(
        pilots,
        PilotRuns,
        load_pilots,
        "table of pilot runs",
        "give PilotRuns, a tidy pandas DataFrame (run, tokens, language, ratio, loss) or the path of such a table",
    )


def as_draws(draws: DrawsLike) -> tuple[Model, ...]:
    """Return draws of a model: themselves, or those of a file; raises InputError for anything else."""
    fix = "give the models that bootstrap returns, or the path of a file of draws"
    return tuple(as_model(model) for model in _resolved(draws, tuple | list, load_draws, "sequence of draws", fix))


def as_features(
    features: object,
    what: str = "table of features",
    fix: str = "give the path of a CSV of language and a column per feature",
) -> Features:
    """Return features: themselves, or those of a file; raises InputError for anything else, said as stated."""
    return _resolved(features, Features, load_features, what, fix)


def _resolved(value: object, kind: type | UnionType, load: Callable[[FilePath], T], what: str, fix: str) -> T:
    """Return a value of a kind, or what its path or name stands for."""
    if isinstance(value, str | os.PathLike):
        return load(value)
    if not isinstance(value, kind):
        raise InputError(f"{kind_of(value)} is no {what}; {fix}")
    return cast("T", value)
