"""plan: which pilot runs to make: an optimal design of few runs, beside CLIMB's.

With M = P + sum over runs of G'G the information on a target's parameters, criterion D maximises log det M and I
minimises the mean variance g'M^-1 g of predictions over the truncated simplex, each summed over targets (and, without a
model, over a few points of the prior), by adding the best candidate run again and again, then exchanging runs one for
one while that helps. The runs cost no more tokens on average than CLIMB's. Where none was made before, the plan holds
each language alone at the smallest budget: `fit` takes the worst measured losses as ceilings of what it predicts
anywhere, and needs the worst there are.

>>> planned = plan(["en", "sw"], ["1B", "2B"], 6)
>>> len(planned.chosen.runs), len(planned.climb.runs)
(6, 16)

Source of the exchange: Fedorov, Theory of Optimal Experiments (1972), chapter 3; of the priors: Chaloner and
Verdinelli, Statistical Science 10 (1995), section 2.2.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypedDict, Unpack

import numpy as np

from climbopt.files import ModelLike, PilotsLike, as_model, as_pilots
from climbopt.fitting.fit import fit_form
from climbopt.foundations.errors import InputError, listed, refuse_unknown
from climbopt.foundations.frozen import Seed, check_arguments
from climbopt.foundations.processes import Progress
from climbopt.foundations.quantities import TOKENS, Amount
from climbopt.foundations.view import Columns, Reported, View, Viewed
from climbopt.model.ensemble import Model, blocks_of
from climbopt.model.interactions import INTERACTIONS, InteractionLike
from climbopt.model.laws import LAWS, LawLike
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array, Form
from climbopt.runs.pilots import PilotRuns
from climbopt.studies.design.candidates import Space, decision_region
from climbopt.studies.design.criteria import Criterion, Knowledge, Runs, Search, expected_error, information

DIGITS = 6
"""Decimals of a planned ratio."""


@dataclass(frozen=True, eq=False, repr=False)
class Design(Viewed):
    """Planned runs and their expected error.

    Parameters
    ----------
    name : str
    runs : Runs
    tokens : float
        Total of all runs.
    error : float
        Expected error of a prediction: the root of the mean prediction variance over the truncated simplex at the
        largest budget, as a share of a target's median loss; from the fit's noise and priors, to first order.
    """

    name: str
    runs: Runs
    tokens: float
    error: float

    def view(self) -> View:
        """Return the cost and the expected error."""
        facts = [f"{self.tokens:.4g} tokens, expected error {100 * self.error:.3f} %"]
        return View(f"design {self.name} of {len(self.runs)} runs", facts)


@dataclass(frozen=True, eq=False, repr=False)
class Plan(Reported):
    """The planned runs, beside the design that they replace.

    Parameters
    ----------
    languages : tuple of str
    chosen : Design
        Optimal by the requested criterion.
    other : Design
        The same number of runs, optimal by the other criterion.
    climb : Design
        CLIMB's larger design, with the same budgets and constraints.
    before : float
        Expected error before these runs: from earlier runs, or from the priors alone.
    n_before : int
        Number of earlier runs.
    seconds : float
        Wall time.
    supplies : ndarray, (n, S), or None
        Tokens of each source that each chosen run is drawn from, where they are cut down with its budget.
    """

    languages: tuple[str, ...]
    chosen: Design
    other: Design
    climb: Design
    before: float
    n_before: int
    seconds: float
    supplies: Array | None = None

    @property
    def designs(self) -> tuple[Design, Design, Design]:
        """The chosen design, then those beside it."""
        return self.chosen, self.other, self.climb

    def view(self) -> View:
        """Return the designs' expected errors; `fit` reads the table once its losses are filled in."""
        facts = [
            f"{design.name}: {len(design.runs)} runs, {design.tokens:.4g} tokens, error {100 * design.error:.3f} %"
            for design in self.designs
        ]
        return View(
            f"plan of pilot runs for {len(self.languages)} languages: {listed(self.languages)}", facts, self._columns
        )

    def _columns(self) -> Columns:
        """Return one row per run and language, with empty losses."""
        runs, n = self.chosen.runs, len(self.languages)
        params = {} if runs.params is None else {"params": [runs.params] * (n * len(runs))}
        return {
            "run": [f"plan-{k + 1:03d}" for k in range(len(runs)) for _ in range(n)],
            "tokens": [round(float(tokens)) for tokens in runs.tokens for _ in range(n)],
            **params,
            "language": list(self.languages) * len(runs),
            "ratio": [round(float(ratio), DIGITS) for ratio in runs.ratios.ravel()],
            "loss": [None] * (n * len(runs)),
            **({} if self.supplies is None else {"supply": np.round(self.supplies).ravel().tolist()}),
        }


