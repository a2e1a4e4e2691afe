"""two_step, CLIMB's procedure: first the direction of equal marginal benefits, then the largest magnitude along it.

Step 1 finds p on the simplex with -w_i law_z(p_i, D) = lambda for every target of positive weight. Step 2 solves

    max t   s.t.  z(r, D) >= t p  and the constraints.

Where several r reach that t, the one with the least weighted loss is taken. Source: CLIMB, arXiv 2509.15556.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.optimize import brentq, newton
from scipy.sparse import csr_array, eye_array, hstack

from climbopt.backends import Options, choose
from climbopt.certification.kkt import LimitsAt, flat, recover, smallest_curvature
from climbopt.foundations.errors import InputError
from climbopt.foundations.solution import Multipliers, Solution, Termination
from climbopt.model.templates import Array
from climbopt.numerics.quadratic import project
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.objectives import Weighted
from climbopt.procedures.joint import joint_form
from climbopt.procedures.procedure import Answer, Procedure, SlackRow, Steps
from climbopt.program import Affine, Combination, Label, MixtureFunctions, Rows, StandardForm, mixture_form

START_SHARE = 0.9
"""The cold start's t, as a share of the largest that the starting ratios allow."""
SLACK = 1e-6
"""A target whose z is above t p by more than this share of it is reported as slack."""
STRONG = 1e-7
"""Multipliers above this keep their row tight in every optimum of step 2."""
CURVATURE = 1e-9
"""Least curvature at which step 2's optimum is taken to be the only one."""
MAX_MAGNITUDES = 60
GIVE = 1e-9
"""Share of the largest t that the choice among its maximisers may give up, so that it has an inside."""
SETTLED = 1e-10
"""`iterate` stops when the magnitude changes by less than this."""


@dataclass(frozen=True)
class TwoStep(Procedure):
    """CLIMB's ratios, with the direction, the magnitude and the rows that are slack.

    Parameters
    ----------
    iterate : bool
        Repeat direction and magnitude until the direction is that at the magnitude reached.

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
            Where the law's z is no effective ratio, so that no amount of monolingual data is equal to it, or the
            objective is not the weighted loss.
        """
        if not isinstance(problem.objective, Weighted):
            raise InputError(
                f"two_step serves the weighted loss, and the objective is '{problem.objective.kind}'; use "
                "the procedure joint"
            )
        if not problem.model.law.effective_ratio:
            raise InputError(
                f"two_step needs a law whose z is an effective ratio, and that of '{problem.model.law.name}' "
                "is none; use the procedure joint"
            )
        if self.iterate:
            return _iterated(problem, backend, options)
        direction = equal_benefit_direction(problem, 1.0)
        form = magnitude_form(problem, direction)
        solution = choose(form, backend).solve(form, options)
        return _answer(problem, form, solution, direction, backend, options, None)


def counted_targets(problem: AllocationProblem) -> tuple[str, ...]:
    """Return the targets with a positive weight, which are the ones that two_step serves."""
    return tuple(name for name, weight in zip(problem.model.targets, problem.weight_vector, strict=True) if weight > 0)


def equal_benefit_direction(problem: AllocationProblem, magnitude: float) -> Array:
    """Return p, summing to 1, at which -w_i law_z(t p_i, D) is the same for every target; (n_targets,).

    One scalar root in lambda: each marginal benefit falls with z, so that lambda determines every z_i, and their
    sum falls with lambda.

    Parameters
    ----------
    problem : AllocationProblem
    magnitude : float
        t, the sum of the effective ratios; 1 for the direction alone.
    """
    targets, weights = counted_targets(problem), problem.weight_vector[problem.weight_vector > 0]
    response = problem.model.select(targets).at(problem.total_budget, problem.params)

    def log_benefit(log_z: Array) -> Array:
        return np.asarray(np.log(-weights * response.losses_and_slopes(np.exp(log_z))[1]))

    def rate(log_z: Array) -> Array:
        z = np.exp(log_z)
        return np.asarray(z * response.loss_curvatures(z) / response.losses_and_slopes(z)[1])

    equal = np.full(len(targets), np.log(magnitude / len(targets)))
    benefits = log_benefit(equal)
    if not np.isfinite(benefits).all():
        worst = targets[int(np.argmin(np.isfinite(benefits)))]
        raise InputError(
            f"the loss of '{worst}' does not fall with its effective ratio; two_step needs a law whose loss does"
        )

    def log_z_at(log_lambda: float) -> Array:
        return np.asarray(newton(lambda s: log_benefit(s) - log_lambda, equal, rate, tol=1e-14, maxiter=100))

    def excess(log_lambda: float) -> float:
        return float(np.log(np.exp(log_z_at(log_lambda)).sum() / magnitude))

    low, high = float(benefits.min()), float(benefits.max())
    root = low if high - low < 1e-14 else brentq(excess, low - 1e-9, high + 1e-9, xtol=1e-14)
    z = np.exp(log_z_at(root))
    return np.asarray(z / z.sum())


