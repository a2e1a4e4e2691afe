"""plan: which pilot runs to make: an optimal design of few runs, beside CLIMB's."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from climbopt.fitting.fit import fit
from climbopt.foundations.errors import InputError
from climbopt.foundations.view import Columns, Reported, View, Viewed, named
from climbopt.model.interactions import INTERACTIONS, Interaction
from climbopt.model.laws import LAWS, Law
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array
from climbopt.runs.pilots import PilotRuns
from climbopt.studies.design.criteria import Knowledge, Runs
from climbopt.studies.design.exchange import Criterion, Progress, Search, expected_error, information
from climbopt.studies.design.simplex import mixtures

SHARES = (0.1, 0.4, 0.7)
"""Ratios that each language takes in turn in CLIMB's design; which three they are is a reconstruction."""
N_DRAWN = 200
"""Candidate mixtures drawn from the truncated simplex, by each of the two concentrations."""
SPARSE = 0.4
"""Concentration of the draws that favour few languages."""
LEAST = 0.05
"""A drawn share of what the floors leave that is smaller than this, or than 0.5 / m, is taken as 0."""
JUDGED_FLOOR = 0.03
"""Least ratio of the mixtures over which the prediction variance is averaged, or 0.3 / m where that is less: nearer to
0 the laws bend too much for a first-order variance."""
N_JUDGED = 500
"""Mixtures over which the prediction variance is averaged."""
DIGITS = 6
"""Decimals of a planned ratio."""
MOST_PAIRS = 16
"""Languages up to which every pair on an edge of the simplex is a candidate; of more, a seeded sample of pairs."""


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
    budgets: Sequence[float],
    n_runs: int | None = None,
    *,
    floor: float = 0.0,
    model: MixtureModel | None = None,
    after: PilotRuns | None = None,
    law: Law = LAWS["power"],
    interaction: Interaction = INTERACTIONS["gated"],
    params: float | None = None,
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
    budgets : sequence of float
        Tokens that a run may have.
    n_runs : int, optional
        By default as few as promise no larger an error than CLIMB's design; after measured runs, one a language.
    floor : float
        Least ratio of every language in every run.
    model : MixtureModel, optional
        Where the derivatives are taken; by default at points drawn from the priors, or at the fit of `after`.
    after : PilotRuns, optional
        Runs already made.
    law, interaction : Law, Interaction
        What is to be fitted, where there is no model.
    params : float, optional
        Model size of every run, for laws that depend on it.
    seed : int
        Of every draw.
    criterion : {"I", "D"}
        What is optimal; on synthetic truths plans by I predicted better.
    progress : callable, optional
        Told how many runs are chosen, of one design and then of the other.

    Raises
    ------
    InputError

    Source
    ------
    Exchange: Fedorov, Theory of Optimal Experiments (1972), chapter 3; with priors: Chaloner and Verdinelli,
    Statistical Science 10 (1995), section 2.2.

    Examples
    --------
    >>> found = plan(["en", "sw"], [1e9, 2e9], 6)
    >>> len(found.chosen.runs), len(found.climb.runs)
    (6, 16)
    """
    began, rng = time.perf_counter(), np.random.default_rng(seed)
    names = _checked(languages, budgets, n_runs, floor, model, after)
    law = model.law if model is not None else law
    if law.uses_model_size and params is None:
        raise InputError(f"law '{law.name}' depends on the model size; give params")
    if after is not None and model is None:
        model = fit(after, law, interaction).model
    smallest = min([*budgets, *([] if after is None else after.tokens.tolist())])
    unit = float(10.0 ** np.round(np.log10(budgets).mean()))
    known = (
        Knowledge.of_model(model, smallest)
        if model is not None
        else Knowledge.of_prior(law, interaction, names, smallest, unit, rng)
    )
    start = known.prior
    if after is not None:
        start = start + information(known.derivatives(Runs(after.ratios_of(names), after.tokens, params)))
    lower = np.full(len(names), floor)
    least = np.maximum(lower, min(JUDGED_FLOOR, 0.3 / len(names)))
    judged = known.derivatives(
        Runs(mixtures(least, np.ones(len(names)), N_JUDGED, rng), np.full(N_JUDGED, max(budgets)), params), noise=False
    )
    larger = climb_design(len(names), budgets, floor, params)
    climb = _design("CLIMB 3 x m x 2", larger, known, start, judged)
    enough = climb.error if n_runs is None and after is None else None
    most = n_runs or (len(larger) if after is None else len(names))
    candidates = _candidates(lower, budgets, rng, params)
    corners = [] if after is not None else (np.arange(len(names)) * len(set(budgets))).tolist()
    derivatives, other = known.derivatives(candidates), _OTHER[criterion]

    def found(by: Criterion, most: int, enough: float | None, progress: Progress | None) -> Design:
        search = Search(derivatives, candidates.tokens, start, judged, climb.tokens / len(larger), len(names), by)
        picked = search.run(corners[:most], most, enough, progress)
        runs = Runs(candidates.ratios[picked], candidates.tokens[picked], params)
        return _design(f"{by}-optimal", runs, known, start, judged)

    chosen = found(criterion, most, enough, progress)
    return Plan(
        names,
        chosen,
        found(other, len(chosen.runs), None, progress),
        climb,
        expected_error(start, judged),
        0 if after is None else len(after.runs),
        time.perf_counter() - began,
    )


_OTHER: Mapping[Criterion, Criterion] = {"D": "I", "I": "D"}


def climb_design(n: int, budgets: Sequence[float], floor: float = 0.0, params: float | None = None) -> Runs:
    """Return CLIMB's design: each language in turn at three ratios, the others sharing the rest, at two budgets.

    The count 3 x m x 2 is what we know of it; the three ratios, the even rest and the two largest of the given budgets
    are a reconstruction, as are the monolingual runs at every budget, which the laws' own parameters need. A floor maps
    every mixture r to floor + (1 - n floor) r.
    """
    ends = sorted(set(map(float, budgets)))
    rows = [(row, budget) for budget in ends for row in np.eye(n)]
    rows += [(row, budget) for budget in ends[-2:] for row in _in_turn(n)]
    ratios = floor + (1 - n * floor) * np.array([row for row, _ in rows])
    return Runs(ratios, np.array([budget for _, budget in rows]), params)


def _in_turn(n: int) -> list[Array]:
    """Return each language at each of `SHARES`, the others sharing the rest."""
    return [
        share * np.eye(n)[i] + (1 - share) / max(n - 1, 1) * (1 - np.eye(n)[i]) for share in SHARES for i in range(n)
    ]


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
    if not len(budgets) or not all(np.isfinite(budget) and budget > 0 for budget in budgets):
        raise InputError(f"the budgets of a plan are {list(budgets)}; give positive numbers of tokens")
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


def _candidates(lower: Array, budgets: Sequence[float], rng: np.random.Generator, params: float | None) -> Runs:
    """Return candidate runs: vertices, edges, each language in turn, the centre, and draws; at every budget."""
    n = lower.size
    spare = 1.0 - float(lower.sum())
    pairs = list(combinations(range(n), 2))
    if n > MOST_PAIRS:
        pairs = [pairs[k] for k in rng.choice(len(pairs), MOST_PAIRS * (MOST_PAIRS - 1) // 2, replace=False)]
    eye = np.eye(n)
    edges = [share * eye[i] + (1 - share) * eye[j] for i, j in pairs for share in (0.15, 0.5, 0.85)]
    drawn = np.vstack([mixtures(np.zeros(n), np.ones(n), N_DRAWN, rng, concentration=one) for one in (1.0, SPARSE)])
    drawn[drawn < min(LEAST, 0.5 / n)] = 0.0
    inside = np.vstack([eye, *edges, *_in_turn(n), np.full((1, n), 1 / n), drawn / drawn.sum(axis=1, keepdims=True)])
    tokens = np.array(sorted(set(map(float, budgets))))
    return Runs(np.repeat(lower + spare * inside, tokens.size, axis=0), np.tile(tokens, len(inside)), params)


def _design(name: str, runs: Runs, known: Knowledge, start: Array, judged: Array) -> Design:
    learned = start + information(known.derivatives(runs))
    return Design(name, runs, float(runs.tokens.sum()), expected_error(learned, judged))
