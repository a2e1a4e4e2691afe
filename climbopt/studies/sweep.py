"""sweep: the optimal mixture along a path of budgets, or of one constraint's number.

Each solve of the procedure joint starts at the last optimum, moved onto the rows of the new problem. Where that fails,
or the answer is not proved to be the best of all mixtures, the problem's own start is tried too and the better answer
is taken. Other procedures are solved anew at each point.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Unpack

import numpy as np
from joblib import delayed

from climbopt.backends import Options, choose
from climbopt.backends.backend import CommonOptions, OptionsLike, options_of
from climbopt.certification.local import Verdict, repair
from climbopt.files import DrawsLike, PathFile, ProblemLike, as_draws
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.processes import Progress, parallel
from climbopt.foundations.quantities import RATIO, TOKENS, Amount
from climbopt.foundations.view import Columns, Reported, View, Viewed, percentages
from climbopt.model.ensemble import check_draws, without_draws
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures import Answer, Joint, Procedure, ProcedureLike
from climbopt.procedures.result import Result, answered, judged, resolve
from climbopt.program import StandardForm, joint_form
from climbopt.studies.varied import varied

ROOM = 1e-3
"""Fraction of the way from the last optimum to the form's own start at which a warm start lies."""
BETTER = 1e-12
"""Least decrease of the objective that counts as better."""
BAND = 0.9
"""Share of the drawn models between the two ends of a band."""

Over = tuple[str, Sequence[Amount]]


@dataclass(frozen=True, eq=False, repr=False)
class Point(Viewed):
    """The answer at one budget and one value of the constraint's number.

    Parameters
    ----------
    budget : float
        Tokens.
    bound : float or None
        The constraint's number; None where only the budget is swept.
    result : Result or None
        Certified or not, as its certificate states; None where the problem is refused.
    refusal : str or None
        Why it is refused: no mixture meets the constraints there, for example.
    """

    budget: float
    bound: float | None
    result: Result | None
    refusal: str | None = None

    @property
    def passed(self) -> bool:
        """Whether there is a certified answer."""
        return self.result is not None and self.result.passed

    @property
    def answer(self) -> Result | None:
        """The result where it has ratios; None where the problem is refused, or its backend gave no point."""
        return None if self.result is None or self.result.allocation is None else self.result

    @property
    def ratios(self) -> Array | None:
        """The certified ratios, (S,); None where there are none."""
        return None if self.answer is None or not self.passed else np.array(list(self.answer.ratios.values()))

    def view(self) -> View:
        """Return the answer."""
        at = f"{self.budget:.4g} tokens" + ("" if self.bound is None else f", at {self.bound:g}")
        if self.answer is None:
            return View(f"point of {at}: no answer", [self.refusal] if self.refusal else [])
        return View(
            f"point of {at}: {'certified' if self.passed else 'NOT certified'}", [percentages(self.answer.ratios)]
        )


@dataclass(frozen=True, eq=False, repr=False)
class Sweep(Reported):
    """Optimal mixtures along a path.

    Parameters
    ----------
    problem : AllocationProblem
        What was varied.
    procedure : Procedure
    over : str or None
        The constraint's number that was swept, as ``floor.sw``; None where only the budget was.
    points : tuple of Point
        Budget by budget, and for each of them the values of the constraint's number in order.
    draws : ndarray, (n_draws, n_points, S), or None
        The optimal ratios under each draw of the model, NaN where there is no certified answer; None without draws.
    seconds : float
        Wall time.
    """

    problem: AllocationProblem
    procedure: Procedure
    over: str | None
    points: tuple[Point, ...]
    draws: Array | None
    seconds: float

    @cached_property
    def ratios(self) -> Array:
        """Certified optimal ratios, (n_points, S); NaN where there are none."""
        return _table(self.points, len(self.problem.model.sources))

    def bands(self, share: float = BAND) -> tuple[Array, Array] | None:
        """Return the ends between which a share of the draws' ratios lies, (n_points, S) each; None without draws.

        Draws without a certified answer at a point are left out there.
        """
        if self.draws is None:
            return None
        # Quantiles point by point, over the draws with a certified answer there.
        result = np.full((2, *self.draws.shape[1:]), np.nan)
        known = ~np.isnan(self.draws[:, :, 0])
        for k in np.flatnonzero(known.any(axis=0)):
            result[:, k] = np.quantile(self.draws[known[:, k], k], [(1 - share) / 2, (1 + share) / 2], axis=0)
        return result[0], result[1]

    def view(self) -> View:
        """Return the ends of the path; the table has a row for each point and source."""
        facts = [
            f"{end}, {point.budget:.4g} tokens: {percentages(point.answer.ratios)}"
            for end, point in (("first", self.points[0]), ("last", self.points[-1]))
            if point.answer is not None
        ]
        facts.append(f"{sum(point.passed for point in self.points)} of {len(self.points)} points certified")
        facts += [] if self.draws is None else [f"bands of {len(self.draws)} draws"]
        title = f"{self.problem.name} over {self.over or 'budgets'}, {len(self.points)} points"
        return View(title, facts, self._columns)

    def _columns(self) -> Columns:
        """Return one row per point and source; `lower` and `upper` are the ends of the band where there are draws."""
        sources, bands = self.problem.model.sources, self.bands()
        n, results = len(sources), [point.answer for point in self.points]
        budgets = np.repeat([point.budget for point in self.points], n)
        # Of all answers, certified or not.
        ratios = np.array([np.nan if result is None else result.ratios[name] for result in results for name in sources])
        return {
            "budget": budgets.tolist(),
            **({} if self.over is None else {"bound": [point.bound for point in self.points for _ in sources]}),
            "language": list(sources) * len(self.points),
            "ratio": ratios.tolist(),
            **({} if bands is None else {"lower": bands[0].ravel().tolist(), "upper": bands[1].ravel().tolist()}),
            "tokens": (ratios * budgets).tolist(),
            "loss": [None if result is None else result.losses.get(name) for result in results for name in sources],
            "objective": [None if result is None else result.objective for result in results for _ in sources],
            "certified": [point.passed for point in self.points for _ in sources],
        }


