"""Layouts of tables of pilot runs: which columns state what, recognised by their names and their numbers.

A table is tidy, one row per run and language, or wide, one row per run with a column for each ratio and each loss, in
one table or in two. Wide columns of one kind share a pattern with one ``*``, which stands for the language.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from climbopt.files.formats import MISSING
from climbopt.files.wide import joined, run_index
from climbopt.foundations.characters import look_alike, quoted, shown
from climbopt.foundations.errors import InputError, listed, unknown_name
from climbopt.foundations.names import check_name
from climbopt.foundations.quantities import TOKENS
from climbopt.runs.pilots import RATIO_SUM_TOLERANCE, Missing
from climbopt.runs.tidy_table import HEADER_ROWS, numbers

if TYPE_CHECKING:
    import pandas as pd

    from climbopt.model.templates import Array

SYNONYMS = {
    "run": "run runname runid name id index experiment",
    "language": "language lang languagecode domain source subset corpus",
    "ratio": "ratio weight share proportion fraction probability prob mixtureweight mixtureratio",
    "loss": "loss valloss validationloss evalloss validloss testloss nll crossentropy",
    "tokens": "tokens traintokens trainingtokens totaltokens ntokens numtokens tokenbudget budget",
    "params": "params nparams modelsize parameters numparams numparameters modelparams",
    "seed": "seed rngseed randomseed",
    "supply": "supply",
}
"""Names of each column of a tidy table, in lower case, letters and digits only."""
_ROLES = {name: role for role, names in SYNONYMS.items() for name in names.split()}
PER_RUN = ("run", "tokens", "params", "seed")
"""What a wide table has one column of."""
TOTALS = frozenset("mean avg average total overall macro all".split())
"""What names a summary of losses, and no language."""
SUMS = ((1.0, RATIO_SUM_TOLERANCE, ""), (100.0, 0.5, " in per cent"))
"""What the ratios of a run sum to, the tolerance, and how notes state it."""
IN_TOKENS = " in tokens"
MOST_ODD = 0.1
"""Share of runs whose ratios may have another sum; such a run is refused by its name later."""
_UNIT = re.compile(r"(.+?)[ _.(\[]+(k|m|b|g|t|thousand|million|billion|trillion)s?[)\]]?", re.IGNORECASE)
"""A column's name with the unit of its counts behind it, as in tokens_b."""
_PREFIX = re.compile(r"(config|summary)[./]")
"""What trackers write before the names of settings."""
_OPTIONS = {"run": "--index", "tokens": "--tokens-column", "params": "--params-column"}


@dataclass(frozen=True)
class Layout:
    """What is stated of a table's layout; the rest is recognised.

    Parameters
    ----------
    index, tokens_column, params_column : str, optional
        Columns that name the run and state its tokens and its model size.
    ratios, losses : str, optional
        Patterns of the columns of wide tables, with one ``*``: ``train_*``, ``metric/*_loss``.
    by_column : mapping of str to str
        Language by column, which takes precedence over the pattern.
    tokens, params : float, optional
        Of every run, where the table has no such column.
    ignore : sequence of str
        Columns that are left out, by name or with wildcards.

    Raises
    ------
    InputError
        For a pattern without exactly one ``*``.
    """

    index: str | None = None
    ratios: str | None = None
    losses: str | None = None
    by_column: Mapping[str, str] = field(default_factory=dict)
    tokens_column: str | None = None
    params_column: str | None = None
    tokens: float | None = None
    params: float | None = None
    ignore: Sequence[str] = ()

    def __post_init__(self) -> None:
        for pattern in (self.ratios, self.losses):
            if pattern is not None and pattern.count("*") != 1:
                raise InputError(
                    f"'{pattern}' is no pattern of column names; write one * for the language, as in train_*"
                )


class Reading(NamedTuple):
    """A tidy table, and one line on how its file was interpreted.

    The line is empty for a tidy table under the standard names.
    """

    table: pd.DataFrame
    note: str


class _Group(NamedTuple):
    """Columns of one pattern, with the language of each, and what the pattern's numbers are."""

    pattern: str
    languages: Mapping[str, str]
    kind: str = ""

    @property
    def key(self) -> frozenset[str]:
        return frozenset(self.languages)


