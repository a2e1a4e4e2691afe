"""Pilots of several tables as one, also where the sources changed in between: added, renamed, merged, split, removed.

A map says what became of each earlier language: shares of later ones. With ratio r_i of an earlier run and share s_ij
of language i that is now in j, the run's ratio of j is sum_i s_ij r_i. A loss is that of the later language only where
that is one earlier language, whole; merged and split ones are measured on other texts, and their losses are missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from climbopt.foundations.errors import InputError, listed, unknown_name
from climbopt.runs.pilots import Array, PilotRuns

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
        Of the languages of the first table.
    notes : tuple of str
        What could be used of each further table, and what is left to plan.
    """

    runs: PilotRuns
    notes: tuple[str, ...]


def join_pilots(first: tuple[str, PilotRuns], others: Sequence[tuple[str, PilotRuns]], by_source: SourceMap) -> Joined:
    """Return the runs of several tables as runs of the first one's languages.

    Parameters
    ----------
    first : (str, PilotRuns)
        Name and runs of the table whose languages are those of today.
    others : sequence of (str, PilotRuns)
        Names and runs of earlier tables.
    by_source : SourceMap
        What became of earlier languages; those that are not named are as they were.

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

    name, runs = first
    languages = tuple(dict.fromkeys([*runs.sources, *runs.targets]))
    _check_map(by_source, languages, [language for _, other in others for language in _languages(other)])
    tables, notes, taken = [runs.to_frame()], [], set(runs.runs)
    for title, other in others:
        for what in ("params", "supply"):
            if (getattr(other, what) is None) != (getattr(runs, what) is None):
                raise InputError(f"only one of {name} and {title} states '{what}' of its runs; state it in both")
        mapped, note = _mapped(title, other, languages, by_source)
        table = mapped.to_frame()
        clashing = table["run"].isin(taken)
        table["run"] = table["run"].where(~clashing, title + ": " + table["run"].astype(str))
        taken |= set(table["run"])
        tables.append(table)
        unmeasured = [target for target in runs.targets if np.isnan(_losses_of(mapped, target)).all()]
        notes.append(note + (f"; none measures {listed(unmeasured)}: plan runs for it" if unmeasured else ""))
    together = PilotRuns.from_frame(pd.concat(tables, ignore_index=True), missing="drop")
    return Joined(replace(together, missing=runs.missing), tuple(notes))


def _languages(runs: PilotRuns) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*runs.sources, *runs.targets]))


def _losses_of(runs: PilotRuns, target: str) -> Array:
    """Return the losses of a target in every run, (n,)."""
    return runs.losses[:, runs.targets.index(target)]


def _check_map(by_source: SourceMap, languages: Sequence[str], earlier: Sequence[str]) -> None:
    """Refuse unknown languages, and shares that are none or do not sum to 1."""
    for source, shares in by_source.items():
        if source not in earlier:
            raise unknown_name("earlier language in the map", source, dict.fromkeys(earlier))
        for target, share in shares.items():
            if target not in languages:
                raise unknown_name(f"language that '{source}' is mapped to", target, languages)
            if not 0 < share <= 1:
                raise InputError(f"the share of '{source}' in '{target}' is {share:g}; a share lies above 0, up to 1")
        total = sum(shares.values())
        if shares and abs(total - 1) > SUM_TOLERANCE:
            raise InputError(f"the shares of '{source}' sum to {total:g}; they must sum to 1")


def _mapped(title: str, runs: PilotRuns, languages: tuple[str, ...], by_source: SourceMap) -> tuple[PilotRuns, str]:
    """Return the runs of a table that can be used, over the languages of today, and a line that says so."""
    earlier = _languages(runs)
    shares = np.zeros((len(earlier), len(languages)))
    for i, source in enumerate(earlier):
        if source not in by_source and source not in languages:
            raise InputError(
                f"'{source}' of {title} is no language of today; add to the map what became of it: '{source},NEW' "
                "(renamed or merged), a row per part with its share (split), or no NEW (removed)"
            )
        for target, share in by_source.get(source, {source: 1.0}).items():
            shares[i, languages.index(target)] = share
    removed = [source for i, source in enumerate(earlier) if not shares[i].any()]
    ratios = runs.ratios_of(earlier)
    usable = ~(runs.ratios_of(removed) > 0).any(axis=1)
    losses = np.full((len(runs.runs), len(languages)), np.nan)
    for j in range(len(languages)):
        parts = np.flatnonzero(shares[:, j])
        if len(parts) == 1 and shares[parts[0], j] == 1 and earlier[parts[0]] in runs.targets:
            losses[:, j] = runs.losses[:, runs.targets.index(earlier[parts[0]])]
    usable &= np.isfinite(losses).any(axis=1)
    known = runs.supply_of(earlier)
    mapped = PilotRuns(
        tuple(np.array(runs.runs)[usable].tolist()),
        languages,
        languages,
        (ratios @ shares)[usable],
        runs.tokens[usable],
        losses[usable],
        None if runs.params is None else runs.params[usable],
        supply=None if known is None else (np.nan_to_num(known) @ shares)[usable],
    )
    return mapped, _note(title, mapped, len(runs.runs), removed)


def _note(title: str, mapped: PilotRuns, n: int, removed: Sequence[str]) -> str:
    """Return what could be used of a table, and which languages none of its runs holds."""
    parts = [f"{title}: {len(mapped.runs)} of {n} runs used"]
    if len(mapped.runs) < n:
        parts.append(f"left out are those with {listed(removed)}" if removed else "the others have no loss of today")
    never = [name for name, column in zip(mapped.sources, mapped.ratios.T, strict=True) if not column.any()]
    if never:
        parts.append(f"none holds {listed(never)}")
    return "; ".join(parts)
