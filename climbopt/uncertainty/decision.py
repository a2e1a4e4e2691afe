"""decide: from pilot runs to a decision: ensemble, draws, robust answer, certificate, baselines and ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from importlib import import_module
from os import PathLike
from typing import TypedDict, Unpack

import numpy as np

from climbopt.files import PilotsLike, as_pilots
from climbopt.fitting.ensemble_fit import EnsembleFit
from climbopt.fitting.fit import FeaturesLike, fit
from climbopt.foundations.errors import InputError, refuse_unknown
from climbopt.foundations.frozen import Seed, check_arguments
from climbopt.foundations.processes import Progress
from climbopt.foundations.quantities import TOKENS, Amount
from climbopt.foundations.view import Columns, Reported, View, percentages
from climbopt.model.ensemble import Ensemble, Model
from climbopt.model.templates import Array
from climbopt.problem.allocation import OTHERS, AllocationProblem
from climbopt.problem.constraints import ConstraintLike, Setting, constraints_of
from climbopt.problem.constraints.constraint import RatioBounds
from climbopt.problem.constraints.ratio_bounds import check_bounds, tightest
from climbopt.procedures.result import Result, solve
from climbopt.runs.pilots import PilotRuns
from climbopt.studies.ranges import Range, ranges
from climbopt.uncertainty.assessment import Assessment, assessed
from climbopt.uncertainty.bootstrap import DRAWS, bootstrap, loss_noise

NEAR = 1e-3
"""Share of the optimum within which ranges are."""
MODEL_NAME, DRAWS_NAME = "model.toml", "model.draws.jsonl"
"""Files of a decision's folder."""

Stages = Callable[[str], AbstractContextManager[Progress | None]]
"""Returns a context that yields a function which shows the progress of a stage, by its name."""


def _silent(stage: str) -> AbstractContextManager[Progress | None]:
    return nullcontext()


@dataclass(frozen=True, eq=False, repr=False)
class Decision(Reported):
    """An answer to pilot runs, with all that it rests on.

    Parameters
    ----------
    fitted : EnsembleFit
        The ensemble, with the noise of its losses.
    result : Result
        The answer under the mean of the ensemble and its draws, and its certificate; perhaps without a point.
    assessment : Assessment or None
        What the answer is worth beside the baselines; None without an answer.
    ranges : mapping of str to Range
        Near-optimal ranges by source; empty where the answer is not certified.
    """

    fitted: EnsembleFit
    result: Result
    assessment: Assessment | None
    ranges: Mapping[str, Range]

    @property
    def problem(self) -> AllocationProblem:
        """What was solved."""
        return self.result.problem

    @property
    def ratios(self) -> Mapping[str, float]:
        """Ratios by source; raises NoAnswerError where there is no answer."""
        return self.result.ratios

    @property
    def doubt(self) -> str | None:
        """Why this is no decision; None where it is one."""
        if not self.result.passed:
            return "there is no certified answer"
        return None if self.assessment is None else self.assessment.doubt

    @property
    def stands(self) -> bool:
        """Whether this is a decision: a certified answer that does not lean too far on the model."""
        return self.doubt is None

    @cached_property
    def bands(self) -> Mapping[str, tuple[float, float]]:
        """Ends of the 90 % band of each target's measured loss at the answer, in nats per token."""
        return loss_bands(self.problem, np.array(list(self.ratios.values())))

    def mixture(self) -> Columns:
        """Return the columns language, ratio, tokens and, where all supplies are known, epochs."""
        problem = self.problem
        ratios = {name: self.ratios[name] for name in problem.model.sources}
        columns: Columns = {
            "language": list(ratios),
            "ratio": list(ratios.values()),
            "tokens": [ratio * problem.budget for ratio in ratios.values()],
        }
        if all(problem.supply.get(name, 0.0) > 0 for name in ratios):
            columns["epochs"] = [ratio * problem.budget / problem.supply[name] for name, ratio in ratios.items()]
        return columns

    def save(self, folder: str | PathLike[str], *, force: bool = False) -> None:
        """Write the decision's folder: problem.toml, the model, its draws, answer.json, mixture.csv and pictures.

        Parameters
        ----------
        folder : path
            New or empty.
        force : bool
            Whether files of the same names in a folder that holds something are replaced.

        Raises
        ------
        InputError
            Where the folder cannot be written to, or holds something and is not forced.
        """
        import_module("climbopt.reports.decisions").save_decision(self, folder, force=force)

    def view(self) -> View:
        """Return the verdict and the ratios; the table has one row per source."""
        verdict = "a decision" if self.stands else f"not a decision: {self.doubt}"
        title = f"{self.problem.name} at {self.problem.budget:.4g} tokens, {verdict}"
        if self.result.allocation is None:
            return View(title)
        goal = self.problem.goal
        facts = [f"ratios: {percentages(self.ratios)}", f"{goal.label}: {self.result.objective:.6f} {goal.unit}"]
        if best := self.assessment and self.assessment.best:
            facts.append(f"best baseline: {best.name}, {best.objective:.6f} {goal.unit}")
        return View(title, facts, self.mixture)


def loss_bands(problem: AllocationProblem, ratios: Array) -> dict[str, tuple[float, float]]:
    """Return the ends of the band of each target's measured loss at a mixture, (S,); empty where no noise is known."""
    model = problem.model
    if not isinstance(model, Ensemble) or model.noise is None:
        return {}
    # Bands are of the loss after history and run, whose mixture the model is evaluated at.
    cumulative = problem.cumulative(ratios)
    own = model.blocks[0].own_ratios(cumulative)
    # Spread over forms and draws, and the noise of a measurement, by the class of the target's own ratio.
    half = model.noise.half_widths(model.spread(cumulative, problem.total_budget, problem.params), own)
    losses = problem.losses(ratios)
    ends = zip((losses - half).tolist(), (losses + half).tolist(), strict=True)
    return dict(zip(model.targets, ends, strict=True))


