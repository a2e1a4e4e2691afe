"""Robust allocation: the ratios of least mean regret, or least CVaR of regret, over draws of the model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Unpack

import numpy as np

from climbopt.backends import Options, choose
from climbopt.backends.backend import CommonOptions, OptionsLike, options_of
from climbopt.certification.local import Certificate, certify, repair
from climbopt.files import DrawsLike, ProblemLike, as_draws, as_problem
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.processes import Progress
from climbopt.foundations.quantities import RATIO, Amount
from climbopt.foundations.solution import Solution
from climbopt.foundations.view import Columns, Reported, View, percentages
from climbopt.model.ensemble import without_draws
from climbopt.model.templates import Array
from climbopt.procedures import Joint
from climbopt.procedures.result import Allocation, Result, solve
from climbopt.studies.ranges import Range, RangedObjective, ranges_near
from climbopt.uncertainty.assessment import Assessment, Scenarios
from climbopt.uncertainty.confidence import ConfidenceSet, confidence_set
from climbopt.uncertainty.regret import Regrets, cvar_near, mean_form, regrets

QUANTILES = (0.05, 0.5, 0.95)
ROUNDS = 50
"""Times that draws are added to the CVaR's rows, at most."""


@dataclass(frozen=True)
class Measure:
    """The measure of the regrets that is minimised.

    Parameters
    ----------
    kind : {"mean", "cvar"}
    level : float
        Of the CVaR: the mean of the worst (1 - level) of the regrets.
    """

    kind: str = "mean"
    level: float = 0.9

    def __post_init__(self) -> None:
        if self.kind not in ("mean", "cvar"):
            raise InputError(f"the robust measure is '{self.kind}'; it is mean, cvar or cvar:LEVEL, as cvar:0.9")
        if not 0 < self.level < 1:
            raise InputError(f"the level of cvar is {self.level:g}; it is a share between 0 and 1, as 0.9")

    @classmethod
    def parse(cls, text: str) -> Measure:
        """Return the measure that mean, cvar or cvar:LEVEL stands for."""
        kind, _, level = text.partition(":")
        if kind != "cvar" or not level:
            return cls(text)
        try:
            return cls(kind, float(level))
        except ValueError:
            raise InputError(f"the level of {text!r} is no number; write for example cvar:0.9") from None

    def of(self, values: Array) -> float:
        """Return the measure of regrets, (K,)."""
        if self.kind == "mean":
            return float(values.mean())
        # Mean of the worst `tail` regrets, of which the last may count in part.
        tail = (1 - self.level) * values.size
        ordered = np.sort(values)[::-1]
        whole = int(np.floor(tail))
        rest = (tail - whole) * ordered[whole] if whole < values.size else 0.0
        return float((ordered[:whole].sum() + rest) / tail)

    def goal(self, regrets: Regrets, ratios: Array) -> RangedObjective:
        """Return the measure as what is minimised, from some ratios on."""
        if self.kind == "mean":
            return RangedObjective(partial(mean_form, regrets))
        return cvar_near(regrets, self.level, ratios)


@dataclass(frozen=True, eq=False, repr=False)
class Robust(Reported):
    """A robust allocation.

    Parameters
    ----------
    result : Result
        Its ratios, with the losses of the fit itself; the certificate is that of the least regret.
    measure : Measure
    regrets : Regrets
        The draws and their optima.
    regret : ndarray, (K,)
        Of the answer, in nats per token.
    plug_in : Result
        The fit's own optimum.
    plug_in_regret : ndarray, (K,)
        Of that.
    seconds : float
        Wall time.
    """

    result: Result
    measure: Measure
    regrets: Regrets
    regret: Array
    plug_in: Result
    plug_in_regret: Array
    seconds: float

    @property
    def ratios(self) -> Array:
        """The answer, (S,)."""
        return np.array(list(self.result.ratios.values()))

    @cached_property
    def confidence(self) -> ConfidenceSet:
        """The mixtures that the draws do not show to be worse than the answer; raises InputError for too few draws."""
        return confidence_set(self.regrets, self.ratios)

    @cached_property
    def assessment(self) -> Assessment:
        """What the answer is worth beside the baselines, under the draws."""
        return Assessment(self.result, Scenarios.of(self.result.problem, self.regrets.draws))

    def optimum_quantiles(self) -> Mapping[str, tuple[float, ...]]:
        """Return the quantiles `QUANTILES` of each source's ratio over the draws' optima."""
        ends = np.quantile(self.regrets.optima, QUANTILES, axis=0).T.tolist()
        return dict(zip(self.result.problem.model.sources, map(tuple, ends), strict=True))

    def view(self) -> View:
        """Return the answer and its regret; the table has a row for each source."""
        measure, passed = self.measure, "certified" if self.result.passed else "NOT certified"
        kind = measure.kind if measure.kind == "mean" else f"cvar:{measure.level:g}"
        facts = [
            f"ratios: {percentages(self.result.ratios)}",
            f"regret {measure.of(self.regret):.3g} nats, of the joint answer {measure.of(self.plug_in_regret):.3g}",
        ]
        title = f"{self.result.problem.name}, least {kind} regret over {len(self.regrets.draws)} draws: {passed}"
        return View(title, facts, self._columns)

    def _columns(self) -> Columns:
        """Return one row per source."""
        quantiles = self.optimum_quantiles()
        return {
            "language": list(quantiles),
            "robust": list(self.result.ratios.values()),
            "joint": list(self.plug_in.ratios.values()),
            **{f"optimum_{q:g}": [ends[k] for ends in quantiles.values()] for k, q in enumerate(QUANTILES)},
        }


