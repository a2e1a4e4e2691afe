"""Runs that a plan may hold: CLIMB's design, candidates for others, and the mixtures that designs are judged at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from climbopt.foundations.errors import InputError
from climbopt.foundations.quantities import PARAMS, RATIO, TOKENS, Amount
from climbopt.model.ensemble import Model, blocks_of
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Floor
from climbopt.procedures.result import solve
from climbopt.studies.design.criteria import Runs

SHARES = (0.1, 0.4, 0.7)
"""Ratios that each language takes in turn in CLIMB's design; which three they are is a reconstruction."""
N_DRAWN = 200
"""Candidate mixtures drawn from the truncated simplex, by each of the two concentrations."""
SPARSE = 0.4
"""Concentration of the draws that favour few languages."""
LEAST = 0.05
"""A drawn share of what the floors leave that is smaller than this, or than 0.5 / m, is taken as 0."""
JUDGED_FLOOR = 0.03
"""Least ratio of the mixtures over which the prediction variance is averaged, or 0.3 / m where that is less: nearer to
0 the laws bend too much for a first-order variance."""
N_JUDGED = 500
"""Mixtures over which the prediction variance is averaged."""
MOST_PAIRS = 16
"""Languages up to which every pair on an edge of the simplex is a candidate; of more, a seeded sample of pairs."""


SWEEPS = 60
"""Times that every ratio is drawn anew where upper bounds can be active."""
NEAR = 0.01
"""A mixture is near-optimal where its mean loss is at most this share above the least one."""
N_REGION = 500
"""Mixtures of the region, over all models."""
HALVINGS = 12
"""Times that a step away from an optimum is halved, at most."""


@dataclass(frozen=True)
class Space:
    """The runs that may be made.

    Parameters
    ----------
    n : int
        Languages.
    budgets : sequence of float
        Tokens.
    floor : float
        Least ratio of every language in every run.
    params : float or None
        Model size of every run.
    target : float or None
        Tokens of the run that is planned for, at which designs are judged; by default the largest budget.
    region : ndarray, (k, n), or None
        Mixtures that designs are judged at, and that are candidates too; by default draws from the simplex.
    """

    n: int
    budgets: Sequence[float]
    floor: float = 0.0
    params: float | None = None
    target: float | None = None
    region: Array | None = None

    @classmethod
    def read(cls, n: int, budgets: Sequence[Amount], floor: Amount, params: Amount | None) -> Space:
        """Return the space that numbers and units such as "1B" and "5%" describe.

        Raises
        ------
        InputError
            Where there is no budget, or a floor leaves no mixture to choose.
        """
        tokens = [TOKENS.positive(budget, "a budget of the plan") for budget in budgets]
        if not tokens:
            raise InputError("a plan has no budgets; give one or more numbers of tokens")
        least = RATIO.read(floor, "the floor")
        if not 0 <= least < 1 / n:
            raise InputError(
                f"a floor of {least:g} for each of {n} languages leaves no mixture to choose; it is 0 or more and "
                f"below {1 / n:.4g}"
            )
        return cls(n, tokens, least, None if params is None else PARAMS.positive(params, "the model size"))

    @property
    def _tokens(self) -> list[float]:
        """The different budgets, in order."""
        return sorted(set(map(float, self.budgets)))

    @property
    def alone(self) -> list[int]:
        """Positions among the candidates of each language alone at the smallest budget."""
        return [k * len(self._tokens) for k in range(self.n)]

    def climb(self) -> Runs:
        """Return CLIMB's design: each language in turn at three ratios, the others sharing the rest, at two budgets.

        The count 3 x m x 2 is what we know of it; the three ratios, the even rest and the two largest of the given
        budgets are a reconstruction, as are the monolingual runs at every budget, which the laws' own parameters need.
        A floor maps every mixture r to floor + (1 - n floor) r.
        """
        # 3 x m mixtures at the two largest budgets.
        mixed = [(row, budget) for budget in self._tokens[-2:] for row in self._in_turn()]
        rows = [(row, budget) for budget in self._tokens for row in np.eye(self.n)] + mixed
        ratios = self._above_floor(np.array([row for row, _ in rows]))
        return Runs(ratios, np.array([budget for _, budget in rows]), self.params)

    def judged(self, rng: np.random.Generator) -> Runs:
        """Return the mixtures over which the prediction variance is averaged, at the target or the largest budget."""
        least = np.full(self.n, max(self.floor, min(JUDGED_FLOOR, 0.3 / self.n)))
        judged = mixtures(least, np.ones(self.n), N_JUDGED, rng) if self.region is None else self.region
        return Runs(judged, np.full(len(judged), self.target or max(self.budgets)), self.params)

    def candidates(self, rng: np.random.Generator) -> Runs:
        """Return vertices, edges, each language in turn, the centre, draws and some of the region, at every budget."""
        n = self.n
        # Pairs on an edge show the transfer of each to the other with nothing else beside it.
        pairs = list(combinations(range(n), 2))
        if n > MOST_PAIRS:
            # As many pairs as the largest full set has, drawn without replacement.
            pairs = rng.choice(pairs, comb(MOST_PAIRS, 2), replace=False).tolist()
        eye = np.eye(n)
        edges = [share * eye[i] + (1 - share) * eye[j] for i, j in pairs for share in (0.15, 0.5, 0.85)]
        drawn = np.vstack([rng.dirichlet(np.full(n, shape), size=N_DRAWN) for shape in (1.0, SPARSE)])
        # Ratios near 0 are taken as 0, so that some candidates have few languages.
        drawn[drawn < min(LEAST, 0.5 / n)] = 0.0
        drawn /= drawn.sum(axis=1, keepdims=True)
        inside = np.vstack([eye, *edges, *self._in_turn(), np.full((1, n), 1 / n), drawn])
        ratios, tokens = self._above_floor(inside), np.array(self._tokens)
        if self.region is not None:
            ratios = np.vstack([ratios, rng.permutation(self.region)[:N_DRAWN]])
        # Every mixture at every budget.
        return Runs(np.repeat(ratios, tokens.size, axis=0), np.tile(tokens, len(ratios)), self.params)

    def _above_floor(self, mixtures: Array) -> Array:
        """Return mixtures mapped into those with every ratio above the floor."""
        return self.floor + (1 - self.n * self.floor) * mixtures

    def _in_turn(self) -> list[Array]:
        """Return each language at each of `SHARES`, the others sharing the rest."""
        eye, others = np.eye(self.n), (1 - np.eye(self.n)) / max(self.n - 1, 1)
        return [share * eye[i] + (1 - share) * others[i] for share in SHARES for i in range(self.n)]


