"""Elastic mode: the minimum of a quadratic model whose linearised rows of c have no point in common.

    min g'y + (y - x)' H (y - x) / 2 + penalty * sum (p + q)   s.t.  lower <= c(x) + J (y - x) + p - q <= upper

with y in the polytope and p, q >= 0. Source: Nocedal and Wright, "Numerical Optimization", 2nd edition, Springer 2006,
section 18.3.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from climbopt.model.templates import Array
from climbopt.numerics import quadratic
from climbopt.numerics.polytope import Rows
from climbopt.numerics.quadratic import Active, DenseRegion, Face
from climbopt.program import Evaluation

FEASIBLE = 1e-10
"""Violation of a row of c that counts as rounding; rows are scaled so that their gradients are near 1."""
NO_PROGRESS = 1e-6
"""A predicted decrease of the violations by less than this share of them counts as none."""
PENALTIES = (10.0, 1e3, 1e5, 1e7)
"""Penalties of broken rows, as multiples of the largest slope of f, until none is broken."""
CURVATURE = 1e-6
"""Curvature of these penalties as a share of the Hessian's, so that the model has one minimum on every face."""


def elastic_minimum(H: Array, x: Array, at: Evaluation, region: DenseRegion, limits: Rows) -> Face | None:
    """Return the minimum of the model with broken rows of c penalised; None where no penalty lessens the violations.

    Parameters
    ----------
    H : ndarray, (n, n)
    x : ndarray, (n,)
    at : Evaluation
        The functions at x.
    region : DenseRegion
        The polytope with the linearised rows of c as its last rows.
    limits : Rows
        Those of c.
    """
    wide, start, first = _widened(x, at.rows, region, limits)
    n, k, slope = x.size, start.size - x.size, max(1.0, float(np.abs(at.gradient).max()))
    hessian, best = linalg.block_diag(H, CURVATURE * max(1.0, float(np.abs(H).max())) * np.eye(k)), None
    for factor in PENALTIES:
        g = np.append(at.gradient - H @ x, np.full(k, factor * slope))
        face = quadratic.minimise(hessian, g, wide, start, first=first)
        if face is None:
            break
        best = face
        if float(face.x[n:].sum()) <= FEASIBLE * k:
            break
    if best is None or float(best.x[n:].sum()) >= (1 - NO_PROGRESS) * float(start[n:].sum()):
        return None
    return Face(best.x[:n], best.bounds[:n], best.rows, Active(best.active.bounds[:n], best.active.rows))


def _widened(x: Array, c: Array, region: DenseRegion, limits: Rows) -> tuple[DenseRegion, Array, Active]:
    """Return the region over (y, p, q), a point of it, and what is active there.

    p is there for each row of c with a lower limit, q for each with an upper one.
    """
    n_linear = len(region.rows) - len(limits)
    low, high = np.flatnonzero(np.isfinite(limits.lower)), np.flatnonzero(np.isfinite(limits.upper))
    signs = np.zeros((len(region.rows), low.size + high.size))
    signs[n_linear + low, np.arange(low.size)] = 1.0
    signs[n_linear + high, low.size + np.arange(high.size)] = -1.0
    none = np.zeros(low.size + high.size)
    bounds = Rows(np.append(region.bounds.lower, none), np.append(region.bounds.upper, none + np.inf))
    broken = np.maximum(np.append((limits.lower - c)[low], (c - limits.upper)[high]), 0.0)
    # What is whole has its p or q at 0, and what is broken is at its limit by means of it.
    sides = np.where(c < limits.lower, -1, np.where(c > limits.upper, 1, 0))
    first = Active(
        np.append(np.zeros(x.size), np.where(broken > 0, 0, -1)).astype(np.int8),
        np.append(np.zeros(n_linear), sides).astype(np.int8),
    )
    return DenseRegion(bounds, np.hstack([region.dense, signs]), region.rows), np.append(x, broken), first
