"""The bootstrap over whole runs: the fit again to runs drawn with replacement, under priors drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from climbopt.fitting.anchors import anchors
from climbopt.fitting.ceilings import Solved, all_under_ceilings
from climbopt.fitting.ensemble_fit import EnsembleFit
from climbopt.fitting.estimate import Fit, Progress, declared_parameters
from climbopt.fitting.least_squares import Block
from climbopt.fitting.levenberg_marquardt import minima
from climbopt.foundations.errors import InputError
from climbopt.foundations.processes import in_chunks
from climbopt.model.ensemble import Ensemble, blocks_of
from climbopt.model.mixture import Indices, MixtureModel
from climbopt.model.templates import Array

DRAWS = 40
"""Draws of an ensemble that are made where no number is stated."""

CHUNK = 20
"""Refits that one process makes at a time, and that a kill can cost it."""

TOLERANCE = 1e-3
"""Of a refit's minimum: below what another draw of the runs changes."""

Parameters = Mapping[str, Array]
"""Declared parameters by name, as a model takes them."""


def bootstrap(
    fitted: Fit | EnsembleFit,
    n: int,
    *,
    seed: int = 0,
    jobs: int = 1,
    known: Mapping[int, Sequence[Parameters]] | None = None,
    keep: Callable[..., None] | None = None,
    progress: Progress | None = None,
) -> tuple[MixtureModel | Ensemble, ...]:
    """Return models refitted to runs that were drawn with replacement; all forms of an ensemble to the same ones.

    Each draw counts every run as often as it was drawn, draws the priors' means from the priors themselves (or what
    the runs do not show would look certain), and fits again from the full fit's point, ceilings included. Anchors
    (:mod:`climbopt.fitting.anchors`) are in every draw.

    Parameters
    ----------
    fitted : Fit or EnsembleFit
        Of all runs.
    n : int
        Draws.
    seed : int
        Draw k has a generator of its own, (seed, k), so that up to rounding no draw depends on the others or on `jobs`.
    jobs : int
        Processes.
    known : mapping of int to sequence of parameters, optional
        Those of each form, of draws made before, which are not made again.
    keep : callable, optional
        Called with each new draw and its parameters, those of each form in an argument of their own, as soon as they
        are there, in the order of the draws.
    progress : callable, optional
        Called with the numbers of draws done and to do.

    Raises
    ------
    InputError
        Where n is below 1.
    """
    if n < 1:
        raise InputError(f"{n} bootstrap draws were asked for; ask for 1 or more")
    fits = fitted.fits if isinstance(fitted, EnsembleFit) else (fitted,)
    drawn = {k: parameters for k, parameters in (known or {}).items() if k < n}
    missing = [k for k in range(n) if k not in drawn]
    refits = partial(_refits, [fit.solved for fit in fits], anchors(fitted.pilots), seed)
    for k, parameters in zip(missing, in_chunks(jobs, refits, missing, CHUNK), strict=True):
        drawn[k] = parameters
        if keep:
            keep(k, *parameters)
        if progress:
            progress(len(drawn), n)
    return tuple(_drawn(fitted.model, drawn[k]) for k in range(n))


def _drawn(model: MixtureModel | Ensemble, parameters: Sequence[Parameters]) -> MixtureModel | Ensemble:
    """Return the model of a fit with the parameters of a draw, those of each form."""
    blocks, weights = blocks_of(model)
    drawn = [replace(block, parameters=of) for block, of in zip(blocks, parameters, strict=True)]
    return drawn[0] if isinstance(model, MixtureModel) else Ensemble(drawn, weights)


def _refits(
    forms: Sequence[Sequence[Solved]], sure: NDArray[np.bool_], seed: int, draws: Sequence[int]
) -> list[list[dict[str, Array]]]:
    """Return the parameters of some draws, those of each form; all forms of a draw count the same runs.

    Runs that are `sure`, (n,), count once in every draw.
    """
    share = ~sure / np.count_nonzero(~sure)
    by_form = []
    for solved in forms:
        generators = [np.random.default_rng([seed, k]) for k in draws]  # anew, so that all forms count the same runs
        # Drawing n runs with replacement counts each so many times.
        counts = sure + np.array([rng.multinomial(np.count_nonzero(share), share) for rng in generators])
        # Priors' means are drawn from the priors themselves, (K, p) for each block.
        drawn = [np.array([rng.standard_normal(part.x.size) for rng in generators]) for part in solved]
        means = [part.block.center + part.block.spread * noise for part, noise in zip(solved, drawn, strict=True)]
        by_form.append(refitted(solved, counts, means))
    return [list(of_draw) for of_draw in zip(*by_form, strict=True)]


def refitted(solved: Sequence[Solved], counts: Indices, means: Sequence[Array] | None = None) -> list[dict[str, Array]]:
    """Return the declared parameters of a form fitted from its point, with each run counted so many times.

    Parameters
    ----------
    solved : sequence of Solved
        The blocks of a form.
    counts : ndarray of int, (K, n)
        For each of K refits.
    means : sequence of ndarray, (K, p), optional
        The priors' means of each block; their centers by default.
    """
    means = [np.tile(part.block.center, (len(counts), 1)) for part in solved] if means is None else means
    batches = [_counted(part.block, counts, of) for part, of in zip(solved, means, strict=True)]
    free = minima(batches, [np.tile(part.x, (len(counts), 1)) for part in solved], TOLERANCE)
    bounded = all_under_ceilings(batches, free, TOLERANCE)
    return [
        declared_parameters([replace(part, x=of.x) for part, of in zip(solved, draw, strict=True)])
        for draw in zip(*bounded, strict=True)
    ]


def _counted(block: Block, counts: Indices, means: Array) -> Block:
    """Return a batch of a block with each run counted so many times, (K, n), and priors with other means."""
    batch = block.repeated(len(counts))
    times = np.ones((len(counts), block.rows.ceiling.size, 1))
    times[:, ~block.rows.ceiling, 0] = counts
    rows, root = batch.rows, np.sqrt(np.maximum(times, 1.0))
    # a run drawn t times counts t times: scale and knee go with sqrt(t), which multiplies its cost by t
    # Runs that were not drawn are left out by an infinite scale.
    scale = np.where(times > 0, rows.scale / root, np.inf)
    return batch.on(replace(rows, scale=scale, knee=rows.knee * root), means)
