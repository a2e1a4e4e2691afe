"""problem -> StandardForm: the linear part, what a procedure minimises under which rows, the user's other rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import sympy as sp
from scipy.sparse import csr_array, eye_array

from climbopt.foundations.errors import InputError
from climbopt.model.ensemble import Model
from climbopt.model.expressions import entry
from climbopt.model.lifting import Split, split
from climbopt.model.mixture import Indices, MixtureModel
from climbopt.model.templates import Array
from climbopt.numerics.polytope import EmptyPolytopeError, Label, Polytope, Rows, balancing
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import ExpressionRow
from climbopt.problem.table import Ordering, Table
from climbopt.program.conflict import linear_conflict
from climbopt.program.functions import MixtureFunctions
from climbopt.program.linear_rows import Excess, LinearPart, excesses_of, linear_part, row_limits
from climbopt.program.standard_form import StandardForm

START_ROUNDS = 20
"""Linear programs tried to bring a start into the law's domain."""
ABOVE_LEAST = 0.1
"""How far above its least value an excess starts, as a share of its ratio."""
NOISE = 1e-8
"""A row's gradient is taken to be no smaller than this share of its value."""
LARGEST_ROOM = 1.1
"""The cold start's t for the largest loss, as a multiple of the least t that is feasible at the starting ratios."""
LEAST_EFFECTIVE_TOKENS = 1.0
"""z_lower of a row that keeps z in its law's domain, as D z in tokens."""


@dataclass(frozen=True, eq=False)
class Auxiliaries:
    """Variables of a procedure, without bounds.

    Parameters
    ----------
    names : tuple of str
    best : callable
        Returns their optimal values, (k,), for functions and an x whose auxiliaries are 0.
    """

    names: tuple[str, ...]
    best: Callable[[MixtureFunctions, Array], Array]


NO_AUXILIARIES = Auxiliaries((), lambda functions, x: np.zeros(0))


def mixture_form(
    problem: AllocationProblem,
    targets: Sequence[str],
    table: Table,
    limits: Rows | None = None,
    auxiliaries: Auxiliaries = NO_AUXILIARIES,
) -> StandardForm:
    """Return a standard form over the ratios of a problem and unbounded auxiliaries, under the problem's constraints.

    Parameters
    ----------
    problem : AllocationProblem
        Provides the model, the constraints, budget and history.
    targets : sequence of str
        The targets that `table` is written over, in their order.
    table : Table
        The objective, and behind it the procedure's own rows, over (ratios, auxiliaries), z and L of `targets`.
    limits : Rows, optional
        Limits and names of the procedure's own rows.
    auxiliaries : Auxiliaries
        Further variables.

    Notes
    -----
    Where slopes of z jump, and f and each row is proved convex, the excesses of ratios over the kinks become variables
    (lifting.py), and the form is smooth.

    Raises
    ------
    InputError
        Where no mixture meets the linear constraints: with a minimal set in conflict, and what each must give.
    """
    formulation = _Formulation(
        problem,
        Ordering(problem.model.sources, tuple(targets), auxiliaries.names),
        table,
        Rows.free(()) if limits is None else limits,
        auxiliaries,
    )
    # Lifting is exact where the problem is convex: then each excess takes its least value at the optimum.
    direct, model = formulation.form(None), problem.model
    kinks = (
        split(model, problem.total_budget, problem.params) if isinstance(model, MixtureModel) and model.kinked else None
    )
    if kinks is None or not _convex(direct):
        return direct
    # The lifted form must be proved convex too, or the excesses need not be tight.
    smooth = formulation.form(kinks)
    return smooth if _convex(smooth) else direct


def joint_form(problem: AllocationProblem) -> StandardForm:
    """Return min f(r) over the problem's mixtures; targets that f does not depend on are omitted.

    The largest of several losses is min t with L_i / reference_i <= t.
    """
    goal, n = problem.goal, len(problem.model.sources)
    if not goal.largest:
        return mixture_form(problem, goal.targets, goal.table)
    k = len(goal.table)

    def largest(functions: MixtureFunctions, x: Array) -> Array:
        return np.array([functions.at(x).rows[:k].max()])

    on_t = np.append(np.zeros(n), 1.0)  # epigraph form over x = (r, t): f = t, rows L_i / reference_i - t <= 0
    form = mixture_form(
        problem,
        goal.targets,
        Table.build(n + 1, k, x=on_t) + Table.build(n + 1, k, k, x=-np.tile(on_t, (k, 1)), loss=goal.table.parts.loss),
        Rows(np.full(k, -np.inf), np.zeros(k), tuple(Label(f"largest[{t}]", unit=goal.unit) for t in goal.targets)),
        Auxiliaries(("t",), largest),
    )
    # t strictly above every loss, so that interior-point methods start inside the rows.
    start = form.complete(form.start[:n])
    return form.from_start(np.append(start[:-1], LARGEST_ROOM * start[-1]))


