"""Scenarios: several models of the same languages as one model, with separate targets for each model.

Whatever is written over targets (sums of losses, rows, derivatives, proofs) then holds for all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from climbopt.foundations.errors import InputError
from climbopt.model.mixture import Indices, MixtureModel


def check_draws(model: MixtureModel, draws: Sequence[MixtureModel]) -> None:
    """Refuse an empty list, and a draw whose form, languages or units differ from those of the model."""
    if not draws:
        raise InputError("there are no draws; climbopt fit --bootstrap makes them")
    for k, draw in enumerate(draws):
        for key in ("law", "interaction", "sources", "targets", "token_unit", "params_unit"):
            if getattr(draw, key) != getattr(model, key):
                raise InputError(f"draw {k} has another {key} than the model; use the draws of its own fit")


@dataclass(frozen=True, eq=False)
class Scenarios(MixtureModel):
    """A model whose targets are those of another, first unchanged, then once per draw, as ``en#0``.

    Build it by :meth:`of`.
    """

    base: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: MixtureModel, draws: Sequence[MixtureModel]) -> Scenarios:
        """Return a model and its draws as one model.

        Raises
        ------
        InputError
            Where there are no draws, the form, languages or units of a draw differ, or draws differ in a parameter
            of a source, which all scenarios share.
        """
        check_draws(model, draws)
        every = (model, *draws)
        values = {}
        for p in model.templates.parameters:
            arrays = [member.parameters[p.name] for member in every]
            if p.per == "source" and any(not np.array_equal(array, arrays[0]) for array in arrays):
                raise InputError(f"draws differ in '{p.name}', a parameter of each source, which scenarios share")
            # Sources are shared by all scenarios, targets are not.
            values[p.name] = arrays[0] if p.per == "source" else np.concatenate(arrays)
        names = (*model.targets, *(f"{name}#{k}" for k in range(len(draws)) for name in model.targets))
        return cls(
            model.law,
            model.interaction,
            model.sources,
            names,
            values,
            model.token_unit,
            model.params_unit,
            pilots=model.pilots,
            base=model.targets,
        )

    @cached_property
    def own_source(self) -> Indices:
        """For each target, the index of the source that it is a draw of, or -1. Shape (T,)."""
        position = {name: j for j, name in enumerate(self.sources)}
        own = np.array([position.get(name, -1) for name in self.base], dtype=np.intp)
        return own[self._rows % len(self.base)]

    @cached_property
    def _rows(self) -> Indices:
        """The row of each target among all targets."""
        position = {name: i for i, name in enumerate(self.base)}
        rows = []
        for name in self.targets:
            if name in position:
                rows.append(position[name])
            else:
                # Draw k is block k + 1 of the targets; block 0 is the model itself.
                stem, _, draw = name.rpartition("#")
                rows.append(position[stem] + (int(draw) + 1) * len(self.base))
        return np.array(rows, dtype=np.intp)
