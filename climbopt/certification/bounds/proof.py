"""A proof that no point of a problem is below a target; rounding included.

The points that are looked for meet the problem's bounds and rows and are below the target. Everything that is known of
them is a plane: that of a linear row, one below a nonlinear row's function, which is at most its limit there, or one
below a Lagrangian, which is at most the target. A plane cuts the box that they may lie in, and a box that is empty is
closed. What planes do not close is cut in two. Where planes are taken is found in floating point (guide.py), and
nothing rests on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count

import numpy as np

from climbopt.certification.bounds.balls import in_balls
from climbopt.certification.bounds.cuts import by_rows, cut, least, with_rows
from climbopt.certification.bounds.declared import Declared, declared, exact
from climbopt.certification.bounds.ground import Ground
from climbopt.certification.bounds.guide import chosen, in_floats, touch
from climbopt.certification.bounds.lagrangian import lagrangian
from climbopt.certification.bounds.node import Node
from climbopt.certification.bounds.oracle import Minimum, boxed, minimise
from climbopt.certification.bounds.planes import Plane, below_terms, by_envelopes
from climbopt.certification.bounds.relaxable import Box, NoRelaxationError, Relaxable, relaxable
from climbopt.model.templates import Array
from climbopt.program import StandardForm

ROUNDS = 12
"""Of planes on a box, as long as they shrink it."""
SHRINKS = 0.8
"""A round that leaves less than this share of the widths is worth another."""


@dataclass(frozen=True)
class Proved:
    """What a proof has shown.

    Parameters
    ----------
    lower : float
        No point that meets bounds and rows is below it; -inf where nothing was shown.
    boxes : int
        Examined.
    stopped : str
        target, time, interrupted, or exhausted: the boxes left are too small to be cut.
    """

    lower: float
    boxes: int
    stopped: str


def prove_below(
    form: StandardForm,
    mu: Array,
    x: Array,
    target: float,
    *,
    deadline: float,
    told: Callable[[float, int, int], None] | None = None,
) -> Proved:
    """Return what is proved of the least value of a problem.

    Parameters
    ----------
    form : StandardForm
    mu : ndarray, (k,)
        Multipliers of the nonlinear rows at x.
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
        Where the problem has no relaxation here, or nothing bounds an auxiliary.
    """
    with in_balls():
        search = _ProofSearch(relaxable(form), x, mu, target, deadline, told)
        stopped = search.run()
    return Proved(search.lower, search.boxes, stopped)


@dataclass(eq=False)
class _ProofSearch:
    """The boxes of a proof."""

    problem: Relaxable
    x: Array
    multipliers: Array
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
        root = self._root()
        if root is not None:
            self._replace(0, [root])
        try:
            while self.open:
                if time.perf_counter() > self.deadline:
                    return "time"
                node = self.open[0][2]
                left = [
                    found
                    for one in (node.children() if node.gains is not None else (node,))
                    if (found := self._examined(one)) is not None
                ]
                self._replace(1, left)
                if self.told is not None:
                    self.told(self.lower, self.boxes, len(self.open))
        except KeyboardInterrupt:
            return "interrupted"
        return "target" if self.stuck >= self.target else "exhausted"

    def _root(self) -> Node | None:
        """Return the first box: bounds of the polytope, and of auxiliaries what rows and the target leave them."""
        polytope = self.problem.polytope
        box = by_rows(Box(polytope.bounds.lower, polytope.bounds.upper), polytope)
        node = None if box is None else self._by_nonlinear_rows(Node(box, self.x, -np.inf, self.multipliers))
        if node is not None and not np.isfinite(node.box.width).all():
            raise NoRelaxationError("nothing bounds an auxiliary by what is proved; use rigor float")
        return node

    def _replace(self, replaced: int, left: list[Node]) -> None:
        """Put boxes in the place of the first; at once, so that whenever an interruption comes, none is missing."""
        self.stuck = min([self.stuck, *(node.lower for node in left if not node.can_be_cut)])
        waiting = [(node.lower, next(self.order), node) for node in left if node.can_be_cut]
        self.open = sorted([*self.open[replaced:], *waiting])

    def _examined(self, node: Node) -> Node | None:
        """Return what is left of a box, or None where no point is looked for in it."""
        self.boxes += 1
        for _ in range(ROUNDS):
            before = node.box.width.sum()
            box = by_rows(node.box, self.problem.polytope)
            if box is None:
                return None
            node = replace(node, box=box, x=np.clip(node.x, box.lower, box.upper))
            for step in (self._by_domain, self._by_nonlinear_rows, self._by_envelopes, self._by_curvature):
                found = step(node)
                if found is None:
                    return None
                node = found
            if node.box.width.sum() > SHRINKS * before or time.perf_counter() > self.deadline:
                break
        return node

    @cached_property
    def _doubtful(self) -> list[int]:
        """Targets whose law needs z above 0, where that is not proved everywhere."""
        shown = self.problem.functions.proofs(self.problem.polytope).z_positive
        return np.flatnonzero(~shown & self.problem.loses).tolist()

    def _by_domain(self, node: Node) -> Node | None:
        """Return a box cut by planes below -z, where laws are defined only at z > 0."""
        for i in self._doubtful:
            u = np.zeros((len(self.problem.falls), 1))
            u[i] = -1.0
            plane = below_terms(self._objective, exact(u), node.box, node.x, node.x)
            found = self._cut_flat(node, plane)
            if found is None:
                return None
            node = found
        return node

    @cached_property
    def _objective(self) -> Declared:
        """The objective, without rows."""
        return declared(self.problem, np.zeros(self.multipliers.size))

    @cached_property
    def _limited(self) -> tuple[tuple[Declared, float], ...]:
        """Functions with the largest value that they may have: each side of nonlinear rows, and the objective."""
        form, found = self.problem.form, [(self._objective, self.target)]
        for k in np.flatnonzero(self.problem.straight).tolist():
            for sign, limit in ((1.0, form.nonlinear.upper[k]), (-1.0, form.nonlinear.lower[k])):
                mu = np.zeros(self.multipliers.size)
                mu[k] = sign
                if np.isfinite(limit):
                    try:
                        found.append((declared(self.problem, mu, 0.0), 0.0))
                    except NoRelaxationError:  # a loss is wanted larger: nothing is known of that side
                        continue
        return tuple(found)

    def _by_nonlinear_rows(self, node: Node) -> Node | None:
        """Return a box cut by planes below the functions of nonlinear rows and, with these, the objective."""
        if not self.problem.form.has_nonlinear_rows:
            return node
        x = np.clip(node.x, node.box.lower, node.box.upper)
        q = self.problem.response.z(self.problem.functions.cumulative(x))
        for function, limit in self._limited:
            plane = by_envelopes(function, node.box, x, q, x)
            found = (
                node
                if plane is None
                else self._cut_flat(node, Plane(plane.slopes, plane.constant - exact(np.asarray(limit))))
            )
            if found is None:
                return None
            node, x = found, np.clip(x, found.box.lower, found.box.upper)
        return node

    def _cut_flat(self, node: Node, plane: Plane) -> Node | None:
        """Return a box cut by a plane that is at most 0, with what the equations add to make it flat."""
        rows = np.zeros(self.problem.polytope.rows.lower.size)
        plane = with_rows(plane, self.problem.polytope, rows, np.zeros(node.x.size))
        box = cut(node.box, plane.slopes, -plane.constant)
        return None if box is None else replace(node, box=box, x=np.clip(node.x, box.lower, box.upper))

    def _cut(self, node: Node, plane: Plane, minimum: Minimum) -> Node | None:
        """Return a box cut by a plane below a Lagrangian, with its bound."""
        plane = with_rows(plane, self.problem.polytope, minimum.rows, minimum.reduced)
        box = cut(node.box, plane.slopes, self.target - plane.constant)
        bound = least(plane, node.box)
        return None if box is None else replace(node, box=box, x=minimum.x, lower=max(node.lower, bound))

    def _by_envelopes(self, node: Node) -> Node | None:
        """Return a box cut by a plane below the envelopes of a Lagrangian."""
        guide = touch(self.problem, node)
        reference, node = node.x, replace(node, multipliers=guide.lagrangian.multipliers, gains=guide.gains)
        if guide.minimum is None:
            return node
        x = np.clip(guide.minimum.x, node.box.lower, node.box.upper)
        numbers = declared(self.problem, guide.lagrangian.multipliers)
        plane = by_envelopes(numbers, node.box, x, guide.q, reference)
        return node if plane is None else self._cut(node, plane, guide.minimum)

    def _by_curvature(self, node: Node) -> Node | None:
        """Return a box cut by a tangent plane of a convex function, and by how far that is curved at least."""
        box, n = node.box, self.problem.functions.offset.size
        inside = (self.x[:n] >= box.lower[:n]).all() and (self.x[:n] <= box.upper[:n]).all()
        touched, mu = (self.x, self.multipliers) if inside else (node.x, node.multipliers)
        suited = lagrangian(self.problem, mu)
        ground = Ground(declared(self.problem, suited.multipliers), box, np.clip(touched, box.lower, box.upper))
        curved = chosen(ground)
        if curved is None or curved.inverse is None:
            return node
        functions = in_floats(curved, suited)
        minimum = minimise(
            functions, boxed(self.problem.polytope, box.lower, box.upper), suited.at_ends(ground.reference, box)
        )
        if not np.isfinite(minimum.lower):
            return node
        x = np.clip(minimum.x, box.lower, box.upper)
        plane = curved.plane(x)
        bound = least(with_rows(plane, self.problem.polytope, minimum.rows, minimum.reduced), box)
        found = self._cut(node if bound <= node.lower else replace(node, gains=functions.error(x)), plane, minimum)
        near = None if found is None else curved.reach(x, self.target - exact(np.asarray(bound)), found.box)
        return None if found is None or near is None else replace(found, box=near)
