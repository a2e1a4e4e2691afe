"""The regret of a mixture over draws, and its mean and CVaR as standard forms for any backend.

For draws k of the model, with f_k the weighted loss and f_k* its least value, a mixture's regret is f_k(r) - f_k*.

    mean:  min over r of  sum_k (f_k(r) - f_k*) / K
    CVaR:  min over r, t, u of  t + sum_k u_k / ((1 - level) K)  s.t.  u_k >= f_k(r) - f_k* - t,  u_k >= 0

The second is the mean of the worst (1 - level) of the regrets.

Source
------
Rockafellar and Uryasev, Optimization of conditional value-at-risk, Journal of Risk 2 (2000), theorem 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from scipy.sparse import eye_array, kron

from climbopt.backends import Options, choose
from climbopt.certification.local import repair
from climbopt.foundations.errors import InputError
from climbopt.foundations.processes import Progress, in_chunks
from climbopt.foundations.view import View, Viewed
from climbopt.model.ensemble import Model, Responses, Stacked, check_draws
from climbopt.model.mixture import Response
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.objectives import Weighted
from climbopt.program import Auxiliaries, Label, MixtureFunctions, Rows, StandardForm, Table, joint_form, mixture_form
from climbopt.studies.ranges import RangedObjective

ROOM = 0.05
"""Each draw's solve starts from the fit's own optimum, this share of the way to the form's start."""

CHUNK = 25
"""Draws that one process solves at a time."""

MORE = 1.5
"""The first rows are those of this many times as many draws as lie beyond the quantile."""

BEYOND = 1e-9
"""A left-out draw's regret may be above the quantile by this much, in nats."""


@dataclass(frozen=True, eq=False, repr=False)
class Regrets(Viewed):
    """A problem under draws of its model, with each draw's own optimum.

    Parameters
    ----------
    problem : AllocationProblem
        Its own model is the fit; constraints on z and losses are held by that.
    draws : tuple of MixtureModel or Ensemble
    optima : ndarray, (K, S)
        Each draw's best ratios.
    least : ndarray, (K,)
        f_k at these.
    unsettled : tuple of int
        Draws whose solve did not come to its end; their best known mixture stands for them.
    """

    problem: AllocationProblem
    draws: tuple[Model, ...]
    optima: Array
    least: Array
    unsettled: tuple[int, ...]

    @cached_property
    def stacked(self) -> AllocationProblem:
        """The problem with all draws as one model; its objective is not read, and no target has a weight of its own."""
        return replace(self.problem, model=Stacked.scenarios(self.problem.model, self.draws), weights={})

    @property
    def targets(self) -> tuple[str, ...]:
        """The weighted targets of all draws, draw by draw."""
        # Behind the fit's own targets, as many for each draw; those without a weight need no evaluation.
        names = np.array(self.stacked.model.targets)[len(self.problem.model.targets) :].reshape(len(self.draws), -1)
        return tuple(map(str, names[:, self.problem.weight_vector > 0].ravel()))

    @property
    def weights(self) -> Array:
        """The weights of one draw's weighted targets, summing to 1."""
        vector = self.problem.weight_vector
        return vector[vector > 0]

    @cached_property
    def _response(self) -> Response | Responses:
        return self.stacked.model.select(self.targets).at(self.problem.total_budget, self.problem.params)

    def values(self, ratios: Array) -> Array:
        """Return f_k of one mixture, (K,); NaN outside a draw's domain."""
        losses = self._response.predicted(self.problem.cumulative(ratios))
        return np.asarray(losses.reshape(len(self.draws), -1) @ self.weights)

    def of(self, ratios: Array) -> Array:
        """Return the regrets of one mixture, (K,)."""
        return self.values(ratios) - self.least

    def view(self) -> View:
        """Return the number of draws; the table has a row for each draw's optimum."""
        optima = dict(zip(self.problem.model.sources, self.optima.T.tolist(), strict=True))
        title = f"{len(self.draws)} draws of {self.problem.name} with their optima"
        return View(title, [f"{len(self.unsettled)} unsettled"], lambda: {**optima, "least": self.least.tolist()})


