"""Model files: TOML, with the pair parameters of many languages in a table beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tomli_w
from pydantic import Field

from climbopt.files.formats import read_table
from climbopt.files.schema import FileTable, checked, read_toml
from climbopt.files.tables import write_table
from climbopt.files.text import check_places, is_special, write_text
from climbopt.foundations.errors import InputError, refuse_unknown
from climbopt.foundations.frozen import check_arguments
from climbopt.model.ensemble import Ensemble, Model, Stacked
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.mixture import MixtureModel
from climbopt.model.noise import CLASSES, LossNoise
from climbopt.model.symbols import Parameter
from climbopt.model.templates import Array, Form
from climbopt.model.uses import ONCE, USES
from climbopt.runs.pilot_range import PilotRange
from climbopt.runs.tidy_table import numbers

if TYPE_CHECKING:
    import pandas as pd

ENSEMBLE = "ensemble"
"""Law and interaction of a file whose model is an ensemble; its blocks are listed in `forms`."""
_Ends = Annotated[tuple[float, ...], Field(strict=False)]
"""A list of TOML as a tuple."""
PAIRS_INSIDE = 16
"""Models of up to this many languages keep their pair parameters inside the model file; larger ones beside it."""


class _Pilots(FileTable):
    """Least and largest budget, and model size, of the runs that a model was fitted to; PilotRange validates them."""

    tokens: _Ends
    params: _Ends | None = None
    ratios: dict[str, _Ends] | None = None


class _Noise(FileTable):
    """How far measured losses lie from an ensemble's predictions."""

    level: float
    classes: list[str]
    widths: list[float]
    deviations: dict[str, list[float]]


class _FormFile(FileTable):
    """A model of one form, as a file or as a block of an ensemble's file."""

    law: str
    interaction: str
    use: str = ONCE.name
    sources: list[str]
    targets: list[str]
    token_unit: float = 1.0
    params_unit: float = 1.0
    pairs: str | None = None
    parameters: dict[str, dict[str, float | dict[str, float]]] = Field(default_factory=dict)
    provenance: dict[str, str] = Field(default_factory=dict)
    pilots: _Pilots | None = None


class _Block(_FormFile):
    """A block of an ensemble."""

    weight: float


class _ModelFile(_FormFile):
    """A model file."""

    forms: list[_Block] = Field(default_factory=list)
    noise: _Noise | None = None


@check_arguments
def load_model(path: str | os.PathLike[str]) -> MixtureModel | Ensemble:
    """Return the model of a TOML file and the pair tables beside it; an Ensemble where the file lists several forms.

    Raises
    ------
    InputError
        One message that names the file, the key, its value and what is allowed.
    """
    path = Path(path)
    table = checked(_ModelFile, read_toml(path), path)
    if (table.law == ENSEMBLE) != bool(table.forms) or (table.interaction == ENSEMBLE) != bool(table.forms):
        raise InputError(
            f"law and interaction in {path.name} are both '{ENSEMBLE}' where [[forms]] lists the blocks of an "
            "ensemble, and there alone; write the form's own names, or list its blocks"
        )
    if not table.forms:
        if table.noise is not None:
            raise InputError(f"{path.name} has [noise], which is that of an ensemble; remove it")
        return _form_model(table, path)
    # Parameters beside the forms would belong to none of them.
    if table.parameters or table.pairs is not None:
        raise InputError(f"{path.name} has parameters beside [[forms]]; write them in the forms")
    for k, block in enumerate(table.forms):
        if (block.sources, block.targets) != (table.sources, table.targets):
            raise InputError(f"form {k + 1} in {path.name} has other sources or targets than the ensemble")
    return Ensemble(
        [_form_model(block, path) for block in table.forms],
        [block.weight for block in table.forms],
        table.provenance,
        _loss_noise(table, path),
    )


def _loss_noise(table: _ModelFile, path: Path) -> LossNoise | None:
    """Return the noise that a file states."""
    noise = table.noise
    if noise is None:
        return None
    if noise.classes != list(CLASSES):
        raise InputError(f"classes of [noise] in {path.name} must be {', '.join(CLASSES)}")
    _check_names(list(noise.deviations), table.targets, f"[noise.deviations] in {path.name}")
    if {len(noise.widths), *map(len, noise.deviations.values())} != {len(CLASSES)}:
        raise InputError(f"[noise] in {path.name} must have {len(CLASSES)} numbers as widths and for each target")
    return LossNoise(noise.level, np.array([noise.deviations[name] for name in table.targets]), np.array(noise.widths))


