"""A mixture to be trained on, and the same mixture as a trainer draws it: rounded weights, paths, epochs."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from climbopt.foundations.errors import InputError, listed, refuse_unknown
from climbopt.foundations.frozen import Converted, FrozenMap
from climbopt.foundations.names import check_name
from climbopt.foundations.quantities import RATIO, TOKENS, ByName

DIGITS = 6
"""Decimals of the weights that are written."""
SEED = 42
"""Of the random draws of trainers whose configuration states one."""
MOST_DIGITS = 12
"""Most decimals of a weight: a double represents such weights, and their sum, accurately enough."""


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


@dataclass(frozen=True)
class Source:
    """A language as a trainer draws it.

    Parameters
    ----------
    language : str
    weight : float
        Share of the draws: a decimal fraction, whose sum over the sources is exactly 1.
    ratio : float
        Share of the tokens that follows from the weight.
    path : str
        Where its data lie, or a placeholder.
    tokens : float or None
        Tokens of the run; None where there is no budget.
    epochs : float or None
        Tokens of the run over the supply; None where one of them is unknown.
    """

    language: str
    weight: float
    ratio: float
    path: str
    tokens: float | None
    epochs: float | None


@dataclass(frozen=True)
class Blend:
    """A mixture as one trainer draws it.

    Parameters
    ----------
    sources : tuple of Source
    budget : float or None
        Tokens of the run.
    name : str
        What the mixture is called in comments.
    """

    sources: tuple[Source, ...]
    budget: float | None
    name: str

    @property
    def ratios(self) -> dict[str, float]:
        """Shares of the tokens by language."""
        return {source.language: source.ratio for source in self.sources}


def blended(mixture: Mixture, *, by_example: bool, digits: int = DIGITS, keep_zeros: bool = False) -> Blend:
    """Return a mixture as a trainer draws it: by token, or by example, with weights of `digits` decimals.

    Of n languages with mean tokens m_i per example, examples are drawn in shares proportional to r_i / m_i.

    Examples
    --------
    >>> thirds = Mixture({"en": 1 / 3, "de": 1 / 3, "nl": 1 / 3})
    >>> [source.weight for source in blended(thirds, by_example=False, digits=2).sources]
    [0.34, 0.33, 0.33]
    """
    if not 1 <= digits <= MOST_DIGITS:
        raise InputError(f"the weights have {digits} decimals; 1 to {MOST_DIGITS} are possible")
    mean = {name: mixture.mean_tokens.get(name, 1.0) if by_example else 1.0 for name in mixture.ratios}
    # Tokens in shares r_i are examples in shares r_i / m_i.
    units = rounded([ratio / mean[name] for name, ratio in mixture.ratios.items()], digits)
    drawn = dict(zip(mixture.ratios, units, strict=True))
    # Back to tokens: rounded examples times their mean length.
    total = math.fsum(count * mean[name] for name, count in drawn.items())
    sources = []
    for name, count in drawn.items():
        if count or keep_zeros:
            ratio = count * mean[name] / total
            tokens = None if mixture.budget is None else ratio * mixture.budget
            sources.append(
                Source(
                    name,
                    count / 10**digits,
                    ratio,
                    mixture.paths.get(name, f"PATH_OF_{name}"),
                    tokens,
                    _epochs(tokens, mixture, name),
                )
            )
    return Blend(tuple(sources), mixture.budget, mixture.name)


def _epochs(tokens: float | None, mixture: Mixture, language: str) -> float | None:
    """Return tokens over supply, or None where one of them is unknown; a language without data has no epochs."""
    supply = mixture.supply.get(language)
    if tokens is None or supply is None:
        return None
    if not supply and tokens:
        raise InputError(f"the supply of '{language}' is 0, and its ratio is positive; mend one of them")
    return tokens / supply if supply else 0.0


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
