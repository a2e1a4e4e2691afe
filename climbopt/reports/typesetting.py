"""Tables and lines of text that fit the width of a terminal.

Numbers are never cut, no column is dropped, and words wrap whole: what is wider than the terminal continues below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from climbopt.foundations.characters import shown

Item = TypeVar("Item")

MOST_ROWS = 40
"""Languages shown; of more, those with the largest ratios."""
NO_VALUE = "–"
GAP = "  "
"""Between columns."""
LONG_HEAD = 3
"""Cells that a head must save to be wrapped before texts are."""
LONGEST_WORD = 24
"""Cells up to which a word in a table may claim its column's width; a longer one is folded if it must be."""


@dataclass
class TextTable:
    """A table of texts, laid out as it is printed.

    Parameters
    ----------
    title : str
    heads : tuple of str
    left, right : int
        How many of the first and of the last columns are text, which wraps at words; the others are numbers, which
        are set flush right and stay whole.
    rows : list of list of str
        One text per column.
    """

    title: str
    heads: tuple[str, ...]
    left: int = 1
    right: int = 0
    rows: list[Sequence[str]] = field(default_factory=list)

    def add_row(self, *cells: str) -> None:
        """Add a row, one text per column; characters that do not print are shown escaped."""
        self.rows.append([shown(cell) for cell in cells])

    def fits(self, width: int) -> bool:
        """Return whether the table fits a width with every head and every cell on one line."""
        return _total(self._widest(k) for k in range(len(self.heads))) <= width

    def lines(self, width: int) -> Iterator[tuple[str, bool]]:
        """Yield the lines within a width, and whether each is bold; where it is too narrow, parts below one another."""
        yield from ((line, True) for line in wrapped(shown(self.title), width))
        for k, columns in enumerate(self._parts(width)):
            if k:
                yield "", False
            widths = self._widths(columns, width)
            heads = self._laid_out([shown(self.heads[c]) for c in columns], columns, widths, bottom=True)
            yield from ((line, True) for line in heads)
            for row in self.rows:
                yield from ((line, False) for line in self._laid_out([row[c] for c in columns], columns, widths))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines for rich."""
        for line, bold in self.lines(options.max_width):
            yield Text(line, style="bold" if bold else "", no_wrap=True, overflow="ignore")

    def _is_text(self, column: int) -> bool:
        return column < self.left or column >= len(self.heads) - self.right

    def _widest(self, column: int) -> int:
        """Return the cells of the longest text of a column, head included."""
        return max(cell_len(text) for text in (shown(self.heads[column]), *(row[column] for row in self.rows)))

    def _least(self, column: int, width: int) -> int:
        """Return the cells without which a column would cut a number or break a word."""
        # Heads break between words only.
        words = max(map(cell_len, shown(self.heads[column]).split()), default=0)
        texts = [row[column] for row in self.rows]
        if self._is_text(column):
            longest = max((cell_len(word) for text in texts for word in words_of(text)), default=0)
            return max(words, min(longest, LONGEST_WORD, width // 2))
        return max(words, max(map(cell_len, texts), default=0))

    def _parts(self, width: int) -> list[list[int]]:
        """Return the columns of each part; every part begins with the first text columns."""
        first = list(range(self.left))
        parts, part = [], list(first)
        for column in range(self.left, len(self.heads)):
            # A part holds one further column at least, however wide it is.
            if len(part) > len(first) and _total(self._least(c, width) for c in [*part, column]) > width:
                parts.append(part)
                part = list(first)
            part.append(column)
        return [*parts, part]

    def _widths(self, columns: Sequence[int], width: int) -> dict[int, int]:
        """Return the width of each column: as wide as its texts, less what the widest must give to fit."""
        widths = {c: self._widest(c) for c in columns}
        least = {c: self._least(c, width) for c in columns}
        while _total(widths.values()) > width:
            spare = {c: widths[c] - least[c] for c in columns}
            # One cell at a time, from the column that is readiest to give it.
            widest = max(columns, key=lambda c: self._readiness(c, spare[c]))
            if spare[widest] <= 0:
                break
            widths[widest] -= 1
            if not self._is_text(widest):  # as narrow as the lines of its head allow
                head = max(map(cell_len, _balanced(shown(self.heads[widest]), widths[widest])))
                widths[widest] = max(head, *(cell_len(row[widest]) for row in self.rows), 1)
        return widths

    def _readiness(self, column: int, spare: int) -> tuple[bool, bool, bool, int]:
        """Return how ready a column is to be narrowed: long heads before texts, and short heads last."""
        text = self._is_text(column)
        return spare > 0, not text and spare >= LONG_HEAD, text, spare

    def _laid_out(
        self, texts: Sequence[str], columns: Sequence[int], widths: dict[int, int], *, bottom: bool = False
    ) -> Iterator[str]:
        """Yield the lines of one row; heads stand at its bottom, cells at its top."""
        # Balanced heads leave no lone word on a line.
        wrap = _balanced if bottom else wrapped
        cells = [wrap(text, widths[c]) for text, c in zip(texts, columns, strict=True)]
        height = max(map(len, cells))
        blank = [[""] * (height - len(cell)) for cell in cells]
        cells = [pad + cell if bottom else cell + pad for pad, cell in zip(blank, cells, strict=True)]
        for k in range(height):
            line = GAP.join(
                _padded(cell[k], widths[c], flush_right=not self._is_text(c))
                for cell, c in zip(cells, columns, strict=True)
            )
            yield line.rstrip()


def table_of(
    title: str, items: Iterable[Item], columns: Mapping[str, Callable[[Item], str]], *, left: int = 1, right: int = 0
) -> TextTable:
    """Return a table with a row per item; each column has its head, and the text that it states of an item."""
    table = TextTable(title, tuple(columns), left, right)
    for item in items:
        table.add_row(*(text(item) for text in columns.values()))
    return table


def language_table(
    title: str,
    names: Sequence[str],
    ratios: Mapping[str, float],
    columns: Mapping[str, Callable[[str], str]],
    *,
    right: int = 0,
) -> TextTable:
    """Return a table of languages: of more than `MOST_ROWS` those with the largest ratios, and the number of others."""
    largest = sorted(names, key=lambda name: -ratios.get(name, 0.0))[:MOST_ROWS]
    table = table_of(title, names if len(names) <= MOST_ROWS else largest, columns, right=right)
    if len(names) > MOST_ROWS:
        table.add_row(f"and {len(names) - MOST_ROWS} more", *[""] * (len(columns) - 1))
    return table


def _total(widths: Iterable[int]) -> int:
    """Return the cells of columns beside one another."""
    widths = list(widths)
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _padded(text: str, width: int, *, flush_right: bool) -> str:
    """Return a text with blanks up to a width in cells; some characters take two."""
    blank = " " * (width - cell_len(text))
    return blank + text if flush_right else text + blank


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
    indent = " " * (len(text) - len(text.lstrip(" ")))
    further = indent + " " * hanging
    lines, line = [], indent
    for word in words_of(text):
        begun = bool(line.strip())
        if begun and cell_len(line) + 1 + cell_len(word) > width:
            lines.append(line)
            line, begun = further, False
        # At least one character per line, or a wide one would never fit.
        while cell_len(line) + begun + cell_len(word) > width and len(word) > 1:
            # A word longer than a line is folded where the line ends.
            room = max(width - cell_len(line) - begun, 1)
            head = _head(word, room)
            lines.append(line + " " * begun + head)
            line, begun, word = further, False, word[len(head) :]
        line += " " * begun + word
    return [*lines, line] if line.strip() else lines


def _balanced(text: str, width: int) -> list[str]:
    """Return the lines of a text within a width, as narrow as their number allows."""
    lines, least = wrapped(text, width), max(map(cell_len, words_of(text)), default=1)
    # Narrower as long as no further line is needed.
    while width > least and len(narrower := wrapped(text, width - 1)) == len(lines):
        width, lines = width - 1, narrower
    return lines


def _head(word: str, width: int) -> str:
    """Return the first characters of a word that fit a width; at least one."""
    end = 1
    while end < len(word) and cell_len(word[: end + 1]) <= width:
        end += 1
    return word[:end]


def say(console: Console, text: str, style: str = "") -> None:
    """Print lines of text as they are but for what wraps: names hold square brackets, which rich would read."""
    for line in text.split("\n"):
        for part in wrapped(shown(line), console.width, hanging=2):
            console.print(Text(part, style=style, no_wrap=True, overflow="ignore"), crop=False)


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
        # Bands have a row of their own below their point.
        heads = *self.heads, *(f"{name} %" for name in self.languages), *(["verdict"] if self.verdicts else [])
        table = TextTable(self.title, heads, left=0, right=1 if self.verdicts else 0)
        for k, point in enumerate(self.points):
            table.add_row(*point, *self.cells[k], *self.verdicts[k : k + 1])
            if self.bands:
                blank = [""] * (len(self.heads) - 1)
                table.add_row(self.band_name, *blank, *self.bands[k], *([""] if self.verdicts else []))
        return table

    def _languages_down(self) -> TextTable:
        names = *self.heads, *(f"{name} %" for name in self.languages)
        table = TextTable(self.title, (names[0], *(point[0] for point in self.points)))
        for row, head in enumerate(self.heads[1:], 1):
            table.add_row(head, *(point[row] for point in self.points))
        for j, name in enumerate(self.languages):
            table.add_row(f"{name} %", *(cells[j] for cells in self.cells))
            if self.bands:
                table.add_row(f"  {self.band_name}", *(bands[j] for bands in self.bands))
        return table

    def show(self, console: Console) -> None:
        """Print the table, and below it the verdicts where they are no column of it."""
        table = self.table(console.width)
        console.print(table)
        if table.heads[-1] != "verdict":
            for verdict in dict.fromkeys(self.verdicts):
                at = [point[0] for point, words in zip(self.points, self.verdicts, strict=True) if words == verdict]
                say(console, f"{verdict}: " + ("every point" if len(at) == len(self.points) else ", ".join(at)))


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
