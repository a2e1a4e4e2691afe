"""Model files: TOML, with the pair parameters of many languages in a table beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from climbopt.errors import InputError, unknown_name
from climbopt.files.schema import checked, read_toml
from climbopt.files.tables import read_table
from climbopt.files.text import write_bytes, write_text
from climbopt.interactions import INTERACTIONS
from climbopt.laws import LAWS
from climbopt.model import MixtureModel
from climbopt.symbols import Parameter
from climbopt.templates import Array

PAIRS_INSIDE = 16
"""Models of up to this many languages keep their pair parameters inside the model file; larger ones beside it."""


class _ModelFile(BaseModel):
    """A model file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    law: str
    interaction: str
    sources: list[str]
    targets: list[str]
    token_unit: float = 1.0
    params_unit: float = 1.0
    pairs: str | None = None
    parameters: dict[str, dict[str, float | dict[str, float]]] = Field(default_factory=dict)
    provenance: dict[str, str] = Field(default_factory=dict)


def load_model(path: str | os.PathLike[str]) -> MixtureModel:
    """Return the model of a TOML file and the pair table beside it.

    Raises
    ------
    InputError
        One message that names the file, the key, its value and what is allowed.
    """
    path = Path(path)
    table = checked(_ModelFile, read_toml(path), path)
    law, interaction = LAWS[table.law], INTERACTIONS[table.interaction]
    for key, names in (("sources", table.sources), ("targets", table.targets)):
        if not names or len(set(names)) < len(names):
            raise InputError(f"{key} in {path.name} must be one or more different names; it is {names}")
    pairs = {} if table.pairs is None else _read_pairs(path.parent / table.pairs, table)
    declared = {p.name: p for p in law.parameters + interaction.parameters}
    values = {}
    for name in {**table.parameters, **pairs}:
        if name not in declared:
            raise unknown_name(f"parameter in {path.name}", name, declared)
        values[name] = (pairs[name] if name in pairs
                        else _values(declared[name], table.parameters[name], table, path))
    return MixtureModel(law, interaction, tuple(table.sources), tuple(table.targets), values, table.token_unit,
                        table.params_unit, table.provenance)


def save_model(model: MixtureModel, path: str | os.PathLike[str]) -> None:
    """Write a model file; with many languages its pair parameters go to a Parquet file beside it."""
    path = Path(path)
    parameters: dict[str, dict[str, object]] = {}
    beside = max(len(model.sources), len(model.targets)) > PAIRS_INSIDE
    pairs = [p for p in model.templates.parameters if p.per == "pair"]
    for p in model.templates.parameters:
        if p.per != "pair" or not beside:
            parameters[p.name] = _table(model, p)
    content: dict[str, object] = {
        "law": model.law.name, "interaction": model.interaction.name, "token_unit": model.token_unit,
        "params_unit": model.params_unit, "sources": list(model.sources), "targets": list(model.targets),
    }
    if beside and pairs:
        content["pairs"] = f"{path.stem}.pairs.parquet"
        _write_pairs(model, [p.name for p in pairs], path.parent / f"{path.stem}.pairs.parquet")
    content |= {"provenance": dict(model.provenance), "parameters": parameters}
    write_text(path, tomli_w.dumps(content))


def _values(parameter: Parameter, table: Mapping[str, float | Mapping[str, float]], file: _ModelFile, path: Path
            ) -> Array:
    """Return one parameter's table as an array; every language, and every pair, must be there."""
    name = parameter.name
    outer = file.sources if parameter.per == "source" else file.targets
    _check_names(list(table), outer, f"parameter '{name}' in {path.name}")
    if parameter.per != "pair":
        nested = [key for key, value in table.items() if isinstance(value, Mapping)]
        if nested:
            raise InputError(f"parameter '{name}' in {path.name} is per {parameter.per}; '{nested[0]}' needs a number")
        return np.array([table[language] for language in outer], dtype=float)
    result = np.zeros((len(file.targets), len(file.sources)))
    for i, target in enumerate(file.targets):
        row = table[target]
        if not isinstance(row, Mapping):
            raise InputError(f"parameter '{name}' in {path.name} is per pair; '{target}' needs a table by source")
        others = [source for source in file.sources if source != target]
        _check_names([source for source in row if source != target], others,
                     f"parameter '{name}' of '{target}' in {path.name}")
        for j, source in enumerate(file.sources):
            result[i, j] = row.get(source, 0.0)
    return result


def _check_names(given: list[str], wanted: list[str], where: str) -> None:
    """Refuse a name too many or too few."""
    for language in given:
        if language not in wanted:
            raise unknown_name(f"language of {where}", language, wanted)
    missing = [language for language in wanted if language not in given]
    if missing:
        raise InputError(f"{where} has no value for {', '.join(missing[:5])}; give one for every language")


def _table(model: MixtureModel, parameter: Parameter) -> dict[str, object]:
    """Return one parameter's array as a table by name."""
    value = model.parameters[parameter.name]
    if parameter.per == "pair":
        return {target: {source: float(value[i, j]) for j, source in enumerate(model.sources) if source != target}
                for i, target in enumerate(model.targets)}
    names = model.sources if parameter.per == "source" else model.targets
    return dict(zip(names, map(float, value), strict=True))


def _write_pairs(model: MixtureModel, names: list[str], path: Path) -> None:
    """Write pair parameters as a tidy table: target, source, and one column a parameter."""
    import pandas as pd  # here, so that only writing a table loads pandas

    grid = [(target, source) for target in model.targets for source in model.sources]
    frame = pd.DataFrame(grid, columns=["target", "source"])
    for name in names:
        frame[name] = model.parameters[name].ravel()
    write_bytes(path, frame[frame["target"] != frame["source"]].to_parquet(index=False))


def _read_pairs(path: Path, file: _ModelFile) -> dict[str, Array]:
    """Return the pair parameters of a tidy table as arrays; every pair once."""
    frame = read_table(path)
    missing = [name for name in ("target", "source") if name not in frame]
    if missing:
        raise InputError(f"{path.name} has no column {missing[0]}; it needs target, source and one a parameter")
    rows, columns = (frame[key].astype(str).map({name: k for k, name in enumerate(names)})
                     for key, names in (("target", file.targets), ("source", file.sources)))
    if rows.isna().any() or columns.isna().any():
        stranger = frame["target" if rows.isna().any() else "source"][rows.isna() | columns.isna()].iloc[0]
        raise unknown_name(f"language in {path.name}", stranger, [*file.targets, *file.sources])
    result = {}
    own = np.array([[target == source for source in file.sources] for target in file.targets])
    for name in frame.columns.drop(["target", "source"]):
        array = np.where(own, 0.0, np.nan)
        array[rows.to_numpy(dtype=int), columns.to_numpy(dtype=int)] = frame[name].to_numpy(dtype=float)
        if np.isnan(array).any():
            i, j = np.argwhere(np.isnan(array))[0]
            raise InputError(f"{path.name} has no '{name}' of '{file.targets[i]}' from '{file.sources[j]}'; "
                             "give every pair once")
        result[str(name)] = array
    return result
