"""Boxes outside of which no feasible point has an objective of at most a limit."""

from __future__ import annotations

import numpy as np

from climbopt.certification.proof.blocks import Box, Nodes, enclosing
from climbopt.certification.proof.decomposition import Decomposition
from climbopt.certification.proof.separable import NoBoundError
from climbopt.model.templates import Array
from climbopt.numerics.intervals import Interval, where

TIGHTENINGS = 3
"""Times that rows tighten a box."""


def root(problem: Decomposition, upper: float) -> Box:
    """Return a box of all points that are feasible and have an objective of at most `upper`.

    Raises
    ------
    NoBoundError
        Where an auxiliary has no bounds.
    """
    bounds, n = problem.polytope.bounds, problem.form.n_ratios
    low, high = bounds.lower.copy(), bounds.upper.copy()
    in_total, total = problem.total
    high[:n] = np.where(in_total[:n] > 0, np.minimum(high[:n], total), high[:n])  # as all of them are >= 0
    box = tightened(problem, Box(low, high), upper)
    if box is None:
        return Box(low, low)
    free = np.flatnonzero(~np.isfinite(box.width))
    if free.size:
        name = problem.form.variables[int(free[0])]
        raise NoBoundError(f"nothing bounds the auxiliary '{name}': no mixture is known that meets the constraints")
    return box


def tightened(problem: Decomposition, box: Box, upper: float) -> Box | None:
    """Return a box cut by the rows and, where it has auxiliaries, by nonlinear rows; None where nothing is left."""
    rows, dense = problem.polytope.rows, problem.polytope.dense
    more, limit = _of_auxiliaries(problem, box, upper)
    a = np.vstack([dense, -dense, more])
    b = np.concatenate([rows.upper, -rows.lower, limit])
    low, high = box.lower.copy(), box.upper.copy()
    for _ in range(TIGHTENINGS):
        for row, at_most in zip(a[np.isfinite(b)], b[np.isfinite(b)].tolist(), strict=True):  # row x <= at_most
            on = np.flatnonzero(row)
            terms = (enclosing(row[on]) * Interval(low[on], high[on])).lower
            others = enclosing(np.where(np.eye(on.size) > 0, 0.0, terms)).sum(1).lower
            end = (enclosing(at_most) - enclosing(others)) / enclosing(row[on])
            high[on] = np.where(row[on] > 0, np.minimum(high[on], end.upper), high[on])
            low[on] = np.where(row[on] < 0, np.maximum(low[on], end.lower), low[on])
    return Box(low, high) if (low <= high).all() else None


def _of_auxiliaries(problem: Decomposition, box: Box, upper: float) -> tuple[Array, Array]:
    """Return rows a x <= b that nonlinear rows and the objective imply for auxiliaries, z and losses enclosed."""
    table, limits = problem.functions.table, problem.form.nonlinear
    reads = np.flatnonzero((table.parts.x[:, problem.n_sources :] != 0).any(axis=1))
    reads = reads[[k not in table.curved for k in reads.tolist()]]
    if not reads.size:
        return np.zeros((0, problem.form.n)), np.zeros(0)
    on_x = table.parts.x[reads]
    rest = rests(problem, box)[reads]
    lower, high = np.append(-np.inf, limits.lower)[reads], np.append(upper, limits.upper)[reads]
    return np.vstack([on_x, -on_x]), np.append((enclosing(high) - rest).upper, (rest - enclosing(lower)).upper)


def rests(problem: Decomposition, box: Box) -> Interval:
    """Return enclosures of what z, losses and constants add to the affine part of objective and rows, (1 + k,)."""
    table, t = problem.functions.table, np.arange(len(problem.home))
    with np.errstate(all="ignore"):
        z = enclosed(problem, box)
        rest: Interval = (enclosing(table.parts.z) * z).sum(1) + enclosing(table.constant)
        if not table.reads_losses:
            return rest
        law, proofs = problem.separable.law, problem.proofs
        first, last = law.enclose(enclosing(z.lower), t), law.enclose(enclosing(z.upper), t)
        losses = law.enclose(z, t)
        if proofs.loss_decreasing:
            losses = Interval(last.lower, first.upper)
        elif proofs.loss_increasing:
            losses = Interval(first.lower, last.upper)
        rest = rest + where(table.parts.loss != 0, enclosing(table.parts.loss) * losses).sum(1)
        return rest


def enclosed(problem: Decomposition, box: Box) -> Interval:
    """Return enclosures of z on a box, (T,)."""
    problem = problem.on(box.lower, box.upper)
    nodes, home, t, none = (
        Nodes.on(problem, box),
        problem.home,
        np.arange(len(problem.home)),
        np.zeros(problem.n_blocks),
    )
    low, high = (np.append(end, none[end.size :])[home] for end in (box.lower, box.upper))
    on = problem.cumulative(Interval(low, high), home)
    z = problem.separable.own.enclose(on, t)
    for k, gate in enumerate(problem.separable.gates):
        z = z + gate.enclose(on, t) * (nodes.center[k] + nodes.around[k])
    return Interval(np.maximum(z.lower, problem.proofs.end_of_domain), z.upper)