def mixtures(lower: Array, upper: Array, n: int, rng: np.random.Generator) -> Array:
    """Return n mixtures of the truncated simplex, (n, S).

    With lower bounds alone, lower + (1 - sum lower) d with d from the Dirichlet distribution that is uniform on the
    simplex: the normalised exponentials of Devroye, Non-Uniform Random Variate Generation (1986), section V.2. Where an
    upper bound can be active, uniform by a Gibbs sampler over pairs: given their sum s, ratio i of a pair (i, j) is
    uniform on [max(lower_i, s - upper_j), min(upper_i, s - lower_j)], so that no draw is thrown away (Geman and Geman
    1984; hit-and-run along edges, Smith, Operations Research 32, 1984). Each mixture is the end of its own chain of
    `SWEEPS` sweeps, whose ends are uniform only in the limit.

    Parameters
    ----------
    lower, upper : ndarray, (S,)
        Bounds in [0, 1].
    n : int
    rng : numpy.random.Generator

    Raises
    ------
    InputError
        Where no mixture meets the bounds.

    Examples
    --------
    >>> drawn = mixtures(np.full(3, 0.1), np.ones(3), 5, np.random.default_rng(0))
    >>> drawn.shape, bool((drawn >= 0.1).all()), bool(np.allclose(drawn.sum(axis=1), 1))
    ((5, 3), True, True)
    """
    lower, upper = np.asarray(lower, dtype=float), np.asarray(upper, dtype=float)
    spare = 1.0 - lower.sum()
    if (lower > upper).any() or spare < -1e-12 or upper.sum() < 1 - 1e-12:
        raise InputError(
            f"no mixture meets the bounds: the lower ones sum to {lower.sum():.6g}, the upper ones to "
            f"{upper.sum():.6g}; they must not be above and below 1"
        )
    if (upper >= lower + spare).all():
        return np.asarray(lower + spare * rng.dirichlet(np.ones(lower.size), size=n))
    room = upper - lower
    drawn = np.tile(lower + spare / room.sum() * room, (n, 1))
    half = lower.size // 2
    for _ in range(2 * SWEEPS):
        order = rng.permutation(lower.size)
        i, j = order[:half], order[half : 2 * half]
        total = drawn[:, i] + drawn[:, j]
        least, most = np.maximum(lower[i], total - upper[j]), np.minimum(upper[i], total - lower[j])
        # Rounding can put the ends a little out of order.
        drawn[:, i] = rng.uniform(least, np.maximum(least, most))
        drawn[:, j] = total - drawn[:, i]
    return drawn


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
