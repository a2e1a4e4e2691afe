"""two_step, CLIMB's procedure: first the direction of equal marginal benefits, then the largest magnitude along it.

Step 1 (:mod:`.direction`) finds p on the simplex at which the marginal benefits of own data are equal. Step 2 solves

    max t   s.t.  z_i(r, D) >= own_i(t p_i)  and the constraints.

Where several r reach that t, the one with the least weighted loss is chosen. Source: CLIMB, arXiv 2509.15556.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

import numpy as np
from scipy.optimize import brentq
from scipy.sparse import eye_array

from climbopt.backends import Options, choose
from climbopt.certification.kkt import LimitsAt, flat, recover, smallest_curvature
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.solution import Array, Multipliers, Solution, Termination
from climbopt.numerics.quadratic import project
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.objectives import Weighted
from climbopt.procedures.direction import OwnData, benefit_residual, counted_targets, equal_benefit_direction
from climbopt.procedures.procedure import Answer, Procedure, SlackRow, Steps
from climbopt.program import Auxiliaries, Label, MixtureFunctions, Rows, StandardForm, Table, mixture_form

START_SHARE = 0.9
"""The cold start's t, as a share of the largest feasible one at the starting ratios."""
SLACK = 1e-6
"""A target whose z exceeds own(t p) by more than this share of it is reported as slack."""
STRONG = 1e-7
"""A row whose multiplier is above this is tight in every optimum of step 2."""
CURVATURE = 1e-9
"""Least curvature above which the optimum of step 2 counts as unique."""
MAX_MAGNITUDES = 60
"""Limit on the solves of step 2 in one search."""
GIVE = 1e-9
"""Share of the largest t that may be given up in choosing among its maximisers, so that the set has an interior."""
SETTLED = 1e-10
"""A magnitude has converged when it changes by less than this."""
LEAST_MAGNITUDE = 1 / 16
"""Lower bound of the magnitude at which the search starts."""


@check_arguments
@dataclass(frozen=True)
class TwoStep(Procedure):
    """CLIMB's ratios, with the direction, the magnitude and the rows that are slack.

    Parameters
    ----------
    iterate : bool
        Repeat both steps until the direction is the one at the magnitude of step 2.

    Examples
    --------
    >>> import climbopt
    >>> climbopt.solve("equal_beta", climbopt.TwoStep()).two_step.slack
    ()
    """

    iterate: bool = False
    name: ClassVar[str] = "two_step"

    def answer(self, problem: AllocationProblem, backend: str | None, options: Options) -> Answer:
        """Return CLIMB's ratios.

        Raises
        ------
        InputError
            Where z does not increase with a language's own data, its marginal benefit does not fall, or the objective
            is not the weighted loss.
        """
        if not isinstance(problem.objective, Weighted):
            raise InputError(
                f"two_step serves the weighted loss, and the objective is '{problem.objective.kind}'; use "
                "the procedure joint"
            )
        solves = _Solves(problem, backend, options)
        if self.iterate:
            solved = _fixed_point(solves, partial(equal_benefit_direction, problem))
            return _answer(solves, solved, equal_at=solved.at, iterations=solves.n_solves)
        direction = equal_benefit_direction(problem, 1.0)
        # One solve gives the magnitude where own is affine in own data.
        affine = OwnData.of(problem).response.model.templates.own.second[0].is_zero
        solved = solves.step_two(direction, 1.0) if affine else _fixed_point(solves, lambda magnitude: direction)
        return _answer(solves, solved, equal_at=1.0, iterations=None)


def magnitude_form(problem: AllocationProblem, direction: Array, at: float = 1.0) -> StandardForm:
    """Return step 2: min -t over (r, t) with z_i(r, D) >= own_i(t p_i) for every counted target.

    Where own is not affine, own_i(t p_i) is replaced by its tangent at t = `at`. An optimum with t = `at` is then a
    KKT point of step 2 itself, since values and gradients agree there.
    """
    alone, n = OwnData.of(problem), len(problem.model.sources)
    # least + t slope: the required z of each target, affine in t.
    (least, slopes), k = alone.shares(direction, at), len(direction)
    on_t = np.append(np.zeros(n), -1.0)  # over x = (r, t): f = -t, rows z_i(r) - t slope_i >= least_i

    def reach(functions: MixtureFunctions, x: Array) -> Array:
        # Rows are z - t slope with t = 0 here: t is the least of (z_i - least_i) / slope_i.
        return np.array([np.min((functions.at(x).rows[:k] - least)[direction > 0] / slopes[direction > 0])])

    form = mixture_form(
        problem,
        alone.targets,
        Table.build(n + 1, k, x=on_t) + Table.build(n + 1, k, k, x=np.outer(slopes, on_t), z=eye_array(k)),
        _share_rows(alone.targets, least),
        Auxiliaries(("t",), reach),
    )
    return _inside(form, form.start)


