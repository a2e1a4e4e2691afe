"""Figures from numbers: sized for a paper's column, and readable in grey and by the colour-blind.

Colour never stands alone: lines have markers and dashes, bars hatches, cells their numbers. Colours are Okabe and Ito's
(Color Universal Design, 2008). Needs matplotlib (extra `plots`), and keeps no state in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from numpy.typing import NDArray

from climbopt.model.templates import Array
from climbopt.reports.typesetting import tokens
from climbopt.studies.comparison.backend_runs import Profile

COLUMN, PAGE = 3.4, 7.0
"""Widths of a single and of a double column, in inches."""
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#D55E00", "#999999")
MARKERS = "osD^vPX*"
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (1, 1)), (0, (8, 2)))
HATCHES = ("", "////", "....", "xxxx", "||||", "----")
SHADES = ("#6BAED6", "#DDDDDD", "#F0C04C", "#FFFFFF", "#99CCBB", "#DDAACC")
BASELINES = {"uniform": 1, "natural": 2, "temperature": 3, "unimax": 4}
"""Which shade and hatch a baseline has, in every picture; answers have the first."""
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "svg.hashsalt": "climbopt",
    "text.parse_math": False,  # names of languages may hold a $
}
DIVERGING = LinearSegmentedColormap.from_list("diverging", ["#E08214", "#FFFFFF", "#5E4FA2"])
"""Orange below 0, violet above; the violet is the darker, so that grey still tells which is which."""
MOST_NUMBERS, MOST_LINES = 12, 8
GREY = "#CFCFCF"
PROFILE_END = 1000.0
"""Largest factor of a performance profile that is drawn."""
PROFILE_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 2, 1, 2)))


def _canvas(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """Return the axes to draw into and their figure: `ax`, or those of a new figure."""
    if ax is not None:
        return cast("Figure", ax.figure), ax
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _legend(figure: Figure, ax: Axes | None, place: Any, columns: int, **look: Any) -> None:
    """Draw a legend at its place in a new figure, or inside `ax`."""
    if ax is None:
        figure.legend(loc=place, ncols=columns, frameon=False, **look)
    else:
        ax.legend(frameon=False, **look)


def _caption(figure: Figure, ax: Axes | None, text: str) -> None:
    """Write a caption below a new figure, or above `ax`."""
    if ax is None:
        figure.supxlabel(text, fontsize=6)
    else:
        ax.set_title(text, fontsize=6)


def _style(k: int) -> dict[str, Any]:
    """Return colour, marker and dash of the k-th line."""
    # After n lines colours begin again, with the next marker and dash, so that no two lines look alike.
    n = len(COLORS)
    return {"color": COLORS[k % n], "marker": MARKERS[(k + k // n) % n], "linestyle": DASHES[(k + k // n) % n]}


@rc_context(STYLE)
def fit_figure(
    languages: Sequence[str],
    measured: Array,
    predicted: Array,
    trained: NDArray[np.bool_],
    width: float = PAGE,
    ax: Axes | None = None,
) -> Figure:
    """Return predicted against measured losses, and the relative residuals; zero-shot losses are hollow.

    Losses are in nats per token, (n, T), and NaN where there is none; `trained`, (n, T), says whether the run has data
    of the language. `ax` shows only the first of the two pictures.
    """
    if ax is None:
        figure = Figure(figsize=(width, 0.43 * width if width > 5 else 1.7 * width), layout="constrained")
        left, right = figure.subplots(1, 2) if width > 5 else figure.subplots(2, 1)
    else:
        figure, left, right = cast("Figure", ax.figure), ax, None
    # Both ends of the diagonal, on which prediction and measurement agree.
    known = np.isfinite(predicted) & np.isfinite(measured)
    ends = (float(measured[known].min()), float(measured[known].max()))
    left.plot(ends, ends, color="0.4", linewidth=0.8, zorder=1)
    if right is not None:
        right.axhline(0.0, color="0.4", linewidth=0.8, zorder=1)
        right.set(xlabel="measured loss (nats per token)", ylabel="residual (% of measured)")
    for i, name in enumerate(languages):
        style = _style(i) | {"linestyle": "none", "markeredgewidth": 0.6, "markersize": 3.5}
        for trains in (True, False):
            on = known[:, i] & (trained[:, i] == trains)
            x, y = measured[on, i], predicted[on, i]
            face = style["color"] if trains else "none"
            left.plot(x, y, markerfacecolor=face, label=name if trains else None, **style)
            if right is not None:
                right.plot(x, 100 * (y / x - 1), markerfacecolor=face, **style)
    if not (trained | ~known).all():
        left.plot([], [], "o", markerfacecolor="none", markeredgecolor="black", markersize=3.5, label="ratio of 0")
    left.set(xlabel="measured loss (nats per token)", ylabel="predicted loss (nats per token)")
    _legend(figure, ax, "outside lower center", min(len(languages) + 1, 7 if width > 5 else 4))
    return figure


@rc_context(STYLE)
def transfer_figure(
    values: Array,
    sources: Sequence[str],
    targets: Sequence[str],
    label: str,
    caption: str,
    indistinct: NDArray[np.bool_] | None = None,
    width: float = COLUMN,
    ax: Axes | None = None,
) -> Figure:
    """Return a heat map of transfer, (T, S), from sources to targets.

    Violet and dark is help, orange and hatched is harm; NaN cells (a language itself) are empty. `indistinct` cells,
    (T, S), not distinguishable from 0, are grey, with their numbers in brackets or dotted. `caption` stands below.
    """
    figure, axes = _canvas(ax, width, width * (0.25 + 0.75 * len(targets) / max(len(sources), 1)))
    # Symmetric about 0, so that equal help and harm are equally dark.
    most = float(np.nanmax(np.abs(values))) or 1.0
    numbered = len(sources) <= MOST_NUMBERS
    image = axes.imshow(values, cmap=DIVERGING, norm=TwoSlopeNorm(0.0, -most, most), aspect="auto")
    for i, j in np.argwhere(np.isfinite(values)):
        grey = indistinct is not None and bool(indistinct[i, j])
        if grey or values[i, j] < 0:
            axes.fill_between(
                [j - 0.5, j + 0.5],
                i - 0.5,
                i + 0.5,
                facecolor=GREY if grey else "none",
                edgecolor="0.5" if grey else "0.35",
                hatch=("" if numbered else "....") if grey else "////",
                linewidth=0,
            )
        if numbered:
            boxed = {"facecolor": "white", "edgecolor": "none", "pad": 0.6} if values[i, j] < 0 and not grey else None
            axes.text(
                j,
                i,
                # z: a value that rounds to 0 has no sign.
                f"({values[i, j]:z.2f})" if grey else f"{values[i, j]:z.2f}",
                ha="center",
                va="center",
                fontsize=6 if len(sources) <= 8 else 4.5,
                bbox=boxed,
                color="white" if values[i, j] > 0.7 * most and not grey else "black",
            )
    turned = max(map(len, sources)) * len(sources) > 30
    axes.set_xticks(range(len(sources)), sources, rotation=90 if turned else 0)
    axes.set_yticks(range(len(targets)), targets)
    axes.set(xlabel="from", ylabel="to")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label=label, shrink=0.9)
    _caption(figure, ax, caption)
    return figure


@rc_context(STYLE)
def bars_figure(
    languages: Sequence[str],
    series: Mapping[str, Array],
    label: str,
    *,
    unit: float = 1.0,
    ranges: tuple[Array, Array] | None = None,
    width: float = COLUMN,
    ax: Axes | None = None,
) -> Figure:
    """Return grouped bars, one group per language and one bar per series.

    Parameters
    ----------
    languages : sequence of str
    series : mapping of str to ndarray, (n,)
        NaN where a series has no bar.
    label : str
        Of the values' axis.
    unit : float
        Value of a unit of the axis.
    ranges : two ndarrays, (n,), optional
        Drawn as whiskers on the first series.
    """
    n, k = len(languages), len(series)
    # Bars lie where they would be too thin to stand: more than 14 per inch.
    lying = n * k > 14 * width
    figure, axes = _canvas(ax, width, 0.13 * n * k + 0.9 if lying else 0.72 * width if width < 5 else 0.4 * width)
    thick, places = 0.84 / k, np.arange(n)
    for s, (name, values) in enumerate(series.items()):
        # Bars of a group side by side, centred on its place.
        at = places + (s - (k - 1) / 2) * thick
        kind = BASELINES.get(name, 0)
        look: dict[str, Any] = {"facecolor": SHADES[kind], "hatch": HATCHES[kind], "edgecolor": "black"}
        (axes.barh if lying else axes.bar)(at, values / unit, thick, linewidth=0.5, label=name, **look)
        if s == 0 and ranges is not None:
            x, y = (values / unit, at) if lying else (at, values / unit)
            # Error bars take distances from the value.
            ends: dict[str, Any] = {"xerr" if lying else "yerr": np.abs(np.array(ranges) - values) / unit}
            axes.errorbar(x, y, **ends, fmt="none", ecolor="black", elinewidth=1.0, capsize=2.0)
    if lying:
        axes.set_yticks(places, languages)
        # The first language on top.
        axes.set(ylim=(n - 0.45, -0.55), xlabel=label)
    else:
        axes.set_xticks(places, languages, rotation=90 if sum(map(len, languages)) > 12 * width else 0)
        axes.set_ylabel(label)
    if k > 1:
        _legend(figure, ax, "outside upper center", min(k, 3 if width < 5 else 6))
    return figure


@rc_context(STYLE)
def ranges_figure(
    languages: Sequence[str],
    ratios: Array,
    ends: tuple[Array, Array],
    width: float = COLUMN,
    ax: Axes | None = None,
) -> Figure:
    """Return each language's range as a line with the optimum on it, in per cent."""
    figure, axes = _canvas(ax, width, 0.2 * len(languages) + 0.75)
    places = np.arange(len(languages))
    axes.hlines(places, 100 * ends[0], 100 * ends[1], color="0.55", linewidth=3, label="near-optimal range")
    for end in ends:
        axes.plot(100 * end, places, linestyle="none", marker="|", color="black", markersize=7)
    axes.plot(
        100 * ratios,
        places,
        linestyle="none",
        marker="D",
        color=COLORS[0],
        markeredgecolor="black",
        markeredgewidth=0.5,
        label="optimum",
    )
    axes.set_yticks(places, languages)
    axes.set(ylim=(len(languages) - 0.4, -0.6), xlim=(0, None), xlabel="ratio (%)", axisbelow=True)
    axes.grid(axis="x", color="0.88", linewidth=0.6)
    _legend(figure, ax, "outside upper center", 2)
    return figure


