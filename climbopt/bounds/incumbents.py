"""Feasible points with small values: local solves from several starts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from climbopt.backends import Options, choose
from climbopt.quadratic import project
from climbopt.standard_form import StandardForm
from climbopt.templates import Array

STARTS = 6


def multistart(form: StandardForm, starts: int = STARTS, seed: int = 0) -> tuple[Array, float, Array]:
    rng = np.random.default_rng(seed)
    backend = choose(form)
    best = None
    for k in range(starts):
        start = form.start if k == 0 else form.complete(project(np.append(rng.dirichlet(np.ones(form.n_ratios)), form.start[form.n_ratios:]), form.polytope)[:form.n_ratios])
        s = backend.solve(form.from_start(start), Options(tolerance=1e-8))
        if s.x is None: continue
        v = form.functions.at(s.x).value
        if best is None or v < best[1]:
            best = (s.x, v, np.zeros(form.functions.n_rows) if s.multipliers is None else s.multipliers.nonlinear)
    return best
