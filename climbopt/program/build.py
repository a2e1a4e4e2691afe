"""problem -> StandardForm: the linear part, what a procedure minimises under which rows, the user's other rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from climbopt.foundations.errors import InputError
from climbopt.model.convexity import Proofs
from climbopt.model.lifting import Split, split
from climbopt.model.mixture import Indices, MixtureModel, Response
from climbopt.model.outer import Outer
from climbopt.model.templates import Array
from climbopt.numerics.polytope import EmptyPolytopeError, Label, Polytope, Rows
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import ExpressionRow
from climbopt.program.conflict import linear_conflict
from climbopt.program.functions import MixtureFunctions
from climbopt.program.layout import Layout, RowFunctions, expression_rows, targets_read
from climbopt.program.linear import Excess, LinearPart, linear_part
from climbopt.program.parts import Affine, Combination
from climbopt.program.standard_form import StandardForm

START_ROUNDS = 20
"""Linear programs tried to bring a start into the law's domain."""
ABOVE_LEAST = 0.1
"""How far above its least value an excess starts, as a share of its ratio."""
LEAST_EFFECTIVE_TOKENS = 1.0
"""z_lower of a row that keeps z in its law's domain, as D z in tokens."""


def mixture_form(
    problem: AllocationProblem,
    targets: Sequence[str],
    objective: Combination,
    curved: Outer | None = None,
    constraints: Affine | None = None,
    limits: Rows | None = None,
    auxiliaries: Sequence[str] = (),
    best: Callable[[MixtureFunctions, Array], Array] | None = None,
) -> StandardForm:
    """Return a standard form over the ratios of a problem and unbounded auxiliaries, under the problem's constraints.

    Parameters
    ----------
    problem : AllocationProblem
        Gives the model, the constraints, budget and history.
    targets : sequence of str
        The targets that `objective` and `constraints` are written over, in their order.
    objective : Combination
        Over (ratios, auxiliaries), z and L of `targets`; without a curved part.
    curved : Outer, optional
        What is added to the objective.
    constraints : Affine, optional
        The procedure's own rows, over the same.
    limits : Rows, optional
        Limits and names of those.
    auxiliaries : sequence of str
        Names of further variables.
    best : callable, optional
        Returns the best auxiliaries for x whose auxiliaries are 0.

    Notes
    -----
    Where slopes of z jump, and f and each row is proved convex, the excesses of ratios over the kinks become variables
    (kinks.py), and the form is smooth.

    Raises
    ------
    InputError
        Where no mixture meets the linear constraints: with a minimal set in conflict, and what each must give.
    """
    written = _Written(problem, tuple(targets), objective, curved, constraints, limits, tuple(auxiliaries), best)
    direct, kinks = written.form(None), split(problem.model, problem.total_budget, problem.params)
    if kinks is None or not _convex(direct):
        return direct
    smooth = written.form(kinks)
    return smooth if _convex(smooth) else direct


def _convex(form: StandardForm) -> bool:
    """Return whether f and each row is proved convex by itself."""
    assert isinstance(form.functions, MixtureFunctions)  # _Written gives no others
    return form.functions.convex_one_by_one(form.polytope, form.nonlinear)


@dataclass(frozen=True, eq=False)
class _Written:
    """What :func:`mixture_form` was asked for."""

    problem: AllocationProblem
    targets: tuple[str, ...]
    objective: Combination
    curved: Outer | None
    constraints: Affine | None
    limits: Rows | None
    auxiliaries: tuple[str, ...]
    best: Callable[[MixtureFunctions, Array], Array] | None

    def form(self, kinks: Split | None) -> StandardForm:
        """Return the standard form, with the excesses over some kinks of z as variables of their own."""
        problem, excesses = self.problem, () if kinks is None else _excesses(self.problem, kinks)
        part, start = _linear(problem, excesses)
        own = expression_rows(problem)
        known = set(self.targets)
        layout = Layout(
            problem.model.sources,
            part.excess_names,
            self.auxiliaries,
            (*self.targets, *dict.fromkeys(name for name in targets_read(own) if name not in known)),
        )
        functions, rows = self._functions(layout, own, problem.model if kinks is None else kinks.model)
        domain = np.zeros(0, dtype=np.intp)
        if functions.reads_losses:  # excesses that are not the least lower z, and solve nothing
            domain = np.flatnonzero(~self._proofs(layout, part).z_positive)
            start = _start_in_domain(functions, part.polytope, start) if domain.size or excesses else start
        rows = rows.and_also(_domain_rows(layout, domain, problem)) if domain.size else rows
        functions = replace(functions, constraints=rows.functions)
        n, extra, best = len(layout.variables), len(self.auxiliaries), self.best

        def complete(ratios: Array) -> Array:
            x = np.concatenate([ratios, part.excesses(ratios), np.zeros(extra)])
            if best is not None:
                x[n - extra :] = best(functions, x)
            return x

        return StandardForm(
            variables=layout.variables,
            polytope=_with_free(part.polytope, self.auxiliaries),
            functions=functions,
            nonlinear=rows.limits,
            n_ratios=len(layout.sources),
            start=np.append(start, np.zeros(extra)),
            complete=complete,
            excess_of=tuple(j for _, j, _ in excesses),
            kinked=functions.response.model.templates.kinked,
        )

    def _response(self, layout: Layout, model: MixtureModel) -> Response:
        """Return a model at the problem's budget, with the targets that count."""
        return model.select(layout.targets).at(self.problem.total_budget, self.problem.params)

    def _proofs(self, layout: Layout, part: LinearPart) -> Proofs:
        """Return what can be proved of the problem's model over the box of its ratios."""
        n, box = len(layout.sources), part.polytope
        return Proofs(
            self._response(layout, self.problem.model),
            self.problem.cumulative(box.bounds.lower[:n]),
            self.problem.cumulative(box.bounds.upper[:n]),
        )

    def _functions(
        self, layout: Layout, own: Sequence[ExpressionRow], model: MixtureModel
    ) -> tuple[MixtureFunctions, RowFunctions]:
        """Return f, and c without the rows that keep z in its domain; and those rows of c with their limits."""
        problem, objective = self.problem, self.objective
        n, n_targets = len(layout.variables), len(layout.targets)
        later, further = n_targets - len(self.targets), len(model.sources) - len(layout.sources)

        def padded(values: Array) -> Array:
            return np.append(values, np.zeros(later))

        x_part = layout.widened(csr_array(objective.x_part[None, :])).toarray()[0]
        rows = RowFunctions(Affine.build(n, n_targets, 0), Rows.free(()), {})
        if self.constraints is not None and self.limits is not None:
            rows = RowFunctions(layout.wide(self.constraints), self.limits, {})
        rows = rows.and_also(layout.rows(own)) if own else rows
        history = problem.cumulative(np.zeros(len(layout.sources)))
        return MixtureFunctions(
            self._response(layout, model),
            np.append(history, np.zeros(further)),
            problem.budget / problem.total_budget,
            Combination(
                x_part,
                padded(objective.z_part),
                padded(objective.loss_part),
                objective.constant,
                None if self.curved is None else layout.place(self.curved),
            ),
            rows.functions,
            rows.curved,
            further,
        ), rows