def _form_model(table: _FormFile, path: Path) -> MixtureModel:
    """Return a model of one form."""
    form = Form(LAWS[table.law], INTERACTIONS[table.interaction], USES[table.use])
    for key, names in (("sources", table.sources), ("targets", table.targets)):
        if not names or len(set(names)) < len(names):
            raise InputError(f"{key} in {path.name} must be one or more different names; it is {names}")
    declared = {p.name: p for p in form.parameters}
    refuse_unknown(f"parameter in {path.name}", table.parameters, declared)
    values = {name: _values(declared[name], entries, table, path) for name, entries in table.parameters.items()}
    if table.pairs is not None:
        pairs = _read_pairs(path.parent / table.pairs, table, declared)
        if repeated := [name for name in pairs if name in values]:
            raise InputError(f"parameter '{repeated[0]}' stands in {path.name} and in {table.pairs}; keep one of them")
        values |= pairs
    return MixtureModel(
        form.law,
        form.interaction,
        tuple(table.sources),
        tuple(table.targets),
        values,
        table.token_unit,
        table.params_unit,
        table.provenance,
        None if table.pilots is None else PilotRange(**dict(table.pilots)),
        form.use,
    )


def pairs_beside(path: Path, block: int | None = None) -> Path:
    """Return the place of the pair table of a model file, or of a block of an ensemble's, numbered from 1."""
    return path.parent / (f"{path.stem}.pairs.parquet" if block is None else f"{path.stem}.{block}.pairs.parquet")


@check_arguments
def save_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model file; with many languages its pair parameters go to Parquet files beside it.

    Raises
    ------
    InputError
        Where a place cannot be written to, or the model's law, interaction or use is not what its name stands for.
    """
    path = Path(path)
    if isinstance(model, Stacked):
        raise InputError("scenarios have no file; save the model and its draws")
    content, tables = (
        _form_content(model, path, pairs_beside(path))
        if isinstance(model, MixtureModel)
        else _ensemble_content(model, path)
    )
    text = tomli_w.dumps(content)
    check_places([path, *tables], [])
    # Tables first: a model file that names them is never there without them.
    for place, form in tables.items():
        write_table(place, _pair_frame(form))
    write_text(path, text)


def _ensemble_content(model: Ensemble, path: Path) -> tuple[dict[str, object], dict[Path, MixtureModel]]:
    """Return what the file of an ensemble holds, and the models whose pairs go to a table beside it."""
    blocks = [_form_content(block, path, pairs_beside(path, k)) for k, block in enumerate(model.blocks, 1)]
    noise = model.noise and {
        "level": model.noise.level,
        "classes": list(CLASSES),
        "widths": model.noise.widths.tolist(),
        "deviations": dict(zip(model.targets, model.noise.deviations.tolist(), strict=True)),
    }
    content: dict[str, object] = {
        "law": ENSEMBLE,
        "interaction": ENSEMBLE,
        "sources": list(model.sources),
        "targets": list(model.targets),
        "provenance": dict(model.provenance),
        **({"noise": noise} if noise else {}),
        "forms": [{"weight": weight, **form} for weight, (form, _) in zip(model.weights, blocks, strict=True)],
    }
    return content, {place: block for _, tables in blocks for place, block in tables.items()}


def _form_content(model: MixtureModel, path: Path, table: Path) -> tuple[dict[str, object], dict[Path, MixtureModel]]:
    """Return what the file of a form holds, and the model by the place of its pair table, where it has one."""
    for kind, form, known in (
        ("law", model.law, LAWS.get(model.law.name)),
        ("interaction", model.interaction, INTERACTIONS.get(model.interaction.name)),
        ("use", model.use, USES.get(model.use.name)),
    ):
        # A file stores names: another form under a registered name would be read as the registered one.
        if known is not None and known != form:
            raise InputError(
                f"{kind} '{form.name}' of this model is not the registered one, which its file would "
                "stand for; give it a name of its own and register that"
            )
    # T x S numbers are unreadable in TOML for many languages; a pipe has no place beside it.
    apart = max(len(model.sources), len(model.targets)) > PAIRS_INSIDE and bool(_pairs(model)) and not is_special(path)
    # What is not known of the pilots has no key.
    pilots = {key: ends for key, ends in vars(model.pilots).items() if ends is not None} if model.pilots else {}
    content = {
        "law": model.law.name,
        "interaction": model.interaction.name,
        **({} if model.use == ONCE else {"use": model.use.name}),
        "token_unit": model.token_unit,
        "params_unit": model.params_unit,
        "sources": list(model.sources),
        "targets": list(model.targets),
        **({"pairs": table.name} if apart else {}),
        "provenance": dict(model.provenance),
        **({"pilots": pilots} if pilots else {}),
        "parameters": {
            p.name: by_language(model, p, model.parameters[p.name])
            for p in model.templates.parameters
            if p.per != "pair" or not apart
        },
    }
    return content, ({table: model} if apart else {})


def _pairs(model: MixtureModel) -> list[str]:
    """Return the names of the pair parameters."""
    return [p.name for p in model.templates.parameters if p.per == "pair"]


def _values(
    parameter: Parameter, table: Mapping[str, float | Mapping[str, float]], file: _FormFile, path: Path
) -> Array:
    """Return one parameter's table as an array; every language, and every pair, must be there."""
    name = parameter.name
    outer = file.sources if parameter.per == "source" else file.targets
    _check_names(list(table), outer, f"parameter '{name}' in {path.name}")
    if parameter.per != "pair":
        if nested := [key for key, value in table.items() if isinstance(value, Mapping)]:
            raise InputError(f"parameter '{name}' in {path.name} is per {parameter.per}; '{nested[0]}' needs a number")
        return np.array([table[language] for language in outer], dtype=float)
    rows = []
    for target in file.targets:
        row = table[target]
        if not isinstance(row, Mapping):
            raise InputError(f"parameter '{name}' in {path.name} is per pair; '{target}' needs a table by source")
        # The own pair may be stated, and is ignored.
        others = [source for source in file.sources if source != target]
        _check_names(
            [source for source in row if source != target], others, f"parameter '{name}' of '{target}' in {path.name}"
        )
        rows.append([row.get(source, 0.0) for source in file.sources])
    return np.array(rows, dtype=float)


