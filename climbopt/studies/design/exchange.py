"""Exchange: the candidate runs that most improve a criterion of optimal design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from climbopt.foundations.processes import Progress
from climbopt.model.templates import Array

Criterion = Literal["D", "I"]
"""D: the joint uncertainty of the parameters; I: the mean variance of predictions."""
PASSES = 10
"""Largest number of passes over the runs of a design."""
IMPROVES = 1e-6
"""Least relative gain in the criterion for which a run is exchanged."""
FEWEST = 2
"""Least number of runs per language, unless the number of runs is set."""


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