@check_arguments
def decide(
    pilots: PilotsLike,
    budget: Amount,
    *,
    n_draws: int = DRAWS,
    seed: Seed = 0,
    jobs: int = 1,
    pool: FeaturesLike = False,
    provenance: Mapping[str, str] | None = None,
    progress: Stages = _silent,
    **keywords: Unpack[DecisionKeywords],
) -> Decision:
    """Return the mixture that pilot runs support at a budget, certified, with what it rests on.

    The default ensemble is fitted to the runs and redrawn; the answer minimises the mean over its forms and draws.

    Parameters
    ----------
    pilots : PilotRuns, pandas.DataFrame or path
    budget : float or str
        Tokens of the planned run, as 1e12 or "1T".
    n_draws, seed, jobs : int
        Draws of the ensemble, 2 or more; the seed of the draws; processes.
    pool : bool, Features or path
        As of :func:`climbopt.fit`: whether priors and noise are learned from the runs.
    provenance : mapping of str to str, optional
        What is written into the model of where the runs came from.
    progress : callable, optional
        Called with the name of each stage; returns a context manager that gives what is called with the numbers of
        steps done and to do, or None.
    supply, weights, constraints, params, history, name
        What defines the problem, see :class:`DecisionKeywords`.

    Raises
    ------
    InputError
        For runs that cannot be fitted, or a problem that cannot be stated.

    Examples
    --------
    >>> import climbopt
    >>> runs = climbopt.load_pilots("libreoffice6").select(range(0, 63, 2))
    >>> decided = climbopt.decide(runs, "4M", constraints=[climbopt.Floor(pt=0.15)], n_draws=2)
    >>> decided.stands, decided.ratios["pt"] >= 0.15, list(decided.mixture())
    (True, True, ['language', 'ratio', 'tokens'])
    """
    runs, tokens = as_pilots(pilots), TOKENS.positive(budget, "the budget")
    _check(runs, tokens, n_draws, keywords)
    supply = TOKENS.by_name(keywords.get("supply") or {}, "supply")
    with progress("fit") as count:
        fitted = fit(runs, supply=supply or None, pool=pool, jobs=jobs, progress=count)
    assert isinstance(fitted, EnsembleFit)  # neither a law nor an interaction is named
    fitted, draws = _redrawn(fitted, provenance or {}, n_draws, seed, jobs, progress)
    result = solve(_problem(fitted.model.with_draws(draws), tokens, supply, keywords))
    near: Mapping[str, Range] = {}
    if result.passed:
        with progress("ranges") as count:
            near = ranges(result, NEAR, progress=count)
    return Decision(fitted, result, assessed(result, draws), near)


class DecisionKeywords(TypedDict, total=False):
    """Keywords that state the problem; those of `AllocationProblem`.

    Parameters
    ----------
    supply : mapping of str to float or str, optional
        Different tokens available, by source; what is drawn beyond them is repeated.
    weights : mapping of str to float or str
        By target.
    constraints : sequence of Constraint, SymPy relation or str
    params : float or str, optional
        Size of the planned model, where the pilots differ in theirs.
    history : mapping of str to float or str
        Tokens already trained, by source.
    name : str
        Of the problem, for reports.
    """

    supply: Mapping[str, Amount] | None
    weights: Mapping[str, Amount]
    constraints: Sequence[ConstraintLike]
    params: Amount | None
    history: Mapping[str, Amount]
    name: str


def _check(runs: PilotRuns, budget: float, n_draws: int, keywords: DecisionKeywords) -> None:
    """Refuse what can be refused before a fit, which takes minutes: keywords, draws, weights, floors and caps."""
    if n_draws < 2:
        raise InputError(f"{n_draws} draws were asked for; a decision takes 2 or more")
    refuse_unknown("language with a weight", keywords.get("weights", {}), (*runs.targets, OTHERS))
    setting = Setting(runs.sources, budget, {}, {})
    constraints = constraints_of(keywords.get("constraints", ()), "constraints")
    bounds = [constraint for constraint in constraints if isinstance(constraint, RatioBounds)]
    rows = [row for bound in bounds for row in bound.rows(setting)]
    check_bounds(tightest(runs.sources, rows), rows)


def _problem(
    model: Ensemble, budget: float, supply: Mapping[str, float], keywords: DecisionKeywords
) -> AllocationProblem:
    """Return the problem of a model and the keywords; supplies of languages that no run draws from are ignored."""
    return AllocationProblem(
        model,
        budget,
        keywords.get("params"),
        keywords.get("weights", {}),
        {source: supply[source] for source in model.sources if source in supply},
        keywords.get("history", {}),
        constraints=keywords.get("constraints", ()),
        name=keywords.get("name", "decision"),
    )


def _redrawn(
    fitted: EnsembleFit, provenance: Mapping[str, str], n_draws: int, seed: int, jobs: int, progress: Stages
) -> tuple[EnsembleFit, tuple[Model, ...]]:
    """Return a fit whose model states its origin and the noise of its losses, and its draws."""
    # The noise needs the draws' spread, which held-out errors contain beside it.
    with progress("draws") as count:
        draws = bootstrap(fitted, n_draws, seed=seed, jobs=jobs, progress=count)
    with progress("folds") as count:
        noise = loss_noise(fitted, draws, jobs=jobs, progress=count)
    origin = {"date": date.today().isoformat(), **provenance, "draws": DRAWS_NAME, **fitted.model.provenance}
    return replace(fitted, model=replace(fitted.model, noise=noise, provenance=origin)), draws
