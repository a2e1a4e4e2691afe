"""Files of draws: what the draws belong to, then each draw's parameters, as they are made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from climbopt.files.journal import Journal, read_journal
from climbopt.files.models import ENSEMBLE
from climbopt.foundations.errors import InputError
from climbopt.model.ensemble import Ensemble, Model, blocks_of
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array
from climbopt.model.uses import ONCE, USES

FORMAT = "climbopt draws 1"


def draws_beside(path: Path) -> Path:
    """Return the place of the draws of a model file."""
    return path.parent / f"{path.stem}.draws.jsonl"


def save_draws(model: Ensemble, path: str | os.PathLike[str]) -> None:
    """Write the draws that an ensemble holds."""
    # Blocks of draw k follow those of the model itself and of the draws before it.
    size = len(model.base.blocks)
    file = DrawFile(path, model.base, {})
    for k in range(model.n_draws):
        file.append(k, *(block.parameters for block in model.blocks[(k + 1) * size : (k + 2) * size]))
    file.close()


def remove_other_draws(path: Path, model: Model, origin: Mapping[str, object]) -> None:
    """Remove a file of draws of another fit, of which draws beside this model would be wrong; other files stay."""
    if not path.is_file():
        return
    header, _ = read_journal(path, "draw", "draws")
    if header.get("format") == FORMAT and header != json.loads(json.dumps({**_header(model), **origin})):
        path.unlink()


class DrawFile:
    """Draws of a model's parameters in a file, in order; opened to be continued.

    Parameters
    ----------
    path : path
    model : MixtureModel or Ensemble
        The full fit, whose names and units the draws have.
    origin : mapping of str to value
        What else makes draws the same: the runs' digest, the seed.

    Raises
    ------
    InputError
        Where another process writes to the file, or it holds draws of something else, or something that is not a draw.
    """

    def __init__(self, path: str | os.PathLike[str], model: Model, origin: Mapping[str, object]) -> None:
        self._model = model
        self._journal = Journal(path, {**_header(model), **origin}, "draw", "draws", "fit or seed")
        blocks, place = blocks_of(model)[0], self._journal.path
        self.known = {
            k: tuple(block.parameters for block in _drawn(blocks, entry, k, place))
            for k, entry in enumerate(self._journal.entries)
        }

    def append(self, k: int, *parameters: Mapping[str, Array]) -> None:
        """Write draw k, which follows the last one: the parameters of the model, or of each block of an ensemble."""
        each = [{"parameters": {name: np.asarray(value).tolist() for name, value in p.items()}} for p in parameters]
        self._journal.append(k, {"forms": each} if isinstance(self._model, Ensemble) else each[0])

    def close(self) -> None:
        """Let other processes write to the file."""
        self._journal.close()


def load_draws(path: str | os.PathLike[str]) -> tuple[MixtureModel | Ensemble, ...]:
    """Return the models of a file of draws, without a last line that was cut off.

    Raises
    ------
    InputError
        Where the file holds no draws.
    """
    path = Path(path)
    header, entries = read_journal(path, "draw", "draws")
    if header.get("format") != FORMAT:
        raise InputError(f"{path} is no file of draws; climbopt fit --bootstrap writes one")
    if not entries:
        raise InputError(f"{path} holds no draws yet; climbopt fit --bootstrap makes them")
    try:
        # A header comes from a file: whatever it lacks is one message.
        languages = tuple(map(str, header["sources"])), tuple(map(str, header["targets"]))
        forms = [_Form.read(form) for form in header.get("forms", [header])]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"the first line of {path} is not as climbopt writes it: {error}") from None
    models: list[MixtureModel | Ensemble] = []
    for k, entry in enumerate(entries):
        values = _values(entry, k, path, len(forms))
        blocks = [form.model(*languages, parameters) for form, parameters in zip(forms, values, strict=True)]
        models.append(Ensemble(blocks, [form.weight for form in forms]) if "forms" in header else blocks[0])
    return tuple(models)


@dataclass(frozen=True)
class _Form:
    """What the draws of one form share, beside the languages."""

    law: str
    interaction: str
    token_unit: float
    params_unit: float
    weight: float = 1.0
    use: str = ONCE.name

    @classmethod
    def of(cls, model: MixtureModel, weight: float) -> _Form:
        units = model.token_unit, model.params_unit
        return cls(model.law.name, model.interaction.name, *units, weight, model.use.name)

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> _Form:
        """Return the form that a header states."""
        units = float(table["token_unit"]), float(table["params_unit"])
        weight, use = float(table.get("weight", 1.0)), str(table.get("use", ONCE.name))
        return cls(str(table["law"]), str(table["interaction"]), *units, weight, use)

    def model(self, sources: tuple[str, ...], targets: tuple[str, ...], values: Mapping[str, Array]) -> MixtureModel:
        """Return the model of this form with some parameters."""
        law, interaction = LAWS[self.law], INTERACTIONS[self.interaction]
        units = self.token_unit, self.params_unit
        return MixtureModel(law, interaction, sources, targets, values, *units, use=USES[self.use])


def _header(model: Model) -> dict[str, Any]:
    """Return what every draw of a model shares."""
    blocks, weights = blocks_of(model)
    forms = [asdict(_Form.of(block, weight)) for block, weight in zip(blocks, weights, strict=True)]
    names = {"sources": list(model.sources), "targets": list(model.targets)}
    if isinstance(model, Ensemble):
        return {"format": FORMAT, "law": ENSEMBLE, "interaction": ENSEMBLE, **names, "forms": forms}
    only = forms[0]
    # The use `once` is left out, as in model files.
    form = {key: only[key] for key in ("law", "interaction", "use") if only[key] != ONCE.name}
    return {"format": FORMAT, **form, **names, **{key: only[key] for key in ("token_unit", "params_unit")}}


def _values(entry: Mapping[str, Any], k: int, path: Path, n_forms: int) -> list[dict[str, Array]]:
    """Return the parameters of draw k, those of each form."""
    try:
        forms = entry.get("forms", [entry])
        if len(forms) != n_forms:
            raise InputError(f"draw {k} of {path} has {len(forms)} forms instead of {n_forms}; remove the file")
        return [{name: np.array(values, dtype=float) for name, values in form["parameters"].items()} for form in forms]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"draw {k} of {path} holds something that is not a number; remove the file") from None


def _drawn(blocks: Sequence[MixtureModel], entry: Mapping[str, Any], k: int, path: Path) -> list[MixtureModel]:
    """Return the models of draw k, checked against those of the fit."""
    values = _values(entry, k, path, len(blocks))
    return [
        MixtureModel(b.law, b.interaction, b.sources, b.targets, parameters, b.token_unit, b.params_unit, use=b.use)
        for b, parameters in zip(blocks, values, strict=True)
    ]
