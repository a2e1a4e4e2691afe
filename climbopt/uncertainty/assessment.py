"""Assessment: what an answer is worth beside the rules of thumb, and how far it leans on the model.

A scenario is one model of one form: a draw of the fit, or a form of an ensemble, with its weight. An answer is no
decision, however well certified, where one of these holds (docs/uncertainty.md has the measurements behind them):

    the half width of the objective's 90 % band at the answer is more than WIDE of the objective
    5 % of the scenarios lose more against a feasible baseline than NOISE, and than the answer gains on average
    a ratio lies more than OUTSIDE beyond those of the pilots' mixtures
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from climbopt.backends import Options
from climbopt.certification.kkt import Residual
from climbopt.certification.local import certify_feasible
from climbopt.files import DrawsLike, ProblemLike, as_draws
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.view import Columns, View, Viewed
from climbopt.model.ensemble import Ensemble, Stacked, blocks_of, check_draws
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures import PROCEDURES, Joint
from climbopt.procedures.result import Result, answered, as_result
from climbopt.program import joint_form

LOWER, UPPER = 0.05, 0.95
"""Quantiles between which 90 % of the scenarios lie."""
WIDE = 0.075
"""Half width of the band, as a share of the objective, or absolute where that is below 1."""
NOISE = 0.003
"""Loss against a baseline, likewise: the noise of two runs that differ in nothing but their seed."""
OUTSIDE = 0.25
"""Ratio beyond those of the pilots."""


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
        if draws is not None:
            check_draws(problem.model, members)
        parts = [blocks_of(member) for member in members]
        # Each draw counts alike, and within it its blocks by their weights.
        weights = np.concatenate([np.asarray(weights) for _, weights in parts]) / len(parts)
        return cls(tuple(block for blocks, _ in parts for block in blocks), weights)


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


@dataclass(frozen=True)
class FormCost:
    """What an answer costs if one form of an ensemble is right.

    Parameters
    ----------
    weight : float
        Of the form.
    regret : float or None
        Objective of the answer under that form alone, less the least one; None where no least one is known.
    """

    weight: float
    regret: float | None


@dataclass(frozen=True, eq=False, repr=False)
class Assessment(Viewed):
    """What an answer is worth beside the rules of thumb, and how far it leans on the model.

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
        problem, form = self.result.problem, joint_form(self.result.problem)
        # A baseline that breaks a constraint is shown with it; losing to it is no doubt about the answer.
        certificates = [
            certify_feasible(form, form.complete(ratios), tolerance=self._options.tolerance)
            for ratios in self._mixtures.values()
        ]
        return tuple(
            Alternative(name, ratios, float(problem.value(ratios)), at.residuals["primal"], at.passed, advantage)
            for (name, ratios), at, advantage in zip(
                self._mixtures.items(), certificates, self._advantages, strict=True
            )
        )

    @property
    def _advantages(self) -> list[Advantage | None]:
        """How the answer does against each baseline; None without scenarios, or where one has no number."""
        if self._values is None:
            return [None] * len(self._mixtures)
        # Column 0 is the answer; a gain is above 0 where the answer's objective is lower.
        return [
            Advantage.over(gains, self.scenarios.weights) if np.isfinite(gains).all() else None
            for gains in (self._values[:, 1:] - self._values[:, :1]).T
        ]

    @cached_property
    def half_width(self) -> float | None:
        """Half the width of the objective's 90 % band over the scenarios at the answer; None without scenarios."""
        if self._values is None:
            return None
        lower, upper = _ends(self._values[:, 0], self.scenarios.weights)
        return (upper - lower) / 2

    @cached_property
    def forms(self) -> Mapping[str, FormCost]:
        """What the answer costs if a form of the ensemble is right, by form; empty for a model of one form."""
        problem = self.result.problem
        if not isinstance(problem.model, Ensemble) or len(problem.model.forms) < 2:
            return {}
        costs = {}
        for form, weight in problem.model.forms.items():
            alone = replace(problem, model=_form_of(problem.model, form))
            best = answered(alone, Joint(), None, self._options)
            # Without a certified optimum of the form alone there is nothing to compare with.
            regret = max(float(alone.value(self._answer)) - best.objective, 0.0) if best.passed else None
            costs[form] = FormCost(weight, regret)
        return costs

    @property
    def outside(self) -> Mapping[str, float]:
        """How far ratios, history included, lie beyond those of the pilots' mixtures, by source, where they do."""
        problem = self.result.problem
        ratios = dict(zip(problem.model.sources, problem.cumulative(self._answer).tolist(), strict=True))
        return {} if problem.model.pilots is None else problem.model.pilots.outside(ratios)

    @cached_property
    def doubt(self) -> str | None:
        """Why the answer is no decision; None where it is one."""
        return next(self._reasons(), None)

    def _reasons(self) -> Iterator[str]:
        """Yield why the answer is no decision, see the module."""
        goal, objective = self.result.problem.goal, self.result.objective
        unit = max(1.0, abs(objective))
        # The sign says on which side; what matters is how far.
        name, beyond = max(self.outside.items(), key=lambda source: abs(source[1]), default=("", 0.0))
        if abs(beyond) > OUTSIDE:
            yield (
                f"{name} has {100 * self.result.ratios[name]:.3g} %, {100 * abs(beyond):.3g} points beyond every "
                "pilot, and nothing was measured there"
            )
        # NaN compares false, so that a band that is not finite counts as too wide.
        if self.half_width is not None and not self.half_width <= WIDE * unit:
            yield (
                f"the {goal.label} of {objective:.4g} has a 90 % band of {self.half_width:.2g} to either side, more "
                f"than {100 * WIDE:g} % of it"
            )
        for baseline in self.baselines:
            advantage = baseline.advantage
            if baseline.feasible and advantage and -advantage.lower > max(advantage.gain, NOISE * unit):
                yield (
                    f"against {baseline.name} it may lose {-advantage.lower:.2g} {goal.unit} (5 % of the models), and "
                    f"gains {advantage.gain:.2g} on average"
                )

    @cached_property
    def _mixtures(self) -> Mapping[str, Array]:
        """Ratios of each baseline that the problem states enough for."""
        mixtures = {}
        for kind in (kind for kind in PROCEDURES.values() if not kind.optimises):
            # It may need a supply, or an epoch cap that the budget keeps, or a target that is a source.
            with suppress(InputError):
                answer = kind().answer(self.result.problem, None, self._options)
                if answer.x is not None:
                    mixtures[kind.name] = answer.x[: answer.form.n_ratios]
        return mixtures

    @cached_property
    def _values(self) -> Array | None:
        """The objective of the answer and then of each baseline under each scenario; None for fewer than two."""
        if len(self.scenarios.models) < 2:
            return None
        mixtures = np.array([self._answer, *self._mixtures.values()])
        return np.array([self.result.problem.value(mixtures, model) for model in self.scenarios.models])

    @property
    def _options(self) -> Options:
        return replace(self.result.options or Options(), native={})

    @property
    def _answer(self) -> Array:
        return np.array(list(self.result.ratios.values()))

    @property
    def best(self) -> Alternative | None:
        """The feasible baseline with the lowest objective; None where none is feasible."""
        return min(
            (baseline for baseline in self.baselines if baseline.feasible),
            key=lambda baseline: baseline.objective,
            default=None,
        )

    def view(self) -> View:
        """Return the verdict; the table has one row per baseline."""
        table: Columns = {
            "baseline": [baseline.name for baseline in self.baselines],
            "objective": [baseline.objective for baseline in self.baselines],
            "feasible": [baseline.feasible for baseline in self.baselines],
            **{
                head: [getattr(baseline.advantage, head, None) for baseline in self.baselines]
                for head in ("probability", "gain", "lower", "upper")
            },
        }
        verdict = "a decision" if self.doubt is None else f"not a decision: {self.doubt}"
        facts = [] if self.half_width is None else [f"half width of the 90 % band: {self.half_width:.3g}"]
        return View(f"{self.result.problem.name}: {verdict}", facts, lambda: table)


@check_arguments
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
    ['uniform', 'natural', 'temperature', 'unimax', 'isolated']
    """
    result = as_result(answer)
    _ = result.ratios  # raises NoAnswerError
    return Assessment(result, Scenarios.of(result.problem, draws))


def assessed(result: Result, draws: DrawsLike | None = None) -> Assessment | None:
    """Return the assessment of a result; None where it has no answer, or is a rule of thumb itself."""
    return assess(result, draws) if result.allocation is not None and result.procedure.optimises else None


def _form_of(model: Ensemble, form: str) -> MixtureModel | Ensemble:
    """Return the blocks of one form of an ensemble."""
    of_form = [(block, w) for block, w in zip(model.blocks, model.weights, strict=True) if block.label == form]
    blocks, weights = zip(*of_form, strict=True)
    return blocks[0] if len(blocks) == 1 else Ensemble(blocks, weights)


def _ends(values: Array, weights: Array) -> Sequence[float]:
    """Return the 5 % and 95 % quantiles of weighted values, (K,)."""
    # Of NumPy's methods for quantiles this one takes weights.
    ends: list[float] = np.quantile(values, (LOWER, UPPER), weights=weights, method="inverted_cdf").tolist()
    return ends
