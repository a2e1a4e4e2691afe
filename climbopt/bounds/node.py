"""A box of branch and bound: its lower bound, and what is left of it once points no better than the incumbent go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from climbopt.bounds.lagrangian import Box, Lagrangian
from climbopt.bounds.oracle import Minimum, boxed, minimise
from climbopt.bounds.relaxation import Relaxation, relax
from climbopt.bounds.tangents import Tangents, tangents
from climbopt.bounds.tighten import by_costs, by_curvature, by_levels, by_rows
from climbopt.templates import Array

SHRINKS = 0.8
"""A round of tightening that leaves less than this share of the widths is worth another."""
LEVELS_SHRINK = 0.9
"""The same for rounds with level sets."""
SHARE = 0.02
"""Variables with less than this share of the largest gain from branching are not tightened by level sets."""
MOST_ROUNDS = 40


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

    def children(self) -> tuple[Node, Node]:
        """Return the two halves, cut between the point and the middle where that gains most."""
        width = self.box.width
        gains = width if self.gains is None else self.gains * (width > 1e-9)
        j = int(np.argmax(gains if gains.max() > 0 else width))
        low, high = float(self.box.lower[j]), float(self.box.upper[j])
        inside = min(max(float(self.x[j]), low + 0.2 * width[j]), high - 0.2 * width[j])
        cut = 0.5 * inside + 0.25 * (low + high)
        left, right = self.box.upper.copy(), self.box.lower.copy()
        left[j] = right[j] = cut
        return (Node(Box(self.box.lower, left), self.x, self.lower), Node(Box(right, self.box.upper), self.x, self.lower))


@dataclass(eq=False)
class Examination:
    """Bounds one node and tightens it, round by round.

    Parameters
    ----------
    lagrangian : Lagrangian
    upper : float
        Value of the incumbent.
    gap : float
        A node this close to it is closed.
    time_is_up : callable
    """

    lagrangian: Lagrangian
    upper: float
    gap: float
    time_is_up: Callable[[], bool]
    solves: int = 0

    def run(self, node: Node, anchor: Array, levels: int) -> Node | None:
        """Return what is left of a node, or None where no point of it is better than the incumbent.

        A node is closed where its lower bound is within the gap of the incumbent; its tangents touch at `anchor`,
        where that lies in it, and level sets are looked at in no more than `levels` rounds.
        """
        for _ in range(MOST_ROUNDS):
            before = node.box.width.sum()
            bounded = self._bounded(node, anchor)
            if bounded is None:
                return None
            node, functions, minimum = bounded
            if self._closed(node) or self.time_is_up():
                return node
            if node.box.width.sum() <= SHRINKS * before:
                continue
            if levels <= 0:
                return node
            levels -= 1
            box = self._by_levels(node, functions, minimum)
            if box is None:
                return None
            shrunk = box.width.sum() <= LEVELS_SHRINK * before
            node = Node(box, node.x, node.lower, node.gains)
            if not shrunk or self.time_is_up():
                return node
        return node

    def _closed(self, node: Node) -> bool:
        return node.lower >= self.upper - self.gap

    def _bounded(self, node: Node, anchor: Array) -> tuple[Node, Relaxation | Tangents, Minimum] | None:
        """Return the node with its bound, and the convex function that gave it; None where nothing better is left."""
        lagrangian = self.lagrangian
        box = by_rows(node.box, lagrangian.polytope)
        if box is None:
            return None
        functions: Relaxation | Tangents = relax(lagrangian, box, np.clip(node.x, box.lower, box.upper))
        minimum = self._minimum(functions, box, node.x)
        gains, polytope = functions.gaps, lagrangian.polytope
        tightened = by_costs(box, minimum, self.upper)
        if tightened is None:
            return None
        x = minimum.x if np.isfinite(minimum.lower) else np.clip(node.x, box.lower, box.upper)
        lower = max(node.lower, minimum.lower)
        if lower < self.upper - self.gap:
            inside = bool((anchor >= box.lower).all() and (anchor <= box.upper).all())
            touching = tangents(lagrangian, tightened, anchor if inside else x)
            if touching is not None:
                second = self._minimum(touching, tightened, anchor if inside else x)
                tightened = by_costs(tightened, second, self.upper)
                if tightened is not None:
                    tightened = by_curvature(tightened, second, touching.least, self.upper)
                if tightened is None:
                    return None
                if second.lower > minimum.lower:
                    functions, minimum, x, gains = touching, second, second.x, touching.error(second.x)
                lower = max(lower, second.lower)
        return Node(tightened, x, lower, gains), functions, minimum

    def _minimum(self, functions: Relaxation | Tangents, box: Box, start: Array) -> Minimum:
        self.solves += 1
        return minimise(functions, boxed(self.lagrangian.polytope, box.lower, box.upper), start)

    def _by_levels(self, node: Node, functions: Relaxation | Tangents, minimum: Minimum) -> Box | None:
        gains = np.zeros(node.x.size) if node.gains is None else node.gains
        which = np.flatnonzero(gains > SHARE * gains.max()) if gains.max() > 0 else np.arange(node.x.size)
        which = which[np.argsort(-gains[which], kind="stable")]
        return by_levels(node.box, self.lagrangian.polytope, functions, minimum, self.upper, which, self.time_is_up)
