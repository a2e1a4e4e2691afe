"""Branch and bound: how far below a feasible value any point of a problem can be."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from climbopt.bounds.incumbents import multistart
from climbopt.bounds.lagrangian import Lagrangian, lagrangian
from climbopt.bounds.node import Examination, Node
from climbopt.standard_form import StandardForm
from climbopt.templates import Array

ROOT_LEVELS, NODE_LEVELS = 30, 1
"""Rounds of tightening by level sets at the root and at other nodes."""


@dataclass(frozen=True)
class Progress:
    """Where branch and bound has got to."""

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
    x : ndarray, (n,)
        A point with the value `upper`.
    nodes : int
        Boxes examined.
    seconds : float
    stopped : str
        gap, time, interrupted or exhausted.
    rests_on : str
        What the lower bound assumes.
    """

    lower: float
    upper: float
    x: Array
    nodes: int
    seconds: float
    stopped: str
    rests_on: str

    @property
    def gap(self) -> float:
        """upper - lower."""
        return self.upper - self.lower

    @property
    def relative_gap(self) -> float | None:
        """gap / |upper|; None where upper is 0."""
        return self.gap / abs(self.upper) if self.upper else None


@dataclass(eq=False)
class _Search:
    form: StandardForm
    lagrangian: Lagrangian
    x: Array
    upper: float
    gap: float
    time_limit: float
    progress: Callable[[Progress], None] | None
    began: float
    open: list[tuple[float, int, Node]] = field(default_factory=list)
    closed: float = np.inf
    nodes: int = 0
    solves: int = 0
    order: Iterator[int] = field(default_factory=count)

    @property
    def tolerance(self):
        return self.gap * abs(self.upper)

    def time_is_up(self):
        return time.perf_counter() - self.began > self.time_limit

    @property
    def lower(self):
        least = self.open[0][0] if self.open else np.inf
        return min(least, self.closed, self.upper)

    def offer(self, x):
        at = self.form.functions.at(x)
        if not self.form.c_lower.size and at.value < self.upper:
            self.x, self.upper = x, at.value

    def examine(self, node, levels):
        one = Examination(self.lagrangian, self.upper, self.tolerance, self.time_is_up)
        left = one.run(node, self.x, levels)
        self.nodes += 1
        self.solves += one.solves
        if left is None:
            return None
        self.offer(left.x)
        if left.lower >= self.upper - self.tolerance:
            self.closed = min(self.closed, left.lower)
            return None
        return left

    def run(self):
        root = self.examine(Node(self.lagrangian.root, self.x, -np.inf), ROOT_LEVELS)
        if root is not None:
            heapq.heappush(self.open, (root.lower, next(self.order), root))
        while self.open and not self.time_is_up():
            if self.lower >= self.upper - self.tolerance:
                break
            _, _, node = heapq.heappop(self.open)
            held = node.lower
            kids = node.children()
            for child in kids:
                left = self.examine(child, NODE_LEVELS)
                if left is not None:
                    heapq.heappush(self.open, (left.lower, next(self.order), left))
            if self.progress:
                self.progress(Progress(self.lower, self.upper, self.nodes, len(self.open), time.perf_counter()-self.began))


def enclose(form, *, gap=1e-6, time_limit=60.0, jobs=1, incumbent=None, multipliers=None, progress=None):
    began = time.perf_counter()
    x, upper, mu = multistart(form)
    lag = lagrangian(form, mu)
    s = _Search(form, lag, x, upper, gap, time_limit, progress, began)
    s.run()
    e = Enclosure(s.lower, s.upper, s.x, s.nodes, time.perf_counter()-began, "", "")
    e.__dict__["solves"] = s.solves
    return e
