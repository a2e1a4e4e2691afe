"""Options of every command that reads pilot runs, and how their table is read."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

import climbopt
from climbopt.cli.arguments import pair, quantity
from climbopt.cli.streams import remark
from climbopt.foundations.errors import InputError, listed, shown
from climbopt.foundations.quantities import PARAMS, TOKENS

if TYPE_CHECKING:
    import pandas as pd

    from climbopt.files import Layout
    from climbopt.runs.pilots import Missing

TABLE = (
    "Table of runs, tidy (run, tokens, language, ratio, loss; optional seed, params, supply) or wide (one row "
    "per run): CSV, TSV, JSON, Parquet or .xlsx. Or the name of a shipped problem, for its runs."
)
TABLES = Annotated[
    list[Path],
    typer.Argument(
        metavar="PILOTS...",
        help=f"{TABLE} Earlier tables may follow, of the same languages or with --map.",
    ),
]
MAP = Annotated[
    Path | None,
    typer.Option(
        "--map",
        metavar="FILE",
        help="What became of the languages of earlier tables: CSV of language, becomes, and share where one was split.",
    ),
]
SUPPLY = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="How many different tokens each source has: CSV of language, tokens; repeated beyond that."
    ),
]


@dataclass(frozen=True)
class PilotTable:
    """Pilot runs as they were read.

    Parameters
    ----------
    runs : PilotRuns
    table : pandas.DataFrame
        Tidy.
    content : bytes
        Of the file.
    """

    runs: climbopt.PilotRuns
    table: pd.DataFrame
    content: bytes


@dataclass(frozen=True)
class LayoutOptions:
    """How a table of runs is laid out: the options of these names."""

    losses: Annotated[
        Path | None,
        typer.Option(metavar="LOSSES", help="Losses of a wide table that has the ratios alone, one row per run."),
    ] = None
    tokens: Annotated[
        float | None,
        typer.Option(
            parser=quantity("--tokens", TOKENS), metavar="TOKENS", help="Of every run, where no column states them."
        ),
    ] = None
    params: Annotated[
        float | None,
        typer.Option(parser=quantity("--params", PARAMS), metavar="SIZE", help="Model size of every run, likewise."),
    ] = None
    tokens_column: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of the runs' tokens.")] = None
    params_column: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of the runs' model sizes.")] = None
    index: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column that names the run.")] = None
    ratio_columns: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Ratio columns of a wide table; * is the language.")
    ] = None
    loss_columns: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Loss columns of a wide table; * is the language.")
    ] = None
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=LANGUAGE", help="A column that no pattern names; may be repeated."),
    ] = None
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Columns that are left out, by name or with *; may be repeated."),
    ] = None

    @property
    def layout(self) -> Layout:
        """What the options state of the table's layout."""
        from climbopt.files import Layout

        return Layout(
            self.index,
            self.ratio_columns,
            self.loss_columns,
            # At the last sign: column names may hold one.
            dict(pair("--name", text, "COLUMN=LANGUAGE", "loss_english=en", last=True) for text in self.name or []),
            self.tokens_column,
            self.params_column,
            self.tokens,
            self.params,
            self.ignore or (),
        )


@dataclass(frozen=True)
class TableOptions(LayoutOptions):
    """How a table of runs is laid out, and what becomes of its missing losses."""

    missing: Annotated[
        str,
        typer.Option(
            metavar="refuse|drop",
            help="What becomes of a table with missing losses: it is refused, or they are left out and counted (a run "
            "keeps its other losses).",
        ),
    ] = "refuse"


