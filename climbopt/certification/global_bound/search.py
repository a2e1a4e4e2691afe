"""The search for a global bound: boxes, each with the multipliers of a local optimum; no bound rests on how it goes.

A box is shrunk to what its pieces leave below the target as long as that shrinks it, and then cut in two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from joblib import Parallel, delayed

from climbopt.certification.global_bound.boxes import Step, examined, inside, slopes_by_sums, slopes_of_mean
from climbopt.certification.global_bound.incumbents import Incumbent, judged, local, multipliers_of, multistart
from climbopt.certification.global_bound.reciprocal import reciprocal
from climbopt.certification.kkt import LimitsAt, recover
from climbopt.certification.proof.blocks import Prices
from climbopt.certification.proof.check import Tree, root
from climbopt.certification.proof.decomposition import Box, Decomposition
from climbopt.certification.proof.separable import NoBoundError
from climbopt.foundations.processes import parallel
from climbopt.model.templates import Array
from climbopt.numerics.intervals import UnsupportedFunctionError
from climbopt.numerics.polytope import EmptyPolytopeError
from climbopt.program import StandardForm

RESTS_ON = "Lagrangian decomposition into functions of one variable, bounded piece by piece; {}"
ENCLOSED = (
    "Lagrangian decomposition, with ranges and slopes on boxes for the pair template of '{}', which is no sum of "
    "products of a function of r_i and one of r_j; {}"
)
FLOATS = "float64 arithmetic, rounded outwards"
ROUNDS = 40
"""Times that a box is shrunk before it is cut."""
SHRINKS = 0.9
"""A round that leaves less than this share of the widths is worth another."""
MARGIN = 0.9
"""Share of the gap asked for that points may be below the incumbent and not be looked for."""
ROUNDING = 1e-15
"""Relative error of an objective's value."""


@dataclass(frozen=True)
class Progress:
    """Where a search has got to.

    Parameters
    ----------
    lower, upper : float
        lower <= f* <= upper so far.
    nodes : int
        Boxes examined.
    open : int
        Boxes that wait.
    seconds : float
    """

    lower: float
    upper: float
    nodes: int
    open: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Node:
    """A box of the search.

    Parameters
    ----------
    box : Box
    lower : float
        The objective is nowhere below it on the box, but where it is above the search's target.
    path : tuple of Step
        How it was shrunk since its parent was cut.
    multipliers : Prices
        To begin with.
    split : tuple of int and float, or None
        Where to cut it; None where it is examined first, or again.
    closed : bool
        Whether nothing below the target is left, or the box is too small to be cut.
    """

    box: Box
    lower: float
    multipliers: Prices
    split: tuple[int, float] | None = None
    closed: bool = False
    path: tuple[Step, ...] = ()
    parent: tuple[Node, int] | None = None


@dataclass(frozen=True, eq=False)
class Enclosure:
    """lower <= f* <= upper.

    Parameters
    ----------
    lower, upper : float
        -inf and inf where nothing was found.
    x : ndarray, (n,), or None
        The point whose objective is `upper`: feasible in its linear rows, and in the others within 1e-7.
    rests_on : str
        What the lower bound assumes.
    nodes : int
        Boxes examined.
    seconds : float
    stopped : str
        gap, time, interrupted, or exhausted: every box that is left is too small to be cut.
    multipliers : ndarray, (k,)
        Of the nonlinear rows at x, >= 0 for upper and <= 0 for lower limits.
    form : StandardForm
        The problem, or for step 2 the minimax of :func:`reciprocal`, whose boxes `proof` has.
    proof : tuple of Node
        Boxes whose steps and cuts lead from the first one to `lower`.
    written : dict or None
        What proves `lower`, for a file.
    """

    lower: float
    upper: float
    x: Array | None
    rests_on: str
    nodes: int
    seconds: float
    stopped: str
    multipliers: Array
    form: StandardForm
    proof: tuple[Node, ...] = ()
    written: Tree | None = None

    @property
    def relative_gap(self) -> float | None:
        """(upper - lower) / |upper|; None where that is no number."""
        gap = self.upper - self.lower
        return gap / abs(self.upper) if self.upper and np.isfinite(gap) else None


