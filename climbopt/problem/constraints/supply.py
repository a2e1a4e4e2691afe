"""No more passes over a language's data than allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import Converted, FrozenMap
from climbopt.foundations.quantities import NUMBER, Amount
from climbopt.problem.constraints.constraint import LinearRow, Setting, mapping_or_keywords


def _epochs(epochs: Amount | Mapping[str, Amount], of: str) -> float | FrozenMap[float]:
    return NUMBER.by_name(epochs, of) if isinstance(epochs, Mapping) else NUMBER.read(epochs, of)


@dataclass(frozen=True, init=False)
class Supply:
    """r_i D <= epochs_i supply_i, with the supply in tokens from the problem.

    Parameters
    ----------
    epochs : float, or mapping of str to float
        Largest number of passes over the data, for every language or by language (the others are not limited).
    name : str
        Name in reports.
    **languages : float or str
        Passes by language instead: ``Supply(en=4, sw=8)``.

    Notes
    -----
    The user's number is a language's supply in tokens, and shadow prices are per token of it.

    Examples
    --------
    >>> setting = Setting(("en", "sw"), 1000.0, {"en": 900.0, "sw": 50.0}, {})
    >>> [row.upper for row in Supply(epochs=4).rows(setting)]
    [3.6, 0.2]
    """

    epochs: Converted[Amount | Mapping[str, Amount], float | FrozenMap[float]] = Converted(_epochs)
    name: str = "supply"
    kind: ClassVar[str] = "supply"

    def __init__(
        self, epochs: Amount | Mapping[str, Amount] | None = None, name: str = "supply", **languages: Amount
    ) -> None:
        if epochs is None and not languages:
            raise InputError(f"{name} has no epochs; write Supply(epochs=4), or Supply(en=4, sw=8) for some languages")
        object.__setattr__(self, "epochs", mapping_or_keywords(epochs, languages, self.kind))
        object.__setattr__(self, "name", name)
        by_language = self.epochs if isinstance(self.epochs, Mapping) else {"every language": self.epochs}
        for language, epochs in by_language.items():
            if not epochs > 0:
                raise InputError(f"epochs of {language} in {self.name} is {epochs:g}; it must be a positive number")

    def epochs_of(self, setting: Setting) -> dict[str, float]:
        """Return the passes allowed by language, for the languages that are limited."""
        if isinstance(self.epochs, Mapping):
            setting.check_sources(self.epochs, self.name)
            return dict(self.epochs)
        return dict.fromkeys(setting.sources, float(self.epochs))

    def rows(self, setting: Setting) -> list[LinearRow]:
        """Return one row per limited language."""
        epochs = self.epochs_of(setting)
        missing = [language for language in epochs if language not in setting.supply]
        if missing:
            raise InputError(
                f"{self.name} limits {', '.join(missing)}, of which [supply] says nothing; add their "
                "tokens there, or list epochs by language"
            )
        return [
            LinearRow(
                f"{self.name}[{language}]",
                {language: 1.0},
                # r_j D <= epochs_j supply_j.
                upper=passes * setting.supply[language] / setting.budget,
                per_unit=passes / setting.budget,
                unit="token of supply",
            )
            for language, passes in epochs.items()
        ]
