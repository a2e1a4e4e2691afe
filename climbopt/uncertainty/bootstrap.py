"""The bootstrap over whole runs: the fit again to runs drawn with replacement, under priors drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from joblib import delayed

from climbopt.fitting.ceilings import under_ceilings
from climbopt.fitting.ensemble_fit import EnsembleFit
from climbopt.fitting.estimate import Fit, Progress, Solved, declared_parameters
from climbopt.fitting.levenberg_marquardt import minimum
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import FrozenMap
from climbopt.foundations.processes import parallel
from climbopt.model.ensemble import Ensemble
from climbopt.model.mixture import Indices, MixtureModel
from climbopt.model.templates import Array

CHUNK = 8
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
    the runs do not show would look certain), and fits again from the full fit's point, ceilings included.

    Parameters
    ----------
    fitted : Fit or EnsembleFit
        Of all runs.
    n : int
        Draws.
    seed : int
        Draw k has a generator of its own, (seed, k), so that no draw depends on the others or on `jobs`.
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
    found = {k: parameters for k, parameters in (known or {}).items() if k < n}
    missing = [k for k in range(n) if k not in found]
    for k, parameters in _refits([fit.solved for fit in fits], fitted.n_runs, seed, missing, jobs):
        found[k] = parameters
        if keep:
            keep(k, *parameters)
        if progress:
            progress(len(found), n)
    return tuple(_drawn(fitted, found[k]) for k in range(n))


def _drawn(fitted: Fit | EnsembleFit, parameters: Sequence[Parameters]) -> MixtureModel | Ensemble:
    """Return the model of a fit with the parameters of a draw, those of each form."""
    if isinstance(fitted, Fit):
        return replace(fitted.model, parameters=FrozenMap(parameters[0]))
    models = [replace(fit.model, parameters=FrozenMap(of)) for fit, of in zip(fitted.fits, parameters, strict=True)]
    return Ensemble(models, fitted.model.weights)


def _refits(
    forms: Sequence[Sequence[Solved]], n_runs: int, seed: int, draws: Sequence[int], jobs: int
) -> Iterator[tuple[int, Sequence[Parameters]]]:
    """Yield each draw and its parameters, those of each form, in order."""
    chunks = [draws[first : first + CHUNK] for first in range(0, len(draws), CHUNK)]
    workers = parallel(jobs, return_as="generator")
    for chunk, results in zip(
        chunks, workers(delayed(_chunk)(forms, n_runs, seed, chunk) for chunk in chunks), strict=True
    ):
        yield from zip(chunk, results, strict=True)


def _chunk(
    forms: Sequence[Sequence[Solved]], n_runs: int, seed: int, draws: Sequence[int]
) -> list[list[dict[str, Array]]]:
    """Return the parameters of some draws, those of each form; all forms of a draw count the same runs."""
    results = []
    for k in draws:
        refitted = []
        for solved in forms:
            generator = np.random.default_rng([seed, k])  # anew, so that all forms count the same runs
            # Drawing n runs with replacement counts each so many times.
            counts = generator.multinomial(n_runs, np.full(n_runs, 1.0 / n_runs))
            refitted.append(declared_parameters([_redrawn(one, counts, generator) for one in solved]))
        results.append(refitted)
    return results


def _redrawn(one: Solved, counts: Indices, generator: np.random.Generator) -> Solved:
    """Return a block fitted with each run counted as often as drawn, about other prior means."""
    means = one.block.center + one.block.spread * generator.standard_normal(one.x.size)
    return refitted(one, counts, means)


def refitted(one: Solved, counts: Indices, means: Array | None = None) -> Solved:
    """Return a block fitted from its point, under ceilings, with each run counted so many times, (n,).

    Parameters
    ----------
    one : Solved
    counts : ndarray of int, (n,)
    means : ndarray, (p,), optional
        The priors' means; their centers by default.
    """
    block, rows = one.block, one.block.rows
    times = np.ones(len(rows.D))
    times[~rows.ceiling] = counts
    # Runs that were not drawn are left out by an infinite scale.
    scale = np.full(rows.scale.shape, np.inf)
    scale[times > 0] = rows.scale[times > 0] / np.sqrt(times[times > 0])[:, None]
    # a run drawn t times counts t times: scale and knee go with sqrt(t), which multiplies its cost by t
    knee = None if rows.knee is None else rows.knee * np.sqrt(np.maximum(times, 1.0))[:, None]
    means = block.center if means is None else means
    block = replace(block, rows=replace(rows, scale=scale, knee=knee), prior_means=means)
    block, x, _ = under_ceilings(block, minimum(block, one.x, TOLERANCE), TOLERANCE)
    return replace(one, block=block, x=x)