@check_arguments
def plan(
    languages: Sequence[str],
    budgets: Sequence[Amount],
    n_runs: int | None = None,
    *,
    floor: Amount = 0.0,
    model: ModelLike | None = None,
    after: PilotsLike | None = None,
    law: LawLike = "power",
    interaction: InteractionLike = "gated",
    params: Amount | None = None,
    seed: Seed = 0,
    criterion: Criterion = "I",
    progress: Progress | None = None,
    **target_run: Unpack[TargetKeywords],
) -> Plan:
    """Return an optimal plan of pilot runs beside CLIMB's.

    Parameters
    ----------
    languages : sequence of str
        Two or more.
    budgets : sequence of float or str
        Tokens that a run may have, as 5e8 or "500M".
    n_runs : int, optional
        By default as few as promise no larger an error than CLIMB's design; after measured runs, one per language.
    floor : float
        Least ratio of every language in every run.
    model : MixtureModel, Ensemble or path, optional
        Where the derivatives are taken (an ensemble's main form); else at points of the priors, or a fit of `after`.
    after : PilotRuns, pandas.DataFrame or path, optional
        Earlier runs.
    law, interaction : Law, Interaction or str
        Law and interaction to be fitted, without a model.
    params : float, optional
        Model size of every run, for laws that depend on it.
    seed : int
        Seed of all draws.
    criterion : {"I", "D"}
        Criterion of optimality; on synthetic truths, plans by I predicted better.
    progress : callable, optional
        Called with the numbers of runs chosen and to choose, for the first design and then for the other.
    target_budget, supply, cut_supply
        The run that the pilots are for, see :class:`TargetKeywords`.
    """
    began = time.perf_counter()
    block, after = None if model is None else _main_block(model), None if after is None else as_pilots(after)
    names = _checked(languages, n_runs, block, after)
    target = _Target.read(names, target_run)
    space = replace(Space.read(len(names), budgets, floor, params), target=target.budget)
    form = Form(LAWS.member(law) if block is None else block.law, INTERACTIONS.member(interaction))
    if form.law.uses_model_size and space.params is None:
        raise InputError(f"law '{form.law.name}' depends on the model size; give params")
    source = block or (form if after is None or _new(names, after) else _fitted(after, form, target))
    if isinstance(source, MixtureModel):
        space = target.aimed(space, source if model is None else as_model(model), seed)
    designs = _Designs.of(names, space, source, after, seed)
    chosen, other = designs.best(criterion, n_runs, progress)
    before, cut = expected_error(designs.start, designs.judged), target.cut_down(chosen.runs)
    return Plan(names, chosen, other, designs.climb, before, designs.n_before, time.perf_counter() - began, cut)


class TargetKeywords(TypedDict, total=False):
    """Keywords for the run that pilots are for.

    Parameters
    ----------
    target_budget : float or str, optional
        Its tokens. Predictions are judged there, and with a model or earlier runs only at mixtures where its decision
        can lie: those near the optimum of each block.
    supply : mapping of str to float or str, optional
        Available tokens, by source.
    cut_supply : bool
        Whether pilots are drawn from supplies cut down in proportion to their budget, so that they repeat data as often
        as this run; needs `target_budget` and `supply`, and adds the column supply to the table.
    """

    target_budget: Amount | None
    supply: Mapping[str, Amount] | None
    cut_supply: bool