def _excesses(problem: AllocationProblem, kinks: Split) -> tuple[Excess, ...]:
    """Return the auxiliaries that count what cumulative ratios exceed their kinks by, in ratios of the run."""
    history = problem.cumulative(np.zeros(len(problem.model.sources)))[kinks.excess_of]
    centers = (kinks.kinks - history) * (problem.total_budget / problem.budget)
    return tuple(
        (f"kink[{problem.model.sources[j]}]", j, center)
        for j, center in zip(kinks.excess_of.tolist(), centers.tolist(), strict=True)
    )


def _linear(problem: AllocationProblem, excesses: Sequence[Excess]) -> tuple[LinearPart, Array]:
    """Return the linear part, and a start inside it, near to which excesses are the least."""
    try:
        part = linear_part(problem, excesses)
        start = part.polytope.interior_point()
    except EmptyPolytopeError:
        conflict = linear_conflict(problem)
        raise InputError("no mixture meets all constraints" if conflict is None else conflict.message) from None
    n, k = len(problem.model.sources), len(excesses)
    start[n : n + k] = part.excesses(start[:n])[:k] + ABOVE_LEAST * start[part.excess_of[:k]]
    return part, start


def _with_free(polytope: Polytope, names: Sequence[str]) -> Polytope:
    """Return a polytope with unbounded variables added that stand in no row."""
    if not names:
        return polytope
    A = csr_array(np.hstack([polytope.dense, np.zeros((len(polytope.rows), len(names)))]))
    return Polytope(polytope.bounds + Rows.free([Label(name) for name in names]), A, polytope.rows)


def _domain_rows(layout: Layout, domain: Indices, problem: AllocationProblem) -> RowFunctions:
    """Return rows z_i >= least for the targets in `domain`."""
    n, n_targets, k = len(layout.variables), len(layout.targets), len(domain)
    unit = csr_array((np.ones(k), (np.arange(k), domain)), shape=(k, n_targets))
    return RowFunctions(
        Affine.build(n, n_targets, k, z=unit),
        Rows(
            np.full(k, LEAST_EFFECTIVE_TOKENS / problem.total_budget),
            np.full(k, np.inf),
            tuple(Label(f"domain[{layout.targets[i]}]", unit="effective ratio", domain=True) for i in domain.tolist()),
        ),
        {},
    )


def _start_in_domain(functions: MixtureFunctions, polytope: Polytope, start: Array) -> Array:
    """Return a start at which every z is above 0, where one is found; `start` itself where it is one.

    Maximises min z by linear programs: max s with z(r) + J (y - r) >= s over the polytope's y, half the way taken
    while that is no gain.
    """
    n = functions.offset.size

    def least(x: Array) -> float:
        return float(functions.response.z(functions.cumulative(x)).min())

    x, best = start, least(start)
    for _ in range(START_ROUNDS):
        if best > 0:
            return x
        z, jacobian = functions.response.z_and_jacobian(functions.cumulative(x))
        slopes = np.hstack([functions.scale * jacobian, np.zeros((z.size, x.size - n))])
        step = polytope.largest_minimum(z - slopes @ x, slopes) - x
        for length in (0.999, 0.5, 0.25, 0.1):  # short of the vertex itself, which lies on bounds
            value = least(x + length * step)
            if value > best:
                x, best = x + length * step, value
                break
        else:
            break
    return x if best > 0 else start
