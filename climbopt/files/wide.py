"""Wide tables of pilot runs: one row per run, one column per source or target, joined on the names of the runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from climbopt.foundations.errors import InputError
from climbopt.runs.pilots import Missing

if TYPE_CHECKING:
    import pandas as pd

MOST_EXACT = 2.0**53
"""Whole numbers below this are exact in float64."""


def joined(
    ratios: pd.DataFrame, losses: pd.DataFrame, missing: Missing = "refuse", *, stated: bool = False
) -> pd.DataFrame:
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
        repeated = table.index[table.index.duplicated()]
        if len(repeated):
            raise InputError(f"run '{repeated[0]}' stands twice in {title}; keep one row per run")
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
    long = pd.DataFrame({kind: table.stack(future_stack=True) for kind, table in by_kind.items()})
    return long.rename_axis(["run", "language"]).reset_index()


def _words(table: pd.DataFrame) -> set[str]:
    """Return the words in the names of a table's columns."""
    return {word for column in table for word in re.split(r"[\W_]+", str(column).casefold()) if word}


def _runs(names: pd.Index[str]) -> str:
    """Return a phrase that names the first of several runs, and their number."""
    return f"run '{names[0]}'" + (f" (the first of {len(names)} such runs)" if len(names) > 1 else "")


def run_index(column: pd.Series[Any]) -> list[str]:
    """Return the names of runs; 3 and 3.0 are one number, however either table writes them."""
    # pandas reads whole numbers as floats where another cell is empty.
    if column.dtype.kind == "f" and (column % 1 == 0).all() and (column.abs() < MOST_EXACT).all():
        column = column.astype(int)
    return column.astype(str).tolist()