@dataclass(frozen=True)
class _Target:
    """The run that pilots are for.

    Parameters
    ----------
    budget : float or None
        Tokens.
    supplies : mapping of str to float
        Tokens by source, where they are known.
    whole : ndarray, (S,), or None
        Supplies that are cut down for the pilots, where they are; the budget is then known.
    """

    budget: float | None
    supplies: Mapping[str, float]
    whole: Array | None

    @classmethod
    def read(cls, names: tuple[str, ...], keywords: TargetKeywords) -> _Target:
        """Return the run; refuse supplies of unknown languages, and to cut down what is not known."""
        target_budget, cut_supply = keywords.get("target_budget"), keywords.get("cut_supply", False)
        budget = None if target_budget is None else TOKENS.positive(target_budget, "the target budget")
        supplies = dict(TOKENS.by_name(keywords.get("supply") or {}, "supply"))
        refuse_unknown("language with a supply", supplies, names)
        missing = [name for name in names if name not in supplies]
        if cut_supply and (budget is None or missing):
            raise InputError(
                "supplies are cut down to a pilot's share of the target budget; give the target budget and the supply "
                f"of {listed(missing or list(names), most=4)}"
            )
        return cls(budget, supplies, np.array([supplies[name] for name in names]) if cut_supply else None)

    def aimed(self, space: Space, model: Model, seed: int) -> Space:
        """Return the space of runs judged at the target budget, where the decision can lie by a model."""
        if self.budget is None:
            return space
        rng = np.random.default_rng(seed)
        region = decision_region(model, self.budget, rng, params=space.params, supply=self.supplies, floor=space.floor)
        return replace(space, region=region)

    def cut_down(self, runs: Runs) -> Array | None:
        """Return the supply of each source in each run, (n, S): its share of the target budget, at most all of it."""
        if self.whole is None or self.budget is None:
            return None
        # Epochs r D / U then agree with those of the target run at the same ratio.
        return np.asarray(np.minimum(runs.tokens / self.budget, 1.0)[:, None] * self.whole)


def _fitted(after: PilotRuns, form: Form, target: _Target) -> MixtureModel:
    """Return the fit of a form to the runs made already."""
    return fit_form(after, form.law, form.interaction, supply=target.supplies or None).model


def _main_block(model: ModelLike) -> MixtureModel:
    """Return a model, or the form of the largest weight of an ensemble."""
    blocks, weights = blocks_of(as_model(model))
    return blocks[int(np.argmax(weights))]


