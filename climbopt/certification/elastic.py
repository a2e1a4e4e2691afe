"""Why no mixture meets a problem's nonlinear rows: elastic problems, and the least relaxation of each limit.

    min sum s   s.t.  the linear rows,  lower - s <= c(x) <= upper + s,  s >= 0

Where the sum cannot be 0 the limits are in conflict; a lower bound above 0 proves it.
Source: Chinneck, Feasibility and Infeasibility in Optimization, Springer 2008, chapters 6 and 7.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Unpack

import numpy as np
from scipy.sparse import csr_array

from climbopt.backends import Options, choose
from climbopt.backends.backend import CommonOptions, OptionsLike, options_of
from climbopt.certification.kkt import LimitsAt, flat, recover
from climbopt.certification.local import lower_bound, repair
from climbopt.files import ProblemLike, as_problem
from climbopt.foundations.frozen import check_arguments
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import ExpressionRow
from climbopt.program import (
    Auxiliaries,
    Conflict,
    Member,
    MixtureFunctions,
    Ordering,
    StandardForm,
    Table,
    expression_rows,
    functions_of,
    mixture_form,
    targets_read,
)
from climbopt.program.conflict import (
    Limit,
    conflict_of,
    kept_open,
    limits_of,
    linear_conflict,
    minimal_conflict,
    restricted,
    value_of,
)

MOST_SOLVES = 100
"""Limit on the solves of one explanation; beyond it, all limits to relax together are reported, not a minimal set."""
MOST_ITERATIONS = 300
"""Iteration limit of each solve; interior-point methods converge within some tens or not at all."""
OTHER_STARTS = 2
"""Starts beside the cold one, where a local minimum proves nothing."""
TOWARDS_VERTEX = 0.9
"""Position of those between the cold start (0) and a vertex of the polytope (1)."""
ROOM = 0.1
"""Slack of a start beyond its violation, in the row's unit."""
HELD = 1e-7
"""A multiplier above this shows that a limit takes part in the conflict."""


class _StoppedError(Exception):
    """The limit on solves or time is reached, or no solve returned a point."""


@dataclass(frozen=True, eq=False)
class _Elastic:
    """The elastic problem of a set of limits; its last variables are one slack per nonlinear limit."""

    form: StandardForm
    soft: tuple[Limit, ...]

    def slack(self, x: Array) -> Array:
        """Return the violation of each nonlinear limit at a point of the form, in the unit of the form's row."""
        return x[self.form.n - len(self.soft) :]

    def inside(self, ratios: Array) -> Array:
        """Return the point with the given ratios and slacks strictly above their violations."""
        x = self.form.complete(ratios)
        # complete() gives the least slacks; interior-point methods start above them.
        x[self.form.n - len(self.soft) :] += ROOM
        return np.minimum(x, self.form.polytope.bounds.upper)


@dataclass(frozen=True, eq=False)
class _Nearest:
    """The point of an elastic problem with the least known sum of violations."""

    elastic: _Elastic
    x: Array
    proved: bool
    """Whether it is proved that every mixture violates one of the limits."""

    @property
    def broken(self) -> float:
        """The largest violation, including that of the rows which restrict z to its domain."""
        violation = LimitsAt(self.elastic.form, self.x).violation.max()
        return float(self.elastic.slack(self.x).max(initial=violation))


@check_arguments
def conflict(problem: ProblemLike, *, options: OptionsLike = None, **common: Unpack[CommonOptions]) -> Conflict | None:
    """Return a set of incompatible constraints, and the relaxation that each needs; None where no conflict is known.

    Parameters
    ----------
    problem : AllocationProblem, path or name
    options : Options or mapping, optional
    tolerance, max_iterations, time_limit
        Keywords for these of :class:`climbopt.Options`; the time limit is for the whole explanation.

    Examples
    --------
    >>> import climbopt
    >>> model = climbopt.load_problem("equal_beta").model
    >>> floors = climbopt.Floor({"en": 0.6, "de": 0.3}), climbopt.LossCeiling({"yo": 1.0})
    >>> conflict = climbopt.conflict(climbopt.AllocationProblem(model, "1T", constraints=floors))
    >>> conflict.proved
    True
    """
    declared, settings = as_problem(problem), options_of(options, common)
    linear = linear_conflict(declared)
    return explain(declared, settings) if linear is None and expression_rows(declared) else linear


def explain(problem: AllocationProblem, options: Options) -> Conflict | None:
    """Return why no mixture meets a problem's constraints; None where one does, or where neither could be shown.

    Parameters
    ----------
    problem : AllocationProblem
        Its linear constraints alone are feasible.
    options : Options
        A violation within the tolerance counts as 0; the time limit is for the whole explanation.
    """
    search, limits = _ElasticSearch(problem, options), limits_of(problem.rows)
    try:
        whole = search.nearest(limits)
    except _StoppedError:
        return None
    if whole.broken <= options.tolerance:
        return None
    try:
        # By Farkas' lemma the limits with a multiplier are in conflict by themselves where all is convex.
        names = _with_multiplier(whole)
        candidates = [limit for limit in limits if limit.name in names]
        if search.feasible(candidates):  # not convex: no such claim
            candidates = limits
        members = minimal_conflict(candidates, search.feasible)
        amounts = [
            (limit, search.least_amount(limit, [other for other in members if other != limit])) for limit in members
        ]
        if any(amount is not None and amount <= 0 for _, amount in amounts):
            return None  # a mixture meets all limits, although the elastic problem's minimum did not
        proved = search.nearest(members).proved
    except _StoppedError:
        return _all_that_gives(whole, options.tolerance)
    return conflict_of(limits, amounts, proved, search.shown_feasible)


