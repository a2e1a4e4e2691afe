"""plan: which pilot runs to make: an optimal design of few runs, beside CLIMB's."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from climbopt.files import ModelLike, PilotsLike, as_model, as_pilots
from climbopt.fitting.fit import fit
from climbopt.foundations.errors import InputError
from climbopt.foundations.quantities import PARAMS, RATIO, TOKENS, Amount
from climbopt.foundations.view import Columns, Reported, View, Viewed, named
from climbopt.model.ensemble import blocks_of
from climbopt.model.interactions import INTERACTIONS, Interaction
from climbopt.model.laws import LAWS, Law
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array
from climbopt.runs.pilots import PilotRuns
from climbopt.studies.design.candidates import Space
from climbopt.studies.design.criteria import Knowledge, Runs
from climbopt.studies.design.exchange import Criterion, Progress, Search, expected_error, information

DIGITS = 6
"""Decimals of a planned ratio."""


@dataclass(frozen=True, eq=False, repr=False)
class Design(Viewed):
    """Runs to make, and what they promise.

    Parameters
    ----------
    name : str
    runs : Runs
    tokens : float
        Of all runs together.
    error : float
        Expected error of a prediction: the root of the mean prediction variance over the truncated simplex at the
        largest budget, as a share of a target's median loss; by the fit's noise and priors, to first order.
    """

    name: str
    runs: Runs
    tokens: float
    error: float

    def view(self) -> View:
        """Return what it costs and promises."""
        facts = [f"{self.tokens:.4g} tokens, expected error {100 * self.error:.3f} %"]
        return View(f"design {self.name} of {len(self.runs)} runs", facts)


@dataclass(frozen=True, eq=False, repr=False)
class Plan(Reported):
    """The runs to make, beside the design they replace.

    Parameters
    ----------
    languages : tuple of str
    chosen : Design
        Optimal by the criterion asked for.
    other : Design
        As many runs, optimal by the other criterion.
    climb : Design
        The larger one, of the same budgets and constraints.
    before : float
        Expected error before any of these runs: of the runs that were made already, or of the priors alone.
    n_before : int
        Runs that were made already.
    seconds : float
        Wall time.
    """

    languages: tuple[str, ...]
    chosen: Design
    other: Design
    climb: Design
    before: float
    n_before: int
    seconds: float

    def view(self) -> View:
        """Return the designs' promises; the table is the one that `fit` reads once its losses are filled in."""
        designs = (self.chosen, self.other, self.climb)
        facts = [
            f"{design.name}: {len(design.runs)} runs, {design.tokens:.4g} tokens, error {100 * design.error:.3f} %"
            for design in designs
        ]
        return View(
            f"plan of pilot runs for {len(self.languages)} languages: {named(self.languages)}", facts, self._columns
        )

    def _columns(self) -> Columns:
        """Return one row per run and language, the losses to be filled in."""
        runs, n = self.chosen.runs, len(self.languages)
        params = {} if runs.params is None else {"params": [runs.params] * (n * len(runs))}
        return {
            "run": [f"plan-{k + 1:03d}" for k in range(len(runs)) for _ in range(n)],
            "tokens": [round(float(tokens)) for tokens in runs.tokens for _ in range(n)],
            **params,
            "language": list(self.languages) * len(runs),
            "ratio": [round(float(ratio), DIGITS) for ratio in runs.ratios.ravel()],
            "loss": [None] * (n * len(runs)),
        }