@check_arguments
def sweep(
    problem: ProblemLike,
    budgets: Sequence[Amount] | None = None,
    over: Over | None = None,
    *,
    procedure: ProcedureLike | None = None,
    draws: DrawsLike = (),
    backend: str | None = None,
    options: OptionsLike = None,
    jobs: int = 1,
    stored: PathFile | None = None,
    progress: Progress | None = None,
    **common: Unpack[CommonOptions],
) -> Sweep:
    """Return the optimal mixture, certified, at every budget, and at every value of a constraint's number.

    Parameters
    ----------
    problem : AllocationProblem, path or name
    budgets : sequence of float or str, optional
        Tokens, as 1e12 or "1T"; the problem's own by default.
    over : (str, sequence of float), optional
        A constraint's number, as :func:`varied` names it, and its values.
    procedure, backend, options, tolerance, max_iterations, time_limit
        As of :func:`climbopt.solve`.
    draws : sequence of MixtureModel or path
        Of the problem's model: each gives a path of its own, in `Sweep.draws`.
    jobs : int
        Processes for the paths of `draws`; no path depends on it.
    stored : PathFile, optional
        A store of paths: those that it has are not solved again, and each new path is appended.
    progress : callable, optional
        Called with the numbers of points solved and to solve, those of the draws included.

    Raises
    ------
    InputError
        For invalid values, such as a negative budget or an unknown constraint, and for draws of
        another fit.

    Examples
    --------
    >>> import climbopt
    >>> path = climbopt.sweep("equal_beta", budgets=["10B", "100B", "1T"])
    >>> path.ratios.shape, all(point.passed for point in path.points)
    ((3, 4), True)
    """
    began = time.perf_counter()
    problem, procedure = resolve(problem, procedure)
    draws, options = as_draws(draws), options_of(options, common)
    if draws:
        # The mean over an ensemble's draws is one path; each draw by itself is what the band is made of.
        problem = replace(problem, model=without_draws(problem.model))
        check_draws(problem.model, draws)
    along = _Along(procedure, *_grid(problem, budgets, over), backend, options)
    total = len(along) * (1 + len(draws))
    advance = (lambda done: None) if progress is None else (lambda done: progress(done, total))
    points = along.points(problem, advance)
    drawn = along.drawn([replace(problem, model=draw) for draw in draws], jobs, stored, advance) if draws else None
    return Sweep(problem, procedure, None if over is None else over[0], points, drawn, time.perf_counter() - began)


