"""Assessment: what an answer is worth beside the rules of thumb, under every scenario of the model.

A scenario is one model of one form: a draw of the fit, or a form of an ensemble, with its weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from climbopt.backends import Options
from climbopt.certification.kkt import Residual
from climbopt.certification.local import certify_feasible
from climbopt.files import DrawsLike, ProblemLike, as_draws
from climbopt.foundations.errors import InputError
from climbopt.foundations.view import Columns, View, Viewed
from climbopt.model.ensemble import Stacked, blocks_of, check_draws
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures import PROCEDURES, Baseline, joint_form
from climbopt.procedures.result import Result, as_result

LOWER, UPPER = 0.05, 0.95
"""Quantiles between which 90 % of the scenarios lie."""


@dataclass(frozen=True, eq=False)
class Scenarios:
    """Models of one form each, and how much each counts.

    Parameters
    ----------
    models : tuple of MixtureModel
    weights : ndarray, (K,)
        Sum to 1.
    """

    models: tuple[MixtureModel, ...]
    weights: Array

    @classmethod
    def of(cls, problem: AllocationProblem, draws: DrawsLike | None) -> Scenarios:
        """Return the models of draws, or the blocks of the problem's own model where there are none."""
        if isinstance(problem.model, Stacked):
            return cls((), np.zeros(0))
        members = [problem.model] if draws is None else as_draws(draws)
        check_draws(problem.model, members)
        parts = [blocks_of(member) for member in members]
        weights = np.concatenate([np.asarray(weights) for _, weights in parts]) / len(parts)
        return cls(tuple(block for blocks, _ in parts for block in blocks), weights)

    def values(self, problem: AllocationProblem, mixtures: Array) -> Array:
        """Return the objective of mixtures, (n, S), under each model, (K, n)."""
        return np.array([problem.value(mixtures, model) for model in self.models])


@dataclass(frozen=True)
class Advantage:
    """How an answer does against another mixture over scenarios.

    Parameters
    ----------
    probability : float
        Weight of the scenarios under which the answer's objective is lower.
    gain, lower, upper : float
        Mean of how much lower it is, in the objective's unit, and its 5 % and 95 % quantiles.
    """

    probability: float
    gain: float
    lower: float
    upper: float

    @classmethod
    def over(cls, gains: Array, weights: Array) -> Advantage:
        """Return the summary of gains, (K,), with the scenarios' weights."""
        return cls(float(np.average(gains > 0, weights=weights)), float(gains @ weights), *_ends(gains, weights))


@dataclass(frozen=True, eq=False)
class Alternative:
    """A baseline beside an answer.

    Parameters
    ----------
    name : str
        Of the procedure.
    ratios : ndarray, (S,)
    objective : float
        In the unit of the problem's goal; NaN outside the domain of the law.
    primal : Residual
        Its largest violation of a constraint, and which.
    feasible : bool
        Whether that is within the tolerance.
    advantage : Advantage or None
        Of the answer over it; None without scenarios.
    """

    name: str
    ratios: Array
    objective: float
    primal: Residual
    feasible: bool
    advantage: Advantage | None


@dataclass(frozen=True, eq=False, repr=False)
class Assessment(Viewed):
    """What an answer is worth beside the rules of thumb.

    Parameters
    ----------
    result : Result
        With an answer.
    scenarios : Scenarios
    """

    result: Result
    scenarios: Scenarios

    @cached_property
    def baselines(self) -> tuple[Alternative, ...]:
        """The baselines that the problem states enough for, in the order of the procedures."""
        problem, options = self.result.problem, self.result.options or Options()
        mixtures = _baseline_mixtures(problem, options)
        form, several = joint_form(problem), len(self.scenarios.models) > 1
        answer = np.array(list(self.result.ratios.values()))
        stacked = np.array([answer, *mixtures.values()])
        values = self.scenarios.values(problem, stacked) if several else np.empty((0, len(stacked)))
        alternatives = []
        for k, (name, ratios) in enumerate(mixtures.items(), 1):
            certificate = certify_feasible(form, form.complete(ratios), tolerance=options.tolerance)
            gains = values[:, k] - values[:, 0]
            known = several and bool(np.isfinite(gains).all())
            alternatives.append(
                Alternative(
                    name,
                    ratios,
                    float(problem.value(ratios)),
                    certificate.residuals["primal"],
                    certificate.passed,
                    Advantage.over(gains, self.scenarios.weights) if known else None,
                )
            )
        return tuple(alternatives)

    @property
    def best(self) -> Alternative | None:
        """The feasible baseline with the lowest objective; None where none is feasible."""
        return min((one for one in self.baselines if one.feasible), key=lambda one: one.objective, default=None)

    def view(self) -> View:
        """Return the verdict; the table has one row per baseline."""
        table: Columns = {
            "baseline": [one.name for one in self.baselines],
            "objective": [one.objective for one in self.baselines],
            "feasible": [one.feasible for one in self.baselines],
        }
        for head in ("probability", "gain", "lower", "upper"):
            table[head] = [None if one.advantage is None else getattr(one.advantage, head) for one in self.baselines]
        return View(f"{self.result.problem.name}: the answer beside {len(self.baselines)} baselines", (), lambda: table)


def assess(answer: Result | ProblemLike, draws: DrawsLike | None = None) -> Assessment:
    """Return what an answer is worth beside the baselines, under draws of its model or the forms of an ensemble.

    Parameters
    ----------
    answer : Result, AllocationProblem, path or name
        A problem is solved.
    draws : sequence of models or path, optional
        Of the same fit; without them the scenarios are the blocks of the problem's own model.

    Raises
    ------
    InputError
        Where the draws belong to another fit.
    NoAnswerError
        Where the result has no answer.

    Examples
    --------
    >>> import climbopt
    >>> [baseline.name for baseline in climbopt.assess("equal_beta").baselines]
    ['uniform', 'natural', 'temperature', 'isolated']
    """
    result = as_result(answer)
    _ = result.ratios  # raises NoAnswerError
    return Assessment(result, Scenarios.of(result.problem, draws))


def assessed(result: Result, draws: DrawsLike | None = None) -> Assessment | None:
    """Return the assessment of a result; None where it has no answer, or is a rule of thumb itself."""
    return assess(result, draws) if result.allocation is not None and result.procedure.optimises else None


def _baseline_mixtures(problem: AllocationProblem, options: Options) -> dict[str, Array]:
    """Return the ratios of each baseline that the problem states enough for."""
    mixtures = {}
    for name, kind in PROCEDURES.items():
        if not issubclass(kind, Baseline):
            continue
        try:
            ratios, _ = kind().mixture(problem, None, replace(options, native={}))
        except InputError:  # it needs a supply, or an epoch cap that the budget keeps, or a target that is a source
            continue
        if ratios is not None:
            mixtures[name] = ratios
    return mixtures


def _ends(values: Array, weights: Array) -> Sequence[float]:
    """Return the 5 % and 95 % quantiles of weighted values, (K,)."""
    ends: list[float] = np.quantile(values, (LOWER, UPPER), weights=weights, method="inverted_cdf").tolist()
    return ends
