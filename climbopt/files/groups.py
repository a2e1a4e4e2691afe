"""Columns of one kind in wide tables: ratios and losses, whose names share a pattern with one * for the language."""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from climbopt.files.columns import Columns, Layout
from climbopt.foundations.errors import InputError, listed, shown
from climbopt.foundations.names import check_name
from climbopt.runs.pilots import RATIO_SUM_TOLERANCE
from climbopt.runs.tidy_table import Array, numbers

TOTALS = frozenset("mean avg average total overall macro all".split())
"""What names a summary of losses, and no language."""
SUMS = ((1.0, RATIO_SUM_TOLERANCE, ""), (100.0, 0.5, " in per cent"))
"""What the ratios of a run sum to, the tolerance, and how notes state it."""
IN_TOKENS = " in tokens"
_OTHER = re.compile(r"(?<![a-z])(ppl|perplexity|acc|accuracy|score|f1)(?![a-z])")
"""Words in the names of measures that are no losses."""
BETWEEN_WORDS = frozenset(" _-./\\:|,;")
"""Characters that join the words of a column's name, so that no language's name begins or ends with them."""
BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"), ("<", ">"))
MOST_ODD = 0.1
"""Share of runs whose ratios may have another sum; such a run is refused by its name later."""


class ColumnGroup(NamedTuple):
    """Columns of one pattern, with the language of each, and what the pattern's numbers are."""

    pattern: str
    languages: Mapping[str, str]
    kind: str = ""

    @property
    def key(self) -> frozenset[str]:
        """The names of the columns."""
        return frozenset(self.languages)


def near(sums: Array, total: float, tolerance: float) -> bool:
    """Return whether nearly all sums are near a total."""
    return bool(sums.size) and float(np.mean(~(np.abs(sums - total) <= tolerance))) <= MOST_ODD


def _patterns(columns: Sequence[str], least: int) -> list[ColumnGroup]:
    """Return each pattern that cuts names at separators and fits at least `least` columns, the widest first."""
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for column in columns:
        # A language's name begins and ends at a separator, so that train_* fits train_en but not trainen.
        starts = [0] + [k + 1 for k, c in enumerate(column[:-1]) if not c.isalnum()]
        ends = [k for k, c in enumerate(column) if k and not c.isalnum()] + [len(column)]
        for start, end in product(starts, ends):
            whole = end - start == len(column)  # whose ends may be any character: Gutenberg (PG-19)
            if whole or _may_name(column[start:end]):
                groups.setdefault((column[:start], column[end:]), {})[column] = column[start:end]
    wide = [
        ColumnGroup(f"{before}*{after}", names)
        for (before, after), names in groups.items()
        if "*" not in before + after and len(names) >= least
    ]
    # Of patterns with the same columns the longest first, which leaves the shortest names.
    return sorted(wide, key=lambda group: (-len(group.languages), -len(group.pattern)))


def _may_name(text: str) -> bool:
    """Return whether a part of a column's name may be a language's, as C++ and English (web), but not (web."""
    closed = all(text.count(opening) == text.count(closing) for opening, closing in BRACKETS)
    return closed and any(map(str.isalnum, text)) and not BETWEEN_WORDS & {text[0], text[-1]}


def _stated(columns: Sequence[str], pattern: str, title: str) -> ColumnGroup:
    """Return the columns of a pattern that the user states."""
    before, after = pattern.split("*")
    fits = {
        column: column[len(before) : len(column) - len(after)]
        for column in columns
        if column.startswith(before) and column.endswith(after) and len(column) > len(before) + len(after)
    }
    if not fits:
        raise InputError(f"no column of {title} fits '{shown(pattern)}'; they are {listed(list(map(shown, columns)))}")
    return ColumnGroup(pattern, fits)


def named_group(group: ColumnGroup, named: Mapping[str, str], title: str) -> ColumnGroup:
    """Return a group with the columns that the user names one by one; refuse names that are unsound or stand twice."""
    group = group._replace(languages={**group.languages, **named})
    names = list(group.languages.values())
    for column, name in group.languages.items():
        check_name(name, f"the language of column '{shown(column)}' of {title}")
        if names.count(name) > 1:
            raise InputError(f"two columns of {title} stand for '{name}'; drop or name one of them")
    return group