def plan(
    languages: Sequence[str],
    budgets: Sequence[Amount],
    n_runs: int | None = None,
    *,
    floor: Amount = 0.0,
    model: ModelLike | None = None,
    after: PilotsLike | None = None,
    law: Law | str = "power",
    interaction: Interaction | str = "gated",
    params: Amount | None = None,
    seed: int = 0,
    criterion: Criterion = "I",
    progress: Progress | None = None,
) -> Plan:
    """Return an optimal plan of pilot runs beside CLIMB's.

    With M = P + sum over runs of G'G the information on a target's parameters, D maximises log det M and I
    minimises the mean variance g'M^-1 g of predictions over the truncated simplex, each summed over targets (and,
    without a model, over a few points of the prior), by adding the best candidate run again and again, then
    exchanging runs one for one while that helps. The runs cost no more tokens on average than CLIMB's. Where none
    was made before, the plan holds each language alone at the smallest budget: `fit` takes the worst measured
    losses as ceilings of what it predicts anywhere, and needs the worst there are.

    Parameters
    ----------
    languages : sequence of str
        Two or more.
    budgets : sequence of float or str
        Tokens that a run may have, as 5e8 or "500M".
    n_runs : int, optional
        By default as few as promise no larger an error than CLIMB's design; after measured runs, one a language.
    floor : float
        Least ratio of every language in every run.
    model : MixtureModel, Ensemble or path, optional
        Where the derivatives are taken, of an ensemble in the form of the largest weight; by default at points drawn
        from the priors, or at the fit of `after`.
    after : PilotRuns, pandas.DataFrame or path, optional
        Runs already made.
    law, interaction : Law, Interaction or str
        What is to be fitted, where there is no model.
    params : float, optional
        Model size of every run, for laws that depend on it.
    seed : int
        Of every draw.
    criterion : {"I", "D"}
        What is optimal; on synthetic truths plans by I predicted better.
    progress : callable, optional
        Called with the numbers of runs chosen and to choose, of one design and then of the other.

    Raises
    ------
    InputError

    Source
    ------
    Exchange: Fedorov, Theory of Optimal Experiments (1972), chapter 3; with priors: Chaloner and Verdinelli,
    Statistical Science 10 (1995), section 2.2.

    Examples
    --------
    >>> planned = plan(["en", "sw"], ["1B", "2B"], 6)
    >>> len(planned.chosen.runs), len(planned.climb.runs)
    (6, 16)
    """
    began, rng = time.perf_counter(), np.random.default_rng(seed)
    blocks, weights = ((), ()) if model is None else blocks_of(as_model(model))
    form_model = blocks[int(np.argmax(weights))] if blocks else None
    after = None if after is None else as_pilots(after)
    tokens = [TOKENS.positive(budget, "a budget of the plan") for budget in budgets]
    least = RATIO.read(floor, "the floor")
    size = None if params is None else PARAMS.positive(params, "the model size")
    names = _checked(languages, tokens, n_runs, least, form_model, after)
    space = Space(len(names), tokens, least, size)
    form = LAWS.member(law) if form_model is None else form_model.law, INTERACTIONS.member(interaction)
    if form[0].uses_model_size and size is None:
        raise InputError(f"law '{form[0].name}' depends on the model size; give params")
    if after is not None and form_model is None:
        form_model = fit(after, *form).model
    smallest = min([*tokens, *([] if after is None else after.tokens.tolist())])
    known = (
        Knowledge.of_model(form_model, smallest)
        if form_model is not None
        else Knowledge.of_prior(*form, names, smallest, float(10.0 ** np.round(np.log10(tokens).mean())), rng)
    )
    start = known.prior
    if after is not None:
        start = start + information(known.derivatives(Runs(after.ratios_of(names), after.tokens, size)))
    larger, judged = space.climb(), known.derivatives(space.judged(rng), noise=False)
    designs = _Designs(known, start, judged, space.candidates(rng), larger)
    climb = designs.of("CLIMB 3 x m x 2", larger)
    most = n_runs or (len(larger) if after is None else len(names))
    enough = climb.error if n_runs is None and after is None else None
    alone = space.alone if after is None else []
    chosen = designs.optimal(criterion, alone[:most], most, enough, progress)
    other = designs.optimal(_OTHER[criterion], alone[: len(chosen.runs)], len(chosen.runs), None, progress)
    n_before = 0 if after is None else len(after.runs)
    return Plan(names, chosen, other, climb, expected_error(start, judged), n_before, time.perf_counter() - began)


_OTHER: Mapping[Criterion, Criterion] = {"D": "I", "I": "D"}


@dataclass(frozen=True, eq=False)
class _Designs:
    """Designs of candidate runs, each judged alike.

    Parameters
    ----------
    known : Knowledge
    start : ndarray, (B, p, p)
        Information before the first run.
    judged : ndarray, (B, n, T, p)
        Derivatives at the mixtures over which the prediction variance is averaged.
    candidates, larger : Runs
        What is chosen from, and the design whose mean budget no other exceeds.
    """

    known: Knowledge
    start: Array
    judged: Array
    candidates: Runs
    larger: Runs

    @cached_property
    def derivatives(self) -> Array:
        """Derivatives of the candidates' losses by the parameters, (B, C, T, p)."""
        return self.known.derivatives(self.candidates)

    def of(self, name: str, runs: Runs) -> Design:
        """Return the design of some runs."""
        learned = self.start + information(self.known.derivatives(runs))
        return Design(name, runs, float(runs.tokens.sum()), expected_error(learned, self.judged))

    def optimal(
        self, criterion: Criterion, first: Sequence[int], most: int, enough: float | None, progress: Progress | None
    ) -> Design:
        """Return an optimal design of `most` runs that holds the `first`, or of fewer whose error is small enough."""
        candidates, cost = self.candidates, float(self.larger.tokens.sum()) / len(self.larger)
        n = candidates.ratios.shape[1]
        search = Search(self.derivatives, candidates.tokens, self.start, self.judged, cost, n, criterion)
        chosen = search.run(first, most, enough, progress)
        runs = Runs(candidates.ratios[chosen], candidates.tokens[chosen], candidates.params)
        return self.of(f"{criterion}-optimal", runs)


def _checked(
    languages: Sequence[str],
    budgets: Sequence[float],
    n_runs: int | None,
    floor: float,
    model: MixtureModel | None,
    after: PilotRuns | None,
) -> tuple[str, ...]:
    """Return the languages, in the order of the model where there is one; refuse what no plan can be made of."""
    names = tuple(languages)
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(f"the languages of a plan are {', '.join(names) or 'none'}; name two or more, each once")
    if not budgets:
        raise InputError("a plan has no budgets; give one or more numbers of tokens")
    if not 0 <= floor < 1 / len(names):
        raise InputError(
            f"a floor of {floor:g} for each of {len(names)} languages leaves no mixture to choose; it is "
            f"0 or more and below {1 / len(names):.4g}"
        )
    if n_runs is not None and n_runs < 1:
        raise InputError(f"a plan of {n_runs} runs is none; ask for 1 or more")
    for what, sources in (
        ("model", () if model is None else model.sources),
        ("pilot runs", () if after is None else after.sources),
    ):
        if sources and set(sources) != set(names):
            raise InputError(
                f"the {what} know {', '.join(sources)}, and the plan is for {', '.join(names)}; they must "
                "be the same languages"
            )
    if model is not None:
        return model.sources
    return names if after is None else after.sources
