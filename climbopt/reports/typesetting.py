"""Tables and lines of text that fit the width of a terminal.

Numbers are never cut, no column is dropped, and words wrap whole: what is wider than the terminal continues below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from typing import TypeAlias, TypeVar

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from climbopt.foundations.errors import shown
from climbopt.foundations.view import MOST_ROWS as MOST_ROWS

Item = TypeVar("Item")

NO_VALUE = "–"
GAP = "  "
"""Between columns."""
LONG_HEAD = 3
"""Cells that a head must save to be wrapped before texts are."""
LONGEST_WORD = 24
"""Cells up to which a word in a table may claim its column's width; a longer one is folded if it must be."""


@dataclass(frozen=True)
class TextTable:
    """A table of texts, laid out as it is printed; characters that do not print are shown escaped.

    Parameters
    ----------
    title : str
    heads : tuple of str
    rows : sequence of sequence of str
        One text per column.
    left, right : int
        How many of the first and of the last columns are text, which wraps at words; the others are numbers, which
        are set flush right and stay whole.
    """

    title: str
    heads: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    left: int = 1
    right: int = 0

    def fits(self, width: int) -> bool:
        """Return whether the table fits a width with every head and every cell on one line."""
        return _total([max(map(cell_len, texts)) for texts in self._texts]) <= width

    def lines(self, width: int) -> Iterator[tuple[str, bool]]:
        """Yield the lines within a width, and whether each is bold; where it is too narrow, parts below one another."""
        yield from ((line, True) for line in wrapped(shown(self.title), width))
        for k, columns in enumerate(self._parts(width)):
            if k:
                yield "", False
            widths = self._widths(columns, width)
            # Balanced heads leave no lone word on a line; they stand at the bottom of their row.
            heads = [_balanced(self._texts[c][0], widths[c]) for c in columns]
            most = max(map(len, heads))
            yield from ((line, True) for line in self._laid_out([[""] * (most - len(h)) + h for h in heads], widths))
            for row in range(1, len(self.rows) + 1):
                cells = (wrapped(self._texts[c][row], widths[c]) for c in columns)
                yield from ((line, False) for line in self._laid_out(cells, widths))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines for rich."""
        for line, bold in self.lines(options.max_width):
            yield Text(line, style="bold" if bold else "", no_wrap=True, overflow="ignore")

    @cached_property
    def _texts(self) -> list[list[str]]:
        """By column, its head and its cells."""
        return [list(map(shown, column)) for column in zip(self.heads, *self.rows, strict=True)]

    def _is_text(self, column: int) -> bool:
        return column < self.left or column >= len(self.heads) - self.right

    def _least(self, column: int, width: int) -> int:
        """Return the cells without which a column would cut a number or break a word."""
        head, *cells = self._texts[column]
        longest = max((cell_len(word) for text in cells for word in words_of(text)), default=0)
        whole = (
            min(longest, LONGEST_WORD, width // 2) if self._is_text(column) else max(map(cell_len, cells), default=0)
        )
        # Heads break between words only.
        return max(whole, *map(cell_len, head.split()), 0)

    def _parts(self, width: int) -> list[list[int]]:
        """Return the columns of each part; every part begins with the first text columns."""
        parts = [list(range(self.left))]
        for column in range(self.left, len(self.heads)):
            # A part holds one further column at least, however wide it is.
            if len(parts[-1]) > self.left and _total([self._least(c, width) for c in [*parts[-1], column]]) > width:
                parts.append(list(range(self.left)))
            parts[-1].append(column)
        return parts

    def _widths(self, columns: Sequence[int], width: int) -> dict[int, int]:
        """Return the width of each column: as wide as its texts, less what the widest must give to fit."""
        widths = {c: max(map(cell_len, self._texts[c])) for c in columns}
        least = {c: self._least(c, width) for c in columns}

        def readiness(column: int) -> tuple[bool, bool, bool, int]:
            # Long heads are narrowed before texts, and short heads last.
            text, spare = self._is_text(column), widths[column] - least[column]
            return spare > 0, not text and spare >= LONG_HEAD, text, spare

        # One cell at a time, from the column that is readiest to give it.
        while _total(widths.values()) > width and readiness(widest := max(columns, key=readiness))[0]:
            widths[widest] -= 1
            if not self._is_text(widest):  # as narrow as the lines of its head allow
                head, *cells = self._texts[widest]
                widths[widest] = max(map(cell_len, [*_balanced(head, widths[widest]), *cells, " "]))
        return widths

    def _laid_out(self, cells: Iterable[Sequence[str]], widths: Mapping[int, int]) -> Iterator[str]:
        """Yield the lines of one row from the lines of its cells; some characters take two cells of the terminal."""
        for parts in zip_longest(*cells, fillvalue=""):
            padded = [
                (part.ljust if self._is_text(c) else part.rjust)(widths[c] + len(part) - cell_len(part))
                for part, c in zip(parts, widths, strict=True)
            ]
            yield GAP.join(padded).rstrip()


def table_of(
    title: str, items: Iterable[Item], columns: Mapping[str, Callable[[Item], str]], *, left: int = 1, right: int = 0
) -> TextTable:
    """Return a table with a row per item; each column has its head, and the text that it states of an item."""
    return TextTable(title, tuple(columns), [[text(item) for text in columns.values()] for item in items], left, right)


def language_table(
    title: str,
    names: Sequence[str],
    ratios: Mapping[str, float],
    columns: Mapping[str, Callable[[str], str]],
    *,
    right: int = 0,
) -> TextTable:
    """Return a table of languages: of more than `MOST_ROWS` those with the largest ratios, and the number of others."""
    if len(names) <= MOST_ROWS:
        return table_of(title, names, columns, right=right)
    largest = sorted(names, key=lambda name: -ratios.get(name, 0.0))[:MOST_ROWS]
    table = table_of(title, largest, columns, right=right)
    others = [f"and {len(names) - MOST_ROWS} more", *[""] * (len(columns) - 1)]
    return replace(table, rows=[*table.rows, others])


def _total(widths: Collection[int]) -> int:
    """Return the cells of columns beside one another."""
    return sum(widths) + len(GAP) * (len(widths) - 1)


def words_of(text: str) -> list[str]:
    """Return the words of a text; what stands in square brackets, such as b[en, de], is part of its word."""
    return re.findall(r"(?:\[[^\[\]]*\]|[^ ])+", text)


def wrapped(text: str, width: int, hanging: int = 0) -> list[str]:
    """Return the lines of one line of text, broken between words; a word longer than a line is folded.

    Parameters
    ----------
    text : str
        What it is indented by stays.
    width : int
        Cells of a line.
    hanging : int
        Cells by which further lines are indented beyond the first.

    Examples
    --------
    >>> wrapped("  stationarity 3e-12 (b[en, de])", 20, hanging=2)
    ['  stationarity 3e-12', '    (b[en, de])']
    """
    if cell_len(text) <= width:
        return [text]
    lines, line = [], " " * (len(text) - len(text.lstrip(" ")))
    further = line + " " * hanging
    for word in words_of(text):
        if line.strip():
            if cell_len(f"{line} {word}") <= width:
                line += f" {word}"
                continue
            lines.append(line)
            line = further
        # A word longer than a line is folded; at least one character per line, or a wide one would never fit.
        while cell_len(line + word) > width and len(word) > 1:
            head = chop_cells(word, max(width - cell_len(line), 1))[0] or word[0]
            lines.append(line + head)
            line, word = further, word[len(head) :]
        line += word
    return [*lines, line] if line.strip() else lines


def _balanced(text: str, width: int) -> list[str]:
    """Return the lines of a text within a width, as narrow as their number allows."""
    lines, least = wrapped(text, width), max(map(cell_len, words_of(text)), default=1)
    # Narrower as long as no further line is needed.
    while width > least and len(narrower := wrapped(text, width - 1)) == len(lines):
        width, lines = width - 1, narrower
    return lines


def say(console: Console, *parts: Part) -> None:
    """Print the parts of a report below one another; texts wrap, and a part of None is left out."""
    for part in parts:
        if isinstance(part, str | Text):
            for line in _lines(part, console.width):
                console.print(line, crop=False)
        elif part is not None:
            console.print(part)


def _lines(text: str | Text, width: int) -> Iterator[Text]:
    """Yield the lines of a text within a width; characters that do not print are shown escaped."""
    style = text.style if isinstance(text, Text) else ""
    for line in str(text).split("\n"):
        for part in wrapped(shown(line), width, hanging=2):
            # Not a plain text: names hold square brackets, which rich would read.
            yield Text(part, style=style, no_wrap=True, overflow="ignore")


@dataclass(frozen=True)
class Grid:
    """Ratios of languages at points: points go down where all languages fit beside one another, else languages do.

    Parameters
    ----------
    title : str
    heads : sequence of str
        What is stated of a point besides its ratios, such as its budget.
    points : sequence of sequence of str
        One text per head of each point.
    languages : sequence of str
    cells : sequence of sequence of str
        One text per language of each point.
    verdicts : sequence of str
        The verdict on each point; empty where there are none.
    bands : sequence of sequence of str
        One text per language of each point, shown below its ratios; empty without bands.
    band_name : str
    """

    title: str
    heads: Sequence[str]
    points: Sequence[Sequence[str]]
    languages: Sequence[str]
    cells: Sequence[Sequence[str]]
    verdicts: Sequence[str] = ()
    bands: Sequence[Sequence[str]] = ()
    band_name: str = ""

    def table(self, width: int) -> TextTable:
        """Return the table that fits a width."""
        down = self._points_down()
        return down if down.fits(width) else self._languages_down()

    def _points_down(self) -> TextTable:
        last = ["verdict"] if self.verdicts else []
        heads = *self.heads, *(f"{name} %" for name in self.languages), *last
        rows: list[list[str]] = []
        for k, point in enumerate(self.points):
            rows.append([*point, *self.cells[k], *self.verdicts[k : k + 1]])
            # Bands have a row of their own below their point.
            rows += [
                [self.band_name, *[""] * (len(point) - 1), *band, *[""] * len(last)] for band in self.bands[k : k + 1]
            ]
        return TextTable(self.title, heads, rows, left=0, right=len(last))

    def _languages_down(self) -> TextTable:
        first, *facts = zip(*self.points, strict=True)
        rows = [[head, *fact] for head, fact in zip(self.heads[1:], facts, strict=True)]
        for j, name in enumerate(self.languages):
            rows.append([f"{name} %", *(cells[j] for cells in self.cells)])
            rows += [[f"  {self.band_name}", *(bands[j] for bands in self.bands)]] if self.bands else []
        return TextTable(self.title, (self.heads[0], *first), rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table for rich, and below it the verdicts where they are no column of it."""
        table = self.table(options.max_width)
        yield table
        for verdict in {} if table.heads[-1] == "verdict" else dict.fromkeys(self.verdicts):
            at = [point[0] for point, words in zip(self.points, self.verdicts, strict=True) if words == verdict]
            words = f"{verdict}: " + ("every point" if len(at) == len(self.points) else ", ".join(at))
            yield from _lines(words, options.max_width)


Part: TypeAlias = str | Text | TextTable | Grid | None
"""Of a report: a text, in a style of its own as rich's Text, a table, or nothing."""


def number(value: float | None, form: str) -> str:
    """Return a number, or a dash for an unknown one."""
    return NO_VALUE if value is None or value != value else format(value, form)


def percent(ratio: float | None, form: str) -> str:
    """Return a ratio in per cent, or a dash for an unknown one."""
    return number(None if ratio is None else 100 * ratio, form)


def tokens(tokens: float) -> str:
    """Return a token count with three digits and its power of a thousand; less than half a token is 0.

    Examples
    --------
    >>> tokens(999_960.0), tokens(1.5e-10)
    ('1 M', '0')
    """
    # Three digits first: 999.9 k is 1 M, and not 1e+03 k.
    tokens = float(f"{tokens:.3g}")
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if tokens >= size:
            return f"{tokens / size:.3g} {letter}"
    return f"{tokens:.3g}" if tokens >= 0.5 else "0"