def enclose(
    form: StandardForm,
    *,
    gap: float = 1e-6,
    time_limit: float = 60.0,
    jobs: int = 1,
    incumbent: Array | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Enclosure:
    """Return bounds of a problem's optimum.

    Parameters
    ----------
    form : StandardForm
    gap : float
        Relative gap to stop at.
    time_limit : float
        Seconds; the bound reached by then is as valid as any.
    jobs : int
        Processes that examine boxes.
    incumbent : ndarray, (n,), optional
        A point to start from, beside those of local solves.
    progress : callable, optional
        Called with a Progress after each step.

    Raises
    ------
    NoBoundError
        Where the problem is not one of ratios, z and losses, or an auxiliary has no bounds since no feasible point is
        known.
    """
    began = time.perf_counter()

    def begun(stated: StandardForm, local_solves: bool) -> _Search:
        known = incumbent
        if known is not None and stated is not form:
            known = stated.complete(known[: form.n_ratios])
        best = _known(stated, known, began + time_limit if local_solves else None)
        return _Search(Decomposition.of(stated), best, gap, began + time_limit, jobs, progress, began)

    try:
        search = begun(reciprocal(form) or form, local_solves=True)
        stopped = search.run()
    except UnsupportedFunctionError as error:
        raise NoBoundError(f"a template has {error}") from None
    except KeyboardInterrupt:  # before the search, in local solves for example; so one box is examined without them
        search, stopped = begun(form, local_solves=False), "interrupted"
    if search.lower == -np.inf and stopped == "interrupted":
        search.step(None, 1)
    return _of_search(form, search, stopped)


def _of_search(form: StandardForm, search: _Search, stopped: str) -> Enclosure:
    """Return what a search came to; for -t where it was that of s = 1/t."""
    lower, best, examined_form = search.lower, search.best, search.problem.form
    if examined_form is not form:
        best = Incumbent() if best.x is None else judged(form, best.x)
        lower = min(float(np.nextafter(-1.0 / lower, -np.inf)) if lower > 0 else -np.inf, best.value)
    return Enclosure(
        lower,
        best.value,
        best.x,
        rests_on(form, FLOATS),
        search.nodes,
        time.perf_counter() - search.began,
        stopped,
        multipliers_of(examined_form, search.best),
        examined_form,
        (*search.closed, *search.open),
    )


def rests_on(form: StandardForm, arithmetic: str) -> str:
    """Return what a lower bound assumes; names the interactions that do not decompose."""
    names = Decomposition.of(form).separable.inseparable
    return ENCLOSED.format("', '".join(names), arithmetic) if names else RESTS_ON.format(arithmetic)


def _known(form: StandardForm, incumbent: Array | None, deadline: float | None) -> Incumbent:
    """Return the best of a start, of a point and of local solutions; without these where there is no deadline."""
    known = [judged(form, point) for point in (form.start, incumbent) if point is not None]
    if deadline is not None:
        known.insert(0, multistart(form, lambda: time.perf_counter() > deadline))
    return min(known, key=lambda point: point.value)


def optimal(problem: Decomposition, x: Array, nonlinear: Array) -> Prices:
    """Return the multipliers at a point, as if it were a local optimum; 0 of rows where the objective has no slope."""
    rows, sums = recover(LimitsAt(problem.form, x)).rows, slopes_by_sums(problem, x, nonlinear)
    return Prices(rows, nonlinear, sums, slopes_of_mean(problem, x))


def _examined(problem: Decomposition, node: Node, target: float, tolerance: float) -> Node:
    """Return what one round leaves of a node."""
    step = examined(problem, node.box, node.multipliers, target, tolerance)
    lower, path, width = max(node.lower, step.lower), (*node.path, step), node.box.width.sum()
    # The next round has the same multipliers and tighter sums; where the box hardly shrank it would say the same again.
    shrank = 0 < step.box.width.sum() <= SHRINKS * width and len(path) < ROUNDS
    closed = lower >= target or not (shrank or step.split)
    return replace(node, box=step.box, lower=lower, path=path, split=None if shrank else step.split, closed=closed)


@dataclass(eq=False)
class _Search:
    """The state of one search."""

    problem: Decomposition
    best: Incumbent
    gap: float
    deadline: float
    jobs: int
    progress: Callable[[Progress], None] | None
    began: float
    open: list[Node] = field(default_factory=list)
    closed: list[Node] = field(default_factory=list)
    nodes: int = 0
    claimed: float = np.inf

    def __post_init__(self) -> None:
        form = self.problem.form
        self.best = replace(self.best, multipliers=multipliers_of(form, self.best))
        x = form.start if self.best.x is None else self.best.x
        multipliers = optimal(self.problem, x, multipliers_of(form, self.best))
        self.open = [Node(root(self.problem, self.best.value), -np.inf, multipliers)]

    @property
    def tolerance(self) -> float:
        """The gap in the objective's unit."""
        return self.gap * abs(self.best.value) if np.isfinite(self.best.value) else 0.0

    @property
    def target(self) -> float:
        """Points that are not below it are not looked for."""
        return self.best.value - MARGIN * self.tolerance

    @property
    def lower(self) -> float:
        """The least bound of the boxes, of the targets that they were shrunk to and of the incumbent."""
        least = min((node.lower for node in self.closed), default=np.inf)
        rounding = ROUNDING * abs(self.best.value) if np.isfinite(self.best.value) else 0.0
        return float(min(self.open[0].lower if self.open else np.inf, least, self.claimed, self.best.value - rounding))

    def run(self) -> str:
        """Examine boxes until the gap is closed, time is up or nothing is left; return why it stopped."""
        try:
            with parallel(self.jobs) as workers:
                while self.open:
                    self.step(workers, self.jobs)
                    if self.lower >= self.best.value - self.tolerance:
                        return "gap"
                    if time.perf_counter() > self.deadline:
                        return "time"
        except KeyboardInterrupt:  # what `step` has done so far holds wherever it comes
            return "interrupted"
        return "exhausted"

    def step(self, workers: Parallel | None, many: int) -> None:
        """Examine the boxes with the least bounds once, or the halves of those that stopped shrinking."""
        # Best first: the bound of the search is the least of its boxes'.
        boxes = [half for node in self.open[:many] for half in self._halves(node)]
        arguments = (self.target, (1 - MARGIN) * self.tolerance)
        alone = [replace(node, parent=None) for node in boxes]
        left = (
            workers(delayed(_examined)(self.problem, node, *arguments) for node in alone)
            if workers is not None and self.jobs > 1
            else [_examined(self.problem, node, *arguments) for node in alone]
        )
        # Parents stay in this process: copies from others would not tell which halves belong together.
        left = [replace(done, parent=node.parent) for done, node in zip(left, boxes, strict=True)]
        # Points above the target were cut away, so that nothing better than it can be claimed.
        if any(node.path[-1].cut for node in left):
            self.claimed = min(self.claimed, self.target)
        self.closed.extend(node for node in left if node.closed)
        self.open = sorted(
            [*self.open[many:], *(node for node in left if not node.closed)], key=lambda node: node.lower
        )
        self.nodes += sum(len(node.path) == 1 for node in left)
        if self.progress is not None:
            self.progress(
                Progress(self.lower, self.best.value, self.nodes, len(self.open), time.perf_counter() - self.began)
            )

    def _halves(self, node: Node) -> list[Node]:
        """Return the halves of a node with multipliers of their own; itself where it was not examined yet."""
        if node.split is None:
            return [node]
        return [
            self._with_multipliers(Node(half, node.lower, node.multipliers, parent=(node, k)))
            for k, half in enumerate(node.box.halves(*node.split))
        ]

    def _with_multipliers(self, node: Node) -> Node:
        """Return a node with the multipliers of a local optimum in its box; that may be a new incumbent."""
        form = self.problem.form
        within = replace(form, polytope=inside(self.problem, node.box))
        # The multipliers of the parent suit its optimum, which lies in one half at most.
        start = self.best.x if self.best.x is not None else form.start
        try:
            start = within.nearest(np.clip(start, node.box.lower, node.box.upper))
        except EmptyPolytopeError:  # in floating point: that the box is empty is for its bound to show
            return node
        point = local(within, start)
        if point.x is None:
            return node
        if point.value < self.best.value:
            best = judged(form, point.x, point.multipliers)
            self.best = replace(best, multipliers=multipliers_of(form, best))
        return replace(node, multipliers=optimal(self.problem, point.x, multipliers_of(form, point)))
