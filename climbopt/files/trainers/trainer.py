"""A mixture as a trainer draws it (rounded weights, paths, epochs), and the file in the trainer's own format.

Texts in JSON and YAML are written by libraries, so that no name in them can be more than text.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from climbopt.files.trainers.training_mixture import Mixture, rounded
from climbopt.foundations.errors import InputError, listed, shown

SEQUENCE = 4096
"""Tokens of one training sequence, where nothing else is stated."""
DIGITS = 6
"""Decimals of the weights that are written."""
SEED = 42
"""Of the random draws of trainers whose configuration states one."""
MOST_DIGITS = 12
"""Most decimals of a weight: a double represents such weights, and their sum, accurately enough."""


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


Write = Callable[[Blend], str]
"""Returns the text of a file; raises InputError for a name or path that the format cannot hold."""


@dataclass(frozen=True)
class Exported:
    """A mixture in a trainer's own format.

    Parameters
    ----------
    text : str
        Of the file.
    blend : Blend
        What the trainer draws.
    notes : tuple of str
        What is to be known before the run: what was left out, what is repeated.
    placeholders : tuple of str
        Languages for whose paths a placeholder stands.
    """

    text: str
    blend: Blend
    notes: tuple[str, ...]
    placeholders: tuple[str, ...]


def notes_of(exported: Sequence[Exported]) -> dict[str, int]:
    """Return what is to be known of several exported mixtures, with the number of them that say it."""
    names = dict.fromkeys(name for each in exported for name in each.placeholders)
    # Notes that all runs share are said once, with their number.
    notes = Counter(note for each in exported for note in each.notes)
    if not names:
        return notes
    return {
        f"placeholders stand for the paths of {listed(list(names))}; replace them, or state --paths FILE": len(
            exported
        ),
        **notes,
    }


@dataclass(frozen=True)
class Trainer:
    """A format that a trainer reads.

    Parameters
    ----------
    name : str
        On the command line.
    package : str
        What it is for, and which of its options or classes reads the file.
    formats : mapping of str to callable
        By suffix of the file: the text of a blend. The first is the default.
    by_example : bool
        Whether the trainer draws examples, which differ in length, instead of sequences of equal length.
    keeps_zeros : bool
        Whether sources with ratio 0 are written; trainers would refuse them, or draw from them nonetheless.
    repetition : str
        What the trainer does past the end of a source's data.
    remark : str
        What is to be done beside the file.
    stages : callable, optional
        Returns the text of several stages, by their first training steps, where one file holds them.
    """

    name: str
    package: str
    formats: Mapping[str, Write]
    by_example: bool = False
    keeps_zeros: bool = False
    repetition: str = ""
    remark: str = ""
    stages: Callable[[Mapping[int, Blend]], str] | None = None

    @property
    def suffix(self) -> str:
        """Suffix of the default format."""
        return next(iter(self.formats))

    def write(self, suffix: str = "") -> Write:
        """Return what writes the format of a suffix; raises InputError where the trainer does not read it."""
        if (suffix or self.suffix) not in self.formats:
            raise InputError(f"{self.name} reads no '*{shown(suffix)}'; call the file *{' or *'.join(self.formats)}")
        return self.formats[suffix or self.suffix]

    def export(
        self, mixture: Mixture, suffix: str = "", *, digits: int = DIGITS, sequence_length: float = SEQUENCE
    ) -> Exported:
        """Return a mixture in the trainer's own format.

        Parameters
        ----------
        mixture : Mixture
        suffix : str
            Of the file's name, which selects the format; by default the trainer's first.
        digits : int
            Decimals of the weights; their sum is exactly 1.
        sequence_length : float
            Tokens of one sequence, below which a source is hardly ever drawn.

        Raises
        ------
        InputError
            For a suffix that the trainer does not read, and a name or path that its format cannot hold.
        """
        blend = self._blend(mixture, digits)
        return self._exported(self.write(suffix)(blend), mixture, blend, digits, sequence_length)

    def export_stages(
        self, stages: Mapping[int, Mixture], *, digits: int = DIGITS, sequence_length: float = SEQUENCE
    ) -> tuple[Exported, ...]:
        """Return the stages of a schedule, each with the text of the one file that holds them all.

        Parameters
        ----------
        stages : mapping of int to Mixture
            By their first training steps, counted from 1, in order.
        digits, sequence_length
            As of :meth:`export`.

        Raises
        ------
        InputError
            Where the trainer's file holds one mixture.
        """
        if self.stages is None:
            raise InputError(f"a file of {self.name} holds one mixture; name a stage by --stage N")
        blends = {step: self._blend(mixture, digits) for step, mixture in stages.items()}
        text = self.stages(blends)
        return tuple(
            self._exported(text, mixture, blend, digits, sequence_length)
            for mixture, blend in zip(stages.values(), blends.values(), strict=True)
        )

    def _exported(self, text: str, mixture: Mixture, blend: Blend, digits: int, sequence_length: float) -> Exported:
        """Return a text with what is to be known of it; formats that keep zeros hold no paths."""
        without = [s.language for s in blend.sources if s.weight and s.language not in mixture.paths]
        return Exported(
            text,
            blend,
            notes=tuple(self._notes(mixture, blend, digits, sequence_length)),
            placeholders=() if self.keeps_zeros else tuple(without),
        )

    def _blend(self, mixture: Mixture, digits: int) -> Blend:
        """Return what the trainer draws of a mixture."""
        return blended(mixture, by_example=self.by_example, digits=digits, keep_zeros=self.keeps_zeros)

    def _notes(self, mixture: Mixture, blend: Blend, digits: int, sequence_length: float) -> Iterator[str]:
        """Yield what is to be known before the run."""
        if self.remark:
            yield self.remark
        # Formats that keep zeros list sources that are never drawn.
        drawn = {source.language: source for source in blend.sources if source.weight}
        if not self.keeps_zeros and (zeros := [name for name, ratio in mixture.ratios.items() if not ratio]):
            yield f"left out, with ratio 0: {listed(zeros)}"
        # A positive ratio whose weight was rounded to 0.
        if lost := [name for name, ratio in mixture.ratios.items() if ratio and name not in drawn]:
            largest = max(mixture.ratios[name] for name in lost)
            yield (
                f"{listed(lost)}: at {digits} decimals the weight is 0 (the ratio at most {largest:.1e}); "
                "--digits states more"
            )
        if self.by_example and not mixture.mean_tokens:
            yield (
                "the trainer draws examples; they are taken to have equally many tokens in every language, which holds "
                "of packed sequences; --mean-tokens FILE states others"
            )
        # Sources that draw less than a sequence may never come up in a run.
        if short := [name for name, s in drawn.items() if s.tokens is not None and s.tokens < sequence_length]:
            yield f"fewer tokens than one sequence of {sequence_length:g}: {listed(short)}; the trainer may draw none"
        if repeated := [f"{name} {s.epochs:.3g} times" for name, s in drawn.items() if (s.epochs or 0) > 1]:
            yield f"drawn more than once: {listed(repeated)}" + (f"; {self.repetition}" if self.repetition else "")


def json_text(content: Any) -> str:
    """Return a value as JSON."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def yaml_text(blend: Blend, content: Any, *comments: str) -> str:
    """Return a value as YAML, after comments that say what it is."""
    budget = "" if blend.budget is None else f", {blend.budget:g} tokens"
    heading = f"{blend.name}, written by climbopt export: {len(blend.sources)} sources{budget}"
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return "".join(f"# {shown(line)}\n" for line in (heading, *comments)) + text


def omegaconf_text(blend: Blend, content: Any, *comments: str) -> str:
    """Return a value as YAML for a trainer that reads it by OmegaConf, which evaluates ${...} in every text."""
    for source in blend.sources:
        for what, text in (("name", source.language), ("path", source.path)):
            # In a name as in a path: both are values of the file.
            if "${" in text:
                raise InputError(f"the {what} {shown(text)!r} holds '${{', which OmegaConf would evaluate; change it")
    return yaml_text(blend, content, *comments)