def read_tables(places: Sequence[Path], options: TableOptions, by_source: Path | None) -> PilotTable:
    """Return the runs of tables as those of the first one's languages, and say on standard error what was used.

    Parameters
    ----------
    places : sequence of Path
        Today's table, then earlier ones.
    options : TableOptions
        Of all tables.
    by_source : Path or None
        What became of earlier languages.
    """
    from climbopt.files import load_map
    from climbopt.runs.joined import join_pilots

    if len(places) == 1:
        if by_source is not None:
            after = shlex.join(["--after", str(places[0]), "--map", str(by_source)])
            raise InputError(
                "--map says what became of an earlier table's languages; name that table after the first, or plan "
                f"today's first runs: climbopt plan --languages NAMES --budgets TOKENS {after}"
            )
        return read_pilots(places[0], options)
    if options.losses is not None:
        raise InputError("--losses is for a single table; give several tables with their losses in them")
    tables = [read_pilots(place, options) for place in places]
    named = [(shown(place.name), table.runs) for place, table in zip(places, tables, strict=True)]
    # Of several tables the first is today's: its languages are those of all.
    joined = join_pilots(named[0], named[1:], {} if by_source is None else load_map(by_source))
    remark(*joined.notes)
    if joined.unknown:
        print(f"plan runs for {listed(joined.unknown)}: {_plan(named[0][1], places, by_source)}", file=sys.stderr)
    return PilotTable(joined.runs, joined.runs.to_frame(), b"".join(table.content for table in tables))


def _plan(today: climbopt.PilotRuns, places: Sequence[Path], by_source: Path | None) -> str:
    """Return the command that plans further runs of today's languages, at the least and the largest budget so far."""
    budgets = dict.fromkeys(f"{tokens:.0f}" for tokens in (today.tokens.min(), today.tokens.max()))
    words = ["climbopt", "plan", "--languages", ",".join(today.languages), "--budgets", ",".join(budgets)]
    words += [word for place in places for word in ("--after", str(place))]
    words += [] if by_source is None else ["--map", str(by_source)]
    return shlex.join([*words, "-o", "plan.csv"])


def earlier_runs(places: Sequence[Path], by_source: Path | None, languages: Sequence[str]) -> climbopt.PilotRuns | None:
    """Return the runs made already, as runs of the languages of a plan; None where there are none.

    With a map a single table is an earlier one; of several the first is today's.
    """
    from climbopt.files import find_pilots, load_map
    from climbopt.runs.joined import join_pilots

    if not places:
        if by_source is not None:
            raise InputError("--map says what became of an earlier table's languages; name that table by --after")
        return None
    # Losses that are missing are not counted as known.
    drop = TableOptions(missing="drop")
    named = [(shown(place.name), read_pilots(find_pilots(place), drop).runs) for place in places]
    if by_source is None and len(named) == 1:
        return named[0][1]
    first, others = (named[0], named[1:]) if len(named) > 1 else (None, named)
    joined = join_pilots(first, others, {} if by_source is None else load_map(by_source), languages)
    remark(*joined.notes)
    return joined.runs


def read_pilots(pilots: Path, options: TableOptions) -> PilotTable:
    """Return the runs of a file, or of two wide ones, and say on standard error how they were read and changed."""
    from climbopt.files import parse_table, read_bytes, understood

    layout = options.layout  # refused before any file is read
    # Read once: standard input and pipes have no second time, and the digest is of the same bytes.
    content, missing, losses = read_bytes(pilots), cast("Missing", options.missing), options.losses
    measured = None if losses is None else parse_table(read_bytes(losses), losses)
    reading = understood(parse_table(content, pilots), layout, measured, missing=missing)
    runs = climbopt.PilotRuns.from_frame(reading.table, missing=missing)
    if reading.note:
        remark(reading.note)
    if runs.n_rescaled:
        remark(f"{runs.n_rescaled} runs whose ratios summed to nearly 1 were rescaled")
    if runs.missing:
        run, language = runs.missing[0]
        without = len({name for name, _ in runs.missing} - set(runs.runs))
        remark(
            f"missing losses left out: {len(runs.missing)}, the first that of language '{language}' in run '{run}'"
            + (f"; runs without any loss: {without}" if without else "")
        )
    return PilotTable(runs, reading.table, content)
