"""Information: the Fisher information of planned runs on a fit's parameters.

With G the derivatives of a run's losses with respect to the coordinates of the fit, each divided by its noise, and P
the precision of the priors, a design's information is M = P + sum over runs of G'G; M^-1 is the covariance that `fit`
would report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from climbopt.fitting.coordinates import FitForm, fit_form
from climbopt.fitting.estimate import INTERIOR, assumed_noise
from climbopt.fitting.least_squares import Block, Observations
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array, Form

POINTS = 24
"""Targets times points of the prior over which a design is averaged, without a model; at least one point."""
BELIEVED = 2.0
"""Largest first-order spread of a loss under the priors that is accepted, as a share of its median."""


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of known mixture and budget, without losses.

    Parameters
    ----------
    ratios : ndarray, (n, S)
    tokens : ndarray, (n,)
    params : float, optional
        Model size, for laws that depend on it.
    """

    ratios: Array
    tokens: Array
    params: float | None = None

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.tokens)


@dataclass(frozen=True, eq=False)
class Knowledge:
    """Where the derivatives are taken: a block of parameters per group of targets and point of the prior.

    Parameters
    ----------
    blocks : tuple of (Block, ndarray)
        Without rows, each with its coordinates.
    token_unit, params_unit : float
    """

    blocks: tuple[tuple[Block, Array], ...]
    token_unit: float
    params_unit: float

    @classmethod
    def of_prior(
        cls,
        form: Form,
        languages: tuple[str, ...],
        smallest: float,
        token_unit: float,
        rng: np.random.Generator,
    ) -> Knowledge:
        """Return the knowledge before any run: points drawn from the priors, inside their bounds."""
        n_drawn = max(1, POINTS // len(languages)) - 1
        chosen: list[tuple[Block, Array]] = []
        for block in _blank(fit_form(*form), languages, languages, smallest / token_unit, np.ones(len(languages))):
            # The first point is the center of the priors, moved inside the bounds as the fit's start is.
            inside = np.maximum(block.center, block.lower + INTERIOR * block.spread)
            drawn = block.center + block.spread * rng.standard_normal((n_drawn, inside.size))
            # The others are reflected at the lower bound.
            chosen += [(block, x) for x in (inside, *np.maximum(drawn, 2 * block.lower - drawn))]
        return cls(tuple(chosen), token_unit, 1.0)

    @classmethod
    def of_model(cls, model: MixtureModel, smallest: float) -> Knowledge:
        """Return the knowledge from a fitted model: its parameters, in the coordinates of the fit."""
        form = fit_form(*model.form)
        least = smallest / model.token_unit
        # Noise is a share of the median loss, for which the law at z = 1 / S and ten times the smallest budget stands.
        medians = model.at(10 * smallest, model.params_unit).losses(
            np.full(len(model.targets), 1.0 / len(model.sources))
        )
        chosen = []
        for block in _blank(form, model.sources, model.targets, least, medians):
            values = form.coordinates_of(model.select(block.targets), least)
            x = np.concatenate([values[p.name][block.free[p.name]] for p in form.coordinates])
            chosen.append((block, np.maximum(x, block.lower)))
        return cls(tuple(chosen), model.token_unit, model.params_unit)

    @cached_property
    def width(self) -> int:
        """Largest number of coordinates of a block."""
        return max(x.size for _, x in self.blocks)

    @cached_property
    def prior(self) -> Array:
        """Precision of the priors, (B, p, p); 1 where a block has fewer coordinates than the largest."""
        # Blocks of different sizes in one array: unused coordinates have unit precision and no derivatives.
        result = np.tile(np.eye(self.width), (len(self.blocks), 1, 1))
        for b, (block, x) in enumerate(self.blocks):
            result[b, range(x.size), range(x.size)] = block.spread**-2.0
        return result

    def derivatives(self, runs: Runs, *, noise: bool = True) -> Array:
        """Return the derivatives of the losses by the coordinates, (B, n, T, p).

        Each divided by its noise, or (`noise` False) by the target's median loss; 0 where a loss is not used, or lies
        outside the law's domain. Where a loss varies under the priors by more than `BELIEVED`, to first order, its
        derivatives are scaled down to it: they diverge as z goes to 0, and no design should rely on them.
        """
        n_targets = len(self.blocks[0][0].targets)
        result = np.zeros((len(self.blocks), len(runs), n_targets, self.width))
        D = runs.tokens / self.token_unit
        N = np.full(len(runs), np.nan if runs.params is None else runs.params / self.params_unit)
        for b, (block, x) in enumerate(self.blocks):
            medians = block.rows.losses[0]
            rows_of_runs = _rows(block.form, block.sources, block.targets, runs.ratios, D, N, medians)
            at_runs = replace(block, rows=rows_of_runs)
            used = np.isfinite(at_runs.rows.scale)
            rows = np.nan_to_num(at_runs.jacobian(x)[: int(used.sum())], posinf=0.0, neginf=0.0)
            share = (at_runs.rows.scale / medians)[used]  # a row's unit (its noise) over the median loss
            # Standard deviation of the loss under the priors, to first order, over its median.
            spread = share * np.sqrt(np.square(rows) @ np.square(block.spread))
            rows = rows * (BELIEVED / np.maximum(spread, BELIEVED) * (1.0 if noise else share))[:, None]
            result[b][used, : x.size] = rows
        return result


def _blank(
    form: FitForm, sources: tuple[str, ...], targets: tuple[str, ...], smallest: float, medians: Array
) -> list[Block]:
    """Return one block per target, or a single block where sources have parameters; its rows hold the median losses."""
    together = any(p.per == "source" for p in form.coordinates)
    groups = [(targets, medians)] if together else [((name,), medians[i : i + 1]) for i, name in enumerate(targets)]
    one, ratios = np.ones(1), np.ones((1, len(sources)))
    return [
        Block(form, sources, names, _rows(form, sources, names, ratios, one, one, median), smallest)
        for names, median in groups
    ]


def _rows(
    form: FitForm,
    sources: tuple[str, ...],
    targets: tuple[str, ...],
    ratios: Array,
    D: Array,
    N: Array,
    medians: Array,
) -> Observations:
    """Return rows with the noise that `fit` assumes, and median losses in place of measured ones."""
    scale = assumed_noise(ratios, sources, targets) * medians
    if form.interaction.vanishes_without_own_data and form.law.needs_positive_z:
        # z = 0 there, outside the law's domain: the loss carries no information
        column = dict(zip(sources, ratios.T, strict=True))
        scale[np.column_stack([column.get(name, np.zeros(len(D))) for name in targets]) == 0] = np.inf
    return Observations.of_runs(ratios, D, N, np.tile(medians, (len(D), 1)), scale)