@rc_context(STYLE)
def sweep_figure(
    languages: Sequence[str],
    at: Array,
    ratios: Array,
    label: str,
    *,
    logarithmic: bool,
    bands: Array | None = None,
    caption: str = "",
    width: float = COLUMN,
    ax: Axes | None = None,
) -> Figure:
    """Return ratios along a path; of many languages, those that move most are named and the rest are thin grey.

    `at`, (n,), are budgets in tokens, or values of a constraint's number; `ratios`, and the lower and upper ends of
    `bands`, are (n, S), and NaN where there is no answer; `caption` says what the bands are.
    """
    figure, axes = _canvas(ax, width, 0.78 * width if width < 5 else 0.45 * width)
    # Languages by how far their ratio moves along the path; the legend follows the order at its end.
    moved = np.nanmax(ratios, axis=0) - np.nanmin(ratios, axis=0)
    named = sorted(np.argsort(-moved, kind="stable")[:MOST_LINES].tolist(), key=lambda j: -np.nan_to_num(ratios[-1, j]))
    for j in set(range(len(languages))) - set(named):
        axes.plot(at, 100 * ratios[:, j], color="0.75", linewidth=0.6, zorder=1)
    for k, j in enumerate(named):
        style = _style(k)
        axes.plot(
            at,
            100 * ratios[:, j],
            markevery=max(1, len(at) // 7),
            label=languages[j],
            markeredgecolor="black",
            markeredgewidth=0.3,
            **style,
        )
        if bands is not None:
            axes.fill_between(
                at,
                100 * bands[0][:, j],
                100 * bands[1][:, j],
                facecolor=style["color"],
                alpha=0.2,
                hatch=HATCHES[1 + k % (len(HATCHES) - 1)],
                edgecolor="0.5",
                linewidth=0,
            )
    if len(named) < len(languages):
        # Empty lines stand in the legend for what is drawn otherwise.
        axes.plot([], [], color="0.75", linewidth=0.8, label=f"{len(languages) - len(named)} others")
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_Counts())  # the default ones write mathematics, which is switched off
        axes.xaxis.set_minor_formatter(_Counts())
    axes.set(ylim=(0, None), xlabel=label, ylabel="ratio (%)")
    if bands is not None:
        _caption(figure, ax, caption)
    _legend(figure, ax, "outside right center", 1, handlelength=3.2)
    return figure