class _Columns:
    """The columns of one table, and the roles that their names state."""

    def __init__(self, table: pd.DataFrame, layout: Layout, title: str) -> None:
        self.title = title
        names = list(map(str, table))
        for column in names:
            check_name(column.strip() or column, f"a column of {title}")
        table = table.set_axis(names, axis=1)
        self.ignored = [c for c in names if any(fnmatch.fnmatchcase(c, pattern) for pattern in layout.ignore)]
        self.table, self.names = table.drop(columns=self.ignored), [c for c in names if c not in self.ignored]
        stated = {"run": layout.index, "tokens": layout.tokens_column, "params": layout.params_column}
        self.roles: dict[str, str] = {}
        for role in SYNONYMS:
            if stated.get(role) in self.table:
                self.roles[role] = str(stated[role])
            elif role != "run" or layout.index is None:
                self.roles |= self._named(role, [column for column in stated.values() if column])
        if layout.index is not None and "run" not in self.roles:
            raise InputError(
                f"there is no column '{layout.index}' in {title}, whose columns are {self.shown}; state the column "
                "that names the run (--index)"
            )

    def _named(self, role: str, taken: Sequence[str]) -> dict[str, str]:
        """Return the column whose name states a role, if there is one; two are refused."""
        named = [column for column in self.names if _role(column) == role and column not in taken]
        # The standard name wins over its synonyms.
        exact = [column for column in named if column.casefold() == role]
        candidates = exact or named
        if len(candidates) > 1:
            option = _OPTIONS.get(role)
            remedies = [f"{option or '--ignore'} {shlex.quote(shown(column))}" for column in candidates]
            raise InputError(
                f"columns {listed([quoted(column) for column in candidates], ' and ')} of {self.title} may each be the "
                f"{role}; add {' or '.join(remedies)}"
            )
        return {role: candidates[0]} if candidates else {}

    @property
    def shown(self) -> str:
        """The columns' names as they are shown."""
        return listed([shown(column) for column in self.names])

    def per_language(self, taken: Iterable[str] = ()) -> list[str]:
        """Return the columns that state no property of a run."""
        used = {self.roles[role] for role in PER_RUN if role in self.roles} | set(taken)
        return [column for column in self.names if column not in used and _role(column) not in PER_RUN]

    def counts(self, role: str, stated: float | None) -> Array | None:
        """Return the tokens or params of each row; None where nothing states them.

        A number that is stated too and is another is refused: two budgets would become one.
        """
        if role not in self.roles:
            return None if stated is None else np.full(len(self.table), stated)
        column = self.roles[role]
        values = numbers(self.table[column].rename(role))
        # tokens_b counts in billions; a name that is a role as a whole has no unit.
        unit = None if _plain(column) in _ROLES else _UNIT.fullmatch(column)
        if unit:
            values = values * TOKENS.read(f"1{unit[2][0]}", "the unit")
        differs = values != stated
        if stated is not None and differs.any():
            raise InputError(
                f"--{role} says {stated:g}, and column {quoted(column)} has {values[differs][0]:g}; leave out "
                f"--{role}, or add --ignore {shlex.quote(shown(column))}"
            )
        return values

    def by_run(self, group: _Group, kind: str) -> pd.DataFrame:
        """Return a group's columns as numbers under the names of their languages, by run; text is refused."""
        table = self.table[list(group.languages)].apply(lambda column: numbers(column.rename(kind)))
        for column in table:
            text = table[column].isna() & ~self.table[column].isin(MISSING) & self.table[column].notna()
            if text.any():
                row = int(text.to_numpy().argmax())
                raise InputError(
                    f"column {quoted(str(column))} of {self.title} has {quoted(str(self.table[column].iloc[row]))} in "
                    f"row {row + HEADER_ROWS}, which is no number; write a plain decimal number, with a point"
                )
        return table.set_axis(self.run_names()).rename(columns=dict(group.languages))

    def run_names(self) -> list[str]:
        """Return the name of each row's run: its number where no column names it; with the seed where names repeat."""
        if "run" not in self.roles:
            return [str(number) for number in range(1, len(self.table) + 1)]
        names = run_index(self.table[self.roles["run"]])
        for row, name in enumerate(names):
            check_name(name, f"column '{shown(self.roles['run'])}' of {self.title} in row {row + HEADER_ROWS}")
        if "seed" in self.roles and len(set(names)) < len(names):
            seeds = run_index(self.table[self.roles["seed"]])
            return [f"{name}, seed {seed}" for name, seed in zip(names, seeds, strict=True)]
        return names