def regrets(
    problem: AllocationProblem,
    draws: Sequence[Model],
    optimum: Array,
    *,
    options: Options | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Regrets:
    """Return a problem under draws, every draw solved on its own.

    Parameters
    ----------
    problem : AllocationProblem
        Of the weighted loss.
    draws : sequence of MixtureModel or Ensemble
    optimum : ndarray, (S,)
        The optimum under the problem's own model, where each solve starts; a draw's least loss is never above its
        loss there.
    options : Options, optional
    jobs : int
        Processes.
    progress : callable, optional
        Called with the numbers of draws solved and to solve.

    Raises
    ------
    InputError
        Where the objective is not the weighted loss, the draws are not of the problem's model, or one has no mixture
        inside its law's domain.
    """
    if not isinstance(problem.objective, Weighted):
        raise InputError(
            f"robust allocation takes the weighted loss, and the objective is "
            f"'{problem.objective.kind}'; leave [objective] out"
        )
    check_draws(problem.model, draws)
    options = replace(options or Options(), native={})
    solved = in_chunks(jobs, partial(_optima, problem, optimum, options), draws, CHUNK, progress)
    ratios, least, settled = zip(*solved, strict=True)
    # A regret needs a finite least loss, which a draw outside its law's domain everywhere does not have.
    if not np.isfinite(least).all():
        raise InputError(
            f"draw {int(np.argmin(np.isfinite(least)))} has no loss at any mixture that was tried: its "
            "z is not above 0 there; leave that draw out, or bound the ratios from below"
        )
    return Regrets(
        problem,
        tuple(draws),
        np.array(ratios),
        np.array(least),
        tuple(np.flatnonzero(~np.array(settled)).tolist()),
    )


def _optima(
    problem: AllocationProblem, optimum: Array, options: Options, draws: Sequence[Model]
) -> list[tuple[Array, float, bool]]:
    """Return the best ratios of each draw, their loss, and whether the solve came to its end."""
    results = []
    for model in draws:
        under = replace(problem, model=model)
        form = joint_form(under)
        start = form.complete(optimum)
        # Draws differ little from the fit, and so do their optima; off the bounds for interior-point solvers.
        form = form.from_start(start + ROOM * (form.start - start))
        solution = choose(form).solve(form, options)
        settled = solution.termination.settled and solution.x is not None
        # The fit's own optimum is feasible for every draw, so that the least loss is never above the loss there.
        candidates = [optimum] if solution.x is None else [repair(form, solution.x)[: form.n_ratios], optimum]
        values = np.array([float(under.value(x)) for x in candidates])
        best = int(np.argmin(np.where(np.isnan(values), np.inf, values)))
        results.append((candidates[best], float(values[best]), settled))
    return results


def mean_form(regrets: Regrets) -> StandardForm:
    """Return min over r of the mean regret."""
    k, targets = len(regrets.draws), regrets.targets
    table = Table.build(
        len(regrets.problem.model.sources),
        len(targets),
        loss=np.tile(regrets.weights, k) / k,
        constant=-float(regrets.least.mean()),
    )
    return mixture_form(regrets.stacked, targets, table)


def cvar_form(regrets: Regrets, level: float, chosen: Sequence[int], start: Array) -> StandardForm:
    """Return min over r, t, u of the regrets' CVaR, with u of the chosen draws alone; the others' count as 0.

    Parameters
    ----------
    regrets : Regrets
    level : float
        In (0, 1).
    chosen : sequence of int
        Draws with a variable u_k and a row.
    start : ndarray, (S,)
        Ratios that a solve begins at.
    """
    n, size, k = len(regrets.problem.model.sources), len(regrets.weights), len(chosen)
    all_targets = regrets.targets
    targets = [all_targets[draw * size + i] for draw in chosen for i in range(size)]
    # Weight of each excess u_k in the CVaR: 1 / ((1 - level) K).
    share = 1.0 / ((1.0 - level) * len(regrets.draws))
    # Rows t + u_k - f_k(r) + f_k* >= 0, one per chosen draw; `losses` holds -f_k.
    least = regrets.least[list(chosen)]
    losses = kron(eye_array(k), -regrets.weights[None])
    excesses = [f"excess[{draw}]" for draw in chosen]
    auxiliaries = np.hstack([np.zeros((k, n)), np.ones((k, 1)), np.eye(k)])

    def best(functions: MixtureFunctions, x: Array) -> Array:
        """Return t, the quantile of the regrets, and u above it."""
        # At t = 0 and u = 0 the rows are the negative regrets.
        at = np.append(x[: -(k + 1)], np.zeros(k + 1))
        regret = -functions.at(at).rows[:k]
        # The optimal t is the quantile: the weights of the regrets above it sum to at most 1.
        t = np.sort(regret)[::-1][min(int(np.floor(1.0 / share)), k - 1)]
        return np.append(t, np.maximum(regret - t, 0.0))

    form = mixture_form(
        regrets.stacked,
        targets,
        Table.build(n + 1 + k, k * size, x=np.concatenate([np.zeros(n), [1.0], np.full(k, share)]))
        + Table.build(n + 1 + k, k * size, k, x=auxiliaries, loss=losses, constant=least),
        Rows(np.zeros(k), np.full(k, np.inf), tuple(Label(name, internal=True) for name in excesses)),
        Auxiliaries(("quantile", *excesses), best),
    )
    # u_k >= 0; t is unbounded.
    lower = form.polytope.bounds.lower.copy()
    lower[-k:] = 0.0
    form = replace(form, polytope=replace(form.polytope, bounds=replace(form.polytope.bounds, lower=lower)))
    x = form.complete(start)
    x[-k:] += 0.1 * max(float(np.ptp(x[-k:])), 1e-3)  # off their bounds
    return form.from_start(x)


def cvar_regret(regrets: Regrets, level: float, chosen: tuple[int, ...], ratios: Array) -> RangedObjective:
    """Return the CVaR of regret with rows for some draws, as a goal; parameters as of :func:`cvar_form`."""

    def grown(x: Array) -> RangedObjective | None:
        """Return the goal with rows for the draws without one that x takes beyond its quantile; None for none."""
        at = x[: ratios.size]
        # x is (r, t, u), with t the quantile and one u per row.
        quantile = float(x[-(len(chosen) + 1)])
        # Draws left out have u = 0, which is right only while their regret is at most t.
        beyond = set(np.flatnonzero(regrets.of(at) > quantile + BEYOND).tolist()) - set(chosen)
        return cvar_regret(regrets, level, tuple(sorted({*chosen, *beyond})), at) if beyond else None

    return RangedObjective(partial(cvar_form, regrets, level, chosen, ratios), grown)


def cvar_near(regrets: Regrets, level: float, ratios: Array) -> RangedObjective:
    """Return the CVaR of regret with rows for the draws that are worst at some ratios, as a goal."""
    n_first = min(int(np.ceil(MORE * (1 - level) * len(regrets.draws))) + 2, len(regrets.draws))
    return cvar_regret(regrets, level, tuple(sorted(np.argsort(-regrets.of(ratios))[:n_first].tolist())), ratios)
