"""How public objects show themselves: a few lines at a prompt, a table in a notebook, a frame, JSON and pictures.

A class states what it shows, once, as a `View`; this module decides how it looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

from climbopt.foundations.errors import MOST_LISTED, listed, shown
from climbopt.foundations.frozen import check_arguments

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

WIDTH, LINES = 96, 10
"""Largest line length and number of lines at a prompt; a notebook shows whole lines."""
MOST_ROWS = 40
"""Rows of a table that a notebook shows; the frame has all."""

Cell = None | bool | int | float | str
Columns = dict[str, Sequence[Cell]]


@dataclass(frozen=True)
class View:
    """What an object shows of itself.

    Parameters
    ----------
    title : str
        A line that says what the object is.
    facts : sequence of str
        Further lines.
    columns : callable
        Returns a table by column, all of equal length, on demand; None or NaN where a row has no value.
    """

    title: str
    facts: Sequence[str] = ()
    columns: Callable[[], Columns] = dict

    def text(self) -> str:
        """Return at most `LINES` lines of at most `WIDTH` characters."""
        lines = [self.title, *(f"  {fact}" for fact in self.facts)]
        # The last line says how many more there are, so that no more than LINES are shown.
        lines = lines if len(lines) <= LINES else [*lines[: LINES - 1], f"  and {len(lines) - LINES + 1} more lines"]
        return "\n".join(_cut(shown(line)) for line in lines)

    def html(self) -> str:
        """Return a heading, the facts and the first rows of the table; names are escaped."""
        columns = self.columns()
        rows = list(zip(*columns.values(), strict=True))
        parts = [
            f"<p><b>{_html(self.title)}</b></p>",
            *(f"<p>{_html(fact)}</p>" for fact in self.facts),
            html_table(columns, [(map(_cell, row), False) for row in rows[:MOST_ROWS]]) if rows else "",
            f"<p>and {len(rows) - MOST_ROWS} more rows; to_frame() has all</p>" if len(rows) > MOST_ROWS else "",
        ]
        return f"<div>{''.join(parts)}</div>"


class Viewed:
    """An object that shows itself by its `view`; dataclasses that are viewed are declared with ``repr=False``."""

    def view(self) -> View:
        """Return what the object shows."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.view().text()

    def _repr_html_(self) -> str:
        return self.view().html()

    def to_frame(self) -> pd.DataFrame:
        """Return the object's table as a pandas frame, with a row for each language, run or point."""
        import pandas as pd  # here, so that only a table loads pandas

        return pd.DataFrame(dict(self.view().columns()))


class Reported(Viewed):
    """A viewed object that is also written as JSON and drawn, by `climbopt.reports`, which is imported on demand."""

    def to_dict(self) -> dict[str, Any]:
        """Return the object as JSON values, as the command line writes them; `format` names their version."""
        result: dict[str, Any] = import_module("climbopt.reports.writers").to_dict(self)
        return result

    @check_arguments
    def plot(self, kind: str | None = None, *, ax: Axes | None = None) -> Axes:
        """Return matplotlib axes with a picture of the object.

        Parameters
        ----------
        kind : str, optional
            Which picture, where there are several: the first by default.
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; those of a new figure by default.

        Raises
        ------
        InputError
            For a kind that the object has no picture of, or without matplotlib.
        """
        axes: Axes = import_module("climbopt.reports.writers").plot(self, kind, ax)
        return axes


def html_table(heads: Iterable[str], rows: Iterable[tuple[Iterable[str], bool]]) -> str:
    """Return a table of texts, escaped; rows that are marked have the class bad."""
    lines = [
        f"<tr{' class=bad' if bad else ''}>" + "".join(f"<td>{_html(cell)}</td>" for cell in row) + "</tr>"
        for row, bad in rows
    ]
    head = "<table><tr>" + "".join(f"<th>{_html(head)}</th>" for head in heads) + "</tr>"
    return "\n".join([head, *lines, "</table>"])


def percentages(ratios: Mapping[str, float], most: int = MOST_LISTED) -> str:
    """Return the largest ratios in per cent, and the number of further entries.

    Examples
    --------
    >>> percentages({"en": 0.25, "sw": 0.75})
    'sw 75 %, en 25 %'
    """
    ordered = sorted(ratios, key=lambda name: -ratios[name])
    return listed([f"{name} {100 * ratios[name]:.3g} %" for name in ordered], most=most)


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def _cell(value: Cell) -> str:
    """Return a cell as text; an empty text for an unknown value."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return "" if value is None or value != value else text  # NaN differs from itself


def _html(text: str) -> str:
    return escape(shown(text))
