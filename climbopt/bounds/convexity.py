"""How far from convex a problem is on a box: a lower bound on the curvature of its Lagrangian.

Hess f = J'WJ + sum_i u_i Hess z_i with W = diag(loss_part L_zz) and u = z_part + loss_part L_z. With J = J0 + E,
abs(E) <= R on the box, J'WJ is at least J0'W_low J0 - (R'W_low abs(J0) + its transpose), entry by entry the last; the
other part is enclosed by intervals. The least eigenvalue on the directions that keep the equations, less the norm of
what is uncertain, bounds the curvature.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from climbopt.bounds.relaxation import Box, Relaxable
from climbopt.intervals import Interval, UnsupportedFunctionError
from climbopt.templates import Array, Compiled


def least_curvature(relaxable: Relaxable, box: Box, tangent: Array) -> float:
    """Return a lower bound of d'Hess f d / d'd over a box, for the directions d spanned by `tangent`, (n, k)."""
    model, response = relaxable.response.model, relaxable.response
    templates, own_targets, own_sources = model.templates, model.own_targets, model.own_sources
    low, high = relaxable.cumulative(box.lower), relaxable.cumulative(box.upper)
    own_low, own_high = relaxable.own(low), relaxable.own(high)
    shape = (len(model.targets), len(model.sources))
    t, s = Interval(own_low[:, None], own_high[:, None]), Interval(low[None, :], high[None, :])

    def on_pairs(function: Compiled) -> list[Interval]:
        parts = [Interval.enclosing(part).broadcast_to(shape) for part in function(t, s, *response.pair_arguments)]
        ends = [(np.array(part.lower), np.array(part.upper)) for part in parts]
        for end in (end for pair in ends for end in pair):
            end[own_targets, own_sources] = 0.0
        return [Interval(*pair) for pair in ends]

    def on_own(function: Compiled) -> list[Interval]:
        return [Interval.enclosing(part).broadcast_to(own_low.shape)
                for part in function(Interval(own_low, own_high), *response.own_arguments)]

    try:
        own, own_t = on_own(templates.own.slopes)
        own_tt, = on_own(templates.own.curvatures)
        pair, pair_t, pair_s = on_pairs(templates.pair.slopes)
        pair_tt, pair_ts, pair_ss = on_pairs(templates.pair.curvatures)
        z = own + pair.sum(1)
        loss_z = Interval.enclosing(templates.loss.slopes(z, *response.loss_arguments)[1]).broadcast_to(z.lower.shape)
        loss_zz = Interval.enclosing(templates.loss.curvatures(z, *response.loss_arguments)[0]).broadcast_to(
            z.lower.shape)
    except UnsupportedFunctionError:
        return -np.inf
    weights = relaxable.loss_part
    counted = weights != 0
    u = Interval(*(relaxable.z_part + np.where(counted, weights * end, 0.0) for end in (loss_z.lower, loss_z.upper)))
    w_low = np.where(counted, weights * loss_zz.lower, 0.0)
    if not (np.isfinite(u.lower).all() and np.isfinite(u.upper).all() and np.isfinite(w_low).all()) or (w_low < 0).any():
        return -np.inf
    diagonal = own_t + pair_t.sum(1)
    j_low, j_high = np.array(pair_s.lower), np.array(pair_s.upper)
    j_low[own_targets, own_sources] += diagonal.lower[own_targets]
    j_high[own_targets, own_sources] += diagonal.upper[own_targets]
    center, radius = 0.5 * (j_low + j_high), 0.5 * (j_high - j_low)
    hessian = (center.T * w_low) @ center
    uncertain = (radius.T * w_low) @ np.abs(center)
    uncertain = uncertain + uncertain.T
    column = Interval(u.lower[:, None], u.upper[:, None])
    on_sources = (column * pair_ss).lower.sum(axis=0)
    on_self = (u * (own_tt + pair_tt.sum(1))).lower
    on_sources[own_sources] += on_self[own_targets]
    hessian[np.diag_indices_from(hessian)] += on_sources
    cross = column * pair_ts
    for part, target in ((0.5 * (cross.lower + cross.upper), hessian), (0.5 * (cross.upper - cross.lower), uncertain)):
        square = np.zeros_like(target)
        square[own_sources] = part[own_targets]
        target += square + square.T
    n = relaxable.functions.offset.size
    basis = tangent[:n]
    reduced = basis.T @ hessian @ basis
    least = float(linalg.eigvalsh(reduced, subset_by_index=[0, 0])[0]) if basis.shape[1] else 0.0
    doubt = float(linalg.eigvalsh(uncertain, subset_by_index=[n - 1, n - 1])[0]) if n else 0.0
    rounding = 1e-13 * float(np.abs(hessian).sum())
    return relaxable.functions.scale**2 * (least - doubt - rounding)
