"""How far answers lie outside the budgets, model sizes and ratios of the pilots: as JSON values and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from climbopt.fitting.prediction import PREDICTIONS
from climbopt.foundations.errors import listed
from climbopt.model.ensemble import Model, Stacked, blocks_of
from climbopt.model.mixture import WARNINGS
from climbopt.problem.allocation import AllocationProblem
from climbopt.reports.writers import Value
from climbopt.runs.pilot_range import Ends
from climbopt.runs.pilots import PilotRuns

if TYPE_CHECKING:
    import pandas as pd

WARNED = 10.0
"""Past this many times outside the pilots a warning says that nothing was measured there."""
STATED = 1.005
"""From this many times outside the pilots on the line on extrapolation says so; below, three digits show 1."""
WARNED_RATIO = 0.01
"""The same for a ratio, in ratio units."""


@dataclass(frozen=True)
class Reach:
    """Where answers lie beside the pilots of a model.

    Parameters
    ----------
    model : MixtureModel or Ensemble
    budgets : sequence of float
        Tokens, history included.
    sizes : sequence of float
        Model sizes, where they are stated.
    mixtures : sequence of mapping of str to float
        Ratios by source, history included.
    """

    model: Model
    budgets: Sequence[float]
    sizes: Sequence[float] = ()
    mixtures: Sequence[Mapping[str, float]] = ()

    @classmethod
    def of_problem(cls, problem: AllocationProblem, ratios: Mapping[str, float] | None = None) -> Reach:
        """Return where an answer of a problem lies, by the mixture of history and run together."""
        return cls(
            problem.model,
            (problem.total_budget,),
            () if problem.params is None else (problem.params,),
            () if ratios is None else (cumulative(problem, ratios),),
        )

    @classmethod
    def of_runs(cls, model: Model, table: pd.DataFrame) -> Reach:
        """Return where the runs of a tidy table lie."""
        table = table.drop(columns=list(PREDICTIONS), errors="ignore")
        runs = PilotRuns.from_frame(table, need_losses=False, missing="drop")
        mixtures = [dict(zip(model.sources, row, strict=True)) for row in runs.ratios_of(model.sources).tolist()]
        return cls(model, runs.tokens.tolist(), () if runs.params is None else runs.params.tolist(), mixtures)

    def json(self) -> dict[str, Value]:
        """Return the largest factors and the warnings as JSON values.

        A factor is null where the model does not say what it was fitted to, or no size is given.
        """
        pilots = self.model.pilots
        # None where the model's pilots do not state their size.
        by_size = [] if pilots is None else [pilots.size_extrapolation(size) for size in self.sizes]
        return {
            "extrapolation": None if pilots is None else max(map(pilots.extrapolation, self.budgets), default=None),
            "size_extrapolation": max((factor for factor in by_size if factor is not None), default=None),
            "ratio_extrapolation": None
            if pilots is None or pilots.ratios is None
            else {name: {"ratio": ratio, "pilots": list(pilots.ratios[name])} for name, ratio, _ in self._outside},
            "warnings": [*fit_warnings(self.model), *self.warnings()],
        }

    def warnings(self) -> list[str]:
        """Return a sentence for each end of the pilots that lies far off: `WARNED` times, or `WARNED_RATIO`."""
        far = [words for factor, words in self._sides() if factor > WARNED]
        if any(abs(beyond) > WARNED_RATIO for _, _, beyond in self._outside):
            far.append(self._ratio_words())
        return [f"{words}: nothing was measured there; plan pilots nearer to it" for words in far]

    def words(self) -> str | None:
        """Return one line on where budgets, sizes and ratios lie; None where the model has no pilots."""
        if self.model.pilots is None:
            return None
        sides = [words for factor, words in self._sides() if factor >= STATED]
        sides += [self._ratio_words()] if self._outside else []
        return "extrapolation: " + ("; ".join(sides) or "none, it is within the pilots' budgets")

    @cached_property
    def _outside(self) -> list[tuple[str, float, float]]:
        """The sources whose ratio lies outside the pilots', that ratio and how far, at the farthest mixture."""
        pilots = self.model.pilots
        farthest: dict[str, tuple[float, float]] = {}
        # By source the mixture that lies farthest out.
        for ratios in self.mixtures:
            for name, beyond in ({} if pilots is None else pilots.outside(ratios)).items():
                if abs(beyond) > abs(farthest.get(name, (0.0, 0.0))[1]):
                    farthest[name] = (ratios[name], beyond)
        return sorted(((name, *far) for name, far in farthest.items()), key=lambda source: -abs(source[2]))

    def _ratio_words(self) -> str:
        """Return which ratios lie outside the pilots' mixtures, the farthest first."""
        pilots = self.model.pilots
        assert pilots is not None and pilots.ratios is not None  # else nothing lies outside
        named = [
            f"{name} is {100 * ratio:.3g} % and {_percent(pilots.ratios[name])} in the pilots"
            for name, ratio, _ in self._outside
        ]
        return f"outside the pilots' mixtures: {listed(named, most=4)}"

    def _sides(self) -> Iterator[tuple[float, str]]:
        """Yield the factor past each end of the pilots, and a sentence that states it."""
        if self.model.pilots is None:
            return
        ranges: list[tuple[str, Ends | None, Sequence[float]]] = [
            ("budget", self.model.pilots.tokens, self.budgets),
            ("model size", self.model.pilots.params, self.sizes),
        ]
        for name, ends, values in ranges:
            if ends is not None and len(values):
                # Factors above 1 where the values leave the pilots' range at that end.
                above, below = max(values) / ends[1], ends[0] / min(values)
                yield above, f"the {name} is {above:.3g} times the largest pilot's"
                yield below, f"the {name} is 1/{below:.3g} of the smallest pilot's"


def _percent(ends: Ends) -> str:
    """Return a range of ratios in per cent; one number where both ends are equal."""
    least, largest = (f"{100 * end:.3g}" for end in ends)
    return f"{least} %" if least == largest else f"{least} to {largest} %"


def cumulative(problem: AllocationProblem, ratios: Mapping[str, float]) -> dict[str, float]:
    """Return the mixture of history and run together, by source."""
    mixed = problem.cumulative(problem.model.vector(ratios)).tolist()
    return dict(zip(problem.model.sources, mixed, strict=True))


def fit_warnings(model: Model) -> list[str]:
    """Return what the fit of a model gave reason to doubt, which every answer from it repeats."""
    texts = (
        []
        if isinstance(model, Stacked)
        else [part.provenance.get(WARNINGS, "") for part in (model, *blocks_of(model)[0])]
    )
    return [f"the fit warned: {line}" for line in dict.fromkeys(line for text in texts for line in text.splitlines())]
