"""schedule: the ratios of each stage of a long run, so that its cumulative mixture follows the optimal path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Unpack

import numpy as np
from scipy.sparse import block_diag, csr_array, diags_array, eye_array, kron, vstack

from climbopt.backends.backend import CommonOptions, OptionsLike, options_of
from climbopt.files import ProblemLike, as_problem
from climbopt.foundations.errors import MOST_LISTED, InputError
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.quantities import TOKENS, Amount
from climbopt.foundations.view import Columns, Reported, View, Viewed, percentages
from climbopt.model.templates import Array
from climbopt.numerics import quadratic
from climbopt.numerics.polytope import Polytope, Rows
from climbopt.problem.allocation import AllocationProblem
from climbopt.program import expression_rows, linear_part
from climbopt.studies.sweep import Sweep, sweep

FOLLOWED = 1e-7
"""A stage's cumulative ratios nearer to the optimal ones than this count as the same."""


@dataclass(frozen=True, repr=False)
class Stage(Viewed):
    """A stage of a run, with constant ratios.

    Parameters
    ----------
    begin, end : float
        Tokens of the run read before it and after it.
    ratios : ndarray, (S,)
        Ratios of the stage itself: at least 0, sum 1.
    cumulative, optimal : ndarray, (S,)
        Cumulative ratios at the end of the stage, and those that are optimal for a run of that length.
    followed : bool
        Whether the two agree.
    objective, best, static : float
        The objective at the end of the stage: of this schedule, of a run planned to end there, and of a run in the
        last stage's optimal ratios throughout.
    """

    begin: float
    end: float
    ratios: Array
    cumulative: Array
    optimal: Array
    followed: bool
    objective: float
    best: float
    static: float

    @property
    def gain(self) -> float:
        """Gain of the schedule at the end of this stage over the static optimum, in the objective's unit."""
        return self.static - self.objective

    def view(self) -> View:
        """Return the stage and its mixture."""
        path = "on the optimal path" if self.followed else "nearest to the optimal path"
        largest = np.round(self.ratios[:MOST_LISTED], 4).tolist()
        return View(f"stage from {self.begin:.4g} to {self.end:.4g} tokens, {path}", [f"ratios {largest}"])


@dataclass(frozen=True, eq=False, repr=False)
class Schedule(Reported):
    """A run in stages.

    Parameters
    ----------
    problem : AllocationProblem
        At the budget of the whole run.
    path : Sweep
        The optima at the ends of the stages.
    stages : tuple of Stage
    """

    problem: AllocationProblem
    path: Sweep
    stages: tuple[Stage, ...]

    def view(self) -> View:
        """Return each stage's mixture; the table has a row for each stage and source."""
        sources, stages = self.problem.model.sources, self.stages
        facts = [
            f"to {stage.end:.4g} tokens: {percentages(dict(zip(sources, stage.ratios.tolist(), strict=True)), 4)}"
            for stage in stages
        ]
        return View(f"{self.problem.name}, a run in {len(stages)} stages", facts, self._columns)

    def _columns(self) -> Columns:
        """Return one row per stage and source."""
        sources, stages = self.problem.model.sources, self.stages
        return {
            "begin": [stage.begin for stage in stages for _ in sources],
            "end": [stage.end for stage in stages for _ in sources],
            "language": list(sources) * len(stages),
            "ratios": np.concatenate([stage.ratios for stage in stages]).tolist(),
            "cumulative": np.concatenate([stage.cumulative for stage in stages]).tolist(),
            "optimal": np.concatenate([stage.optimal for stage in stages]).tolist(),
        }


@check_arguments
def schedule(
    problem: ProblemLike,
    ends: Sequence[Amount],
    *,
    backend: str | None = None,
    options: OptionsLike = None,
    **common: Unpack[CommonOptions],
) -> Schedule:
    """Return stage ratios whose cumulative mixtures c_k come nearest to the optimal ones at the stages' ends.

    With c*_k the optimum for a run of D_k tokens,

        min sum_k |c_k - c*_k|^2   s.t.   D_k c_k >= D_(k-1) c_(k-1),   c_k meets the linear constraints at D_k,
                                          c_n = c*_n

    and stage k has the ratios (D_k c_k - D_(k-1) c_(k-1)) / (D_k - D_(k-1)). Where the optimal path can be followed
    the least is 0; where a language's optimal tokens would have to fall, it is the nearest path in this sense. The
    run ends in the optimum of its whole budget, so that earlier gains cost nothing there.

    Parameters
    ----------
    problem : AllocationProblem, path or name
        Its budget is replaced by the last of `ends`.
    ends : sequence of float or str
        Tokens read by the end of each stage, increasing, two or more.
    backend : str, optional
    options : Options or mapping, optional
        Options, or a mapping of solver-native options.
    tolerance, max_iterations, time_limit
        Set as keywords, as in :class:`climbopt.Options`.

    Raises
    ------
    InputError
        Where the ends do not increase, an optimum on the path is not certified, the constraints are not linear in the
        ratios, or no path meets them.

    Notes
    -----
    The laws depend on how much of each language was read, not on the order: a schedule's losses are those of its
    cumulative mixtures.

    Examples
    --------
    >>> import climbopt
    >>> planned = climbopt.schedule("equal_beta", ["10B", "100B", "1T"])
    >>> [stage.followed for stage in planned.stages]
    [True, True, True]
    """
    problem, options = as_problem(problem), options_of(options, common)
    tokens = _checked(problem, ends)
    path = sweep(problem, tokens, backend=backend, options=options)
    for point in path.points:
        if not point.passed:
            reason = f": {point.refusal}" if point.refusal else ""
            raise InputError(f"there is no certified optimum for a run of {point.budget:g} tokens{reason}")
    problems = [replace(problem, budget=end) for end in tokens]
    return Schedule(problems[-1], path, _stages(problems, _nearest(problems, path.ratios), path.ratios))


