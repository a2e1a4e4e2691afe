"""A proof that a Lagrangian is nowhere below a target on a polytope; rounding included.

The points that are looked for are those of the polytope below the target. Everything that is known of them is a
plane: that of a linear row, or one below the Lagrangian, which is below the target at such a point. A plane cuts the
box that they may lie in, and a box that is empty is closed. What a plane does not close is cut in two. Where planes are
taken, and boxes cut, is found in floating point, and nothing rests on it.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count

import numpy as np

from climbopt.bounds.balls import in_balls
from climbopt.bounds.curvature import LeastHessian
from climbopt.bounds.declared import Declared, declared, exact, middle
from climbopt.bounds.ground import Curved, Ground
from climbopt.bounds.lagrangian import Box, Lagrangian, lagrangian
from climbopt.bounds.node import Node
from climbopt.bounds.oracle import Minimum, boxed, minimise
from climbopt.bounds.planes import Plane, below_terms, by_envelopes
from climbopt.bounds.relaxation import inside_domain, relax
from climbopt.bounds.tangents import Tangents
from climbopt.intervals import Interval
from climbopt.polytope import Polytope
from climbopt.standard_form import StandardForm
from climbopt.templates import Array

ROUNDS = 12
"""Of planes on a box, as long as they shrink it."""
SHRINKS = 0.8
"""A round that leaves less than this share of the widths is worth another."""
ROW_ROUNDS = 3
"""Passes over the linear rows."""
NEWS = 1e-3
"""Share of the widths that a pass has to take off for another one."""
MARGIN = 1e-9
"""Added to a shift, as a share of the largest eigenvalue, so that definiteness can be shown."""


@dataclass(frozen=True)
class Proved:
    """What a proof has shown.

    Parameters
    ----------
    lower : float
        The Lagrangian is nowhere below it on the polytope; -inf where nothing was shown.
    boxes : int
        Examined.
    stopped : str
        target, time, interrupted, or exhausted: the boxes left are too small to be cut.
    """

    lower: float
    boxes: int
    stopped: str


def prove_below(form: StandardForm, mu: Array, x: Array, target: float, *, deadline: float,
                told: Callable[[float, int, int], None] | None = None) -> Proved:
    """Return what is proved of the least value of f + mu'(c - limit) over a polytope.

    Parameters
    ----------
    form : StandardForm
    mu : ndarray, (k,)
        Multipliers of the nonlinear rows, of the right signs.
    x : ndarray, (n,)
        A point near the best one.
    target : float
        What is tried to be shown; no more is claimed.
    deadline : float
        As `time.perf_counter` counts.
    told : callable, optional
        Called with the bound so far, the boxes examined and those that wait.

    Raises
    ------
    NoRelaxationError
        Where the problem has no relaxation here.
    """
    with in_balls():
        made = lagrangian(form, mu)
        search = _Search(made, declared(form, mu, made), x, target, deadline, told)
        stopped = search.run()
    return Proved(search.lower, search.boxes, stopped)


def cut(box: Box, slopes: Interval, limit: Interval) -> Box | None:
    """Return a box that holds every point of another with slopes'x <= limit; None where there is none."""
    least = slopes * Interval(box.lower, box.upper)
    room = exact(np.asarray((limit - exact(least.lower).sum(0)).upper))
    if room.lower < 0:
        return None
    if not np.isfinite(room.lower):
        return box
    rises, falls = slopes.lower > 0, slopes.upper < 0
    sure = rises | falls
    step = room / Interval(np.where(sure, slopes.lower, 1.0), np.where(sure, slopes.upper, 1.0))
    upper = np.where(rises, np.minimum(box.upper, (exact(box.lower) + step).upper), box.upper)
    lower = np.where(falls, np.maximum(box.lower, (exact(box.upper) + step).lower), box.lower)
    return None if (lower > upper).any() else Box(lower, upper)


def by_rows(box: Box, polytope: Polytope) -> Box | None:
    """Return a box that holds every point of another that meets the linear rows; None where there is none."""
    for _ in range(ROW_ROUNDS):
        before = box
        for row, low, high in zip(polytope.dense, polytope.a_lower, polytope.a_upper, strict=True):
            for slopes, limit in ((row, high), (-row, -low)):
                found = cut(box, exact(slopes), exact(np.asarray(limit))) if np.isfinite(limit) else box
                if found is None:
                    return None
                box = found
        if box.width.sum() > (1 - NEWS) * before.width.sum():
            break
    return box


