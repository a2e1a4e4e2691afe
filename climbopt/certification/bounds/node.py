"""A box of branch and bound with its multipliers: its lower bound, and what is left once no better points go."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from climbopt.certification.bounds.envelopes import envelopes
from climbopt.certification.bounds.incumbents import Incumbent
from climbopt.certification.bounds.lagrangian import lagrangian
from climbopt.certification.bounds.oracle import Minimum, boxed, minimise
from climbopt.certification.bounds.relaxable import Box, Relaxable
from climbopt.certification.bounds.relaxation import Relaxation, inside_domain, relax
from climbopt.certification.bounds.rows import Relaxed
from climbopt.certification.bounds.tangents import Tangents, tangents
from climbopt.certification.bounds.tighten import by_costs, by_curvature, by_levels, by_programs, by_rows
from climbopt.model.templates import Array
from climbopt.numerics.polytope import Polytope

SHRINKS = 0.8
"""A round of tightening that leaves less than this share of the widths is worth another."""
LEVELS_SHRINK = 0.95
"""The same for rounds with level sets."""
SHARE = 0.02
"""Variables with less than this share of the largest gain from branching are not tightened by level sets."""
MOST_ROUNDS = 40
SMALLEST = 1e-8
"""Width of a variable that is not cut any more."""


@dataclass(frozen=True, eq=False)
class Node:
    """A box that may hold better points than the incumbent.

    Parameters
    ----------
    box : Box
    x : ndarray, (n,)
        Where its convex problems start, and the laws are touched by tangents.
    lower : float
        No feasible point of the box that is better than the incumbent is below it.
    multipliers : ndarray, (k,)
        Of the nonlinear rows.
    gains : ndarray, (n,), optional
        Estimates of what branching on each variable could gain; None before it was examined.
    """

    box: Box
    x: Array
    lower: float
    multipliers: Array
    gains: Array | None = None

    @property
    def can_be_cut(self) -> bool:
        """Whether any variable is wide enough."""
        return bool((self.box.width > SMALLEST).any())

    def children(self) -> tuple[Node, Node]:
        """Return the two halves, cut between the point and the middle where that gains most."""
        width = self.box.width
        gains = width if self.gains is None else self.gains * (width > SMALLEST)
        j = int(np.argmax(gains if gains.max() > 0 else width))
        low, high = float(self.box.lower[j]), float(self.box.upper[j])
        inside = min(max(float(self.x[j]), low + 0.2 * width[j]), high - 0.2 * width[j])
        cut = 0.5 * inside + 0.25 * (low + high)
        left, right = self.box.upper.copy(), self.box.lower.copy()
        left[j] = right[j] = cut
        below, above = Box(self.box.lower, left), Box(right, self.box.upper)
        return (Node(below, self.x, self.lower, self.multipliers), Node(above, self.x, self.lower, self.multipliers))


@dataclass(frozen=True, eq=False)
class _Bounded:
    """A node with its bound, the convex function that gave it and its minimum.

    `polytope` is that of the problem, with the cuts of its nonlinear rows.
    """

    node: Node
    functions: Relaxation | Tangents
    minimum: Minimum
    polytope: Polytope


@dataclass(frozen=True, eq=False)
class BoxExamination:
    """Bounds a node and tightens it, round by round.

    Parameters
    ----------
    problem : Relaxable
    best : Incumbent
    gap : float
        A node this close to the incumbent's value is closed.
    deadline : float
        As `time.perf_counter` counts; one process's clock is another's on one machine.
    """

    problem: Relaxable
    best: Incumbent
    gap: float
    deadline: float

    def run(self, node: Node, levels: int) -> Node | None:
        """Return what is left of a node, or None where no point of it is better than the incumbent.

        Its tangents touch at the incumbent where that lies in it; it is tightened by linear programs and level sets
        in no more than `levels` rounds.
        """
        for _ in range(MOST_ROUNDS):
            before = node.box.width.sum()
            bounded = self._bounded(node)
            if bounded is None:
                return None
            node = bounded.node
            if self._closed(node.lower) or self._time_is_up():
                return node
            if node.box.width.sum() <= SHRINKS * before:
                continue
            if levels <= 0 or not np.isfinite(self.best.value):
                return node
            levels -= 1
            box = self._tightened(bounded)
            if box is None:
                return None
            node = replace(node, box=box)
            if box.width.sum() > LEVELS_SHRINK * before:
                return node
        return node

    def _closed(self, lower: float) -> bool:
        return lower >= self.best.value - self.gap

    def _time_is_up(self) -> bool:
        return time.perf_counter() > self.deadline

    def _bounded(self, node: Node) -> _Bounded | None:
        """Return the node bounded by envelopes and, where these leave a gap, by tangents; None where it is empty."""
        problem, polytope = self.problem, self.problem.polytope
        box = by_rows(node.box, polytope)
        if box is None:
            return None
        reference = np.clip(node.x, box.lower, box.upper)
        made = envelopes(problem, box, reference)
        start = inside_domain(made.separable, boxed(polytope, box.lower, box.upper), node.x)
        if start is None:
            return None
        node = replace(node, box=box, x=start)
        if problem.form.has_nonlinear_rows:
            with_rows = self._with_rows(node, Relaxed(problem, made.separable))
            if with_rows is None:
                return None
            node, polytope = with_rows
        relaxation = relax(lagrangian(problem, node.multipliers), box, reference, made)
        minimum = self._minimum(relaxation, node)
        tightened = by_costs(node.box, minimum, self.best.value)
        if tightened is None:
            return None
        x = minimum.x if np.isfinite(minimum.lower) else reference
        node = Node(tightened, x, max(node.lower, minimum.lower), node.multipliers, relaxation.gaps)
        found = _Bounded(node, relaxation, minimum, polytope)
        return found if self._closed(node.lower) else self._by_tangents(found)

    def _with_rows(self, node: Node, relaxed: Relaxed) -> tuple[Node, Polytope] | None:
        """Return the node with the multipliers and the point of its relaxed problem, and the polytope cut there."""
        polytope, box = self.problem.polytope, node.box
        x, mu = relaxed.solution(boxed(polytope, box.lower, box.upper), node.x) or (node.x, node.multipliers)
        cut = relaxed.cut(polytope, x, self.best.value)
        left = by_rows(box, cut)
        return None if left is None else (replace(node, box=left, x=x, multipliers=mu), cut)

    def _by_tangents(self, found: _Bounded) -> _Bounded | None:
        """Return the node bounded by tangents too, and cut by what they are curved at least."""
        node, best = found.node, self.best
        if (
            best.x is not None
            and best.multipliers is not None
            and (best.x >= node.box.lower).all()
            and (best.x <= node.box.upper).all()
        ):
            node = replace(node, x=best.x, multipliers=best.multipliers)
        touching = tangents(lagrangian(self.problem, node.multipliers), node.box, node.x)
        if touching is None:
            return found
        minimum = self._minimum(touching, node)
        tightened = by_costs(node.box, minimum, best.value)
        if tightened is not None:
            tightened = by_curvature(tightened, minimum, touching.least, best.value)
        if tightened is None:
            return None
        if minimum.lower <= found.minimum.lower:
            return replace(found, node=replace(found.node, box=tightened))
        node = Node(tightened, minimum.x, max(node.lower, minimum.lower), node.multipliers, touching.error(minimum.x))
        return _Bounded(node, touching, minimum, found.polytope)

    def _minimum(self, functions: Relaxation | Tangents, node: Node) -> Minimum:
        """Return the minimum of a convex function on a node's box."""
        box = node.box
        start = functions.lagrangian.at_ends(node.x, box)
        return minimise(functions, boxed(self.problem.polytope, box.lower, box.upper), start)

    def _tightened(self, bounded: _Bounded) -> Box | None:
        """Return the box tightened by what points better than the incumbent meet: cuts, else level sets.

        Level sets are looked at in the variables that branching would gain most from.
        """
        node, problem = bounded.node, self.problem
        box = node.box
        if problem.form.has_nonlinear_rows:
            cut = by_programs(box, bounded.polytope, problem.functions.offset.size)
            if cut is None or cut.width.sum() <= SHRINKS * box.width.sum():
                return cut
            box = cut
        gains = np.zeros(node.x.size) if node.gains is None else node.gains
        which = np.flatnonzero(gains >= SHARE * gains.max())
        which = which[np.argsort(-gains[which], kind="stable")]
        return by_levels(
            box, problem.polytope, bounded.functions, bounded.minimum, self.best.value, which, self._time_is_up
        )
