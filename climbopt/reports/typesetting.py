"""Tables and lines of text as a terminal shows them."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

MOST_ROWS = 40
"""Languages shown; of more, those with the largest ratios."""


NO_VALUE = "–"


class _PlainTable(Table):
    """A table whose cells are shown as they are: names hold square brackets and colons, which rich would read."""

    def add_row(self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False) -> None:
        plain = (Text(cell) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*plain, style=style, end_section=end_section)


def new_table(title: str, *columns: str, left: int = 1, right: int = 0) -> Table:
    """Return an empty table whose first `left` and last `right` columns are text, which may be folded.

    The other columns are numbers, which are never cut.
    """
    table = _PlainTable(
        title=Text(title, style="bold"), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for position, column in enumerate(columns):
        if left <= position < len(columns) - right:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold", min_width=len(column))
    return table


def say(console: Console, line: str) -> None:
    """Print a line as it is: names hold square brackets and colons, which rich would read."""
    console.print(line, highlight=False, markup=False, emoji=False)


def number(value: float | None, form: str) -> str:
    """Return a number, or a dash for an unknown one."""
    return NO_VALUE if value is None or value != value else format(value, form)


def tokens(tokens: float) -> str:
    """Return a token count with three digits and its power of a thousand."""
    tokens = float(f"{tokens:.3g}")
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if tokens >= size:
            return f"{tokens / size:.3g} {letter}"
    return f"{tokens:.3g}"
