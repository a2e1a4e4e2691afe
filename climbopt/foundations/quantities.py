"""Numbers as people write them: 5B and 2.5 M tokens, a ratio of 20%."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import Converted, FrozenMap

Amount = float | str
"""A number, or its text."""
Number = Converted[Amount, float]
OptionalNumber = Converted[Amount | None, float | None]
ByName = Converted[Mapping[str, Amount], FrozenMap[float]]
OptionalByName = Converted[Mapping[str, Amount] | None, FrozenMap[float] | None]

_TEXT = re.compile(r"([+-]?(?:[0-9][0-9_]*(?:\.[0-9]*)?|\.[0-9]+))(?:[eE]([+-]?[0-9]{1,3}))?\s*(.*)")
"""Digits, the exponent of ten, and what follows them."""
_LONGEST = 100
"""Longest text, in characters, that is read as a number."""


@dataclass(frozen=True)
class Unit:
    """Suffixes that a kind of number may have, and how to write it.

    Parameters
    ----------
    suffixes : mapping of str to int
        Power of ten by upper-case suffix.
    examples : str
        End of the message for a value that is not such a number.
    """

    suffixes: Mapping[str, int]
    examples: str

    def read(self, value: object, of: str) -> float:
        """Return a finite number; `of` says whose it is.

        Raises
        ------
        InputError
            For a truth value, infinity, NaN, and text that is not a number, optionally with one of the suffixes.

        Examples
        --------
        >>> TOKENS.read("2.5 M", "the budget"), RATIO.read("15%", "the floor of 'pt'"), RATIO.read(0.15, "it")
        (2500000.0, 0.15, 0.15)
        """
        # Truth values are numbers to Python, and none to people.
        real = value if isinstance(value, Real) and not isinstance(value, bool) else None
        number = self._of_text(value.strip()) if isinstance(value, str) else math.nan if real is None else _float(real)
        if not math.isfinite(number):
            raise InputError(f"{of} is {reprlib.repr(value) if real is None else f'{number:g}'}; {self.examples}")
        return number

    def positive(self, value: object, of: str) -> float:
        """Return a finite number above 0; `of` says whose it is."""
        number = self.read(value, of)
        if not number > 0:
            raise InputError(f"{of} is {number:g}; it must be a positive number")
        return number

    def by_name(self, values: object, of: str) -> FrozenMap[float]:
        """Return finite numbers by language."""
        if not isinstance(values, Mapping):
            raise InputError(f"{of} is {values!r}; give a mapping from language to number, such as {{'pt': 0.15}}")
        return FrozenMap({str(name): self.read(value, f"{of} of '{name}'") for name, value in values.items()})

    def _of_text(self, text: str) -> float:
        """Return the number in a text, correctly rounded; NaN for any other text."""
        match = _TEXT.fullmatch(text) if len(text) <= _LONGEST else None
        suffix = "" if match is None else match[3].upper()
        if match is None or not (suffix in self.suffixes or suffix == ""):
            return math.nan
        # digits and suffix as one decimal literal: 2.5 M is rounded once, not 2.5 * 1e6
        return _float(f"{match[1].replace('_', '')}e{int(match[2] or 0) + self.suffixes.get(suffix, 0)}")


def _float(number: Real | str) -> float:
    """Return a number in double precision, infinite where it is too large."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


_THOUSANDS = {"K": 3, "M": 6, "B": 9, "G": 9, "T": 12}
TOKENS = Unit(_THOUSANDS, "write a number of tokens such as 5e9, 5B, 2.5 M or 1T")
PARAMS = Unit(_THOUSANDS, "write a number of parameters such as 7e9, 7B or 350 M")
RATIO = Unit({"%": -2}, "write a ratio such as 0.2 or 20%")
NUMBER = Unit({}, "write a finite number such as 4 or 2.5")