def _share_rows(targets: Sequence[str], least: Array) -> Rows:
    """Return the rows that give each target its share of effective data."""
    return Rows(
        least,
        np.full(least.size, np.inf),
        tuple(Label(f"share[{name}]", unit="effective ratio") for name in targets),
    )


def _inside(form: StandardForm, start: Array) -> StandardForm:
    """Return the form started at the ratios of a point, with a t below the largest feasible one."""
    # Strictly feasible: a smaller t widens every row.
    t = float(form.complete(start[: form.n_ratios])[-1])
    return form.from_start(np.append(start[:-1], START_SHARE * t if t > 0 else t - 1.0))


@dataclass(frozen=True, eq=False)
class _Solved:
    """Step 2 and a backend's answer to it.

    Parameters
    ----------
    direction : ndarray, (n_targets,)
    at : float
        The magnitude at which own terms are replaced by their tangents.
    form : StandardForm
    solution : Solution
    x : ndarray, (n,), or None
        The feasible point nearest to the backend's, t recomputed; None without one.
    """

    direction: Array
    at: float
    form: StandardForm
    solution: Solution
    x: Array | None


@dataclass(eq=False)
class _Solves:
    """Solves of step 2 by one backend under one common time limit, each started near the previous solution."""

    problem: AllocationProblem
    backend: str | None
    options: Options
    n_solves: int = 0
    began: float = field(default_factory=time.perf_counter)
    last: _Solved | None = None

    def step_two(self, direction: Array, at: float) -> _Solved:
        """Return step 2 along a direction, own terms replaced by their tangents at a magnitude."""
        form = magnitude_form(self.problem, direction, at)
        if self.last is not None and self.last.solution.x is not None:
            # Near the previous optimum, but off the bounds, on which trust-constr can hang.
            form = _inside(form, project(0.9 * self.last.solution.x + 0.1 * form.start, form.polytope))
        self.n_solves += 1
        limit = self.options.time_limit
        remaining = None if limit is None else max(limit - (time.perf_counter() - self.began), 1e-3)
        solution = choose(form, self.backend).solve(form, replace(self.options, time_limit=remaining))
        self.last = _Solved(direction, at, form, solution, None if solution.x is None else form.nearest(solution.x))
        return self.last


def _fixed_point(solves: _Solves, direction_at: Callable[[float], Array]) -> _Solved:
    """Return step 2 at the fixed point T(t) = t, where T(t) is its optimum with direction and tangents at t.

    T(t) > t where more than t is feasible along the direction at t, and T(t) < t where only less is, so that the root
    can be bracketed. Failure to converge becomes the solution's termination.
    """

    def excess(t: float) -> float:
        solved = solves.step_two(direction_at(t), t)
        if solved.x is None or not solved.solution.termination.settled or solves.n_solves > MAX_MAGNITUDES:
            raise StopIteration
        return float(solved.x[-1]) - t

    with suppress(StopIteration):
        first = max(1.0 + excess(1.0), LEAST_MAGNITUDE)  # T(1)
        # The excess falls in t: widen until it is >= 0 at low and <= 0 at high.
        low, high = first / 1.5, first * 1.5
        while excess(low) < 0:
            low /= 2
        while excess(high) > 0:
            high *= 2
        excess(float(brentq(excess, low, high, xtol=SETTLED)))
    solved = solves.last
    assert solved is not None  # excess has solved once
    if solves.n_solves <= MAX_MAGNITUDES or not solved.solution.termination.settled:
        return solved
    return replace(solved, solution=replace(solved.solution, termination=Termination.ITERATION_LIMIT))