def benefit_residual(problem: AllocationProblem, direction: Array, magnitude: float) -> float:
    """Return the largest relative difference from their mean of the marginal benefits at magnitude times p."""
    response = problem.model.select(counted_targets(problem)).at(problem.total_budget, problem.params)
    weights = problem.weight_vector[problem.weight_vector > 0]
    benefits = -weights * response.losses_and_slopes(magnitude * direction)[1]
    return float(np.abs(benefits / benefits.mean() - 1).max())


def magnitude_form(problem: AllocationProblem, direction: Array) -> StandardForm:
    """Return step 2: min -t over (r, t) with z_i(r, D) - t p_i >= 0 for every counted target."""
    targets, n = counted_targets(problem), len(problem.model.sources)
    k = len(targets)
    shares = csr_array(hstack([csr_array((k, n)), csr_array(-direction[:, None])]))
    objective = Combination(np.append(np.zeros(n), -1.0), np.zeros(k), np.zeros(k))

    def reach(functions: MixtureFunctions, x: Array) -> Array:
        return np.array([(functions.at(x).rows[:k] / direction).min()])

    form = mixture_form(
        problem,
        targets,
        objective,
        constraints=Affine.build(n + 1, k, k, x=shares, z=eye_array(k)),
        limits=_shares(targets, np.zeros(k)),
        auxiliaries=("t",),
        best=reach,
    )
    return _inside(form, form.start)


def _shares(targets: Sequence[str], lower: Array) -> Rows:
    """Return the rows that give each target its share of effective data."""
    labels = tuple(Label(f"share[{name}]", unit="effective ratio") for name in targets)
    return Rows(lower, np.full(lower.size, np.inf), labels)


def _inside(form: StandardForm, start: Array) -> StandardForm:
    """Return the form started at the ratios of a point, with a t below the largest that they allow."""
    t = _reach(form, start[: form.n_ratios])
    return form.from_start(np.append(start[:-1], START_SHARE * t if t > 0 else t - 1.0))


def _reach(form: StandardForm, ratios: Array) -> float:
    """Return min_i z_i(r) / p_i: the largest t that some ratios allow."""
    return float(form.complete(ratios)[-1])


def _answer(
    problem: AllocationProblem,
    form: StandardForm,
    solution: Solution,
    direction: Array,
    backend: str | None,
    options: Options,
    iterations: int | None,
) -> Answer:
    """Return the answer of a solved step 2: ratios made feasible, t recomputed, ties broken, slack explained."""
    if solution.x is None:
        return Answer(None, form, None, solution)
    x = form.nearest(solution.x)
    unique = False
    if solution.termination.settled:
        x, unique = _tie_broken(problem, form, x, direction, backend, options)
    multipliers = recover(form, x)
    steps = Steps(
        targets=counted_targets(problem),
        direction=direction,
        magnitude=float(x[-1]),
        residual=benefit_residual(problem, direction, float(x[-1]) if iterations is not None else 1.0),
        slack=_slack_rows(problem, form, x, direction, multipliers),
        unique=unique,
        iterations=iterations,
    )
    return Answer(x[: form.n_ratios], form, x, solution, steps)