def extreme(form: StandardForm, j: int, sign: int, level: float) -> StandardForm:
    """Return min sign * x_j over the points of a mixture form whose objective is at most `level`.

    The objective becomes the last nonlinear row, ``level``.
    """
    functions = functions_of(form)
    objective = Table.build(form.n, functions.table.n_targets, x=sign * np.eye(form.n)[j])
    return replace(
        form,
        functions=replace(functions, table=objective + functions.table[1:] + functions.table[:1]),
        nonlinear=form.nonlinear
        + Rows(np.full(1, -np.inf), np.full(1, level), (Label("level", unit="unit of the objective"),)),
    )


def functions_of(form: StandardForm) -> MixtureFunctions:
    """Return the functions of a form that was made of a problem, which gives no others."""
    assert isinstance(form.functions, MixtureFunctions)
    return form.functions


def _convex(form: StandardForm) -> bool:
    """Return whether f and each row is proved convex by itself."""
    return functions_of(form).convex_one_by_one(form.polytope, form.nonlinear)


@dataclass(frozen=True, eq=False)
class _Formulation:
    """The arguments of :func:`mixture_form`; `own` is the ordering of the procedure's table."""

    problem: AllocationProblem
    own: Ordering
    table: Table
    limits: Rows
    auxiliaries: Auxiliaries

    def form(self, kinks: Split | None) -> StandardForm:
        """Return the standard form, with the excesses over `kinks` of z as variables."""
        problem, excesses = self.problem, () if kinks is None else _excesses(self.problem, kinks)
        # The polytope holds every linear row; c is left with the procedure's rows and the user's nonlinear ones.
        part, start = _linear(problem, excesses)
        users = expression_rows(problem)
        ordering = replace(
            self.own,
            # Targets of the procedure first, then those that the user's rows read.
            targets=tuple(dict.fromkeys([*self.own.targets, *targets_read(users)])),
            excesses=part.excess_names,
        )
        table = ordering.moved(self.table, self.own) + ordering.table([row.expression for row in users])
        model = problem.model if kinks is None else kinks.model
        functions = self._functions(ordering, model, table)
        domain = np.zeros(0, dtype=np.intp)
        if table.reads_losses:  # L(z) needs z > 0, and an excess above its least value lowers z
            unlifted = functions if kinks is None else self._functions(ordering, problem.model, table)
            domain = np.flatnonzero(~np.concatenate([one.z_positive for one in unlifted.proofs(part.polytope)]))
            start = _start_in_domain(functions, part.polytope, start) if domain.size or excesses else start
        n, extra = len(ordering.variables), len(self.auxiliaries.names)
        start = np.append(start, np.zeros(extra))
        # only the user's rows are balanced; a procedure states its own rows in units near 1
        factors = _balancing_rows(functions, start)[len(self.limits) :] if users else np.zeros(0)
        if (factors != 1).any():
            # factors are powers of 16, so that the scaled coefficients are exact
            table = table[: len(self.table)] + ordering.table(
                [sp.Rational(factor) * row.expression for row, factor in zip(users, factors.tolist(), strict=True)]
            )
            functions = self._functions(ordering, model, table)
        limits = self.limits + row_limits(users).scaled(factors)
        if domain.size:
            z_rows, least = _domain_rows(functions, domain, problem)
            functions, limits = replace(functions, table=functions.table + z_rows), limits + least

        def complete(ratios: Array) -> Array:
            x = np.concatenate([ratios, excesses_of(part, ratios), np.zeros(extra)])
            # Auxiliaries of the procedure are the last of x, and a function of the rest.
            return np.append(x[: n - extra], self.auxiliaries.best(functions, x))

        return StandardForm(
            variables=ordering.variables,
            polytope=_with_free(part.polytope, self.auxiliaries.names),
            functions=functions,
            nonlinear=limits,
            n_ratios=len(ordering.sources),
            start=start,
            complete=complete,
            excess_of=tuple(j for _, j, _ in excesses),
            kinked=model.kinked,
        )

    def _functions(self, ordering: Ordering, model: Model, table: Table) -> MixtureFunctions:
        """Return f and c, without the rows that keep z in its domain."""
        # Excesses are sources of the lifted model; without history of their own, their offset is 0.
        problem, further = self.problem, len(model.sources) - len(ordering.sources)
        responses = model.select(ordering.targets).at(problem.total_budget, problem.params)
        return MixtureFunctions(
            responses,
            np.append(problem.cumulative(np.zeros(len(ordering.sources))), np.zeros(further)),
            problem.run_share,
            table.over(responses.model.mean),
            further,
        )


