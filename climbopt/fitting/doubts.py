"""What a table of runs, and a fit to it, give reason to doubt: one sentence each."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from climbopt.fitting.ceilings import Solved
from climbopt.foundations.errors import listed
from climbopt.model.mixture import MixtureModel
from climbopt.runs.pilots import PilotRuns

LOWEST_R2 = 0.5
"""Below this share of the losses' variance, the law explains less than it leaves."""
REPLICATE_SPREAD = 0.05
"""Largest plausible standard deviation over seeds, as a share of the loss; measured ones are 0.002 to 0.006."""
LARGEST_NATS = 12.5
"""A uniform guess over 268,000 tokens has this loss, in nats per token."""
FEWEST = 5
"""Losses of a target from which their values show that they are counts."""
NO_LOSS = {"train", "training", "step", "steps", "epoch", "iter", "iteration", "row", "index", "seconds"}
OTHER_UNITS = {"ppl": "a perplexity", "perplexity": "a perplexity", "bpb": "bits", "bpc": "bits", "bits": "bits"}
"""Words in the name of a column that is no source, and what they say that its values are."""


def doubts_of_fit(
    pilots: PilotRuns,
    models: Sequence[MixtureModel],
    solved: Sequence[Solved],
    outliers: Sequence[str],
    r2: float,
) -> tuple[str, ...]:
    """Return what there is to doubt in a fit of one or several forms, whichever form gives reason to.

    Parameters
    ----------
    pilots : PilotRuns
        The runs.
    models : sequence of MixtureModel
        One for each form.
    solved : sequence of Solved
        The blocks of all forms.
    outliers : sequence of str
        Runs that lie far from the law of every form.
    r2 : float
        Of the other runs.
    """
    lines = [*doubts_of_runs(pilots)]
    unseen = [name for name in pilots.targets if name not in pilots.sources]
    shut = [model.interaction.name for model in models if model.interaction.shut_without_own_data]
    lines += [
        f"{listed(unseen)}: no source, and under '{name}' others help only a target with data of its own; use overlap "
        "or powers"
        for name in dict.fromkeys(shut)
        if unseen
    ]
    if outliers:
        lines.append(
            f"outlying runs, far from the law and given little weight: {listed(outliers)}; look whether they diverged, "
            "are early checkpoints or have another unit"
        )
    if r2 < LOWEST_R2:
        lines.append(
            f"R2 is {r2:.2f}: the law explains little of what the losses show; try other forms, or look at the runs"
        )
    strained = [name for name in pilots.targets if any(name in part.strained for part in solved)]
    if strained:
        lines.append(
            f"the ceiling on mixtures that no run has moves the parameters of {listed(strained)} by more than the "
            "noise; add runs with a ratio of 0"
        )
    heights = {name: max(part.above_ceiling.get(name, 0.0) for part in solved) for name in pilots.targets}
    high = [f"{name} ({multiple:.3g} times)" for name, multiple in heights.items() if multiple > 0]
    if high:
        lines.append(f"some mixture at a pilot budget is predicted above the largest measured loss of {listed(high)}")
    return tuple(lines)


def doubts_of_runs(pilots: PilotRuns) -> tuple[str, ...]:
    """Return what the losses of a table look like, where they do not look like validation losses in nats."""
    return (*_names(pilots), *_values(pilots), *_replicates(pilots))


def _names(pilots: PilotRuns) -> list[str]:
    """Return what the names of targets that are no source say against them."""
    sentences = []
    for name in pilots.targets:
        words = set() if name in pilots.sources else set(re.split(r"[^a-z]+", name.lower()))
        if words & NO_LOSS:
            sentences.append(f"'{name}' looks like no validation loss by its name; leave the column out")
        for word in sorted(words & OTHER_UNITS.keys()):
            sentences.append(f"'{name}' looks like {OTHER_UNITS[word]} by its name; losses are nats per token")
    return sentences


def _values(pilots: PilotRuns) -> list[str]:
    """Return what the values of losses say against them."""
    sentences = []
    for name, column in zip(pilots.targets, pilots.losses.T, strict=True):
        losses = column[~np.isnan(column)]
        if len(losses) >= FEWEST and (losses == np.round(losses)).all() and np.ptp(losses) > 0:
            sentences.append(f"the losses of '{name}' are whole numbers, as a step count or a row number would be")
        elif np.median(losses) > LARGEST_NATS:
            sentences.append(
                f"the losses of '{name}' are about {np.median(losses):.3g}, too large for nats per token; "
                "the logarithm of a perplexity is a loss"
            )
    return sentences


def _replicates(pilots: PilotRuns) -> list[str]:
    """Return how far losses of runs that differ in their seed alone are apart, where that is far."""
    shares = pilots.replicate_errors / pilots.losses
    known = ~np.isnan(shares)
    # Root mean squares by target; 0 where it has no replicates.
    spreads = np.sqrt(np.square(shares, where=known, out=np.zeros_like(shares)).sum(axis=0) / known.sum(axis=0).clip(1))
    return [
        f"replicates of one mixture and budget disagree on '{name}' by {100 * spread:.2g} % of the loss "
        "(standard deviation); look whether they are runs of one kind"
        for name, spread in zip(pilots.targets, spreads, strict=True)
        if spread > REPLICATE_SPREAD
    ]