@check_arguments
def robust(
    problem: ProblemLike,
    draws: DrawsLike,
    measure: Measure | str = "mean",
    *,
    backend: str | None = None,
    options: OptionsLike = None,
    jobs: int = 1,
    progress: Progress | None = None,
    **common: Unpack[CommonOptions],
) -> Robust:
    """Return the allocation of least mean regret, or least CVaR of regret, over draws of the problem's model.

    Parameters
    ----------
    problem : AllocationProblem, path or name
        Of the weighted loss; its constraints on z and losses are held by its own model.
    draws : sequence of MixtureModel or path
        Of the same fit.
    measure : Measure or str
        mean, cvar or cvar:LEVEL.
    backend : str, optional
        For the robust problem; the first available one that takes it by default.
    options : Options or mapping, optional
        Options, or the solver's own ones by its own names.
    tolerance, max_iterations, time_limit
        Keywords for these of :class:`climbopt.Options`.
    jobs : int
        Processes for the draws' own optima.
    progress : callable, optional
        Called with the numbers of draws solved and to solve.

    Raises
    ------
    InputError
        Where the objective is not the weighted loss, the draws belong to another fit, or the fit's own optimum
        is not available.
    """
    began = time.perf_counter()
    measure = Measure.parse(measure) if isinstance(measure, str) else measure
    problem, draws, options = as_problem(problem), as_draws(draws), options_of(options, common)
    # The draws are an argument of their own; constraints are held under the fit alone.
    problem = replace(problem, model=without_draws(problem.model))
    # The optimum under the fit alone: each draw's solve starts there, and the answer is compared with it.
    plug_in = solve(problem, options=replace(options, native={}))
    if plug_in.allocation is None:
        raise InputError("the problem has no answer under its own model, where robust allocation starts")
    optimum = plug_in.allocation.ratios
    of_draws = regrets(problem, draws, optimum, options=options, jobs=jobs, progress=progress)
    # The rows of a CVaR begin with the draws that are worst at the ratios of least mean regret.
    mean = Measure("mean").goal(of_draws, optimum)
    near = optimum if measure.kind == "mean" else _least(mean, None, replace(options, native={}))[0]
    ratios, certificate, solution = _least(measure.goal(of_draws, near), backend, options)
    result = Result(problem, Joint(), Allocation(ratios, certificate), solution)
    seconds = time.perf_counter() - began
    return Robust(result, measure, of_draws, of_draws.of(ratios), plug_in, of_draws.of(optimum), seconds)


def _least(goal: RangedObjective, backend: str | None, options: Options) -> tuple[Array, Certificate, Solution]:
    """Return the ratios at which a goal is least, their certificate and the backend's answer.

    Terms left out of the goal that are active there are added until there are none, so that the last answer meets the
    conditions of the whole problem; a draw left out of a CVaR has u = 0, its best value while its regret is below t.
    """
    for _ in range(ROUNDS):
        form = goal.form()
        solution = choose(form, backend).solve(form, options)
        # Without a point the start is judged, so that there is a certificate, which does not pass.
        x = repair(form, form.start if solution.x is None else solution.x)
        claimed = None if solution.x is None else solution.multipliers
        certificate = certify(form, x, tolerance=options.tolerance, claimed=claimed)
        if (grown := goal.grown(x)) is None:
            return x[: form.n_ratios], certificate, solution
        goal = grown
    # Terms left out may still be active: the answer is not that of the whole problem.
    return x[: form.n_ratios], replace(certificate, passed=False), solution


@check_arguments
def robust_ranges(
    answer: Robust,
    tolerance: Amount = 1e-3,
    *,
    backend: str | None = None,
    options: Options | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Mapping[str, Range]:
    """Return how far each ratio can go while the robust measure stays near its least value.

    Parameters
    ----------
    answer : Robust
        A certified answer.
    tolerance : float or str
        Share of the weighted loss by which the measure of regret may rise.
    backend, options, jobs, progress
        As of :func:`ranges`.

    Raises
    ------
    InputError
        Where the answer is not certified, or the tolerance not above 0.
    """
    if not answer.result.passed:
        raise InputError("ranges need a certified answer, which they are measured from")
    return ranges_near(
        answer.measure.goal(answer.regrets, answer.ratios),
        answer.result,
        answer.measure.of(answer.regret),
        RATIO.read(tolerance, "the tolerance of ranges"),
        backend=backend,
        options=options,
        jobs=jobs,
        progress=progress,
    )
