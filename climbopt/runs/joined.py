"""Pilots of several tables as one, also where the sources changed in between: added, renamed, merged, split, removed.

A map says what became of each earlier language: shares of later ones. With ratio r_i of an earlier run and share s_ij
of language i that is now in j, the run's ratio of j is sum_i s_ij r_i. A loss is that of the later language only where
that is one earlier language, whole; merged and split ones are measured on other texts, and their losses are missing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from climbopt.foundations.errors import InputError, listed, refuse_unknown
from climbopt.runs.pilots import PilotRuns

if TYPE_CHECKING:
    pass

SUM_TOLERANCE = 1e-6
"""Largest deviation of a language's sum of shares from 1."""

SourceMap = Mapping[str, Mapping[str, float]]
"""By earlier language, the share of it that is in each later one; empty for a language that was removed."""


@dataclass(frozen=True)
class Joined:
    """Pilots of several tables.

    Parameters
    ----------
    runs : PilotRuns
        Of the languages of today.
    notes : tuple of str
        What could be used of each earlier table, and what is left to plan.
    unknown : tuple of str
        Languages of today that some earlier table does not hold, or does not measure: runs are to be planned for these.
    """

    runs: PilotRuns
    notes: tuple[str, ...]
    unknown: tuple[str, ...] = ()


def join_pilots(
    first: tuple[str, PilotRuns] | None,
    others: Sequence[tuple[str, PilotRuns]],
    by_source: SourceMap,
    languages: Sequence[str] = (),
) -> Joined:
    """Return the runs of several tables as runs of the languages of today.

    Parameters
    ----------
    first : (str, PilotRuns)
        Name and runs of the table whose languages are those of today; None before its first run.
    others : sequence of (str, PilotRuns)
        Names and runs of earlier tables.
    by_source : SourceMap
        What became of earlier languages; those that are not named are as they were.
    languages : sequence of str
        Of today, beside those of the first table.

    Raises
    ------
    InputError
        For an earlier language that is unknown today and not in the map, shares that do not sum to 1, and tables of
        which only some state model sizes or supplies.

    Examples
    --------
    >>> runs = PilotRuns(("a",), ("en", "de"), ("en",), np.array([[0.5, 0.5]]), np.array([1e9]), np.array([[2.0]]))
    >>> old = PilotRuns(("b",), ("en", "gsw"), ("en",), np.array([[0.9, 0.1]]), np.array([1e9]), np.array([[1.9]]))
    >>> joined = join_pilots(("new", runs), [("old", old)], {"gsw": {"de": 1.0}})
    >>> joined.runs.ratios.tolist(), joined.notes
    ([[0.5, 0.5], [0.9, 0.1]], ('old: 1 of 1 runs used',))
    """
    import pandas as pd

    of_today = () if first is None else first[1].languages
    names = tuple(dict.fromkeys([*of_today, *languages]))
    _check_map(by_source, names, [language for _, other in others for language in other.languages])
    name, runs = others[0] if first is None else first
    tables = [] if first is None else [runs.to_frame()]
    notes, unknown, taken = [], set[str](), set[str]() if first is None else set(runs.runs)
    for title, other in others:
        for what in ("params", "supply"):
            if (getattr(other, what) is None) != (getattr(runs, what) is None):
                raise InputError(f"only one of {name} and {title} states '{what}' of its runs; state it in both")
        mapped = _mapped(title, other, names, by_source, taken)
        if mapped.runs:
            tables.append(mapped.to_frame())
            taken |= set(mapped.runs)
        without = [name for name, column in zip(names, mapped.ratios.T, strict=True) if not column.any()]
        wanted = names if first is None else runs.targets
        measured = dict(zip(mapped.targets, np.isfinite(mapped.losses).T, strict=True))
        unmeasured = [target for target in wanted if not measured[target].any()]
        notes.append(_note(title, mapped, other, _removed(other, by_source), without, unmeasured))
        unknown |= {*without, *unmeasured}
    if not tables:
        raise InputError(f"no run of {listed([title for title, _ in others], ' and ')} can be used; {'; '.join(notes)}")
    together = PilotRuns.from_frame(pd.concat(tables, ignore_index=True), missing="drop")
    missing = () if first is None else runs.missing
    return Joined(replace(together, missing=missing), tuple(notes), tuple(name for name in names if name in unknown))


