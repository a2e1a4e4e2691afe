"""Features: what is known of languages, or of pairs of them, beside the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from climbopt.foundations.errors import InputError, listed
from climbopt.foundations.view import View, Viewed
from climbopt.runs.tidy_table import Array

Cell = float | str
"""A number, or a category."""
LARGEST = 1e100
"""Size of numbers, so that their squares are finite."""
ROUNDING = 1e-12
"""Spread of numbers that are the same, in units of the largest."""


@dataclass(frozen=True, repr=False)
class Features(Viewed):
    """A table of languages, or of pairs of source and target.

    Parameters
    ----------
    names : tuple of str
        Of the columns.
    rows : mapping of tuple of str to tuple of float or str
        By (language,), or by (source, target); a value per column, of one kind in a column.

    Raises
    ------
    InputError
        Where there is no column or no row, a column has numbers and words, or a number is beyond `LARGEST`.
    """

    names: tuple[str, ...]
    rows: Mapping[tuple[str, ...], tuple[Cell, ...]]

    def __post_init__(self) -> None:
        if not self.names or not self.rows:
            raise InputError("features are a table with a row per language or pair, and a column per feature")
        for name, column in zip(self.names, zip(*self.rows.values(), strict=True), strict=True):
            words = [value for value in column if isinstance(value, str)]
            if 0 < len(words) < len(column):
                raise InputError(f"feature '{name}' has numbers and words ({words[0]!r}); write one kind per column")
            for row, value in zip(self.rows, column, strict=True):
                if not isinstance(value, str) and not abs(value) <= LARGEST:
                    raise InputError(
                        f"feature '{name}' of {' to '.join(row)} is {value}; write a number between -{LARGEST:g} and "
                        f"{LARGEST:g}, or a word"
                    )
        object.__setattr__(self, "rows", MappingProxyType(dict(self.rows)))

    @property
    def of_pairs(self) -> bool:
        """Whether the rows are of pairs."""
        return len(next(iter(self.rows))) == 2

    def design(self, targets: Sequence[str], sources: Sequence[str]) -> Array:
        """Return the numbers of all pairs, (T, S, k), each with mean 0 and mean square 1 over pairs of two languages.

        A number of a language gives those of source and target, and how far they differ; a word of a language, whether
        source and target have the same; a word of a pair, a column of 0 and 1 for each word. Columns that are the same
        for all pairs are left out.

        Raises
        ------
        InputError
            Names the languages, or the first pair, without a row.
        """
        self._check(targets, sources)
        columns = [
            column
            for k in range(len(self.names))
            for column in (self._of_pairs if self.of_pairs else self._of_languages)(k, targets, sources)
        ]
        # Pairs of a language with itself have no transfer: they count for neither mean nor spread.
        apart = np.array([[target != source for source in sources] for target in targets])
        result = []
        for column in columns:
            values = column[apart]
            # A column that is the same for all pairs explains nothing.
            if spread := _spread(values):
                result.append(np.where(apart, (column - values.mean()) / spread, 0.0))
        return np.stack(result, axis=-1) if result else np.zeros((*apart.shape, 0))

    def kinship(self, names: Sequence[str]) -> Array:
        """Return how alike languages are, (n, n): the mean over features, with a mean of 1 on the diagonal.

        Of a number the product of both languages', standardised; of a word whether both have the same. Numbers that are
        the same for all languages count for nothing.

        Raises
        ------
        InputError
            Where the features are of pairs, or names the languages without a row.
        """
        if self.of_pairs:
            raise InputError("these are features of pairs, which say of no two languages whether they are alike")
        self._check(names, names)
        alike = np.zeros((len(names), len(names)))
        for column in zip(*(self.rows[(name,)] for name in names), strict=True):
            if isinstance(column[0], str):
                alike += [[float(a == b) for b in column] for a in column]
                continue
            values = np.array(column, dtype=float)
            if spread := _spread(values):
                standard = (values - values.mean()) / spread
                alike += np.outer(standard, standard)
        return alike / len(self.names)

    def _check(self, targets: Sequence[str], sources: Sequence[str]) -> None:
        """Refuse a table without a row that is needed."""
        if self.of_pairs:
            missing = [(j, i) for i in targets for j in sources if i != j and (j, i) not in self.rows]
            if missing:
                raise InputError(
                    f"no features of source '{missing[0][0]}' for target '{missing[0][1]}' ({len(missing)} pairs "
                    "without a row); write a row for every pair"
                )
            return
        without = [name for name in dict.fromkeys((*sources, *targets)) if (name,) not in self.rows]
        if without:
            raise InputError(f"no features of {listed(without, most=8)}; write a row for every language")

    def _of_languages(self, k: int, targets: Sequence[str], sources: Sequence[str]) -> list[Array]:
        """Return the columns that feature k of languages gives, (T, S) each."""
        of_targets, of_sources = ([self.rows[(name,)][k] for name in names] for names in (targets, sources))
        if isinstance(of_targets[0], str):
            return [np.array([[float(a == b) for b in of_sources] for a in of_targets])]
        a, b = np.meshgrid(np.array(of_targets, dtype=float), np.array(of_sources, dtype=float), indexing="ij")
        # The three columns span differences and their sizes: transfer need not be symmetric.
        return [b, a, np.abs(a - b)]

    def _of_pairs(self, k: int, targets: Sequence[str], sources: Sequence[str]) -> list[Array]:
        """Return the columns that feature k of pairs gives, (T, S) each; a language with itself counts nowhere."""
        pairs = [[self.rows.get((source, target)) for source in sources] for target in targets]
        values = [[None if cells is None else cells[k] for cells in row] for row in pairs]
        # One column for each word but for what is missing, which is 0 in all of them.
        words = sorted({value for row in values for value in row if isinstance(value, str)})
        if words:
            return [np.array([[float(value == word) for value in row] for row in values]) for word in words]
        return [np.array([[0.0 if value is None else float(value) for value in row] for row in values])]

    def view(self) -> View:
        """Return the counts and the names of the columns."""
        what = "pairs" if self.of_pairs else "languages"
        return View(f"features of {len(self.rows)} {what}", [f"features: {listed(self.names)}"])


def _spread(values: Array) -> float:
    """Return the standard deviation of numbers, 0 where it is that of rounding."""
    spread = float(values.std()) if values.size else 0.0
    return spread if spread > ROUNDING * max(1.0, float(np.abs(values).max(initial=0.0))) else 0.0