def _plain(name: str) -> str:
    """Return the letters and digits of a column's name, without a tracker's prefix, in lower case."""
    return re.sub(r"[^0-9a-z]", "", _PREFIX.sub("", name).casefold())


def _role(column: str) -> str | None:
    """Return the role that a column's name states, with or without a unit behind it."""
    unit = _UNIT.fullmatch(column)
    role = _ROLES.get(_plain(column))
    return role if role or not unit or _ROLES.get(_plain(unit[1])) not in _OPTIONS else _ROLES[_plain(unit[1])]


def understood(
    table: pd.DataFrame,
    layout: Layout | None = None,
    losses: pd.DataFrame | None = None,
    *,
    missing: Missing = "refuse",
) -> Reading:
    """Return a table of pilot runs, or one of ratios and one of losses, as a tidy one.

    Parameters
    ----------
    table, losses : pandas.DataFrame
        Tidy or wide; with `losses`, both are wide.
    layout : Layout, optional
    missing : {"refuse", "drop"}
        As of :meth:`climbopt.PilotRuns.from_frame`.

    Raises
    ------
    InputError
        Where a table has no reading, or two; names both and how to choose.
    """
    layout = layout or Layout()
    every = [str(column) for frame in (table, losses) if frame is not None for column in frame]
    for pattern in layout.ignore:
        if not any(fnmatch.fnmatchcase(column, pattern) for column in every):
            raise unknown_name("column to ignore", pattern, every)
    for column in [*layout.by_column, layout.tokens_column, layout.params_column]:
        if column is not None and column not in every:
            raise unknown_name("column", column, every)
    columns = _Columns(table, layout, "the mixtures" if losses is not None else "the table")
    if losses is not None:
        return _wide(columns, _Columns(losses, layout, "the losses"), layout, missing)
    if "language" in columns.roles and not (layout.ratios or layout.losses):
        return _tidy(columns, layout)
    for name in ("run", "language", "ratio"):
        for column in map(str, table.columns):
            if look_alike(name, column) and column.casefold() != name and _role(column) is None:
                raise InputError(f"column {quoted(column)} is to be called '{name}'; rename it")
    return _wide(columns, columns, layout, missing)


def _tidy(columns: _Columns, layout: Layout) -> Reading:
    """Return a table that has one row per run and language, under the standard names."""
    roles = columns.roles
    table = columns.table[list(roles.values())].rename(columns={column: role for role, column in roles.items()})
    notes = [f"{role} in {quoted(column)}" for role, column in roles.items() if column.casefold() != role]
    for role in ("tokens", "params"):
        values = columns.counts(role, getattr(layout, role))
        if values is not None and not np.isnan(values).any():  # text that is no number is named by its row later
            table[role] = values
    if "run" in roles and "tokens" in roles:
        keys = [table[key].astype(str) for key in ("run", "seed") if key in roles]
        # Tokens that differ within a run are those of each language: their shares are the ratios.
        if "ratio" not in roles and (table.groupby(keys)["tokens"].nunique() > 1).any():
            totals = table.groupby(keys)["tokens"].transform("sum")
            table["ratio"], table["tokens"] = table["tokens"] / totals, totals
            notes.append(f"tokens of each language in {quoted(roles['tokens'])}")
        elif "ratio" in roles:
            ratios = numbers(table["ratio"])
            if _near(table.assign(ratio=ratios).groupby(keys)["ratio"].sum().to_numpy(), *SUMS[1][:2]):
                table["ratio"] = ratios / SUMS[1][0]
                notes.append("ratios in per cent")
    others = [column for column in columns.names if column not in roles.values()]
    return Reading(table, _note("one row per run and language", notes, columns.ignored + others))


def _near(sums: Array, total: float, tolerance: float) -> bool:
    """Return whether nearly all sums are near a total."""
    return bool(sums.size) and float(np.mean(~(np.abs(sums - total) <= tolerance))) <= MOST_ODD


def _note(layout: str, notes: Sequence[str], left_out: Sequence[str]) -> str:
    """Return the description of a reading; empty for a table under the standard names."""
    if not notes and not left_out:
        return ""
    return "read as " + "; ".join(
        [layout, *notes, *([f"left out: {listed([shown(column) for column in left_out])}"] if left_out else [])]
    )