def _with_multiplier(nearest: _Nearest) -> set[str]:
    """Return the names of the limits with a nonzero multiplier, which are in conflict where all is convex."""
    rows = LimitsAt(nearest.elastic.form, nearest.x)
    values = flat(recover(rows))
    return {rows.side(k, upper=bool(values[k] > 0)).name for k in np.flatnonzero(np.abs(values) > HELD).tolist()}


def _all_that_gives(whole: _Nearest, tolerance: float) -> Conflict:
    """Return the limits violated at the elastic problem's minimum, all of which have to be relaxed together."""
    # Slacks are in the unit of the scaled row: over its scale and per_unit they are in the user's unit.
    scales = {label.name: label.scale for label in whole.elastic.form.nonlinear.labels}
    amounts = [
        (limit, slack / (scales[limit.name] * limit.row.per_unit))
        for limit, slack in zip(whole.elastic.soft, whole.elastic.slack(whole.x).tolist(), strict=True)
        if slack > tolerance
    ]
    return Conflict(
        tuple(Member.of(limit, amount, alone=len(amounts) == 1) for limit, amount in amounts),
        whole.proved,
        minimal=False,
    )


@dataclass(eq=False)
class _ElasticSearch:
    """The solves of one explanation, counted and cached."""

    problem: AllocationProblem
    options: Options
    _solves: int = 0
    _known: dict[frozenset[tuple[str, bool, float]], _Nearest] = field(default_factory=dict)
    _began: float = field(default_factory=time.perf_counter)

    def feasible(self, limits: Sequence[Limit]) -> bool:
        """Return whether a mixture that meets the limits is known; linear limits alone are known to have one."""
        return not _nonlinear(limits) or self.nearest(limits).broken <= self.options.tolerance

    def shown_feasible(self, limits: Sequence[Limit]) -> bool:
        """Return whether a mixture that meets the limits is known; False once the limit on solves is reached."""
        try:
            return self.feasible(limits)
        except _StoppedError:
            return False

    def nearest(self, limits: Sequence[Limit]) -> _Nearest:
        """Return the best known mixture of the elastic problem of the limits; equal sets of limits are solved once."""
        # QuickXplain asks about many overlapping subsets, in any order.
        key = frozenset((limit.name, limit.upper, limit.bound) for limit in limits)
        if key not in self._known:
            self._known[key] = self._nearest(limits)
        return self._known[key]

    def _nearest(self, limits: Sequence[Limit]) -> _Nearest:
        """Solve an elastic problem from several starts, until its limits are met or proved to be in conflict."""
        elastic = elastic_form(self.problem, limits)
        form = elastic.form
        points = [_Nearest(elastic, form.complete(form.start[: form.n_ratios]), False)]
        # The cold start already meets every limit.
        if points[0].broken == 0:
            return points[0]
        for x, bound in self._solved(form, _starts(elastic)):
            points.append(_Nearest(elastic, x, bound > 0))  # of the sum of violations: above 0 proves a conflict
            if points[-1].proved or points[-1].broken <= self.options.tolerance:
                return points[-1]
        if len(points) == 1:
            raise _StoppedError
        return min(points[1:], key=lambda point: form.functions.at(point.x).value)

    def least_amount(self, limit: Limit, others: Sequence[Limit]) -> float | None:
        """Return the least known relaxation with which a limit holds beside others; None where these do not hold."""
        form = value_form(self.problem, limit, others)
        # A mixture that meets the other limits is a candidate, and the better start.
        points, starts = [], [form.start]
        if _nonlinear(others):
            nearest = self.nearest(others)
            if nearest.broken > self.options.tolerance:
                return None
            points.append(form.complete(nearest.x[: form.n_ratios]))
            starts.insert(0, points[0])
        for x, bound in self._solved(form, starts):
            points.append(x)
            if form.functions.at(x).value - bound <= self.options.tolerance:
                break
        amounts = (
            limit.amount(limit.sign * form.functions.at(x).value)
            for x in points
            # Only points that meet the other limits say what this one must give.
            if LimitsAt(form, x).violation.max() <= self.options.tolerance
        )
        return min(filter(np.isfinite, amounts), default=None)

    def _solved(self, form: StandardForm, starts: Iterable[Array]) -> Iterator[tuple[Array, float]]:
        """Yield the repaired points that the first backend that takes a form reaches, and lower bounds, or -inf."""
        limit = self.options.time_limit
        for start in starts:
            remaining = None if limit is None else limit - (time.perf_counter() - self._began)
            if self._solves >= MOST_SOLVES or (remaining is not None and remaining <= 0):
                raise _StoppedError
            self._solves += 1
            solution = choose(form).solve(
                form.from_start(start), Options(self.options.tolerance, MOST_ITERATIONS, remaining)
            )
            if solution.x is None:
                continue
            x = repair(form, solution.x)
            at = form.functions.at(x)
            # A point outside a law's domain has no violation to compare.
            if np.isfinite([at.value, *at.rows, *at.gradient]).all():
                bound = lower_bound(form, x, recover(LimitsAt(form, x)))
                yield x, -np.inf if bound is None else bound


