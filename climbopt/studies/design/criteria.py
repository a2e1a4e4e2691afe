"""Information: what planned runs tell of a fit's parameters, and the search for the runs that tell most.

With G the derivatives of a run's losses with respect to the coordinates of the fit, each divided by its noise, and P
the precision of the priors, a design's information is M = P + sum over runs of G'G; M^-1 is the covariance that `fit`
would report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from climbopt.fitting.coordinates import FitForm, fit_form
from climbopt.fitting.estimate import INTERIOR, assumed_noise
from climbopt.fitting.least_squares import Block, Observations
from climbopt.foundations.processes import Progress
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array, Form

POINTS = 24
"""Targets times points of the prior over which a design is averaged, without a model; at least one point."""
BELIEVED = 2.0
"""Largest first-order spread of a loss under the priors that is accepted, as a share of its median."""
Criterion = Literal["D", "I"]
"""D: the joint uncertainty of the parameters; I: the mean variance of predictions."""
PASSES = 10
"""Largest number of passes over the runs of a design."""
IMPROVES = 1e-6
"""Least relative gain in the criterion for which a run is exchanged."""
FEWEST = 2
"""Least number of runs per language, unless the number of runs is set."""


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
            slopes = np.nan_to_num(block.gradients(x, runs.ratios, D, N), posinf=0.0, neginf=0.0) / medians[:, None]
            # Standard deviation of the loss under the priors, to first order, over its median.
            spread = np.sqrt(np.square(slopes) @ np.square(block.spread))
            # The noise of a loss over its median; infinite for one that is not used.
            scale = _noise(block, runs.ratios)
            unit = scale if noise else np.where(np.isfinite(scale), 1.0, np.inf)
            result[b, ..., : x.size] = slopes * (BELIEVED / np.maximum(spread, BELIEVED) / unit)[..., None]
        return result


def _blank(
    form: FitForm, sources: tuple[str, ...], targets: tuple[str, ...], smallest: float, medians: Array
) -> list[Block]:
    """Return one block per target, or a single block where sources have parameters; its rows hold the median losses."""
    together = any(p.per == "source" for p in form.coordinates)
    groups = [range(len(targets))] if together else [[i] for i in range(len(targets))]
    ratios, one = np.ones((1, len(sources))), np.ones(1)
    rows = [Observations.of_runs(ratios, one, one, medians[None, group], np.ones((1, len(group)))) for group in groups]
    return [
        Block(form, sources, tuple(targets[i] for i in group), of, smallest)
        for group, of in zip(groups, rows, strict=True)
    ]


def _noise(block: Block, ratios: Array) -> Array:
    """Return the noise that `fit` assumes, as a share of the median loss, (n, T); infinite for a loss without use."""
    noise = assumed_noise(ratios, block.sources, block.targets)
    if block.form.interaction.vanishes_without_own_data and block.form.law.needs_positive_z:
        # z = 0 there, outside the law's domain: the loss carries no information
        noise[block.blank.own_ratios(ratios) == 0] = np.inf
    return noise


def information(derivatives: Array) -> Array:
    """Return the summed information of runs, (B, p, p)."""
    return np.asarray(np.einsum("bntp,bntq->bpq", derivatives, derivatives))


def expected_error(known: Array, judged: Array) -> float:
    """Return the root of the mean prediction variance at the mixtures `judged`, (B, n, T, p)."""
    covariance = np.linalg.inv(known)
    variance = np.einsum("bntp,bpq,bntq->bnt", judged, covariance, judged, optimize=True)
    return float(np.sqrt(variance.mean()))


@dataclass(eq=False)
class Search:
    """Greedy additions, then exchanges, among candidate runs.

    Parameters
    ----------
    derivatives : ndarray, (B, C, T, p)
    tokens : ndarray, (C,)
    start : ndarray, (B, p, p)
        Information before the first run.
    judged : ndarray, (B, n, T, p)
    cost : float
        Tokens that a run may have on average.
    n_languages : int
    criterion : {"D", "I"}
    once : bool
        Whether a candidate can be chosen only once, such as a run that was measured before.
    """

    derivatives: Array
    tokens: Array
    start: Array
    judged: Array
    cost: float
    n_languages: int
    criterion: Criterion
    once: bool = False

    def run(self, fixed: Sequence[int], most: int, enough: float | None, progress: Progress | None) -> list[int]:
        """Return the runs chosen: `most` of them, or fewer where their expected error is at most `enough`.

        The runs `fixed` are in every design.
        """
        picked = list(fixed)
        known = self.start + information(self.derivatives[:, picked])
        while len(picked) < most:
            many = len(picked) >= FEWEST * self.n_languages
            if enough is not None and many and expected_error(known, self.judged) <= enough:
                break
            # budget left so that the mean cost is at most `cost`; the cheapest candidate is always affordable
            left = self.cost * (len(picked) + 1) - self.tokens[picked].sum()
            best, _ = self._best(known, max(left, float(self.tokens[self._free(picked)].min())), picked)
            picked.append(best)
            known = known + self._of(best)
            if progress:
                progress(len(picked), most)
        self._exchange(picked, len(fixed), known)
        # By tokens, then by place: designs of the same runs are listed alike.
        return sorted(picked, key=lambda k: (self.tokens[k], k))

    def _exchange(self, picked: list[int], n_fixed: int, known: Array) -> None:
        """Exchange single runs, in place, while the criterion improves; the first `n_fixed` stay."""
        # Exchanges keep within the allowed total, or the present one where fixed runs exceed it.
        total = max(self.cost * len(picked), float(self.tokens[picked].sum()))
        for _ in range(PASSES):
            changed = False
            for place, old in list(enumerate(picked))[n_fixed:]:
                without = known - self._of(old)
                others = [*picked[:place], *picked[place + 1 :]]
                best, gains = self._best(without, total - float(self.tokens[others].sum()), others)
                if gains[best] > gains[old] * (1 + IMPROVES):
                    picked[place], changed = best, True
                    known = without + self._of(best)
            if not changed:
                return

    def _of(self, k: int) -> Array:
        return information(self.derivatives[:, k : k + 1])

    @cached_property
    def _weight(self) -> Array:
        """Mean of g'g over the judged mixtures, (B, p, p): trace(M^-1 weight) is the mean prediction variance."""
        return np.asarray(information(self.judged) / (self.judged.shape[1] * self.judged.shape[2]))

    def _free(self, picked: Sequence[int]) -> NDArray[np.bool_]:
        """Return which candidates can still be chosen, (C,)."""
        free = np.ones(len(self.tokens), dtype=bool)
        if self.once:
            free[list(picked)] = False
        return free

    def _best(self, known: Array, affordable: float, picked: Sequence[int]) -> tuple[int, Array]:
        """Return the candidate that improves the criterion most, and the gains of all, (C,).

        D: log det(M + G'G) - log det M = log det(I + G M^-1 G').
        I: trace((M^-1 - (M + G'G)^-1) W) = trace((I + G M^-1 G')^-1 G M^-1 W M^-1 G').
        """
        covariance = np.asarray(np.linalg.inv(known), dtype=float)
        # G M^-1, then G M^-1 G' + I per candidate, of the small size T x T.
        moved = _times(self.derivatives, covariance)
        spread = _products(moved, self.derivatives) + np.eye(self.derivatives.shape[2])
        if self.criterion == "D":
            gains = np.linalg.slogdet(spread)[1].sum(axis=0)
        else:
            weighed = _products(_times(moved, self._weight), moved)
            gains = np.trace(np.linalg.solve(spread, weighed), axis1=-2, axis2=-1).sum(axis=0)
        allowed = self._free(picked) & (self.tokens <= affordable * (1 + 1e-9))
        best = int(np.argmax(np.where(allowed, gains, -np.inf)))
        return best, np.asarray(gains)


def _times(rows: Array, matrices: Array) -> Array:
    """Return rows, (B, C, T, p), times each block's matrix, (B, p, p): a single product per block."""
    return np.asarray(rows.reshape(len(rows), -1, rows.shape[-1]) @ matrices).reshape(rows.shape)


def _products(first: Array, second: Array) -> Array:
    """Return the products of each candidate's rows, (B, C, T, T)."""
    return np.asarray(np.einsum("bctp,bcup->bctu", first, second))