@dataclass(frozen=True, eq=False)
class _Designs:
    """Designs of candidate runs, judged by the same measure.

    Parameters
    ----------
    space : Space
    known : Knowledge
    n_before : int
        Runs that were made already.
    start : ndarray, (B, p, p)
        Information before the first planned run.
    judged : ndarray, (B, n, T, p)
        Derivatives at the mixtures over which the prediction variance is averaged.
    candidates : Runs
        What is chosen from.
    new : sequence of int
        Positions of the languages that no run made before holds.
    """

    space: Space
    known: Knowledge
    n_before: int
    start: Array
    judged: Array
    candidates: Runs
    new: Sequence[int]

    @classmethod
    def of(
        cls, names: tuple[str, ...], space: Space, source: MixtureModel | Form, after: PilotRuns | None, seed: int
    ) -> _Designs:
        """Return the designs by a fitted model, or by the priors of a form, after the runs made already."""
        rng = np.random.default_rng(seed)
        # Coordinates of transfer are values at the smallest budget of all runs, as a later fit will have it.
        smallest = min([*space.budgets, *([] if after is None else after.tokens.tolist())])
        if isinstance(source, MixtureModel):
            known = Knowledge.of_model(source, smallest)
        else:
            # A power of ten near the budgets, so that parameters of the priors are of their own size.
            unit = float(10.0 ** np.round(np.log10(space.budgets).mean()))
            known = Knowledge.of_prior(source, names, smallest, unit, rng)
        start = known.prior
        if after is not None:
            # G'G of runs that were made adds to the precision of the priors: losses that were not measured count 0.
            earlier = Runs(after.ratios_of(names), after.tokens, space.params)
            start = start + information(known.derivatives(earlier) * _measured(known, after))
        judged = known.derivatives(space.judged(rng), noise=False)
        # Before its first run a language has no ceiling of its loss, which a fit needs.
        new = [k for k, name in enumerate(names) if after is None or name not in after.sources]
        return cls(space, known, 0 if after is None else len(after.runs), start, judged, space.candidates(rng), new)

    @cached_property
    def climb(self) -> Design:
        """CLIMB's design, whose mean budget no other exceeds."""
        return self.of_runs("CLIMB 3 x m x 2", self.space.climb())

    def best(self, criterion: Criterion, n_runs: int | None, progress: Progress | None) -> tuple[Design, Design]:
        """Return the optimal design, and one of as many runs that is optimal by the other criterion."""
        # A first plan may stop where it is as good as CLIMB's design; a later one adds as many runs as are requested.
        first = not self.n_before
        most = n_runs or (len(self.climb.runs) if first else self.space.n)
        enough = self.climb.error if n_runs is None and first else None
        # The runs that give the ceilings, unless they were made before.
        alone = [self.space.alone[k] for k in self.new]
        chosen = self.optimal(criterion, alone[:most], most, enough, progress)
        n = len(chosen.runs)
        return chosen, self.optimal("I" if criterion == "D" else "D", alone[:n], n, None, progress)

    @cached_property
    def derivatives(self) -> Array:
        """Derivatives of the candidates' losses with respect to the parameters, (B, C, T, p)."""
        return self.known.derivatives(self.candidates)

    def of_runs(self, name: str, runs: Runs) -> Design:
        """Return the design of some runs."""
        learned = self.start + information(self.known.derivatives(runs))
        return Design(name, runs, float(runs.tokens.sum()), expected_error(learned, self.judged))

    def optimal(
        self, criterion: Criterion, first: Sequence[int], most: int, enough: float | None, progress: Progress | None
    ) -> Design:
        """Return an optimal design of `most` runs that holds the `first`, or of fewer whose error is small enough."""
        # The mean cost of CLIMB's runs, which no design exceeds.
        candidates, cost = self.candidates, self.climb.tokens / len(self.climb.runs)
        search = Search(self.derivatives, candidates.tokens, self.start, self.judged, cost, self.space.n, criterion)
        chosen = search.run(first, most, enough, progress)
        runs = Runs(candidates.ratios[chosen], candidates.tokens[chosen], candidates.params)
        return self.of_runs(f"{criterion}-optimal", runs)


def _new(names: Sequence[str], after: PilotRuns) -> list[str]:
    """Return the languages that no run holds, or none measures: nothing is fitted for them, and priors stand for it."""
    measured = [name for name, column in zip(after.targets, after.losses.T, strict=True) if np.isfinite(column).any()]
    return [name for name in names if name not in after.sources or name not in measured]


def _measured(known: Knowledge, after: PilotRuns) -> Array:
    """Return 1 where a run's loss of a block's target was measured, else 0; (B, n, T, 1)."""
    measured = dict(zip(after.targets, np.isfinite(after.losses).T, strict=True))
    nothing = np.zeros(len(after.runs))
    columns = [[measured.get(name, nothing) for name in block.targets] for block, _ in known.blocks]
    return np.array(columns, dtype=float).transpose(0, 2, 1)[..., None]


def _checked(
    languages: Sequence[str], n_runs: int | None, model: MixtureModel | None, after: PilotRuns | None
) -> tuple[str, ...]:
    """Return the languages, in the order of the model where there is one; refuse what no plan can be made of."""
    names = tuple(languages)
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(f"the languages of a plan are {', '.join(names) or 'none'}; name two or more, each once")
    if n_runs is not None and n_runs < 1:
        raise InputError(f"a plan of {n_runs} runs is none; ask for 1 or more")
    for what, sources in (
        ("model", () if model is None else model.sources),
        ("pilot runs", () if after is None else after.sources),
    ):
        # Runs made before a language was added hold none of it.
        if sources and (set(sources) - set(names) or (what == "model" and set(sources) != set(names))):
            raise InputError(
                f"the {what} know {', '.join(sources)}, and the plan is for {', '.join(names)}; they must "
                "be the same languages"
            )
    if model is not None:
        return model.sources
    return names if after is None else (*after.sources, *(name for name in names if name not in after.sources))