def _check_names(names: list[str], languages: list[str], where: str) -> None:
    """Refuse a name too many or too few."""
    refuse_unknown(f"language of {where}", names, languages)
    if missing := [language for language in languages if language not in names]:
        raise InputError(f"{where} has no value for {', '.join(missing[:5])}; give one for every language")


def by_language(model: MixtureModel, parameter: Parameter, values: Array) -> dict[str, Any]:
    """Return an array of a parameter's shape as a table by language; pairs by target, then source."""
    if parameter.per == "pair":
        return {
            target: {source: float(values[i, j]) for j, source in enumerate(model.sources) if source != target}
            for i, target in enumerate(model.targets)
        }
    names = model.sources if parameter.per == "source" else model.targets
    return dict(zip(names, map(float, values), strict=True))


def _pair_frame(model: MixtureModel) -> pd.DataFrame:
    """Return pair parameters as a tidy table: target, source, and one column per parameter."""
    import pandas as pd  # here, so that only writing a table loads pandas

    pairs = pd.MultiIndex.from_product([model.targets, model.sources], names=["target", "source"])
    frame = pd.DataFrame({name: model.parameters[name].ravel() for name in _pairs(model)}, pairs).reset_index()
    return frame[frame["target"] != frame["source"]]


def _read_pairs(path: Path, file: _FormFile, declared: Mapping[str, Parameter]) -> dict[str, Array]:
    """Return the pair parameters of a tidy table as arrays, (T, S); every pair once."""
    frame, keys = read_table(path), ["target", "source"]
    if missing := [key for key in keys if key not in frame]:
        raise InputError(f"{path.name} has no column {missing[0]}; it needs target, source and one per parameter")
    frame = frame.astype({"target": str, "source": str})
    for key, names in (("target", file.targets), ("source", file.sources)):
        refuse_unknown(f"{key} in {path.name}", frame[key].unique(), names)
    for target, source in frame.loc[frame.duplicated(keys), keys].to_numpy():
        raise InputError(f"{path.name} has two rows for '{target}' from '{source}'; give every pair once")
    result = {}
    per_pair = [name for name, parameter in declared.items() if parameter.per == "pair"]
    for name in frame.columns.drop(keys):
        if name in declared and name not in per_pair:
            raise InputError(
                f"parameter '{name}' in {path.name} is per {declared[name].per} and not per pair; "
                "write it in the model file"
            )
        refuse_unknown(f"parameter in {path.name}", [name], per_pair)
        # By name, whatever the order of the rows.
        table = frame.assign(**{name: numbers(frame[name])}).pivot(index="target", columns="source", values=name)
        array = table.reindex(index=file.targets, columns=file.sources).to_numpy(dtype=float)
        for i, j in np.argwhere(np.isnan(array)).tolist():
            if file.targets[i] != file.sources[j]:
                raise InputError(
                    f"{path.name} has no number as '{name}' of '{file.targets[i]}' from "
                    f"'{file.sources[j]}'; give one for every pair"
                )
        # NaN is left at own pairs only, which have no value.
        result[str(name)] = np.nan_to_num(array, nan=0.0, posinf=np.inf, neginf=-np.inf)
    return result