def _excesses(problem: AllocationProblem, kinks: Split) -> tuple[Excess, ...]:
    """Return the auxiliaries for the excess of cumulative ratios over their kinks, in ratios of the run."""
    history = problem.cumulative(np.zeros(len(problem.model.sources)))[kinks.excess_of]
    # cumulative = history + run_share r, so that the kink of a cumulative ratio lies at this ratio of the run
    # Solved for r at cumulative = kink.
    centers = (kinks.kinks - history) / problem.run_share
    return tuple(
        (f"kink[{problem.model.sources[j]}]", j, center)
        for j, center in zip(kinks.excess_of.tolist(), centers.tolist(), strict=True)
    )


def _linear(problem: AllocationProblem, excesses: Sequence[Excess]) -> tuple[LinearPart, Array]:
    """Return the linear part, and a start inside it whose excesses are near their least values."""
    try:
        part = linear_part(problem, excesses)
        start = part.polytope.interior_point()
    except EmptyPolytopeError:
        conflict = linear_conflict(problem)
        raise InputError("no mixture meets all constraints" if conflict is None else conflict.message) from None
    n, k = len(problem.model.sources), len(excesses)
    # Strictly above the least excess, so that interior-point methods start inside its row.
    start[n : n + k] = excesses_of(part, start[:n])[:k] + ABOVE_LEAST * start[part.excess_of[:k]]
    return part, start


def _with_free(polytope: Polytope, names: Sequence[str]) -> Polytope:
    """Return a polytope with further unbounded variables, which appear in no row."""
    return Polytope(
        polytope.bounds + Rows.free([Label(name) for name in names]),
        csr_array(np.pad(polytope.dense, ((0, 0), (0, len(names))))),
        polytope.rows,
    )


def _balancing_rows(functions: MixtureFunctions, start: Array) -> Array:
    """Return the factors of the rows, (k,), that bring their gradients at the start near 1, for the solvers.

    A gradient below the noise of the row's own value is rounding error, and is not used.
    """
    at = functions.at(start)
    return balancing(np.maximum(np.abs(at.jacobian).max(axis=1, initial=0.0), NOISE * np.abs(at.rows)))


def _domain_rows(functions: MixtureFunctions, domain: Indices, problem: AllocationProblem) -> tuple[Table, Rows]:
    """Return the rows z_i >= least for the targets in `domain`, and their limits."""
    n_targets, names = functions.table.n_targets, functions.names
    # z D of one token or more keeps z off the law's pole at 0, and cuts off no mixture of interest.
    least = np.full(len(domain), LEAST_EFFECTIVE_TOKENS / problem.total_budget)
    labels = tuple(Label(f"domain[{names[i]}]", unit="effective ratio", domain=True) for i in domain.tolist())
    table = Table.build(functions.table.n, n_targets, len(domain), z=eye_array(n_targets, format="csr")[domain])
    return table, Rows(least, np.full(len(domain), np.inf), labels)


def _start_in_domain(functions: MixtureFunctions, polytope: Polytope, start: Array) -> Array:
    """Return a start at which every z is positive; `start` itself if no such point was reached.

    Maximises min z by successive linear programs, max s with z(r) + J (y - r) >= s over y in the polytope, each step
    shortened until min z increases.
    """

    def least(x: Array) -> float:
        return float(functions.responses.z(functions.cumulative(x)).min())

    x = start
    for _ in range(START_ROUNDS):
        z, jacobian = functions.responses.z_and_jacobian(functions.cumulative(x))
        if (z > 0).all() or not (np.isfinite(z).all() and np.isfinite(jacobian).all()):
            break  # there, or at a pole, from where no line leads on
        # z linearised at x: z + J (y - x) = (z - J x) + J y; auxiliaries do not enter z.
        slopes = np.hstack([functions.scale * jacobian, np.zeros((z.size, x.size - jacobian.shape[1]))])
        step = polytope.largest_minimum(z - slopes @ x, slopes) - x
        # Short of the vertex itself, which lies on bounds.
        better = (y for length in (0.999, 0.5, 0.25, 0.1) if least(y := x + length * step) > float(z.min()))
        x = next(better, x)
    return x if least(x) > 0 else start


def expression_rows(problem: AllocationProblem) -> tuple[ExpressionRow, ...]:
    """Return the rows of a problem that are not linear in the ratios."""
    return tuple(row for row in problem.rows if isinstance(row, ExpressionRow))


def targets_read(rows: Iterable[ExpressionRow]) -> list[str]:
    """Return the targets whose z or loss some rows depend on."""
    return [
        language for row in rows for kind, language in sorted(map(entry, row.expression.free_symbols)) if kind != "r"
    ]