def with_rows(plane: Plane, polytope: Polytope, rows: Array, reduced: Array) -> Plane:
    """Return the plane plus rows'(A x - limits), which is not above it on the polytope; any multipliers will do.

    Those of the equations are made such that the slopes come nearest to `reduced`, (n,): functions that agree where
    equations hold may slope differently across them.
    """
    rows, on = rows.copy(), polytope.equation
    left = reduced - middle(plane.slopes) - polytope.dense.T @ rows
    rows[on] += np.linalg.lstsq(polytope.dense[on].T, left, rcond=None)[0]
    limits = np.where(rows > 0, polytope.a_upper, polytope.a_lower)
    used = (rows != 0) & np.isfinite(rows) & np.isfinite(limits)
    slopes = plane.slopes + (exact(polytope.dense[used]) * rows[used][:, None]).sum(0)
    return Plane(slopes, plane.constant - (exact(rows[used]) * limits[used]).sum(0))


def least(plane: Plane, box: Box) -> float:
    """Return a lower bound of a plane on a box."""
    return float((plane.constant + (plane.slopes * Interval(box.lower, box.upper)).sum(0)).lower)


@dataclass(eq=False)
class _Search:
    """The boxes of a proof."""

    made: Lagrangian
    declared: Declared
    x: Array
    target: float
    deadline: float
    told: Callable[[float, int, int], None] | None
    open: list[tuple[float, int, Node]] = field(default_factory=list)
    boxes: int = 0
    order: Iterator[int] = field(default_factory=count)
    stuck: float = np.inf

    @property
    def lower(self) -> float:
        """The least bound of the boxes that are left, and no more than the target."""
        return min(self.target, self.stuck, self.open[0][0] if self.open else np.inf)

    def run(self) -> str:
        """Examine boxes, that with the least bound first, until none is left or time is up; return why it stopped."""
        polytope = self.made.polytope
        self._wait(Node(Box(polytope.x_lower, polytope.x_upper), self.x, -np.inf))
        try:
            while self.open:
                if time.perf_counter() > self.deadline:
                    return "time"
                node = self.open[0][2]
                left = [found for one in (node.children() if node.gains is not None else (node,))
                        if (found := self._examined(one)) is not None]
                heapq.heappop(self.open)  # only now: an interruption before leaves it where it was
                for found in left:
                    self._wait(found)
                if self.told is not None:
                    self.told(self.lower, self.boxes, len(self.open))
        except KeyboardInterrupt:
            return "interrupted"
        return "target" if self.stuck >= self.target else "exhausted"

    def _wait(self, node: Node) -> None:
        if node.can_be_cut:
            heapq.heappush(self.open, (node.lower, next(self.order), node))
        else:
            self.stuck = min(self.stuck, node.lower)

    def _examined(self, node: Node) -> Node | None:
        """Return what is left of a box, or None where no point of it is below the target."""
        self.boxes += 1
        for _ in range(ROUNDS):
            before = node.box.width.sum()
            box = by_rows(node.box, self.made.polytope)
            if box is None:
                return None
            node = Node(box, np.clip(node.x, box.lower, box.upper), node.lower, node.gains)
            for step in (self._by_domain, self._by_envelopes, self._by_curvature):
                found = step(node)
                if found is None:
                    return None
                node = found
            if node.box.width.sum() > SHRINKS * before or time.perf_counter() > self.deadline:
                break
        return node

    def _cut(self, node: Node, plane: Plane, minimum: Minimum, gains: Array | None) -> Node | None:
        """Return a box cut by a plane below the Lagrangian."""
        plane = with_rows(plane, self.made.polytope, minimum.rows, minimum.reduced)
        box = cut(node.box, plane.slopes, self.target - plane.constant)
        return None if box is None else Node(box, minimum.x, max(node.lower, least(plane, node.box)), gains)

    @cached_property
    def _doubtful(self) -> list[int]:
        """Targets whose law needs z above 0, where that is not proved everywhere."""
        shown = self.made.functions.proofs(self.made.polytope).z_positive
        return np.flatnonzero(~shown & (self.made.loss_part != 0)).tolist()

    def _by_domain(self, node: Node) -> Node | None:
        """Return a box cut by planes below -z, where laws are defined only at z > 0."""
        box, rows = node.box, np.zeros(self.made.polytope.a_lower.size)
        for i in self._doubtful:
            u = np.zeros(self.declared.loss_part.lower.shape)
            u[i] = -1.0
            x = np.clip(node.x, box.lower, box.upper)
            plane = with_rows(below_terms(self.declared, exact(u), box, x, x), self.made.polytope, rows,
                              np.zeros(x.size))
            found = cut(box, plane.slopes, -plane.constant)
            if found is None:
                return None
            box = found
        return replace(node, box=box, x=np.clip(node.x, box.lower, box.upper))

    def _by_envelopes(self, node: Node) -> Node | None:
        """Return a box cut by a plane below envelopes, and where laws are not defined by those above z."""
        box, polytope = node.box, boxed(self.made.polytope, node.box.lower, node.box.upper)
        relaxation = relax(self.made, box, node.x)
        start = inside_domain(relaxation, polytope, node.x)
        minimum = None if start is None else minimise(relaxation, polytope, start)
        if minimum is None or not np.isfinite(minimum.lower):
            return Node(box, node.x, node.lower, relaxation.gaps)
        x = np.clip(minimum.x, box.lower, box.upper)
        q = self.made.falls * relaxation.separable.slopes(self.made.cumulative(x))[0]
        plane = by_envelopes(self.declared, box, x, q, node.x)
        return node if plane is None else self._cut(node, plane, minimum, relaxation.gaps)

    def _by_curvature(self, node: Node) -> Node | None:
        """Return a box cut by a tangent plane of a convex function, and by how far that is curved at least."""
        box, polytope = node.box, boxed(self.made.polytope, node.box.lower, node.box.upper)
        inside = (self.x >= box.lower).all() and (self.x <= box.upper).all()
        curved = chosen(Ground(self.declared, box, self.x if inside else node.x))
        if curved is None or curved.inverse is None:
            return node
        functions = in_floats(curved)
        minimum = minimise(functions, polytope, curved.ground.reference)
        if not np.isfinite(minimum.lower):
            return node
        x = np.clip(minimum.x, box.lower, box.upper)
        plane = curved.plane(x)
        bound = least(with_rows(plane, self.made.polytope, minimum.rows, minimum.reduced), box)
        found = self._cut(node, plane, minimum, node.gains if bound <= node.lower else functions.error(x))
        near = None if found is None else curved.reach(x, self.target - exact(np.asarray(bound)), found.box)
        return None if found is None or near is None else replace(found, box=near)


