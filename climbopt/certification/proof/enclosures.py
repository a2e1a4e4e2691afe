"""What the functions of a decomposition are on a box: parts as chords between nodes, z, objective and rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from climbopt.certification.proof.curves import deviation
from climbopt.certification.proof.decomposition import Box, Decomposition, Indices
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval, where

NODES, SPACING = 17, 3
"""Nodes of a part that is not linear, and the power of their even steps: parts bend most next to a ratio of 0."""
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
        terms = enclosing(table.parts.z) * z + enclosing(table.parts.loss) * problem.separable.law.enclose(z, t)
        return enclosing(terms.sum(1) + enclosing(table.constant))