def _wide(mixtures: _Columns, measured: _Columns, layout: Layout, missing: Missing) -> Reading:
    """Return a table with one row per run, or one of ratios and one of losses, as a tidy one."""
    mixed = _ratio_group(mixtures, layout)
    lost = _loss_group(measured, mixed.key if measured is mixtures else frozenset(), layout, mixed)
    taken = mixed.key if measured is mixtures else set(mixtures.per_language())
    mixed = _named(
        _best_named(mixed, lost, layout), {c: n for c, n in layout.by_column.items() if c in taken}, mixtures.title
    )
    if ("run" in mixtures.roles) != ("run" in measured.roles) or (
        "run" not in mixtures.roles and len(mixtures.table) != len(measured.table)
    ):
        raise InputError("a column names the runs in one of the two tables alone; add --index COLUMN")
    amounts, losses = mixtures.by_run(mixed, "ratio"), measured.by_run(lost, "loss")
    totals = amounts.sum(axis=1)
    tokens = mixtures.counts("tokens", layout.tokens)
    if tokens is None and mixed.kind == IN_TOKENS:
        tokens = totals.to_numpy()
    runs = amounts.index.tolist()
    if tokens is None and (of_losses := measured.counts("tokens", None)) is not None:
        # The budget may stand in the table of losses.
        by_run = dict(zip(losses.index, of_losses.tolist(), strict=True))
        tokens = np.array([by_run.get(run, np.nan) for run in runs])
    if tokens is None:
        raise InputError(
            f"no column of {mixtures.title} says how many tokens a run had; add --tokens 5B for all runs, or "
            f"--tokens-column; the columns are {mixtures.shown}"
        )
    divisor = {kind: total for total, _, kind in SUMS}.get(mixed.kind, totals)  # of tokens, each run's own total
    tidy = joined(amounts.div(divisor, axis=0), losses, missing)
    params = mixtures.counts("params", layout.params)
    for role, values in (("tokens", tokens), ("params", params)):
        if values is not None:
            tidy[role] = tidy["run"].map(dict(zip(runs, values.tolist(), strict=True)))
    used = {*mixed.languages, *lost.languages}
    used |= {columns.roles[role] for columns in (mixtures, measured) for role in PER_RUN if role in columns.roles}
    others = [c for each in (mixtures, measured) for c in [*each.ignored, *each.names] if c not in used]
    notes = [
        f"{role} in {quoted(mixtures.roles[role])}"
        for role in PER_RUN
        if mixtures.roles.get(role, role).casefold() != role
    ]
    notes += [f"ratios{mixed.kind} in {quoted(mixed.pattern)}", f"losses in {quoted(lost.pattern)}"]
    return Reading(tidy, _note("one row per run", notes, list(dict.fromkeys(others))))


def _patterns(columns: Sequence[str], least: int) -> list[_Group]:
    """Return each pattern that cuts names at separators and fits at least `least` columns, the widest first."""
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for column in columns:
        # A language's name begins and ends at a separator, so that train_* fits train_en but not trainen.
        starts = [0] + [k + 1 for k, c in enumerate(column[:-1]) if not c.isalnum()]
        ends = [k for k, c in enumerate(column) if k and not c.isalnum()] + [len(column)]
        for start in starts:
            for end in ends:
                if start < end and column[start].isalnum() and column[end - 1].isalnum():
                    groups.setdefault((column[:start], column[end:]), {})[column] = column[start:end]
    named = [_Group(f"{p}*{s}", names) for (p, s), names in groups.items() if "*" not in p + s]
    wide = [group for group in named if len(group.languages) >= least]
    # Of patterns with the same columns the longest first, which leaves the shortest names.
    return sorted(wide, key=lambda group: (-len(group.languages), -len(group.pattern)))


def _stated(columns: Sequence[str], pattern: str, title: str) -> _Group:
    """Return the columns of a pattern that the user states."""
    before, after = pattern.split("*")
    fits = {
        column: column[len(before) : len(column) - len(after)]
        for column in columns
        if column.startswith(before) and column.endswith(after) and len(column) > len(before) + len(after)
    }
    if not fits:
        raise InputError(f"no column of {title} fits '{shown(pattern)}'; they are {listed(list(map(shown, columns)))}")
    return _Group(pattern, fits)


def _named(group: _Group, named: Mapping[str, str], title: str) -> _Group:
    """Return a group with the columns that the user names one by one under these names."""
    return _checked(group._replace(languages={**group.languages, **named}), title)


def _checked(group: _Group, title: str) -> _Group:
    """Return a group whose names of languages are sound and stand once."""
    names = list(group.languages.values())
    for column, name in group.languages.items():
        check_name(name, f"the language of column '{shown(column)}' of {title}")
        if names.count(name) > 1:
            raise InputError(f"two columns of {title} stand for '{name}'; drop or name one of them")
    return group


