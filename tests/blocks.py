"""The functions of one variable that a Lagrangian falls apart into, and attacks on lower bounds of them.

With the own variable x of a block fixed, the other ratios range over a box and sum to the rest of the total. `attack`
looks for those that make the block least: at vertices of that set, between them, and by local search.
"""

import numpy as np

from climbopt.certification.global_bound.choices import choose
from climbopt.certification.proof.blocks import Cells, Dual

STARTS, MOVES = 12, 12
STEPS = 7


def claimed(problem, multipliers, box, pieces):
    """Return the constant and the claimed lower bound of each piece."""
    dual = Dual(problem, multipliers, box)
    return dual.lagrangian[3].lower[0], dual.bounds(pieces, choose(dual, pieces)[0])


def cells(block, edges):
    """Return the pieces of one block between neighbouring edges."""
    edges = np.asarray(edges, dtype=float)
    return Cells(np.full(edges.size - 1, block), edges[:-1], edges[1:])


class Blocks:
    """The blocks of a problem at multipliers, in plain floating point, written from the definition.

    Parameters
    ----------
    problem : Decomposition
    multipliers : Prices
    box : Box
    """

    def __init__(self, problem, multipliers, box):
        problem = problem.on(box)
        self.problem, self.multipliers, self.box = problem, multipliers, box
        form, table = problem.form, problem.functions.table
        weights = np.append(1.0, multipliers.nonlinear)
        limits = np.append(0.0, form.nonlinear.named(multipliers.nonlinear))
        line = table.lagrangian(weights, limits)
        self.slope, self.v, self.w = (np.array(part) for part in table.split(line[:-1]))
        self.slope = self.slope + problem.polytope.dense.T @ multipliers.rows
        self.limit = float(multipliers.rows @ problem.polytope.rows.named(multipliers.rows))
        self.constant = float(line[-1]) - self.limit
        self.n_sources = problem.n_sources
        in_total, self.total = problem.total
        self.in_total = in_total[: self.n_sources] > 0

    def members(self, block):
        """Return the targets of a block."""
        return np.flatnonzero(self.problem.home == block)

    def parts(self, x, targets):
        """Return the parts of every source at ratios x, (N, S), for some targets, (K, N, t, S)."""
        offset, scale = self.problem.functions.offset, self.problem.functions.scale
        at = (targets[None, :, None], np.arange(self.n_sources)[None, None, :])
        values = [
            part.values((offset + scale * x[:, : self.n_sources])[:, None, :], at)
            for part in self.problem.separable.parts
        ]
        shape = (len(values), len(x), targets.size, self.n_sources)
        return np.array(values).reshape(shape) * self.problem.others[targets]

    def z(self, x, targets):
        """Return z of some targets at ratios x, (N, t), and their sums, (K, N, t)."""
        functions = self.problem.functions
        z = functions.responses.z(functions.offset + functions.scale * x[:, : self.n_sources])
        return z[:, targets], self.parts(x, targets).sum(axis=-1)

    def values(self, block, x):
        """Return a block's function at points, (N, n), whose other ratios are a choice of sums, and its terms' size."""
        value, size = self.of_source(block, x)
        more, more_size = self.of_targets(block, x)
        return value + more, size + more_size

    def of_source(self, block, x):
        """Return what a variable adds through the sums of all targets and by itself, (N,), and its terms' size."""
        value, size = np.zeros(len(x)), np.ones(len(x))
        if block < x.shape[1]:
            value = value + self.slope[block] * x[:, block]
        if block < self.n_sources:
            of_block = self.parts(x, np.arange(len(self.problem.home)))[..., block]
            terms = self.multipliers.sums[:, None] * of_block
            value, size = value + terms.sum(axis=(0, 2)), size + np.abs(terms).sum(axis=(0, 2))
        return value, size

    def of_targets(self, block, x):
        """Return what the targets add whose own source is the block's, (N,), and its terms' size."""
        targets = self.members(block)
        if not targets.size:
            return np.zeros(len(x)), np.zeros(len(x))
        z, sums = self.z(x[:, : self.n_sources], targets)
        with np.errstate(all="ignore"):
            loss = self.problem.separable.law.values(z, targets[None])
            priced = np.where(self.w[targets] != 0, self.w[targets] * loss, 0.0) + self.v[targets] * z
        terms = self.multipliers.sums[:, targets][:, None] * sums
        value = priced.sum(axis=-1) - terms.sum(axis=(0, 2))
        size = np.abs(priced).sum(axis=-1) + np.abs(terms).sum(axis=(0, 2))
        return np.where(np.isnan(value), np.inf, value), size

    def others(self, block, x, rng, count):
        """Return `count` random vertices of what the others can be at each x, (G, count, n); NaN where nothing."""
        low, high = self.box.lower[: self.n_sources].copy(), self.box.upper[: self.n_sources].copy()
        counts = self.in_total & (np.arange(self.n_sources) != block)
        own = x if block < self.n_sources and self.in_total[block] else 0.0 * x
        rest = self.total - own - low[counts].sum()
        room = np.where(counts, high - low, 0.0)
        order = np.argsort(rng.random((x.size, count, self.n_sources)), axis=-1)
        sorted_room = room[order]
        before = np.cumsum(sorted_room, axis=-1) - sorted_room
        filled = np.clip(rest[:, None, None] - before, 0.0, sorted_room)
        points = np.broadcast_to(low, filled.shape).copy()
        np.put_along_axis(points, order, np.take_along_axis(points, order, -1) + filled, -1)
        free = ~self.in_total & (np.arange(self.n_sources) != block)  # no row limits their sum
        points[..., free] = np.where(rng.random(points[..., free].shape) < 0.5, low[free], high[free])
        if self.in_total.any():
            slack = 1e-15 * max(1.0, abs(self.total))
            points[(rest < -slack) | (rest > room.sum() + slack)] = np.nan
        if block < self.n_sources:
            points[..., block] = x[:, None]
        auxiliaries = np.zeros((*points.shape[:2], self.box.lower.size - self.n_sources))
        points = np.concatenate([points, auxiliaries], axis=-1)
        if self.n_sources <= block < points.shape[-1]:
            points[..., block] = x[:, None]
        return points

    def attack(self, block, x, rng):
        """Return the least values of a block that are reached at given x, (G,), inf where none, and their sizes."""
        best = self.others(block, x, rng, STARTS)
        value, size = self._at(block, best)
        for _ in range(MOVES if self.members(block).size and self.n_sources > 2 else 0):
            share = rng.choice([1.0, 0.5, 0.1, 0.01, 1e-4]) * rng.random((*value.shape, 1))
            toward = self.others(block, x, rng, STARTS) if rng.random() < 0.5 else best[:, rng.permutation(STARTS)]
            moved = (1 - share) * best + share * toward
            if block < moved.shape[-1]:
                moved[..., block] = best[..., block]
            there, there_size = self._at(block, moved)
            better = there < value
            best, value = np.where(better[..., None], moved, best), np.where(better, there, value)
            size = np.where(better, there_size, size)
        least = np.argmin(value, axis=1)[:, None]
        of_source, source_size = self.of_source(block, best[:, 0])
        value, size = (np.take_along_axis(a, least, 1)[:, 0] for a in (value, size))
        return value + np.where(np.isfinite(value), of_source, 0.0), size + source_size

    def _at(self, block, points):
        """Return what the targets add at points, (G, count, n); inf where a point is NaN."""
        flat = points.reshape(-1, points.shape[-1])
        known = np.isfinite(flat).all(axis=1)
        value, size = np.full(len(flat), np.inf), np.ones(len(flat))
        if known.any():
            value[known], size[known] = self.of_targets(block, flat[known])
        return value.reshape(points.shape[:2]), size.reshape(points.shape[:2])