class _Counts(LogFormatter):
    """Ticks of a logarithmic axis, labelled as counts are: 2 M."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the label of a tick; empty for ticks that the axis has no room to label."""
        if not super().__call__(x, pos):
            return ""
        return tokens(x) if x >= 1 else f"{x:.3g}"  # below 1 stand ratios and losses


def profile_figure(measured: Sequence[Profile], ax: Axes | None = None) -> Figure:
    """Return performance profiles: the share of problems that each backend solved within factors of the fastest."""
    figure, axes = _canvas(ax, 6.4, 3.6)
    for position, profile in enumerate(measured):
        solved = profile.factors[np.isfinite(profile.factors)]
        heights = np.arange(1, solved.size + 1) / max(profile.factors.size, 1)
        # A step at each factor, drawn on to the end of the axis.
        x = np.concatenate([[1.0], solved, [PROFILE_END]])
        y = np.concatenate([[0.0], heights, [heights[-1] if solved.size else 0.0]])
        dash = PROFILE_DASHES[position % len(PROFILE_DASHES)]
        axes.step(x, y, where="post", linestyle=dash, linewidth=1.8, label=profile.backend)
    axes.set(
        xscale="log",
        xlim=(1, PROFILE_END),
        ylim=(0, 1.02),
        xlabel="time over the fastest backend's time",
        ylabel="share of problems solved",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="lower right")
    return figure