def _ratio_group(columns: _Columns, layout: Layout) -> _Group:
    """Return the columns of ratios: those of one pattern that sum to 1, to 100 or to the tokens of each run."""
    values = {column: numbers(columns.table[column].rename("ratio")) for column in columns.per_language()}
    usable = [column for column, array in values.items() if np.isfinite(array).any() and np.nanmin(array) >= 0]
    budgets = columns.counts("tokens", layout.tokens)
    if layout.ratios:
        stated = _stated(columns.per_language(), layout.ratios, columns.title)
        return stated._replace(kind=_sum_kind(stated, values, budgets) or "")  # an odd run is named later
    fitting: list[_Group] = []
    patterns = _patterns(usable, least=2)
    # Ratios may bear the languages' bare names, beside losses of a pattern of their own.
    bare = [{c: c for c in usable if c not in group.key} for group in patterns if group.pattern != "*"]
    for group in [*patterns, *(_Group("*", names) for names in bare if len(names) > 1)]:
        kind = _sum_kind(group, values, budgets)
        # A pattern inside a wider one that fits already is no reading of its own.
        if kind is not None and not any(group.key <= other.key or other.key <= group.key for other in fitting):
            fitting.append(_checked(group._replace(kind=kind), columns.title))
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


def _sum_kind(group: _Group, values: Mapping[str, Array], budgets: Array | None) -> str | None:
    """Return the unit of a group's columns as shares of a run, as notes state it; None where they are no shares."""
    sums: Array = np.sum([values[column] for column in group.languages], axis=0)
    whole = np.isfinite(sums)
    for total, tolerance, kind in SUMS:
        if _near(sums[whole], total, tolerance):
            return kind
    if budgets is not None:
        return IN_TOKENS if _near(sums[whole] / budgets[whole], 1.0, RATIO_SUM_TOLERANCE) else None
    return IN_TOKENS if "token" in group.pattern.casefold() else None


def _loss_group(columns: _Columns, taken: frozenset[str], layout: Layout, mixed: _Group) -> _Group:
    """Return the columns of losses: those of the pattern that names the most of the sources."""
    candidates = columns.per_language(taken)
    named = {column: name for column, name in layout.by_column.items() if column in candidates}
    if layout.losses:
        return _named(_stated(candidates, layout.losses, columns.title), named, columns.title)
    values = {column: numbers(columns.table[column].rename("loss")) for column in candidates}
    usable = [column for column, array in values.items() if np.isfinite(array).any() and np.nanmin(array) > 0]
    sources = {name for same in _same_columns(mixed) for name in same.languages.values()}
    groups = [(len(sources & set(group.languages.values())), group) for group in _patterns(usable, least=1)]
    # Losses are recognised by their languages: those that the ratios name too.
    most = max((shared for shared, _ in groups), default=0)
    best: list[_Group] = []
    for shared, group in groups:
        if shared == most > 0 and not any(group.key & other.key for other in best):
            best.append(group)
    best = [group for group in best if re.search("loss|nll|entropy", group.pattern.casefold())] or best
    if not best:
        raise InputError(
            f"no columns of {columns.title} are losses of {listed(sorted(mixed.languages.values()))}; state "
            "--loss-columns with one * for the language"
        )
    if len(best) > 1:
        readings = [f"--loss-columns {shlex.quote(shown(group.pattern))}" for group in best]
        raise InputError(f"several groups of columns may be the losses; add {' or '.join(readings)}")
    # A column such as loss_avg is a summary, unless a source bears that name.
    names = {c: name for c, name in best[0].languages.items() if name.casefold() not in TOTALS - sources}
    return _named(_Group(best[0].pattern, names), named, columns.title)


def _same_columns(group: _Group) -> list[_Group]:
    """Return each pattern that fits exactly the columns of a group."""
    return [other for other in _patterns(list(group.languages), least=1) if other.key == group.key] or [group]


def _best_named(mixed: _Group, lost: _Group, layout: Layout) -> _Group:
    """Return the columns of ratios under the pattern that shares the most names with the losses."""
    targets = set(lost.languages.values())
    patterns = [mixed] if layout.ratios else _same_columns(mixed)
    best = max(patterns, key=lambda group: (len(targets & set(group.languages.values())), len(group.pattern)))
    return best._replace(kind=mixed.kind)
