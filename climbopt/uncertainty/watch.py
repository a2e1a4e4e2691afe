"""watch: a run's losses beside what its decision predicted, and what the decision would be with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from climbopt.foundations.errors import InputError, listed
from climbopt.foundations.view import Columns, View, Viewed
from climbopt.model.ensemble import Ensemble
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


class BandedLoss(NamedTuple):
    """A loss beside its band.

    Parameters
    ----------
    tokens : float
        Of the run.
    loss, lower, upper : float
        Nats per token.
    """

    tokens: float
    loss: float
    lower: float
    upper: float

    @property
    def beyond(self) -> float:
        """How far the loss is beyond the nearer end of its band; below it negative, inside 0."""
        # One of the two is 0.
        return max(self.loss - self.upper, 0.0) + min(self.loss - self.lower, 0.0)


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
        ratios = self.problem.model.vector(self.ratios)
        return tuple(loss_bands(replace(self.problem, budget=moment.tokens), ratios) for moment in self.moments)

    @cached_property
    def readings(self) -> Mapping[str, Sequence[BandedLoss]]:
        """Losses beside their bands, in the order of the tokens, by target that has any."""
        by_target = {
            name: [
                BandedLoss(moment.tokens, moment.losses[name], *band[name])
                for moment, band in zip(self.moments, self.bands, strict=True)
                if name in moment.losses
            ]
            for name in self.problem.model.targets
        }
        return {name: readings for name, readings in by_target.items() if readings}

    @property
    def outside(self) -> Mapping[str, float]:
        """Targets whose last loss is outside its band, and how far beyond the nearer end (nats; below it negative)."""
        return {name: readings[-1].beyond for name, readings in self.readings.items() if readings[-1].beyond}

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
        if again.result.allocation is None:
            return None
        # Both at the end of the run, under the model that has seen its losses.
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
        # What was trained until now is history of the new problem, whose budget is the rest.
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
            complete = moment.losses.keys() >= self.readings.keys()
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

    def view(self) -> View:
        """Return the verdict; the table has a row for each target and moment."""
        verdict = f"outside the bands: {listed(list(self.outside))}" if self.outside else "inside the bands"
        title = f"{self.problem.name} at {self.moments[-1].tokens:.4g} of {self.problem.budget:.4g} tokens: {verdict}"
        return View(title, (), self._columns)

    def _columns(self) -> Columns:
        rows = [(name, *reading) for name, readings in self.readings.items() for reading in readings]
        rows.sort(key=lambda row: row[1])  # moment by moment
        return {head: [row[k] for row in rows] for k, head in enumerate(("language", *BandedLoss._fields))}
