"""Baselines: rules of thumb that the optimum is compared with; only `isolated` uses the losses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from climbopt.backends import Options
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.solution import Array
from climbopt.model.ensemble import Ensemble, Stacked, blocks_of
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.mixture import MixtureModel
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Supply
from climbopt.procedures.procedure import Answer, Joint, Procedure
from climbopt.program import joint_form


class Baseline(Procedure):
    """A rule of thumb, whose certificate requires feasibility only."""

    optimises = False

    @abstractmethod
    def mixture(self, problem: AllocationProblem) -> Array:
        """Return the ratios, (S,)."""

    def answer(self, problem: AllocationProblem, backend: str | None, options: Options) -> Answer:
        """Return the ratios as a point of the joint problem, whose constraints they are judged by."""
        form = joint_form(problem)
        return Answer(form, form.complete(self.mixture(problem)), None)


@dataclass(frozen=True)
class Uniform(Baseline):
    """The same ratio for every source."""

    name: ClassVar[str] = "uniform"

    def mixture(self, problem: AllocationProblem) -> Array:
        """Return the same ratio for every source."""
        n = len(problem.model.sources)
        return np.full(n, 1.0 / n)


@dataclass(frozen=True)
class Natural(Baseline):
    """Ratios in proportion to the supply."""

    name: ClassVar[str] = "natural"

    def mixture(self, problem: AllocationProblem) -> Array:
        """Return ratios in proportion to the supply."""
        supply = _supply(problem, self.name)
        return np.asarray(supply / supply.sum())


@check_arguments
@dataclass(frozen=True)
class Temperature(Baseline):
    """Ratios in proportion to supply^(1/T), as mT5 and others sample.

    Source: Conneau et al., arXiv 1911.02116, section 3.1, with alpha = 1/T; Xue et al., arXiv 2010.11934, section 3.2,
    for alpha = 0.3.

    Parameters
    ----------
    temperature : float
        T, above 0: 1 gives the natural ratios, a large T nearly uniform ones. By default 3.3, about the 1 / 0.3 of mT5.

    Raises
    ------
    InputError
        Where T is not above 0 and finite.
    """

    temperature: float = 3.3
    name: ClassVar[str] = "temperature"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"temperature is {self.temperature:g}; it must be a positive number")

    def mixture(self, problem: AllocationProblem) -> Array:
        """Return ratios in proportion to supply^(1/T)."""
        supply = _supply(problem, self.name)
        # Divided by the largest first, so that no power overflows.
        flattened = (supply / supply.max()) ** (1.0 / self.temperature)
        return np.asarray(flattened / flattened.sum())


@dataclass(frozen=True)
class UniMax(Baseline):
    """Ratios as equal as an epoch cap allows, the languages with the least data filled first.

    The cap is that of the problem's supply constraints, or one epoch where it has none.
    Source: UniMax, Chung et al., arXiv 2304.09151, algorithm 1.
    """

    name: ClassVar[str] = "unimax"

    def mixture(self, problem: AllocationProblem) -> Array:
        """Return ratios as equal as the epoch cap allows."""
        supply, sources = _supply(problem, self.name), problem.model.sources
        # By supply constraint the epochs allowed; without one, a single epoch.
        limits = [
            constraint.epochs_of(problem.setting)
            for constraint in problem.constraints
            if isinstance(constraint, Supply)
        ] or [dict.fromkeys(sources, 1.0)]
        # Tokens that each source may give: the tightest of several caps.
        most = np.min([[epochs.get(name, np.inf) for name in sources] for epochs in limits], axis=0) * supply
        if most.sum() < problem.budget:
            raise InputError(
                f"the epoch cap allows {most.sum():.6g} tokens in all, and the budget is "
                f"{problem.budget:.6g}; raise epochs or lower the budget"
            )
        order = np.argsort(most, kind="stable")
        # Water-filling: in order of supply, each source takes an equal part of the remaining budget, up to its cap.
        remaining, tokens = problem.budget, np.zeros(len(sources))
        for position, j in enumerate(order):
            tokens[j] = min(most[j], remaining / (len(order) - position))
            remaining -= tokens[j]
        return np.asarray(tokens / tokens.sum())


@dataclass(frozen=True)
class Isolated(Procedure):
    """The joint optimum of the same laws without transfer (interaction none), evaluated with the full model."""

    name: ClassVar[str] = "isolated"
    optimises: ClassVar[bool] = False

    def answer(self, problem: AllocationProblem, backend: str | None, options: Options) -> Answer:
        """Return the joint optimum of the problem without transfer, as a point of the problem with it."""
        model = problem.model
        weights = {
            name: weight
            for name, weight in zip(model.targets, problem.weight_vector, strict=True)
            if weight > 0 and name in model.sources
        }
        if not weights:
            raise InputError("the baseline 'isolated' needs a target with a weight that is a source too; there is none")
        if isinstance(model, Stacked):
            raise InputError("scenarios have no baseline 'isolated'; give the model itself")
        alone = [_without_transfer(block, weights) for block in blocks_of(model)[0]]
        apart = Ensemble(alone, model.weights) if isinstance(model, Ensemble) else alone[0]
        answer = Joint().answer(replace(problem, model=apart, weights=weights), backend, options)
        form = joint_form(problem)
        return replace(answer, form=form, x=None if answer.x is None else form.complete(answer.x[: form.n_ratios]))


def _without_transfer(model: MixtureModel, targets: Iterable[str]) -> MixtureModel:
    """Return the law of a model with the interaction none, for targets that are sources."""
    # Units stay, since the law's parameters are in them; the use is left out with the interaction.
    served = model.select(tuple(targets))
    return MixtureModel(
        model.law,
        INTERACTIONS["none"],
        model.sources,
        served.targets,
        {p.name: served.parameters[p.name] for p in model.law.parameters},
        model.token_unit,
        model.params_unit,
    )


def _supply(problem: AllocationProblem, baseline: str) -> Array:
    """Return the supply of every source, which the baseline requires."""
    return problem.setting.supplies(f"the baseline '{baseline}'")
