"""What the functions of a decomposition are on a box, and boxes outside of which no point of interest lies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from climbopt.certification.proof.curves import deviation
from climbopt.certification.proof.decomposition import Box, Decomposition, Indices
from climbopt.certification.proof.separable import NoBoundError
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval, where

NODES, SPACING = 17, 3
"""Nodes of a part that is not linear, and the power of their even steps: parts bend most next to a ratio of 0."""
TIGHTENINGS = 3
"""Times that rows tighten a box."""
enclosing = Interval.enclosing


@dataclass(frozen=True, eq=False)
class Chords:
    """A part on a box: values of pairs at nodes, (T, S, M), 0 for own ones; what sums may be beyond chords, (T,)."""

    values: Array
    rest: Interval

    @cached_property
    def sums(self) -> Interval:
        """All that sums can be, (T,)."""
        return enclosing(enclosing(self.values).hull(-1).sum(1) + self.rest)


def nodes(problem: Decomposition, box: Box) -> Array:
    """Return nodes of the ratios of a box, (S, M): its ends where all parts are linear."""
    linear, S = all(part.linear for part in problem.separable.parts), problem.n_sources
    low, high = box.lower[:S, None], box.upper[:S, None]
    ratios = low + (high - low) * np.linspace(0.0, 1.0, 2 if linear else NODES) ** SPACING
    ratios[:, -1:] = high
    return ratios


def chords(problem: Decomposition, ratios: Array) -> list[Chords]:
    """Return the parts between nodes of the ratios."""
    (targets, sources), source, parts = problem.pairs, np.arange(len(ratios))[:, None], []
    on_nodes = problem.cumulative(enclosing(ratios), source)
    between = problem.cumulative(Interval(ratios[:, :-1], ratios[:, 1:]), source)
    at, others = (targets[..., None], sources[..., None]), problem.others[..., None] > 0
    for part in problem.separable.parts:
        value = where(others, part.enclose(on_nodes, at))
        # Middles stand for values at nodes; what they miss is part of the rest, as is what chords miss between nodes.
        rest = (value - enclosing(value.middle)).hull(-1)
        if not part.linear:
            rest = rest + where(others, deviation(part, between, at)).hull(-1)
        parts.append(Chords(value.middle, rest.sum(1)))
    return parts


def z_range(problem: Decomposition, parts: list[Chords], own: Interval, t: Indices) -> Interval:
    """Return enclosures of z of targets for own ratios in intervals, (P,)."""
    z = problem.separable.own.enclose(own, t)
    for gate, part in zip(problem.separable.gates, parts, strict=True):
        z = z + gate.enclose(own, t) * part.sums[t]
    return Interval(np.maximum(z.lower, problem.end_of_domain[t]), z.upper)


def rests(problem: Decomposition, box: Box) -> Interval:
    """Return enclosures of what z, losses and constants add to the affine part of objective and rows, (1 + k,)."""
    problem, table = problem.on(box), problem.functions.table
    t, home = np.arange(len(problem.home)), problem.home
    own = problem.cumulative(Interval(problem.by_block(box.lower)[home], problem.by_block(box.upper)[home]), home)
    with np.errstate(all="ignore"):
        z = z_range(problem, chords(problem, nodes(problem, box)), own, t)
        losses = problem.separable.law.enclose(z, t)
        terms = enclosing(table.parts.z) * z + enclosing(table.parts.loss) * losses
        return enclosing(terms.sum(1) + enclosing(table.constant))


def root(problem: Decomposition, upper: float) -> Box:
    """Return a box of all points that are feasible and have an objective of at most `upper`.

    Raises
    ------
    NoBoundError
        Where an auxiliary has no bounds.
    """
    bounds, n, (in_total, total) = problem.polytope.bounds, problem.form.n_ratios, problem.total
    low, high = bounds.lower.copy(), bounds.upper.copy()
    high[:n] = np.where(in_total[:n] > 0, np.minimum(high[:n], total), high[:n])  # as all of them are >= 0
    box = tightened(problem, Box(low, high))
    box = None if box is None else cut(box, *of_auxiliaries(problem, box, upper))
    if box is None:
        return Box(low, low)
    free = np.flatnonzero(~np.isfinite(box.width))
    if free.size:
        name = problem.form.variables[int(free[0])]
        raise NoBoundError(f"nothing bounds the auxiliary '{name}': no mixture is known that meets the constraints")
    return box


def tightened(problem: Decomposition, box: Box) -> Box | None:
    """Return a box cut by the linear rows; None where nothing is left."""
    rows, dense = problem.polytope.rows, problem.polytope.dense
    return cut(box, np.vstack([dense, -dense]), np.append(rows.upper, -rows.lower))


def cut(box: Box, a: Array, b: Array) -> Box | None:
    """Return a box cut by rows a x <= b; None where nothing is left."""
    low, high = box.lower, box.upper
    for _ in range(TIGHTENINGS):
        # a_j x_j <= b - the least that the other terms can be; divided by a_j, whose sign tells which end moves.
        terms = (enclosing(a) * Interval(low, high)).lower
        others = enclosing(np.where(np.eye(low.size) > 0, 0.0, terms[:, None])).sum(2)
        end = (enclosing(b[:, None]) - enclosing(others.lower)) / enclosing(a)
        high = np.minimum(high, np.where(a > 0, end.upper, np.inf).min(axis=0, initial=np.inf))
        low = np.maximum(low, np.where(a < 0, end.lower, -np.inf).max(axis=0, initial=-np.inf))
    return Box(low, high) if (low <= high).all() else None


def of_auxiliaries(problem: Decomposition, box: Box, upper: float) -> tuple[Array, Array]:
    """Return rows a x <= b that the objective and nonlinear rows imply for auxiliaries, z and losses enclosed."""
    table, limits = problem.functions.table, problem.form.nonlinear
    reads = (table.parts.x[:, problem.n_sources :] != 0).any(axis=1)
    reads[list(table.curved)] = False
    rest, on_x = rests(problem, box), table.parts.x[reads]
    # on_x x + rest <= upper limit, and >= lower limit, with rest anywhere in its enclosure.
    most = (enclosing(np.append(upper, limits.upper)) - rest).upper
    least = (rest - enclosing(np.append(-np.inf, limits.lower))).upper
    return np.vstack([on_x, -on_x]), np.append(most[reads], least[reads])