def _check_map(by_source: SourceMap, languages: Sequence[str], earlier: Sequence[str]) -> None:
    """Refuse unknown languages, and shares that are none or do not sum to 1."""
    refuse_unknown("earlier language in the map", by_source, dict.fromkeys(earlier))
    for source, shares in by_source.items():
        refuse_unknown(f"language that '{source}' is mapped to", shares, languages)
        for target, share in shares.items():
            if not 0 < share <= 1:
                raise InputError(f"the share of '{source}' in '{target}' is {share:g}; a share lies above 0, up to 1")
        total = sum(shares.values())
        if shares and abs(total - 1) > SUM_TOLERANCE:
            raise InputError(f"the shares of '{source}' sum to {total:g}; they must sum to 1")


def _removed(runs: PilotRuns, by_source: SourceMap) -> list[str]:
    """Return the languages of a table that became none of today's."""
    return [source for source in runs.languages if not by_source.get(source, {source: 1.0})]


def _mapped(
    title: str, runs: PilotRuns, languages: tuple[str, ...], by_source: SourceMap, taken: Collection[str]
) -> PilotRuns:
    """Return the runs of a table that can be used, over the languages of today, titled where names are taken."""
    earlier = runs.languages
    # Row i of the shares says where language i went: ratios of today are r @ shares.
    shares = np.zeros((len(earlier), len(languages)))
    for i, source in enumerate(earlier):
        if source not in by_source and source not in languages:
            raise InputError(
                f"'{source}' of {title} is no language of today; add to the map what became of it: '{source},NEW' "
                "(renamed or merged), a row per part with its share (split), or no NEW (removed)"
            )
        for target, share in by_source.get(source, {source: 1.0}).items():
            shares[i, languages.index(target)] = share
    ratios = runs.ratios_of(earlier)
    # A run that drew from a language that was removed was trained on what no mixture of today is.
    usable = ~(runs.ratios_of(_removed(runs, by_source)) > 0).any(axis=1)
    losses = np.full((len(runs.runs), len(languages)), np.nan)
    for j in range(len(languages)):
        parts = np.flatnonzero(shares[:, j])
        # Column j comes from one earlier language, whole: its texts, and so its losses, are the same.
        if len(parts) == 1 and shares[parts[0], j] == 1 and earlier[parts[0]] in runs.targets:
            losses[:, j] = runs.losses[:, runs.targets.index(earlier[parts[0]])]
    usable &= np.isfinite(losses).any(axis=1)
    known = runs.supply_of(earlier)
    return PilotRuns(
        tuple(f"{title}: {runs.runs[k]}" if runs.runs[k] in taken else runs.runs[k] for k in np.flatnonzero(usable)),
        languages,
        languages,
        (ratios @ shares)[usable],
        runs.tokens[usable],
        losses[usable],
        None if runs.params is None else runs.params[usable],
        supply=None if known is None else (np.nan_to_num(known) @ shares)[usable],
    )


def _note(
    title: str,
    mapped: PilotRuns,
    runs: PilotRuns,
    removed: Sequence[str],
    without: Sequence[str],
    unmeasured: Sequence[str],
) -> str:
    """Return what could be used of a table, and which languages none of its runs holds or measures."""
    parts = [f"{title}: {len(mapped.runs)} of {len(runs.runs)} runs used"]
    if len(mapped.runs) < len(runs.runs):
        parts.append(f"left out are those with {listed(removed)}" if removed else "the others have no loss of today")
    parts += [f"none holds {listed(without)}"] if without else []
    parts += [f"none measures {listed(unmeasured)}"] if unmeasured else []
    return "; ".join(parts)