def chosen(ground: Ground) -> Curved | None:
    """Return the function with the largest weights or with none, whichever needs the smaller shift."""
    best: Curved | None = None
    scales, (rows, _) = ground.scales, ground.equations
    for weights in (ground.largest_weights, np.zeros(ground.point.shape)):
        matrix = ground.least_hessian(weights)
        if matrix is None:
            continue
        bent = LeastHessian(matrix, scales, rows)
        shift = bent.shift()
        if best is None or (shift * scales**2).sum() < (best.shift * scales**2).sum():
            size = float(np.abs(bent.spectrum()[0]).max(initial=0.0))
            best = Curved(ground, weights, shift + MARGIN * max(size, np.finfo(float).tiny) / scales**2)
        if not shift.any():
            break
    return best


def in_floats(curved: Curved) -> Tangents:
    """Return the same function for solvers, in floating point."""
    ground, declared = curved.ground, curved.ground.declared
    loss, slope = (middle(one)[:, 0] for one in ground.law)
    on_z, point = middle(declared.z_part)[:, 0], ground.point[:, 0]
    constant = float(middle(declared.constant) + on_z @ point + loss.sum())
    n, wide = ground.box.lower.size, np.zeros(ground.box.lower.size)
    wide[:curved.shift.size] = curved.shift
    nothing = LeastHessian(np.zeros((n, n)), np.ones(n), np.zeros((0, n)))
    return Tangents(declared.lagrangian, ground.box, point, on_z + slope, curved.weights[:, 0], constant, wide, nothing)