def elastic_form(problem: AllocationProblem, limits: Sequence[Limit]) -> _Elastic:
    """Return the problem of the least sum of violations of the nonlinear limits, subject to the linear ones."""
    chosen = restricted(problem, limits)
    rows = expression_rows(chosen)
    position = {row.name: k for k, row in enumerate(rows)}
    soft = tuple(limit for limit in limits if limit.name in position)
    # Row of c, and sign, of each soft limit: +1 for an upper one.
    at = np.array([position[limit.name] for limit in soft], dtype=np.intp)
    signs = np.array([limit.sign for limit in soft])
    k, n, targets = len(soft), len(problem.model.sources), _targets(problem, rows)

    def violations(functions: MixtureFunctions, x: Array) -> Array:
        bounds = np.where(signs > 0, form.nonlinear.upper[at], form.nonlinear.lower[at])
        return np.asarray(np.maximum(signs * (functions.at(x).rows[at] - bounds), 0.0))

    form = mixture_form(
        chosen,
        targets,
        Table.build(n + k, len(targets), x=np.append(np.zeros(n), np.ones(k))),
        auxiliaries=Auxiliaries(tuple(f"slack[{limit.name}]" for limit in soft), violations),
    )
    slack, functions = np.arange(form.n - k, form.n), functions_of(form)
    table = functions.table
    # c(x) - s <= upper, or c(x) + s >= lower: every nonlinear row with a slack of its own
    on_slack = csr_array((-signs.astype(float), (1 + at, slack)), shape=table.coefficients.shape)
    table = replace(table, coefficients=csr_array(table.coefficients + on_slack))
    total = form.complete(form.start[:n])[slack].sum()  # an upper bound of the minimum
    lower, upper = form.polytope.bounds.lower.copy(), form.polytope.bounds.upper.copy()
    # Slacks up to about twice the known total lose no optimum, and keep the polytope bounded for the Frank-Wolfe bound.
    lower[slack], upper[slack] = 0.0, 2 * total + 1 if np.isfinite(total) else np.inf
    form = replace(
        form,
        polytope=replace(form.polytope, bounds=form.polytope.bounds.within(lower, upper)),
        functions=replace(functions, table=table),
    )
    return _Elastic(form, soft)


def _starts(elastic: _Elastic) -> Iterator[Array]:
    """Yield the cold start, and starts near vertices of the polytope; those outside the law's domain are left out."""
    form, rng = elastic.form, np.random.default_rng(0)
    middle, n = form.start[: form.n_ratios], form.n_ratios
    for share in (0.0, *[TOWARDS_VERTEX] * OTHER_STARTS):
        # A random cost leads to a random vertex.
        vertex = form.polytope.linear_minimum(np.append(rng.normal(size=n), np.zeros(form.n - n)))[1][:n]
        start = elastic.inside(middle + share * (vertex - middle))
        if np.isfinite(start).all():
            yield start


def value_form(problem: AllocationProblem, limit: Limit, others: Sequence[Limit]) -> StandardForm:
    """Return the problem of the least value of a limit's row under other limits (the largest, for a lower limit)."""
    row, sources = limit.row, problem.model.sources
    chosen = restricted(problem, [*others, *kept_open(limit)])
    if isinstance(row, ExpressionRow):
        targets = _targets(problem, [row])
        return mixture_form(chosen, targets, Ordering(sources, targets).table([limit.sign * row.expression]))
    targets = _targets(problem, expression_rows(chosen))
    form = mixture_form(chosen, targets, Table.build(len(sources), len(targets)))
    functions, (slopes, constant) = functions_of(form), value_of(row, sources, form.polytope)
    objective = Table.build(form.n, functions.table.n_targets, x=limit.sign * slopes, constant=limit.sign * constant)
    return replace(form, functions=replace(functions, table=objective + functions.table[1:]))


def _targets(problem: AllocationProblem, rows: Sequence[ExpressionRow]) -> tuple[str, ...]:
    """Return the targets that rows depend on; the first target of the model where they depend on none."""
    return tuple(dict.fromkeys(targets_read(rows))) or problem.model.targets[:1]


def _nonlinear(limits: Sequence[Limit]) -> bool:
    """Whether any limit is nonlinear."""
    return any(isinstance(limit.row, ExpressionRow) for limit in limits)
