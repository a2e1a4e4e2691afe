"""The region in which a decision can lie: mixtures near the optimum of each model of an ensemble."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from climbopt.foundations.errors import InputError
from climbopt.model.ensemble import Model, blocks_of
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Floor
from climbopt.procedures.result import solve

NEAR = 0.01
"""A mixture is near-optimal where its mean loss is at most this share above the least one."""
N_REGION = 500
"""Mixtures of the region, over all models."""
HALVINGS = 12
"""Times that a step away from an optimum is halved, at most."""


def decision_region(
    model: Model,
    budget: float,
    rng: np.random.Generator,
    *,
    params: float | None = None,
    supply: Mapping[str, float] | None = None,
    floor: float = 0.0,
) -> Array:
    """Return near-optimal mixtures of the mean loss over targets at a budget, (`N_REGION`, S).

    From the optimum of each block of the model a step is taken towards a mixture drawn uniformly from the simplex above
    the floors, and halved until the loss under that block is near the least one.

    Raises
    ------
    InputError
        Where no block has an optimum.
    """
    n = len(model.sources)
    floors = [Floor(dict.fromkeys(model.sources, floor))] if floor > 0 else []
    blocks, _ = blocks_of(model)
    parts, share = [], -(-N_REGION // len(blocks))
    for block in blocks:
        problem = AllocationProblem(block, budget, params=params, supply=supply or {}, constraints=floors)
        answer = solve(problem)
        if answer.allocation is None:
            continue
        best, drawn = answer.allocation.ratios, floor + (1 - n * floor) * rng.dirichlet(np.ones(n), share)
        step = rng.uniform(size=share)
        for _ in range(HALVINGS):
            # NaN outside the domain counts as far.
            far = ~(problem.value(best + step[:, None] * (drawn - best)) <= (1 + NEAR) * answer.objective)
            step = np.where(far, step / 2, step)
        parts.append(best + np.where(far, 0.0, step)[:, None] * (drawn - best))
    if not parts:
        raise InputError("no model has an optimum at the target budget, near which runs could be planned")
    return np.vstack(parts)[:N_REGION]
