"""Anchors: few runs near the planned budget, far beyond the other pilots', that tell the level of the losses there.

What a law says of a budget several times its pilots' is off by much more than a measurement is, alike for all mixtures.
An anchor counts as if its noise were `SURER` times smaller, so that the law passes through it; it is in every draw of
the bootstrap and in every fold, and never counts as outlying.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from climbopt.runs.pilots import PilotRuns

BEYOND = 2.0
"""Anchors have at least this many times the budget of every other run."""
MOST = 0.1
"""Largest share of the runs that may be anchors; more are pilots like the others."""
SURER = 10.0
"""What the assumed noise of an anchor is divided by."""


def anchors(pilots: PilotRuns) -> NDArray[np.bool_]:
    """Return which runs are anchors, (n,): the few past a gap of `BEYOND` in the budgets."""
    budgets = np.sort(pilots.tokens)
    gaps = np.flatnonzero(budgets[1:] >= BEYOND * budgets[:-1]) + 1
    few = gaps[len(budgets) - gaps <= MOST * len(budgets)]
    return pilots.tokens >= budgets[few[0]] if few.size else np.zeros(len(budgets), dtype=bool)
