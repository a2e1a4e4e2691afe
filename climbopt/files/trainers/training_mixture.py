"""A mixture to be trained on: ratios by language, and what else a trainer requires; shares as rounded weights."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from climbopt.foundations.errors import InputError, listed, refuse_unknown
from climbopt.foundations.frozen import Converted, FrozenMap
from climbopt.foundations.names import check_name
from climbopt.foundations.quantities import RATIO, TOKENS, ByName


@dataclass(frozen=True)
class Mixture:
    """Ratios by language, and what else a trainer requires.

    Parameters
    ----------
    ratios : mapping of str to float
        Shares of the tokens: 0 or more, sum 1 within 1e-9.
    budget : float, optional
        Tokens of the run.
    supply : mapping of str to float
        Available tokens by language; a language without a supply has an unknown number of epochs.
    paths : mapping of str to str
        Where the data of a language lie; a placeholder stands for a path that is not stated.
    mean_tokens : mapping of str to float
        Mean tokens of one example (document) by language; taken as equal where none is stated.
    name : str
        What the mixture is called in comments.

    Raises
    ------
    InputError
        For ratios that are no mixture, unknown languages, numbers out of range, and names that do not print.
    """

    ratios: ByName = Converted(RATIO.by_name)
    budget: float | None = None
    supply: ByName = Converted(TOKENS.by_name, FrozenMap({}))
    paths: Converted[Mapping[str, str], FrozenMap[str]] = Converted(
        lambda paths, of: FrozenMap({name: str(path) for name, path in paths.items()}), FrozenMap({})
    )
    mean_tokens: ByName = Converted(TOKENS.by_name, FrozenMap({}))
    name: str = "mixture"

    def __post_init__(self) -> None:
        for language, ratio in self.ratios.items():
            check_name(language, "the name of a language")
            if not 0 <= ratio <= 1:
                raise InputError(f"the ratio of '{language}' is {ratio:g}; a ratio lies in [0, 1]")
        total = math.fsum(self.ratios.values())
        if abs(total - 1) > 1e-9:
            raise InputError(f"the ratios sum to {total:.10g}; they must sum to 1")
        if self.budget is not None and not 0 < self.budget < math.inf:
            raise InputError(f"the budget is {self.budget:g}; it must be a positive number of tokens")
        for what, known in (("supply", self.supply), ("path", self.paths), ("mean number of tokens", self.mean_tokens)):
            refuse_unknown(f"language with a {what}", known, self.ratios)
        for language, mean in self.mean_tokens.items():
            if not mean > 0:
                raise InputError(f"the mean number of tokens of '{language}' is {mean:g}; it must be positive")
        if missing := [name for name in self.ratios if self.mean_tokens and name not in self.mean_tokens]:
            raise InputError(f"there is no mean number of tokens of {listed(missing)}; state that of every language")
        for language, path in self.paths.items():
            if not path or not path.isprintable():
                raise InputError(f"the path of '{language}' is {path!r}; a path is text that prints")


def rounded(shares: Iterable[float], digits: int) -> list[int]:
    """Return shares in units of 10^-digits whose sum is exactly 1, by the method of largest remainders.

    Parameters
    ----------
    shares : iterable of float
        0 or more, of any positive sum.
    digits : int

    Examples
    --------
    >>> rounded([2, 1, 1e-9], 3)
    [667, 333, 0]
    """
    exact = [Fraction(share) for share in shares]  # in floats a sum of floors could exceed the whole
    exact = [share * 10**digits / sum(exact) for share in exact]
    units = [math.floor(share) for share in exact]
    # Largest remainders first: they are nearest to the next unit.
    by_remainder = sorted(range(len(units)), key=lambda i: units[i] - exact[i])
    for i in by_remainder[: 10**digits - sum(units)]:
        units[i] += 1
    return units