def _answer(solves: _Solves, solved: _Solved, *, equal_at: float, iterations: int | None) -> Answer:
    """Return the answer of a solved step 2, with ties broken, slack rows explained and benefits compared."""
    form, x = solved.form, solved.x
    if x is None:
        return Answer(form, None, solved.solution)
    x, unique = _tie_broken(solves, solved, x) if solved.solution.termination.settled else (x, False)
    return Answer(
        form,
        x,
        solved.solution,
        Steps(
            targets=counted_targets(solves.problem),
            direction=solved.direction,
            magnitude=float(x[-1]),
            residual=benefit_residual(solves.problem, solved.direction, equal_at),
            slack=_slack_rows(solves.problem, solved, x),
            unique=unique,
            iterations=iterations,
        ),
    )


def _tie_broken(solves: _Solves, solved: _Solved, x: Array) -> tuple[Array, bool]:
    """Return the point with the least weighted loss among those that reach t, and whether that is established.

    Where curvature proves the maximiser of t unique, the point is x. Otherwise a second problem is solved, by the same
    backend and, where that fails, by the default one.
    """
    problem, form = solves.problem, solved.form
    # Second-order condition of step 2 on the rows that are tight in all of its optima.
    limits = LimitsAt(form, x)
    multipliers = recover(limits)
    curvature = smallest_curvature(limits, multipliers, np.abs(flat(multipliers)) > STRONG)
    if curvature is None or curvature > CURVATURE:
        return x, True
    k, n = len(solved.direction), form.n_ratios
    least, slopes = OwnData.of(problem).shares(solved.direction, solved.at)
    # min sum w_i L_i over the r that reach t, less a share that gives the set an interior.
    second = mixture_form(
        problem,
        counted_targets(problem),
        Table.build(n, k, loss=problem.weight_vector[problem.weight_vector > 0]) + Table.build(n, k, k, z=eye_array(k)),
        _share_rows(counted_targets(problem), least + (1 - GIVE) * x[-1] * slopes),
    )
    second = second.from_start(second.complete(x[:n]))
    # Native options belong to the first backend alone.
    for name, used in ((solves.backend, solves.options), (None, replace(solves.options, native={}))):
        solution = choose(second, name).solve(second, used)
        if solution.x is None or not solution.termination.settled:
            continue
        tried = form.complete(project(solution.x, second.polytope)[:n])
        if tried[-1] < (1 - 2 * GIVE) * x[-1]:  # the projection lost more of t than the tie may cost
            continue
        return (tried if problem.value(tried[:n]) < problem.value(x[:n]) else x), True
    return x, False


def _slack_rows(problem: AllocationProblem, solved: _Solved, x: Array) -> tuple[SlackRow, ...]:
    """Return the targets whose z exceeds their share, each with the reason; none where t is not positive."""
    if x[-1] <= 0:
        return ()
    alone, form = OwnData.of(problem), solved.form
    (least, slopes), multipliers = alone.shares(solved.direction, solved.at), recover(LimitsAt(form, x))
    shares, z = least + x[-1] * slopes, alone.response.z(problem.cumulative(x[: form.n_ratios]))
    # A target of share 0 has no excess to speak of.
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.where(z > shares, z / shares - 1, 0.0)
    return tuple(
        SlackRow(alone.targets[i], float(excess[i]), _reason(problem, form, x, i, multipliers))
        for i in np.flatnonzero(excess > SLACK).tolist()
    )


def _reason(problem: AllocationProblem, form: StandardForm, x: Array, i: int, multipliers: Multipliers) -> str:
    """Return why target i exceeds its share: transfer to it, a lower bound of its ratio, or transfer to others."""
    targets, sources, limits = counted_targets(problem), problem.model.sources, LimitsAt(form, x)
    if targets[i] not in sources:
        return "it is no source: what it gets is transfer from the others"
    j, k = sources.index(targets[i]), len(targets)
    # The ratio is at its lower limit.
    if limits.sides[j] in (-1, 2):
        if form.polytope.bounds.lower[j] <= 0:
            return "it needs no data of its own: what it gets is transfer from the others"
        return f"{limits.side(j, upper=False).name} holds its ratio up"
    # Value of r_j to each row i: (-mu_i) dz_i/dr_j, as mu_i <= 0 where the lower limit z_i >= own_i(t p_i) is active.
    value = -multipliers.nonlinear[:k] * form.functions.at(x).jacobian[:k, j]
    value[i] = 0.0
    best = [targets[other] for other in np.argsort(-value)[:2] if value[other] > 0]
    if best:
        return f"over-allocated on purpose: its data raise {' and '.join(best)}"
    return "a constraint on the others leaves ratio over, and it lowers the loss most here"
