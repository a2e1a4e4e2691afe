"""Branch and bound, best first: how far below a feasible value any point of a problem can be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from joblib import Parallel, delayed

from climbopt.certification.bounds.incumbents import Incumbent, judged, local, multipliers_of, multistart
from climbopt.certification.bounds.node import BoxExamination, Node
from climbopt.certification.bounds.oracle import ROUNDING
from climbopt.certification.bounds.relaxable import Relaxable, relaxable
from climbopt.certification.bounds.rows import root_box
from climbopt.foundations.processes import parallel
from climbopt.model.templates import Array
from climbopt.program import StandardForm

ROOT_LEVELS, NODE_LEVELS = 30, 1
"""Rounds of tightening by level sets at the root and at other nodes."""
RESTS_ON = (
    "branch and bound on convex relaxations derived from the templates; the Frank-Wolfe bound on each box; "
    "float64 arithmetic"
)
RESTS_ON_ROWS = (
    "branch and bound on convex relaxations derived from the templates; on each box the Frank-Wolfe bound "
    "of a Lagrangian with multipliers of its own, and tangents of the relaxed nonlinear rows; float64 "
    "arithmetic"
)


@dataclass(frozen=True)
class Progress:
    """Where branch and bound has got to.

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

    @property
    def gap(self) -> float:
        """upper - lower."""
        return self.upper - self.lower


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
        Of the nonlinear rows at x, >= 0 for upper and <= 0 for lower limits; every leaf has its own.
    leaves : tuple of Node
        Boxes that cover every point which may be better than `upper` by more than the gap.
    """

    lower: float
    upper: float
    x: Array | None
    rests_on: str
    nodes: int
    seconds: float
    stopped: str
    multipliers: Array
    leaves: tuple[Node, ...] = ()

    @property
    def gap(self) -> float:
        """upper - lower."""
        return self.upper - self.lower

    @property
    def relative_gap(self) -> float | None:
        """gap / |upper|; None where that is no number."""
        return self.gap / abs(self.upper) if self.upper and np.isfinite(self.gap) else None


def enclose(
    form: StandardForm,
    *,
    gap: float = 1e-6,
    time_limit: float = 60.0,
    jobs: int = 1,
    incumbent: Array | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Enclosure:
    """Return bounds of a problem's optimum, reached by branch and bound.

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
    NoRelaxationError
        Where the problem has no relaxation here, or an auxiliary has no bounds since no feasible point is known.
    """
    began = time.perf_counter()

    def time_is_up() -> bool:
        return time.perf_counter() - began > time_limit

    problem, best = relaxable(form), multistart(form, time_is_up)
    if incumbent is not None:
        given = judged(form, incumbent)
        best = given if given.value < best.value else best
    search = _BoxSearch(problem, best.with_multipliers(form), gap, began + time_limit, jobs, progress, began)
    stopped = search.run()
    leaves = (*search.closed, *(node for _, _, node in search.open))
    return Enclosure(
        search.lower,
        search.best.value,
        search.best.x,
        RESTS_ON_ROWS if form.has_nonlinear_rows else RESTS_ON,
        search.nodes,
        time.perf_counter() - began,
        stopped,
        multipliers_of(form, search.best),
        leaves,
    )


def _examined(problem: Relaxable, node: Node, best: Incumbent, gap: float, deadline: float, levels: int) -> Node | None:
    """Return what is left of a node."""
    return BoxExamination(problem, best, gap, deadline).run(node, levels)


@dataclass(eq=False)
class _BoxSearch:
    """The state of one branch and bound."""

    problem: Relaxable
    best: Incumbent
    gap: float
    deadline: float
    jobs: int
    progress: Callable[[Progress], None] | None
    began: float
    open: list[tuple[float, int, Node]] = field(default_factory=list)
    closed: list[Node] = field(default_factory=list)
    nodes: int = 0
    order: Iterator[int] = field(default_factory=count)

    @property
    def tolerance(self) -> float:
        """The gap in the objective's unit."""
        return self.gap * abs(self.best.value) if np.isfinite(self.best.value) else 0.0

    @property
    def lower(self) -> float:
        """The least bound of the boxes that are left; where none is, the incumbent's value less its rounding error."""
        rounding = ROUNDING * abs(self.best.value) if np.isfinite(self.best.value) else 0.0
        least = min((node.lower for node in self.closed), default=np.inf)
        return float(min(self.open[0][0] if self.open else np.inf, least, self.best.value - rounding))

    def run(self) -> str:
        """Examine boxes until the gap is closed, time is up or nothing is left; return why it stopped."""
        form, best = self.problem.form, self.best
        x = form.start if best.x is None else best.x
        root = Node(root_box(self.problem, x, best.value), x, -np.inf, multipliers_of(form, best))
        self.open = [(-np.inf, next(self.order), root)]
        try:
            with parallel(self.jobs) as workers:
                self._step(workers, [self.open[0][2]], ROOT_LEVELS)
                while self.open:
                    if self.lower >= self.best.value - self.tolerance:
                        return "gap"
                    if time.perf_counter() > self.deadline:
                        return "time"
                    parents = [node for _, _, node in self.open[: self.jobs]]
                    self._step(
                        workers,
                        [child for node in parents for child in node.children()],
                        NODE_LEVELS,
                        replaced=len(parents),
                    )
        except KeyboardInterrupt:
            return "interrupted"
        return "gap" if self.lower >= self.best.value - self.tolerance else "exhausted"

    def _step(self, workers: Parallel, nodes: list[Node], levels: int, replaced: int = 1) -> None:
        """Examine boxes that take the place of the best open ones."""
        arguments = (self.best, self.tolerance, self.deadline, levels)
        left = list(
            workers(delayed(_examined)(self.problem, node, *arguments) for node in nodes)
            if self.jobs > 1
            else (_examined(self.problem, node, *arguments) for node in nodes)
        )
        self._replace(replaced, [node for node in left if node is not None])
        for node in left:
            self.nodes += 1
            if node is not None:
                self._offer(node.x)
        if self.progress is not None:
            self.progress(
                Progress(self.lower, self.best.value, self.nodes, len(self.open), time.perf_counter() - self.began)
            )

    def _replace(self, replaced: int, left: list[Node]) -> None:
        """Put boxes in the place of the best open ones: for later, or with those that are done.

        At once and before any local solve: whenever an interruption comes, every box is in a list.
        """
        done = {id(node) for node in left if node.lower >= self.best.value - self.tolerance or not node.can_be_cut}
        self.closed.extend(node for node in left if id(node) in done)
        waiting = [(node.lower, next(self.order), node) for node in left if id(node) not in done]
        self.open = sorted([*self.open[replaced:], *waiting])

    def _offer(self, x: Array) -> None:
        """Take a point as incumbent where it is better; from one that nearly is, a local solve goes first."""
        found = judged(self.problem.form, x)
        if found.value < self.best.value - self.tolerance:
            better = local(self.problem.form, x)
            found = better if better.value < found.value else found
        if found.value < self.best.value:
            self.best = found.with_multipliers(self.problem.form)
