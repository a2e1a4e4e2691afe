"""The bootstrap over whole runs: the fit again to runs drawn with replacement, under priors drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from joblib import delayed

from climbopt.fitting.ceilings import under_ceilings
from climbopt.fitting.estimate import Fit, Progress, Solved, declared_parameters
from climbopt.fitting.levenberg_marquardt import minimum
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import FrozenMap
from climbopt.foundations.processes import parallel
from climbopt.model.mixture import Indices, MixtureModel
from climbopt.model.templates import Array

CHUNK = 8
"""Refits that one process makes at a time, and that a kill can cost it."""

TOLERANCE = 1e-5
"""Of a refit's minimum: far below what another draw of the runs changes."""

Parameters = Mapping[str, Array]
"""Declared parameters by name, as a model takes them."""


def bootstrap(
    fitted: Fit,
    n: int,
    *,
    seed: int = 0,
    jobs: int = 1,
    known: Mapping[int, Sequence[Parameters]] | None = None,
    keep: Callable[..., None] | None = None,
    progress: Progress | None = None,
) -> tuple[MixtureModel, ...]:
    """Return models refitted to runs that were drawn with replacement.

    Each draw counts every run as often as it was drawn, draws the priors' means from the priors themselves (or what
    the runs do not show would look certain), and fits again from the full fit's point, ceilings included.

    Parameters
    ----------
    fitted : Fit
        Of all runs.
    n : int
        Draws.
    seed : int
        Draw k has a generator of its own, (seed, k), so that no draw depends on the others or on `jobs`.
    jobs : int
        Processes.
    known : mapping of int to parameters, optional
        Draws made before, which are not made again.
    keep : callable, optional
        Told each new draw and its parameters as soon as they are there, in the order of the draws.
    progress : callable, optional
        Called with the numbers of draws done and to do.

    Raises
    ------
    InputError
        Where n is below 1.
    """
    if n < 1:
        raise InputError(f"{n} bootstrap draws were asked for; ask for 1 or more")
    found = {k: parameters for k, (parameters,) in (known or {}).items() if k < n}
    missing = [k for k in range(n) if k not in found]
    for k, parameters in _refits(fitted.solved, fitted.n_runs, seed, missing, jobs):
        found[k] = parameters
        if keep:
            keep(k, parameters)
        if progress:
            progress(len(found), n)
    return tuple(replace(fitted.model, parameters=FrozenMap(found[k])) for k in range(n))


def _refits(
    solved: Sequence[Solved], n_runs: int, seed: int, draws: Sequence[int], jobs: int
) -> Iterator[tuple[int, dict[str, Array]]]:
    """Give each draw and its parameters, in order."""
    chunks = [draws[first : first + CHUNK] for first in range(0, len(draws), CHUNK)]
    workers = parallel(jobs, return_as="generator")
    for chunk, results in zip(
        chunks, workers(delayed(_chunk)(solved, n_runs, seed, chunk) for chunk in chunks), strict=True
    ):
        yield from zip(chunk, results, strict=True)


def _chunk(solved: Sequence[Solved], n_runs: int, seed: int, draws: Sequence[int]) -> list[dict[str, Array]]:
    """Return the parameters of some draws."""
    results = []
    for k in draws:
        generator = np.random.default_rng([seed, k])
        counts = generator.multinomial(n_runs, np.full(n_runs, 1.0 / n_runs))
        results.append(declared_parameters([_redrawn(one, counts, generator) for one in solved]))
    return results


def _redrawn(one: Solved, counts: Indices, generator: np.random.Generator) -> Solved:
    """Return a block fitted with each run counted as often as drawn, about other prior means."""
    block, rows = one.block, one.block.rows
    times = np.ones(len(rows.D))
    times[~rows.ceiling] = counts
    scale = np.full(rows.scale.shape, np.inf)
    scale[times > 0] = rows.scale[times > 0] / np.sqrt(times[times > 0])[:, None]
    means = block.center + block.spread * generator.standard_normal(one.x.size)
    block = replace(block, rows=replace(rows, scale=scale), prior_means=means)
    block, x, _ = under_ceilings(block, minimum(block, one.x, TOLERANCE), TOLERANCE)
    return replace(one, block=block, x=x)