def _tie_broken(
    problem: AllocationProblem, form: StandardForm, x: Array, direction: Array, backend: str | None, options: Options
) -> tuple[Array, bool]:
    """Return, among the points that reach t, the one with the least weighted loss, and whether it was settled.

    Where curvature shows that there is one such point only, that is x. Otherwise a second problem is solved, by the
    same backend and, where that fails, by the default one.
    """
    rows, multipliers = LimitsAt(form, x), recover(form, x)
    curvature = smallest_curvature(rows, multipliers, np.abs(flat(multipliers)) > STRONG)
    if curvature is None or curvature > CURVATURE:
        return x, True
    joint, k, n = joint_form(problem), len(direction), form.n_ratios
    second = mixture_form(
        problem,
        counted_targets(problem),
        Combination(np.zeros(n), np.zeros(k), problem.weight_vector[problem.weight_vector > 0]),
        constraints=Affine.build(n, k, k, z=eye_array(k)),
        limits=_shares(counted_targets(problem), (1 - GIVE) * x[-1] * direction),
    )
    second = second.from_start(second.complete(x[:n]))
    for name, used in ((backend, options), (None, replace(options, native={}))):
        solution = choose(second, name).solve(second, used)
        if solution.x is None or not solution.termination.settled:
            continue
        tried = form.complete(project(solution.x, second.polytope)[:n])
        if tried[-1] < (1 - 2 * GIVE) * x[-1]:
            continue
        found, known = (joint.functions.at(joint.complete(ratios[:n])).value for ratios in (tried, x))
        return (tried if found < known else x), True
    return x, False


def _slack_rows(
    problem: AllocationProblem, form: StandardForm, x: Array, direction: Array, multipliers: Multipliers
) -> tuple[SlackRow, ...]:
    """Return the targets whose z is above their share, each with the reason; none where no magnitude was reached."""
    if x[-1] <= 0:
        return ()
    targets = counted_targets(problem)
    excess = form.functions.at(x).rows[: len(targets)] / (x[-1] * direction)
    return tuple(
        SlackRow(targets[i], float(excess[i]), _reason(problem, form, x, i, multipliers))
        for i in np.flatnonzero(excess > SLACK).tolist()
    )


def _reason(problem: AllocationProblem, form: StandardForm, x: Array, i: int, multipliers: Multipliers) -> str:
    """Return why target i has more than its share: a bound that holds it there, what it gives, or what it gets."""
    targets, sources = counted_targets(problem), problem.model.sources
    name = targets[i]
    if name not in sources:
        return "it is no source: what it gets is transfer from the others"
    j = sources.index(name)
    rows = LimitsAt(form, x)
    if rows.sides[j] in (-1, 2):
        if form.polytope.bounds.lower[j] <= 0:
            return "it needs no data of its own: what it gets is transfer from the others"
        return f"{rows.side(j, upper=False).name} holds its ratio up"
    k = len(targets)
    given = -multipliers.nonlinear[:k] * form.functions.at(x).jacobian[:k, j]
    given[i] = 0.0
    best = [targets[k] for k in np.argsort(-given)[:2] if given[k] > 0]
    if best:
        return f"over-allocated on purpose: its data raise {' and '.join(best)}"
    return "a constraint on the others leaves ratio over, and it lowers the loss most here"


def _iterated(problem: AllocationProblem, backend: str | None, options: Options) -> Answer:
    """Return two_step with the direction taken at the magnitude found: the root of T(p(t)) = t."""
    last: list[tuple[StandardForm, Solution, Array]] = []
    began = time.perf_counter()

    def remaining() -> Options:
        """Return the options with what is left of the time limit, which is for all magnitudes together."""
        if options.time_limit is None:
            return options
        return replace(options, time_limit=max(options.time_limit - (time.perf_counter() - began), 1e-3))

    def excess(t: float) -> float:
        direction = equal_benefit_direction(problem, t)
        form = magnitude_form(problem, direction)
        if last and last[-1][1].x is not None:
            form = _inside(form, project(0.9 * last[-1][1].x + 0.1 * form.start, form.polytope))
        solution = choose(form, backend).solve(form, remaining())
        last.append((form, solution, direction))
        if solution.x is None or not solution.termination.settled or len(last) > MAX_MAGNITUDES:
            raise StopIteration
        return float(form.nearest(solution.x)[-1]) - t

    try:
        first = 1.0 + excess(1.0)
        low, high = first / 1.5, first * 1.5
        while excess(low) < 0:
            low /= 2
        while excess(high) > 0:
            high *= 2
        excess(float(brentq(excess, low, high, xtol=SETTLED)))
    except StopIteration:
        form, solution, direction = last[-1]
        stopped = Termination.ITERATION_LIMIT if solution.termination.settled else solution.termination
        return _answer(problem, form, replace(solution, termination=stopped), direction, backend, options, len(last))
    return _answer(problem, *last[-1], backend, options, len(last))