@dataclass(frozen=True)
class _Along:
    """A path of budgets and bounds along which the problem is solved, for any model.

    Parameters
    ----------
    procedure : Procedure
    budgets : tuple of float
    name : str
        Name of the constraint's number.
    bounds : tuple of float or None
        Its values; None alone where only budgets are swept.
    backend : str or None
    options : Options
    """

    procedure: Procedure
    budgets: tuple[float, ...]
    name: str
    bounds: tuple[float | None, ...]
    backend: str | None
    options: Options

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.budgets) * len(self.bounds)

    def points(self, problem: AllocationProblem, advance: Callable[[int], None]) -> tuple[Point, ...]:
        """Return the points of one model, each solved near the one before."""
        points: dict[tuple[int, int], Point] = {}
        last: Array | None = None
        for i, budget in enumerate(self.budgets):
            # boustrophedon order: consecutive points differ in one step of budget or bound
            for j in range(len(self.bounds)) if i % 2 == 0 else reversed(range(len(self.bounds))):
                points[i, j] = point = self._point(problem, budget, self.bounds[j], last)
                last = last if point.ratios is None else point.ratios
                advance(len(points))
        return tuple(points[key] for key in sorted(points))

    def ratios(self, problem: AllocationProblem) -> Array:
        """Return the certified ratios of a model, (n_points, S); NaN at points without them."""
        return _table(self.points(problem, lambda done: None), len(problem.model.sources))

    def drawn(
        self, problems: Sequence[AllocationProblem], jobs: int, stored: PathFile | None, advance: Callable[[int], None]
    ) -> Array:
        """Return the certified ratios of several models, (n_models, n_points, S), all but the paths known before."""
        # Draws that are stored need no solve; each new one is stored as soon as it is known, in order.
        known = {} if stored is None else {k: path for k, path in stored.known.items() if k < len(problems)}
        missing = [k for k in range(len(problems)) if k not in known]
        paths = parallel(jobs, return_as="generator")(delayed(self.ratios)(problems[k]) for k in missing)
        for k, path in zip(missing, paths, strict=True):
            known[k] = path
            if stored is not None:
                stored.append(k, path)
            advance(len(self) * (1 + len(known)))
        return np.array([known[k] for k in range(len(problems))])

    def _point(self, problem: AllocationProblem, budget: float, bound: float | None, last: Array | None) -> Point:
        try:
            # A point that no mixture meets is part of the path: its reason stands in place of an answer.
            at = replace(problem, budget=budget)
            return Point(budget, bound, self._answer(at if bound is None else varied(at, self.name, bound), last))
        except InputError as error:
            return Point(budget, bound, None, str(error))

    def _answer(self, problem: AllocationProblem, last: Array | None) -> Result:
        """Return the better of the answers from the last optimum and, unless that is global, from the own start."""
        if last is None or not isinstance(self.procedure, Joint):
            return answered(problem, self.procedure, self.backend, self.options)
        form = joint_form(problem)
        warm = judged(problem, self.procedure, self._from_start(_warm(form, last)), self.options)
        if warm.allocation is not None and warm.certificate.verdict is Verdict.GLOBAL:
            return warm
        # A local minimum at best: another start may lead to a better one. Where it failed, that alone counts.
        cold = self._from_start(form)
        value = np.inf if cold.x is None else form.functions.at(repair(form, cold.x)).value
        if warm.passed and not value < warm.objective - BETTER:
            return warm
        answer = judged(problem, self.procedure, cold, self.options)
        return warm if warm.passed and not answer.passed else answer

    def _from_start(self, form: StandardForm) -> Answer:
        """Return the answer of the backend from a form's start."""
        solution = choose(form, self.backend).solve(form, self.options)
        return Answer(form, solution.x, solution)


def _grid(
    problem: AllocationProblem, budgets: Sequence[Amount] | None, over: Over | None
) -> tuple[tuple[float, ...], str, tuple[float | None, ...]]:
    """Return the budgets, the constraint's number and its values; refuse invalid values."""
    budgets = [problem.budget] if budgets is None else budgets
    tokens = tuple(TOKENS.positive(budget, "a budget of the sweep") for budget in budgets)
    if not tokens:
        raise InputError("a sweep has no budgets; give one or more numbers of tokens")
    if over is None:
        return tokens, "", (None,)
    match over:
        case (str() as name, list() | tuple() | np.ndarray() as texts):
            pass
        case _:
            raise InputError("over takes the name of a number and a list of values, such as ('floor.sw', [0.05, 0.1])")
    values = [(RATIO if "%" in str(text) else TOKENS).read(text, f"a value of {name}") for text in texts]
    # Checked once: a name is wrong everywhere, a value only at its own point.
    varied(problem, name)  # refuses an unknown name; a value is refused at its point
    if not values:
        raise InputError(f"the values of {name} are {values}; give one or more numbers")
    return tokens, name, tuple(values)


def _warm(form: StandardForm, last: Array) -> StandardForm:
    """Return the form with a start near the last optimum, inside the rows and off the bounds."""
    near = repair(form, form.complete(last))
    # interior-point solvers start badly on active bounds
    start = near + ROOM * (form.start - near)
    return form.from_start(start) if np.isfinite(form.functions.at(start).value) else form


def _table(points: Sequence[Point], n_sources: int) -> Array:
    """Return the certified ratios of points, (n_points, S); NaN at points without them."""
    return np.array([[np.nan] * n_sources if point.ratios is None else point.ratios for point in points])
