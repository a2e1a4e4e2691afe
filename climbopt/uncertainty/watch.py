"""watch: a run's losses beside what its decision predicted, and what the decision would be with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from climbopt.foundations.errors import InputError, listed
from climbopt.foundations.view import Columns, View, Viewed
from climbopt.model.ensemble import Ensemble
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.runs.pilots import PilotRuns
from climbopt.uncertainty.decision import Decision, Stages, _silent, decide, loss_bands

MOST_POINTS = 3
"""Points of a run that a new decision is fitted to: the last, and those at halves of its tokens."""


@dataclass(frozen=True)
class Moment:
    """What was measured of a run at one moment.

    Parameters
    ----------
    tokens : float
        Trained so far, above 0.
    losses : mapping of str to float
        By target, nats per token.
    drawn : mapping of str to float
        Tokens drawn so far by source; empty where that is not known.
    """

    tokens: float
    losses: Mapping[str, float]
    drawn: Mapping[str, float]


@dataclass(frozen=True, eq=False, repr=False)
class Watch(Viewed):
    """A run beside its decision.

    Parameters
    ----------
    problem : AllocationProblem
        That was answered, by an ensemble that states its noise.
    ratios : mapping of str to float
        The answer, by source.
    moments : tuple of Moment
        In the order of their tokens.
    """

    problem: AllocationProblem
    ratios: Mapping[str, float]
    moments: tuple[Moment, ...]

    def __post_init__(self) -> None:
        model = self.problem.model
        if not isinstance(model, Ensemble) or model.noise is None:
            raise InputError(
                "the model states no bands for measured losses; watch the folder that climbopt decide wrote"
            )
        if not self.moments:
            raise InputError("the log has no losses with the tokens of the run; nothing can be compared")

    @cached_property
    def bands(self) -> tuple[Mapping[str, tuple[float, float]], ...]:
        """Ends of the band of each target's loss at each moment, as of a run that ends there."""
        return tuple(loss_bands(self._at(moment.tokens), self._vector) for moment in self.moments)

    @cached_property
    def outside(self) -> Mapping[str, float]:
        """Targets whose last loss is outside its band, and how far beyond the nearer end (nats; below it negative)."""
        return {name: far for name, far in map(self._beyond, self.measured) if far}

    @property
    def measured(self) -> tuple[str, ...]:
        """Targets with a loss, in the model's order."""
        return tuple(
            name for name in self.problem.model.targets if any(name in moment.losses for moment in self.moments)
        )

    def last(self, target: str) -> int:
        """Return the position of the last moment with a loss of a target."""
        return max(k for k, moment in enumerate(self.moments) if target in moment.losses)

    def inside(self, target: str) -> tuple[int, int]:
        """Return how many losses of a target lie inside their bands, and how many there are."""
        pairs = [(moment.losses[target], band[target]) for moment, band in self._pairs if target in moment.losses]
        return sum(low <= loss <= high for loss, (low, high) in pairs), len(pairs)

    def drawn(self) -> Mapping[str, tuple[float, float]]:
        """Return the tokens drawn of each source at the last moment and those planned; empty where not known."""
        last = self.moments[-1]
        return {name: (last.drawn[name], self.ratios[name] * last.tokens) for name in self.ratios if name in last.drawn}

    def seen(self, moment: Moment) -> dict[str, float]:
        """Return the tokens of each source until a moment, with those before the run.

        Tokens drawn count as they were logged where they are known of every source, in proportion to the tokens of
        the run; else as planned.
        """
        # Only the proportions of what was drawn are taken: its sum need not be the tokens of the run.
        shares: Mapping[str, float] = self.ratios
        if total := sum(moment.drawn.get(name, 0.0) for name in self.ratios):
            if all(name in moment.drawn for name in self.ratios):
                shares = {name: moment.drawn[name] / total for name in self.ratios}
        before = self.problem.history
        return {name: before.get(name, 0.0) + share * moment.tokens for name, share in shares.items()}

    def history(self) -> dict[str, float]:
        """Return the tokens of each source until the last moment, with those before the run."""
        return self.seen(self.moments[-1])

    @property
    def undecided(self) -> bool:
        """Whether tokens are left to decide on."""
        return self.moments[-1].tokens < self.problem.budget

    def gain(self, again: Decision) -> float | None:
        """Return by how much a new decision lowers the objective at the end, under its model, beside going on.

        None where it has no answer.
        """
        if again.result.objective is None:
            return None
        going_on = again.problem.model.vector(self.ratios)
        return float(again.problem.value(going_on)) - again.result.objective

    def decide_again(
        self, pilots: PilotRuns, *, seed: int = 0, jobs: int = 1, n_draws: int = 40, progress: Stages = _silent
    ) -> Decision:
        """Return the decision on what is left of the budget, from the pilots and the run's own losses.

        The run's losses count as those of a run of all that its model has seen so far; past twice the tokens of the
        pilots they are anchors (:mod:`climbopt.fitting.anchors`).

        Raises
        ------
        InputError
            Where nothing of the budget is left.
        """
        if not self.undecided:
            raise InputError("nothing of the budget is left to decide on")
        problem, left = self.problem, self.problem.budget - self.moments[-1].tokens
        return decide(
            self._with_run(pilots),
            left,
            n_draws=n_draws,
            seed=seed,
            jobs=jobs,
            progress=progress,
            supply=problem.supply or None,
            weights=problem.weights,
            constraints=problem.constraints,
            params=problem.params,
            history=self.history(),
            name=f"{problem.name}, what is left",
        )

    def _with_run(self, pilots: PilotRuns) -> PilotRuns:
        """Return the pilots with the run's last moment, and earlier ones at halves of its tokens, as runs."""
        import pandas as pd

        table = pilots.to_frame()
        chosen: list[Moment] = []
        for moment in reversed(self.moments):
            # Points of a run that lie close to one another are nearly one measurement.
            complete = all(name in moment.losses for name in self.measured)
            if complete and (not chosen or moment.tokens <= chosen[-1].tokens / 2) and len(chosen) < MOST_POINTS:
                chosen.append(moment)
        rows = [
            {
                "run": f"this run at {moment.tokens:.6g} tokens",
                "tokens": sum(seen.values()),
                **({} if self.problem.params is None else {"params": self.problem.params}),
                "language": name,
                "ratio": seen.get(name, 0.0) / sum(seen.values()),
                "loss": moment.losses.get(name, float("nan")),
                **({} if pilots.supply is None else {"supply": self.problem.supply.get(name, float("nan"))}),
            }
            for moment, seen in ((moment, self.seen(moment)) for moment in chosen)
            for name in dict.fromkeys([*pilots.sources, *pilots.targets])
        ]
        return PilotRuns.from_frame(pd.concat([table, pd.DataFrame(rows)], ignore_index=True), missing="drop")

    @property
    def _pairs(self) -> Sequence[tuple[Moment, Mapping[str, tuple[float, float]]]]:
        return list(zip(self.moments, self.bands, strict=True))

    @property
    def _vector(self) -> Array:
        return self.problem.model.vector(self.ratios)

    def _at(self, tokens: float) -> AllocationProblem:
        """Return the problem at some tokens of the run."""
        return replace(self.problem, budget=tokens)

    def _beyond(self, target: str) -> tuple[str, float]:
        moment, band = self._pairs[self.last(target)]
        low, high = band[target]
        loss = moment.losses[target]
        # One of the two is 0: above the band the distance is positive, below it negative.
        return target, max(loss - high, 0.0) + min(loss - low, 0.0)

    def view(self) -> View:
        """Return the verdict; the table has a row for each target and moment."""
        verdict = f"outside the bands: {listed(list(self.outside))}" if self.outside else "inside the bands"
        title = f"{self.problem.name} at {self.moments[-1].tokens:.4g} of {self.problem.budget:.4g} tokens: {verdict}"
        return View(title, (), self._columns)

    def _columns(self) -> Columns:
        rows = [
            (name, moment.tokens, moment.losses[name], *band[name])
            for moment, band in self._pairs
            for name in self.measured
            if name in moment.losses
        ]
        heads = ("language", "tokens", "loss", "lower", "upper")
        return {head: [row[k] for row in rows] for k, head in enumerate(heads)}


def predicted(watch: Watch, target: str) -> float:
    """Return the predicted loss of a target at its last moment."""
    problem = replace(watch.problem, budget=watch.moments[watch.last(target)].tokens)
    losses = problem.losses(problem.model.vector(watch.ratios))
    return float(np.asarray(losses)[problem.model.targets.index(target)])
