"""A box of branch and bound: its lower bound, and what is left of it once points no better than the incumbent go."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from climbopt.bounds.lagrangian import Box, Lagrangian
from climbopt.bounds.oracle import Minimum, boxed, minimise
from climbopt.bounds.relaxation import Relaxation, inside_domain, relax
from climbopt.bounds.tangents import Tangents, tangents
from climbopt.bounds.tighten import by_costs, by_curvature, by_levels, by_rows
from climbopt.templates import Array

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
        The Lagrangian is nowhere below it on the box.
    gains : ndarray, (n,), optional
        Estimates of what branching on each variable could gain; None before it was examined.
    """

    box: Box
    x: Array
    lower: float
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
        return Node(below, self.x, self.lower), Node(above, self.x, self.lower)


@dataclass(frozen=True, eq=False)
class _Bounded:
    """A node with its bound, the convex function that gave it, and that function's minimum."""

    node: Node
    functions: Relaxation | Tangents
    minimum: Minimum


@dataclass(frozen=True, eq=False)
class Examination:
    """Bounds a node and tightens it, round by round.

    Parameters
    ----------
    lagrangian : Lagrangian
    upper : float
        Value of the incumbent.
    gap : float
        A node this close to it is closed.
    deadline : float
        As `time.perf_counter` counts; one process's clock is another's on one machine.
    """

    lagrangian: Lagrangian
    upper: float
    gap: float
    deadline: float

    def run(self, node: Node, anchor: Array, levels: int) -> Node | None:
        """Return what is left of a node, or None where no point of it is better than the incumbent.

        Its tangents touch at `anchor` where that lies in it; level sets are looked at in no more than `levels` rounds.
        """
        for _ in range(MOST_ROUNDS):
            before = node.box.width.sum()
            bounded = self._bounded(node, anchor)
            if bounded is None:
                return None
            node = bounded.node
            if self._closed(node.lower) or self._time_is_up():
                return node
            if node.box.width.sum() <= SHRINKS * before:
                continue
            if levels <= 0 or not np.isfinite(self.upper):
                return node
            levels -= 1
            box = self._by_levels(bounded)
            if box is None:
                return None
            node = Node(box, node.x, node.lower, node.gains)
            if box.width.sum() > LEVELS_SHRINK * before:
                return node
        return node

    def _closed(self, lower: float) -> bool:
        return lower >= self.upper - self.gap

    def _time_is_up(self) -> bool:
        return time.perf_counter() > self.deadline

    def _bounded(self, node: Node, anchor: Array) -> _Bounded | None:
        """Return the node bounded by envelopes and, where these leave a gap, by tangents; None where it is empty."""
        box = by_rows(node.box, self.lagrangian.polytope)
        if box is None:
            return None
        relaxation = relax(self.lagrangian, box, np.clip(node.x, box.lower, box.upper))
        start = inside_domain(relaxation, boxed(self.lagrangian.polytope, box.lower, box.upper), node.x)
        if start is None:
            return None
        minimum = self._minimum(relaxation, box, start)
        tightened = by_costs(box, minimum, self.upper)
        if tightened is None:
            return None
        x = minimum.x if np.isfinite(minimum.lower) else np.clip(node.x, box.lower, box.upper)
        found = _Bounded(Node(tightened, x, max(node.lower, minimum.lower), relaxation.gaps), relaxation, minimum)
        return found if self._closed(found.node.lower) else self._by_tangents(found, anchor)

    def _by_tangents(self, found: _Bounded, anchor: Array) -> _Bounded | None:
        """Return the node bounded by tangents too, and cut by what they are curved at least."""
        box, x = found.node.box, found.node.x
        if (anchor >= box.lower).all() and (anchor <= box.upper).all():
            x = anchor
        touching = tangents(self.lagrangian, box, x)
        if touching is None:
            return found
        minimum = self._minimum(touching, box, x)
        tightened = by_costs(box, minimum, self.upper)
        if tightened is not None:
            tightened = by_curvature(tightened, minimum, touching.least, self.upper)
        if tightened is None:
            return None
        if minimum.lower <= found.minimum.lower:
            return _Bounded(Node(tightened, found.node.x, found.node.lower, found.node.gains), found.functions,
                            found.minimum)
        node = Node(tightened, minimum.x, max(found.node.lower, minimum.lower), touching.error(minimum.x))
        return _Bounded(node, touching, minimum)

    def _minimum(self, functions: Relaxation | Tangents, box: Box, start: Array) -> Minimum:
        return minimise(functions, boxed(self.lagrangian.polytope, box.lower, box.upper), start)

    def _by_levels(self, bounded: _Bounded) -> Box | None:
        """Return the box tightened by level sets, in the variables that branching would gain most from."""
        node = bounded.node
        gains = np.zeros(node.x.size) if node.gains is None else node.gains
        which = np.flatnonzero(gains >= SHARE * gains.max())
        which = which[np.argsort(-gains[which], kind="stable")]
        return by_levels(node.box, self.lagrangian.polytope, bounded.functions, bounded.minimum, self.upper, which,
                         self._time_is_up)