def _checked(problem: AllocationProblem, ends: Sequence[Amount]) -> list[float]:
    """Return the ends of the stages in tokens; refuse ends or constraints that no schedule can take."""
    tokens = [TOKENS.positive(end, "the end of a stage") for end in ends]
    if len(tokens) < 2 or not all(a < b for a, b in pairwise(tokens)):
        raise InputError(f"the stages of a schedule end at {tokens}; give two or more increasing numbers of tokens")
    if expression_rows(problem):
        raise InputError(
            f"{expression_rows(problem)[0].name} is not linear in the ratios, and a schedule keeps linear "
            "constraints only; sweep without stages, or leave it out"
        )
    return tokens


def _stages(problems: Sequence[AllocationProblem], cumulative: Array, optimal: Array) -> tuple[Stage, ...]:
    """Return the stages with given cumulative ratios, (n, S), beside the optimal ones."""
    ends = np.array([0.0, *(problem.budget for problem in problems)])
    # Tokens of each stage: D_k c_k - D_(k-1) c_(k-1), above 0 but for rounding.
    tokens = np.maximum(np.diff(ends[1:, None] * cumulative, axis=0, prepend=0.0), 0.0)
    return tuple(
        Stage(
            begin,
            problem.budget,
            ratios=read / read.sum(),
            cumulative=c,
            optimal=best,
            followed=bool(np.abs(c - best).max() <= FOLLOWED),
            objective=float(problem.value(c)),
            best=float(problem.value(best)),
            static=float(problem.value(optimal[-1])),
        )
        for begin, problem, read, c, best in zip(ends[:-1].tolist(), problems, tokens, cumulative, optimal, strict=True)
    )


def _nearest(problems: Sequence[AllocationProblem], optimal: Array) -> Array:
    """Return the cumulative ratios of all stages, (n, S): a projection onto one polytope over all of them."""
    n, S = optimal.shape
    parts = [linear_part(problem).polytope for problem in problems]
    if any(part.bounds.lower.size != S for part in parts):
        raise InputError("a schedule keeps bounds and linear rows on the ratios only; leave out stay_near")
    lower, upper = (np.concatenate([getattr(part.bounds, side) for part in parts]) for side in ("lower", "upper"))
    # c_n = c*_n: the last block of variables is fixed.
    lower[-S:] = upper[-S:] = optimal[-1]
    ends = np.array([problem.budget for problem in problems])
    # tokens of each language grow: c_k - D_(k-1) / D_k c_(k-1) >= 0
    steps = eye_array(n - 1, n, k=1) - diags_array(ends[:-1] / ends[1:], shape=(n - 1, n))
    growth = Rows(np.zeros((n - 1) * S), np.full((n - 1) * S, np.inf))
    # The last stage is fixed, and its rows hold.
    free = block_diag([*(part.A for part in parts[:-1]), csr_array((0, S))])
    limits = sum((*(part.rows for part in parts[1:-1]), growth), parts[0].rows)
    polytope = Polytope(Rows(lower, upper), csr_array(vstack([free, kron(steps, eye_array(S))])), limits)
    target = optimal.ravel()
    # The optimal path is feasible as it is.
    if polytope.violation(target) <= FOLLOWED / 10:
        return optimal
    # The final mixture throughout lets every language's tokens grow; the constraints of earlier stages may forbid it.
    start = np.tile(optimal[-1], n)
    if polytope.violation(start) > 1e-9:
        start = polytope.interior_point()
    # |c - c*|^2 / 2 without its constant: H = I, g = -c*
    face = quadratic.minimise(np.eye(target.size), -target, polytope, start)
    if face is None:
        raise InputError("no stages were found that follow the path within the constraints; choose other ends")
    return np.asarray(face.x.reshape(n, S))
