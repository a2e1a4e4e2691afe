"""The confidence set: mixtures that the draws cannot tell apart from the best one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from climbopt.certification.kkt import LimitsAt
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import Seed, check_arguments
from climbopt.foundations.view import Columns, View, Viewed
from climbopt.model.templates import Array
from climbopt.program import joint_form
from climbopt.uncertainty.regret import Regrets

LEVEL = 0.95
SIZE = 200
SHRINKS = 30
"""Points tried along one direction before the walk stays where it is."""
FEASIBLE = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class ConfidenceSet(Viewed):
    """Mixtures that the draws do not show to be worse than a reference mixture.

    Parameters
    ----------
    level : float
        A mixture is left out where its loss is higher under more than this share of the draws.
    sample : ndarray, (n, S)
        Mixtures of the set.
    ranges : mapping of str to tuple of float
        Least and largest ratio of each source in the sample, and along the lines from the reference through it:
        inside the set's own ranges.
    share_of_optima : float
        Share of the draws' own optima that lie in the set.
    """

    level: float
    sample: Array
    ranges: Mapping[str, tuple[float, float]]
    share_of_optima: float

    def view(self) -> View:
        """Return the level; the table has the range of each ratio."""
        table: Columns = {
            "language": list(self.ranges),
            "lower": [low for low, _ in self.ranges.values()],
            "upper": [high for _, high in self.ranges.values()],
        }
        title = f"mixtures not shown to be worse at {100 * self.level:.0f} %"
        facts = [f"sample of {len(self.sample)}; {100 * self.share_of_optima:.0f} % of the draws' optima are in it"]
        return View(title, facts, lambda: table)


@check_arguments
def confidence_set(
    regrets: Regrets, ratios: Array, *, level: float = LEVEL, size: int = SIZE, seed: Seed = 0
) -> ConfidenceSet:
    """Return the mixtures r that meet the constraints and have f_k(r) <= f_k(reference) for 1 - level of the draws k.

    The sample is that of a random walk from the reference mixture, uniform on the part of the set that it reaches:
    hit-and-run along differences of the draws' optima, with shrinking steps; together with the optima in the set.

    Parameters
    ----------
    regrets : Regrets
    ratios : ndarray, (S,)
        The reference mixture, usually the answer.
    level : float
        In (0, 1).
    size : int
        Steps of the walk.
    seed : int

    Raises
    ------
    InputError
        For a level outside (0, 1), or fewer draws than can show it.

    Source
    ------
    Smith, Efficient Monte Carlo procedures for generating points uniformly distributed over bounded regions,
    Operations Research 32 (1984).
    """
    if not 0 < level < 1:
        raise InputError(f"the level of a confidence set is {level:g}; it is a share between 0 and 1, as 0.95")
    if len(regrets.draws) * (1 - level) < 1:
        raise InputError(
            f"{len(regrets.draws)} draws cannot show a level of {level:g}; make {int(1 / (1 - level)) + 1} or more"
        )
    form, losses = joint_form(regrets.problem), regrets.values(ratios)

    def inside(mixture: Array) -> bool:
        better = np.mean(regrets.values(mixture) <= losses)
        return bool(better >= 1 - level) and LimitsAt(form, form.complete(mixture)).violation.max() <= FEASIBLE

    # The draws' own optima in the set are points of it that the walk may miss.
    optima = np.array([inside(mixture) for mixture in regrets.optima])
    sample = np.vstack([_walk(ratios, regrets.optima, inside, size, seed), regrets.optima[optima]])
    # Ranges end at the extreme points of the sample, pushed outwards as far as the set reaches.
    outermost = {*sample.argmin(axis=0).tolist(), *sample.argmax(axis=0).tolist()}
    ends = np.vstack([sample, *(_pushed(ratios, sample[k], inside) for k in outermost)])
    ranges = {
        name: (float(low), float(high))
        for name, low, high in zip(regrets.problem.model.sources, ends.min(axis=0), ends.max(axis=0), strict=True)
    }
    return ConfidenceSet(level, sample, ranges, float(optima.mean()))


def _walk(start: Array, optima: Array, inside: Callable[[Array], bool], size: int, seed: int) -> Array:
    """Return the points of a random walk in the set, (size + 1, S), along differences of the draws' optima."""
    generator = np.random.default_rng(seed)
    points = [start]
    for _ in range(size):
        first, second = optima[generator.integers(len(optima), size=2)]
        points.append(_moved(points[-1], first - second, inside, generator))
    return np.array(points)


def _moved(at: Array, direction: Array, inside: Callable[[Array], bool], generator: np.random.Generator) -> Array:
    """Return a point of the set on the line through `at`; the interval shrinks towards `at` until a trial is inside."""
    scale = float(np.abs(direction).max())
    if scale == 0:
        return at
    way = direction / scale
    # Steps at which a ratio reaches 0: the walk stays on the simplex, since directions sum to 0.
    limits = np.divide(-at, way, out=np.zeros(at.size), where=way != 0)
    low, high = float(np.max(limits[way > 0], initial=-1.0)), float(np.min(limits[way < 0], initial=1.0))
    for _ in range(SHRINKS):
        step = generator.uniform(low, high)
        trial = np.maximum(at + step * way, 0.0)
        if inside(trial):
            return trial
        # Shrinking towards the current point, which is in the set.
        low, high = (step, high) if step < 0 else (low, step)
    return at


def _pushed(center: Array, edge: Array, inside: Callable[[Array], bool]) -> Array:
    """Return the furthest point found on the line from `center` through `edge`, both in the set."""
    # The step, in units of the way to the edge, is halved where it leaves the set.
    furthest, step = edge, 0.5
    for _ in range(8):
        trial = furthest + step * (edge - center)
        if (trial >= 0).all() and inside(trial):
            furthest = trial
        else:
            step /= 2
    return furthest
