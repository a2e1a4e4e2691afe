"""Wide tables of pilot runs: one row a run, one column a source or a target, joined on a named index column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from climbopt.foundations.errors import InputError, unknown_name

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class WideNames:
    """How columns of wide tables are called: which is the index, and what language a column stands for.

    Parameters
    ----------
    index : str
        Column that names the run, in both tables.
    ratios, losses : str
        Patterns with one ``*``, which stands for the language: ``train_*``, ``metric/*_loss``.
    given : mapping of str to str
        Language by column, where the pattern is not to be asked.

    Raises
    ------
    InputError
        For a pattern without exactly one ``*``.
    """

    index: str = "index"
    ratios: str = "*"
    losses: str = "*"
    given: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for pattern in (self.ratios, self.losses):
            if pattern.count("*") != 1:
                raise InputError(
                    f"'{pattern}' is no pattern of column names; write one * for the language, as in train_*"
                )

    def of(self, table: pd.DataFrame, pattern: str, title: str) -> dict[str, str]:
        """Return the language of each column but the index; a column that stands for none is refused."""
        before, after = pattern.split("*")
        names: dict[str, str] = {}
        for column in map(str, table.columns):
            if column == self.index:
                continue
            fits = column.startswith(before) and column.endswith(after) and len(column) > len(before) + len(after)
            if column not in self.given and not fits:
                raise InputError(
                    f"column '{column}' of {title} does not match '{pattern}'; drop it, name it, or correct the pattern"
                )
            name = self.given.get(column, column[len(before) : len(column) - len(after)])
            if name in names.values():
                raise InputError(f"two columns of {title} stand for '{name}'; drop or name one of them")
            names[column] = name
        return names


def tidy(
    mixtures: pd.DataFrame, losses: pd.DataFrame, names: WideNames, *, tokens: float, params: float | None = None
) -> pd.DataFrame:
    """Return wide tables of ratios and losses as one tidy table, for :meth:`PilotRuns.from_frame`.

    Parameters
    ----------
    mixtures, losses : pandas.DataFrame
        One row a run. A ratio column that is 0 everywhere will be no source, a loss column that is empty everywhere
        no target.
    names : WideNames
    tokens, params : float
        Of every run.

    Raises
    ------
    InputError
        For columns without a name, runs that stand twice or in one table only, and tables that share no language.
    """
    import pandas as pd  # here, so that only reading a table loads pandas

    ratios, measured = (
        _by_run(table, names, pattern, title)
        for table, pattern, title in ((mixtures, names.ratios, "the mixtures"), (losses, names.losses, "the losses"))
    )
    for name in names.given:
        if name not in mixtures and name not in losses:
            raise unknown_name("column", name, [*mixtures.columns, *losses.columns])
    for one, other, title in ((ratios, measured, "losses"), (measured, ratios, "mixtures")):
        lost = one.index.difference(other.index)
        if len(lost):
            raise InputError(
                f"run '{lost[0]}' is not among the {title} ({len(lost)} such runs); give each run in both tables"
            )
    if not set(ratios) & set(measured):
        some = [", ".join(map(str, one.columns[:3])) for one in (ratios, measured)]
        raise InputError(
            f"no language stands in both tables: the mixtures have {some[0]}, the losses {some[1]}; "
            "state how columns are named"
        )
    languages = list(dict.fromkeys([*ratios, *measured]))
    wide = {
        "ratio": ratios.reindex(columns=languages, fill_value=0.0),
        "loss": measured.reindex(index=ratios.index, columns=languages),
    }
    long = pd.DataFrame({key: table.stack(future_stack=True) for key, table in wide.items()})
    long = long.rename_axis(["run", "language"]).reset_index()
    return long.assign(tokens=tokens, **({} if params is None else {"params": params}))


def _by_run(table: pd.DataFrame, names: WideNames, pattern: str, title: str) -> pd.DataFrame:
    """Return a wide table with languages as columns, indexed by run."""
    if names.index not in table:
        raise InputError(f"there is no column '{names.index}' in {title}; state the column that names the run")
    columns = names.of(table, pattern, title)
    by_run = table.set_index(table[names.index].astype(str)).drop(columns=names.index).rename(columns=columns)
    twice = by_run.index[by_run.index.duplicated()]
    if len(twice):
        raise InputError(f"run '{twice[0]}' stands twice in {title}; keep one row a run")
    return by_run