def ratio_group(columns: Columns, layout: Layout) -> ColumnGroup:
    """Return the columns of ratios: those of one pattern that sum to 1, to 100 or to the tokens of each run."""
    values = {column: numbers(columns.table[column].rename("ratio")) for column in columns.per_language()}
    usable = [column for column, array in values.items() if np.isfinite(array).any() and np.nanmin(array) >= 0]
    budgets = columns.counts("tokens", layout.tokens)
    if layout.ratios:
        stated = _stated(columns.per_language(), layout.ratios, columns.title)
        return stated._replace(kind=_sum_kind(stated, values, budgets) or "")  # an odd run is named later
    fitting: list[ColumnGroup] = []
    patterns = _patterns(usable, least=2)
    # Ratios may bear the languages' bare names, beside losses of a pattern of their own.
    bare = [{c: c for c in usable if c not in group.key} for group in patterns if group.pattern != "*"]
    for group in [*patterns, *(ColumnGroup("*", names) for names in bare if len(names) > 1)]:
        kind = _sum_kind(group, values, budgets)
        if kind is None:  # a column beside the ratios may be their mean
            group = _without_totals(group)
            kind = _sum_kind(group, values, budgets) if len(group.languages) > 1 else None
        # A pattern inside a wider one that fits already is no reading of its own.
        if kind is not None and not any(group.key <= other.key or other.key <= group.key for other in fitting):
            fitting.append(named_group(group._replace(kind=kind), {}, columns.title))
    if not fitting:
        raise InputError(
            f"no columns of {columns.title} are ratios: none whose names share a pattern sum to 1, to 100 or to the "
            f"tokens of a run; the columns are {columns.shown}. A tidy table has run, tokens, language, ratio, loss; "
            "of a wide one state --ratio-columns and --loss-columns, each with one * for the language"
        )
    if len(fitting) > 1:
        readings = [f"--ratio-columns {shlex.quote(shown(group.pattern))}" for group in fitting]
        raise InputError(f"several groups of columns may be the ratios; add {' or '.join(readings)}")
    return fitting[0]


def _sum_kind(group: ColumnGroup, values: Mapping[str, Array], budgets: Array | None) -> str | None:
    """Return the unit of a group's columns as shares of a run, as notes state it; None where they are no shares."""
    sums: Array = np.sum([values[column] for column in group.languages], axis=0)
    whole = np.isfinite(sums)
    for total, tolerance, kind in SUMS:
        if near(sums[whole], total, tolerance):
            return kind
    if budgets is not None:
        with np.errstate(divide="ignore", invalid="ignore"):  # a budget of 0 or infinity is refused by its run later
            shares = sums[whole] / budgets[whole]
        return IN_TOKENS if near(shares, 1.0, RATIO_SUM_TOLERANCE) else None
    return IN_TOKENS if "token" in group.pattern.casefold() else None


def loss_group(
    columns: Columns, taken: frozenset[str], layout: Layout, mixed: ColumnGroup, *, needed: bool = True
) -> ColumnGroup | None:
    """Return the columns of losses: those of the pattern that names the most of the sources.

    Where there are none, they are refused if they are needed, and None otherwise.
    """
    candidates = columns.per_language(taken)
    named = {column: name for column, name in layout.by_column.items() if column in candidates}
    if layout.losses:
        return named_group(_stated(candidates, layout.losses, columns.title), named, columns.title)
    values = {column: numbers(columns.table[column].rename("loss")) for column in candidates}
    usable = [column for column, array in values.items() if np.isfinite(array).any() and np.nanmin(array) > 0]
    sources = {name for same in _same_columns(mixed) for name in same.languages.values()}
    groups = [(len(sources & set(group.languages.values())), group) for group in _patterns(usable, least=1)]
    # Losses are recognised by their languages: those that the ratios name too.
    most = max((shared for shared, _ in groups), default=0)
    best: list[ColumnGroup] = []
    for shared, group in groups:
        if shared == most > 0 and not any(group.key & other.key for other in best):
            best.append(group)
    # Names that say loss go before others of as many languages, such as a count of their documents.
    best = [group for group in best if re.search("loss|nll|entropy", group.pattern.casefold())] or best
    for group in best:
        if _OTHER.search(group.pattern.casefold()):
            raise InputError(
                f"columns {shlex.quote(shown(group.pattern))} of {columns.title} look like no losses, which are nats "
                "per token: of a perplexity write the logarithm; or state --loss-columns with one * for the language"
            )
    if not best and not needed:
        return None
    if not best:
        widest = next((f", such as {shlex.quote(shown(group.pattern))}" for group in _patterns(usable, least=2)), "")
        raise InputError(
            f"no columns of {columns.title} are losses of {listed(sorted(mixed.languages.values()))}; state "
            f"--loss-columns with one * for the language{widest}"
        )
    if len(best) > 1:
        readings = [f"--loss-columns {shlex.quote(shown(group.pattern))}" for group in best]
        raise InputError(f"several groups of columns may be the losses; add {' or '.join(readings)}")
    return named_group(_without_totals(best[0], sources), named, columns.title)


def _without_totals(group: ColumnGroup, sources: Collection[str] = ()) -> ColumnGroup:
    """Return a group without summaries, such as loss_avg, unless a source bears that name."""
    return group._replace(
        languages={c: name for c, name in group.languages.items() if name.casefold() not in TOTALS or name in sources}
    )


def _same_columns(group: ColumnGroup) -> list[ColumnGroup]:
    """Return each pattern that fits exactly the columns of a group."""
    return [other for other in _patterns(list(group.languages), least=1) if other.key == group.key] or [group]


def best_named(mixed: ColumnGroup, lost: ColumnGroup, layout: Layout) -> ColumnGroup:
    """Return the columns of ratios under the pattern that shares the most names with the losses."""
    targets = set(lost.languages.values())
    patterns = [mixed] if layout.ratios else _same_columns(mixed)
    best = max(patterns, key=lambda group: (len(targets & set(group.languages.values())), len(group.pattern)))
    return best._replace(kind=mixed.kind)
