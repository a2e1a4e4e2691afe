"""Where a proof takes its planes: found in floating point, and no proof rests on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from climbopt.certification.bounds.curvature import LeastHessian
from climbopt.certification.bounds.declared import middle
from climbopt.certification.bounds.envelopes import envelopes
from climbopt.certification.bounds.ground import Curved, Ground
from climbopt.certification.bounds.lagrangian import Lagrangian, lagrangian
from climbopt.certification.bounds.node import Node
from climbopt.certification.bounds.oracle import Minimum, boxed, minimise
from climbopt.certification.bounds.relaxable import Relaxable
from climbopt.certification.bounds.relaxation import inside_domain, relax
from climbopt.certification.bounds.rows import Relaxed
from climbopt.certification.bounds.tangents import Tangents
from climbopt.model.templates import Array

MARGIN = 1e-9
"""Added to a shift, as a share of the largest eigenvalue, so that definiteness can be shown."""


@dataclass(frozen=True, eq=False)
class Touch:
    """Where a plane of envelopes is taken.

    Parameters
    ----------
    lagrangian : Lagrangian
        With the multipliers that suit the box.
    minimum : Minimum or None
        Of its relaxation; None where none was found.
    q : ndarray, (T,)
        z at which laws are touched.
    gains : ndarray, (n,)
        Estimates of what branching could gain.
    """

    lagrangian: Lagrangian
    minimum: Minimum | None
    q: Array
    gains: Array


def touch(problem: Relaxable, node: Node) -> Touch:
    """Return where the relaxation by envelopes on a box has its minimum."""
    box, polytope = node.box, boxed(problem.polytope, node.box.lower, node.box.upper)
    made, mu, x = envelopes(problem, box, node.x), node.multipliers, node.x
    inside = inside_domain(made.separable, polytope, x)
    x = x if inside is None else inside
    if problem.form.has_nonlinear_rows:
        x, mu = Relaxed(problem, made.separable).solution(polytope, x) or (x, mu)
    suited = lagrangian(problem, mu)
    relaxation = relax(suited, box, node.x, made)
    minimum = None if inside is None else minimise(relaxation, polytope, suited.at_ends(x, box))
    if minimum is not None and np.isfinite(minimum.lower):
        x = minimum.x
    else:
        minimum = None
    q = problem.falls * made.separable.slopes(problem.functions.cumulative(np.clip(x, box.lower, box.upper)))[0]
    return Touch(suited, minimum, q, relaxation.gaps)


def chosen(ground: Ground) -> Curved | None:
    """Return the function with the largest weights or with none, whichever needs the smaller shift."""
    best: Curved | None = None
    scales, (rows, _) = ground.scales, ground.equations
    for weights in (ground.largest_weights, np.zeros(ground.point.shape)):
        matrix = ground.least_hessian(weights)
        if matrix is None:
            continue
        bent = LeastHessian(matrix, scales, rows)
        shift = bent.shift()
        if best is None or (shift * scales**2).sum() < (best.shift * scales**2).sum():
            size = float(np.abs(bent.spectrum()[0]).max(initial=0.0))
            best = Curved(ground, weights, shift + MARGIN * max(size, np.finfo(float).tiny) / scales**2)
        if not shift.any():
            break
    return best


def in_floats(curved: Curved, suited: Lagrangian) -> Tangents:
    """Return the same function for solvers, in floating point."""
    ground, declared = curved.ground, curved.ground.declared
    loss, slope = (middle(one)[:, 0] for one in ground.law)
    on_z, point = middle(declared.z_part)[:, 0], ground.point[:, 0]
    constant = float(middle(declared.constant) + on_z @ point + loss.sum())
    n, wide = ground.box.lower.size, np.zeros(ground.box.lower.size)
    wide[: curved.shift.size] = curved.shift
    nothing = LeastHessian(np.zeros((n, n)), np.ones(n), np.zeros((0, n)))
    return Tangents(suited, ground.box, point, on_z + slope, curved.weights[:, 0], constant, wide, nothing)
