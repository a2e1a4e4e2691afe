"""Layouts of tables of pilot runs, recognised by the names and the numbers of their columns, as one tidy table.

A table is tidy, one row per run and language, or wide, one row per run with a column for each ratio and each loss, in
one table or in two.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from climbopt.files.column_names import PER_RUN, role_of
from climbopt.files.columns import Columns, Layout, at_budget, refuse_summary
from climbopt.files.groups import IN_TOKENS, SUMS, ColumnGroup, best_named, loss_group, named_group, near, ratio_group
from climbopt.foundations.errors import InputError, listed, look_alike, quoted, refuse_unknown, shown, unknown_name
from climbopt.runs.pilots import Missing
from climbopt.runs.tidy_table import numbers

if TYPE_CHECKING:
    import pandas as pd


SEVERAL = "a run at several budgets as several runs"
"""How notes state that names of runs repeat."""


class Reading(NamedTuple):
    """A tidy table, and one line on how its file was interpreted.

    The line is empty for a tidy table under the standard names.
    """

    table: pd.DataFrame
    note: str


def understood(
    table: pd.DataFrame,
    layout: Layout | None = None,
    losses: pd.DataFrame | None = None,
    *,
    missing: Missing = "refuse",
    need_losses: bool = True,
) -> Reading:
    """Return a table of pilot runs, or one of ratios and one of losses, as a tidy one.

    Parameters
    ----------
    table, losses : pandas.DataFrame
        Tidy or wide; with `losses`, both are wide.
    layout : Layout, optional
    missing : {"refuse", "drop"}
        As of :meth:`climbopt.PilotRuns.from_frame`.
    need_losses : bool
        Whether a wide table without columns of losses is refused, or has none.

    Raises
    ------
    InputError
        Where a table has no reading, or two; names both and how to choose.
    """
    layout = layout or Layout()
    columns = Columns(table, layout, "the mixtures" if losses is not None else "the table")
    measured = None if losses is None else Columns(losses, layout, "the losses")
    every = [name for each in (columns, measured) if each is not None for name in (*each.ignored, *each.names)]
    # A pattern that fits no column is a slip: what it was to leave out would stay in.
    for pattern in layout.ignore:
        if not any(fnmatch.fnmatchcase(column, pattern) for column in every):
            raise unknown_name("column to ignore", pattern, every)
    stated = [*layout.by_column, layout.tokens_column, layout.params_column]
    refuse_unknown("column", [column for column in stated if column is not None], every)
    if measured is not None:
        return _two_tables(columns, measured, layout, missing)
    if "language" in columns.roles and not (layout.ratios or layout.losses):
        return _tidy(columns, layout)
    for name, column in product(("run", "language", "ratio"), columns.names):
        if look_alike(name, column) and column.casefold() != name and role_of(column) is None:
            raise InputError(f"column {quoted(column)} is to be called '{name}'; rename it")
    return _wide(columns, columns, layout, missing, need_losses)


def _two_tables(mixtures: Columns, measured: Columns, layout: Layout, missing: Missing) -> Reading:
    """Return a table of ratios and one of losses as a tidy one; either has a row per run, or per run and language."""
    tables, patterns, notes = {"ratio": mixtures, "loss": measured}, dict[str, Any](), []
    # Each table of two may be tidy by itself: it is spread into columns of a pattern of its own.
    for kind, pattern in (("ratio", "ratios"), ("loss", "losses")):
        if "language" in tables[kind].roles and not getattr(layout, pattern):
            tables[kind] = _spread(tables[kind], layout, kind)
            patterns[pattern] = f"{kind}/*"
            notes.append(f"{tables[kind].title} one row per run and language")
    reading = _wide(tables["ratio"], tables["loss"], replace(layout, **patterns), missing)
    return reading._replace(note="; ".join([reading.note, *notes]))


def _spread(columns: Columns, layout: Layout, kind: str) -> Columns:
    """Return a table of one row per run and language as one of a row per run."""
    table = _tidy(columns, layout).table
    for need in ("run", kind):
        if need not in table:
            raise InputError(f"no column of {columns.title} is called '{need}'; the columns are {columns.shown}")
    keys = [key for key in ("run", "seed") if key in table]
    for run, language in table.loc[table.duplicated([*keys, "language"]), ["run", "language"]].to_numpy():
        raise InputError(
            f"language '{shown(str(language))}' of run '{shown(str(run))}' stands twice in {columns.title}; keep one "
            "row, that of the run's end"
        )
    keys += [role for role in ("tokens", "params") if role in table]
    wide = table.pivot(index=keys, columns="language", values=kind)
    wide = wide.set_axis([f"{kind}/{language}" for language in wide], axis=1).reset_index()
    if layout.index is not None:
        wide = wide.rename(columns={"run": layout.index})
    return Columns(wide, replace(layout, ignore=()), columns.title)


def _tidy(columns: Columns, layout: Layout) -> Reading:
    """Return a table that has one row per run and language, under the standard names."""
    roles = columns.roles
    for run in columns.table[roles["run"]].unique() if "run" in roles else ():
        refuse_summary(str(run), columns.title)
    table = columns.table[list(roles.values())].rename(columns={column: role for role, column in roles.items()})
    notes = [f"{role} in {quoted(column)}" for role, column in roles.items() if column.casefold() != role]
    for role in ("tokens", "params"):
        values = columns.counts(role, getattr(layout, role))
        if values is not None and not np.isnan(values).any():  # text that is no number is named by its row later
            table[role] = values
    if _at_budgets(table):
        table["run"] = list(map(at_budget, table["run"].astype(str), table["tokens"]))
        notes.append(SEVERAL)
    if "run" in roles and "tokens" in roles:
        keys = [table[key].astype(str) for key in ("run", "seed") if key in roles]
        # Tokens that differ within a run are those of each language: their shares are the ratios.
        if "ratio" not in roles and (table.groupby(keys)["tokens"].nunique() > 1).any():
            totals = table.groupby(keys)["tokens"].transform("sum")
            table["ratio"], table["tokens"] = table["tokens"] / totals, totals
            notes.append(f"tokens of each language in {quoted(roles['tokens'])}")
        elif "ratio" in roles:
            ratios = numbers(table["ratio"])
            if near(table.assign(ratio=ratios).groupby(keys)["ratio"].sum().to_numpy(), *SUMS[1][:2]):
                table["ratio"] = ratios / SUMS[1][0]
                notes.append("ratios in per cent")
    others = [column for column in columns.names if column not in roles.values()]
    return Reading(table, _note("one row per run and language", notes, columns.ignored + others))


def _columns_of(group: ColumnGroup) -> str:
    """Return the pattern of columns, with their names where it is all of them."""
    return quoted(group.pattern) + (f" ({listed(list(map(shown, group.languages)))})" if group.pattern == "*" else "")


def _at_budgets(table: pd.DataFrame) -> bool:
    """Return whether the languages of some runs stand several times, at another budget each time."""
    keys = [key for key in ("run", "seed", "language") if key in table]
    return (
        {"run", "language", "ratio", "tokens"} <= set(table)
        and table["tokens"].dtype.kind in "if"
        and bool(table.duplicated(keys).any())
        and not table.duplicated([*keys, "tokens"]).any()
    )


def _note(layout: str, notes: Sequence[str], left_out: Sequence[str]) -> str:
    """Return the description of a reading; empty for a table under the standard names."""
    if not notes and not left_out:
        return ""
    return "read as " + "; ".join(
        [layout, *notes, *([f"left out: {listed([shown(column) for column in left_out])}"] if left_out else [])]
    )


def _wide(mixtures: Columns, measured: Columns, layout: Layout, missing: Missing, need_losses: bool = True) -> Reading:
    """Return a table with one row per run, or one of ratios and one of losses, as a tidy one."""
    for role, columns in product(("tokens", "params"), (mixtures, measured)):
        if role in columns.roles:
            columns.numbers_of(columns.roles[role], role)  # refuses text, which would be a missing number below
    mixed = ratio_group(mixtures, layout)
    ratios = mixed.key if measured is mixtures else frozenset()
    lost = loss_group(measured, ratios, layout, mixed, needed=need_losses)
    taken = mixed.key if measured is mixtures else set(mixtures.per_language())
    by_column = {c: n for c, n in layout.by_column.items() if c in taken}
    # The pattern that named the ratios may have cut names short: that of the losses knows better.
    mixed = named_group(best_named(mixed, lost, layout) if lost else mixed, by_column, mixtures.title)
    if ("run" in mixtures.roles) != ("run" in measured.roles) or (
        "run" not in mixtures.roles and len(mixtures.table) != len(measured.table)
    ):
        raise InputError("a column names the runs in one of the two tables alone; add --index COLUMN")
    amounts = mixtures.by_run(mixed.languages, "ratio")
    losses = measured.by_run(lost.languages, "loss") if lost else amounts * np.nan
    totals = amounts.sum(axis=1)
    # The first that is there: the budget may stand in the table of losses.
    budgets = (
        (amounts.index, mixtures.counts("tokens", layout.tokens)),
        (amounts.index, totals.to_numpy() if mixed.kind == IN_TOKENS else None),
        (losses.index, measured.counts("tokens", None)),
    )
    tokens = next((dict(zip(runs, each.tolist(), strict=True)) for runs, each in budgets if each is not None), None)
    if tokens is None:
        raise InputError(
            f"no column of {mixtures.title} says how many tokens a run had; add --tokens 5B for all runs, "
            f"--tokens-column or a column tokens; the columns are {mixtures.shown}"
        )
    divisor = {kind: total for total, _, kind in SUMS}.get(mixed.kind, totals)  # of tokens, each run's own total
    tidy = _joined(amounts.div(divisor, axis=0), losses, missing, stated=layout.losses is not None)
    params = mixtures.counts("params", layout.params)
    tidy["tokens"] = tidy["run"].map(tokens)
    if params is not None:
        tidy["params"] = tidy["run"].map(dict(zip(amounts.index, params.tolist(), strict=True)))
    per_run = (columns.roles[role] for columns in (mixtures, measured) for role in PER_RUN if role in columns.roles)
    used = {*mixed.languages, *(lost.languages if lost else ()), *per_run}
    others = [c for each in (mixtures, measured) for c in [*each.ignored, *each.names] if c not in used]
    roles = mixtures.roles
    notes = [
        *(f"{role} in {quoted(roles[role])}" for role in PER_RUN if roles.get(role, role).casefold() != role),
        *([SEVERAL] if "seed" not in roles and len(set(mixtures.stated_runs)) < len(amounts) else []),
        f"ratios{mixed.kind} in {_columns_of(mixed)}",
        f"losses in {_columns_of(lost)}" if lost else "no losses",
    ]
    return Reading(tidy, _note("one row per run", notes, list(dict.fromkeys(others))))


def _joined(ratios: pd.DataFrame, losses: pd.DataFrame, missing: Missing, *, stated: bool) -> pd.DataFrame:
    """Return wide tables of ratios and losses as one tidy table of run, language, ratio and loss.

    Parameters
    ----------
    ratios, losses : pandas.DataFrame
        One row per run, whose name is the index; one column per language. A ratio column that is 0 everywhere will be
        no source, a loss column that is empty everywhere no target.
    missing : {"refuse", "drop"}
        Whether a run without a row of losses is refused, or has none.
    stated : bool
        Whether the columns of losses were stated, so that all targets may be other than the sources.

    Raises
    ------
    InputError
        For duplicate runs, runs of losses without ratios, and tables that share no language.
    """
    import pandas as pd  # here, so that only reading a table loads pandas

    for table, title in ((ratios, "the mixtures"), (losses, "the losses")):
        for run in table.index[table.index.duplicated()]:
            raise InputError(f"run '{run}' stands twice in {title}; keep one row per run")
    without = losses.index.difference(ratios.index)
    if len(without):
        raise InputError(f"{_runs(without)} stands among the losses and not among the mixtures; give its ratios")
    without = ratios.index.difference(losses.index)
    if len(without) and missing == "refuse":
        raise InputError(
            f"{_runs(without)} has no losses; add them, or leave such runs out (--missing drop, in Python "
            "missing='drop')"
        )
    # A shared word, as of train_de and de, is a pattern that was cut wrongly.
    apart = stated and not _words(ratios) & _words(losses)
    if not (apart or set(ratios) & set(losses)):
        examples = [", ".join(map(str, table.columns[:3])) for table in (ratios, losses)]
        raise InputError(
            f"no language stands in both tables: the mixtures have {examples[0]}, the losses {examples[1]}; "
            "state how columns are named"
        )
    languages = list(dict.fromkeys([*ratios, *losses]))
    by_kind = {
        # A language without a ratio column has a ratio of 0; one without a loss column has no losses.
        "ratio": ratios.reindex(columns=languages, fill_value=0.0),
        "loss": losses.reindex(index=ratios.index, columns=languages),
    }
    return (
        pd.DataFrame({kind: table.stack(future_stack=True) for kind, table in by_kind.items()})
        .rename_axis(["run", "language"])
        .reset_index()
    )


def _words(table: pd.DataFrame) -> set[str]:
    """Return the words in the names of a table's columns."""
    return {word for column in table for word in re.split(r"[\W_]+", str(column).casefold()) if word}


def _runs(names: pd.Index[str]) -> str:
    """Return a phrase that names the first of several runs, and their number."""
    return f"run '{names[0]}'" + (f" (the first of {len(names)} such runs)" if len(names) > 1 else "")
