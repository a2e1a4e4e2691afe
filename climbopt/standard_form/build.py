"""problem -> StandardForm: the linear part, what a procedure minimises under which rows, the user's other rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array, hstack

from climbopt.constraints import ExpressionRow
from climbopt.errors import InputError
from climbopt.expressions import affine_part, entry
from climbopt.model import Indices
from climbopt.outer import Expression, Outer
from climbopt.polytope import EmptyPolytopeError, Polytope
from climbopt.problem import AllocationProblem
from climbopt.standard_form.base import Side, StandardForm
from climbopt.standard_form.conflict import linear_conflict
from climbopt.standard_form.linear import linear_part
from climbopt.standard_form.mixture import MixtureFunctions
from climbopt.standard_form.parts import Affine, Combination, Placed
from climbopt.templates import Array

START_ROUNDS = 20
"""Linear programs tried to bring a start into the law's domain."""
LEAST_EFFECTIVE_TOKENS = 1.0
"""z_lower of a row that keeps z in its law's domain, as D z in tokens."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Nonlinear rows with their limits and names.

    Parameters
    ----------
    functions : Affine
    lower, upper : ndarray, (k,)
    sides : tuple of Side
    curved : mapping of int to Placed
        Outer functions that are added to some rows.
    """

    functions: Affine
    lower: Array
    upper: Array
    sides: tuple[Side, ...]
    curved: dict[int, Placed]

    def and_also(self, other: Rows) -> Rows:
        """Return these rows with others behind them."""
        k = len(self.sides)
        return Rows(self.functions.and_also(other.functions), np.append(self.lower, other.lower),
                    np.append(self.upper, other.upper), (*self.sides, *other.sides),
                    self.curved | {k + i: placed for i, placed in other.curved.items()})


@dataclass(frozen=True)
class Layout:
    """Which variables and targets a form has, and where.

    Parameters
    ----------
    sources, excesses, auxiliaries : tuple of str
        The variables: ratios, the linear part's auxiliaries, then those of a procedure.
    targets : tuple of str
        Those whose z and losses are evaluated.
    """

    sources: tuple[str, ...]
    excesses: tuple[str, ...]
    auxiliaries: tuple[str, ...]
    targets: tuple[str, ...]

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names of x."""
        return (*self.sources, *self.excesses, *self.auxiliaries)

    @cached_property
    def _index(self) -> dict[tuple[str, str], int]:
        """Position of each quantity in (x, z, L) put end to end."""
        n, n_targets = len(self.variables), len(self.targets)
        index = {("r", name): j for j, name in enumerate(self.sources)}
        index |= {("z", name): n + i for i, name in enumerate(self.targets)}
        return index | {("L", name): n + n_targets + i for i, name in enumerate(self.targets)}

    def position(self, kind: str, language: str) -> int:
        """Return where a quantity stands in (x, z, L) put end to end."""
        return self._index[kind, language]

    def place(self, outer: Outer) -> Placed:
        """Return an outer function with the positions of its entries."""
        return Placed(outer, np.array([self.position(*entry(symbol)) for symbol in outer.entries], dtype=np.intp))

    def widened(self, part: csr_array) -> csr_array:
        """Return coefficients of (ratios, auxiliaries) as coefficients of x."""
        n = len(self.sources)
        gap = csr_array((part.shape[0], len(self.excesses)))
        return csr_array(hstack([part[:, :n], gap, part[:, n:]]))

    def wide(self, given: Affine) -> Affine:
        """Return functions of (ratios, auxiliaries) and of the first targets as functions of x and of all targets."""

        def padded(part: csr_array) -> csr_array:
            return csr_array(hstack([part, csr_array((part.shape[0], len(self.targets) - part.shape[1]))]))

        return Affine(self.widened(given.x_part), padded(given.z_part), padded(given.loss_part), given.constant)

    def rows(self, rows: Sequence[ExpressionRow]) -> Rows:
        """Return the user's nonlinear rows: what is affine in them apart from what is not."""
        n, n_targets = len(self.variables), len(self.targets)
        table, curved = np.zeros((len(rows), n + 2 * n_targets)), {}
        for k, row in enumerate(rows):
            coefficients, rest = affine_part(row.expression)
            for (kind, language), value in coefficients.items():
                table[k, self.position(kind, language)] = value
            if rest != 0:
                curved[k] = self.place(Expression(rest))
        functions = Affine.build(n, n_targets, len(rows), x=table[:, :n], z=table[:, n:n + n_targets],
                                 loss=table[:, n + n_targets:])
        return Rows(functions, np.array([row.lower for row in rows]), np.array([row.upper for row in rows]),
                    tuple(Side(row.name, row.per_unit, row.unit) for row in rows), curved)


def expression_rows(problem: AllocationProblem) -> tuple[ExpressionRow, ...]:
    """Return the rows of a problem that are not linear in the ratios."""
    return tuple(row for row in problem.rows if isinstance(row, ExpressionRow))


def targets_read(rows: Iterable[ExpressionRow]) -> list[str]:
    """Return the targets whose z or loss some rows depend on."""
    return [language for row in rows for kind, language in sorted(map(entry, row.expression.free_symbols))
            if kind != "r"]


def mixture_form(
    problem: AllocationProblem,
    targets: Sequence[str],
    objective: Combination,
    curved: Outer | None = None,
    constraints: Affine | None = None,
    limits: tuple[Array, Array] | None = None,
    sides: Sequence[Side] = (),
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
    limits : tuple of ndarray, (k,) each, optional
        Lower and upper limits of those.
    sides : sequence of Side
        Names of those.
    auxiliaries : sequence of str
        Names of further variables.
    best : callable, optional
        Returns the best auxiliaries for x whose auxiliaries are 0.

    Raises
    ------
    InputError
        Where no mixture meets the linear constraints: with a minimal set in conflict, and what each must give.
    """
    try:
        part = linear_part(problem)
        start = part.polytope.interior_point()
    except EmptyPolytopeError:
        conflict = linear_conflict(problem)
        raise InputError("no mixture meets all constraints" if conflict is None else conflict.message) from None
    own = expression_rows(problem)
    known = set(targets)
    layout = Layout(problem.model.sources, part.excess_names, tuple(auxiliaries),
                    (*targets, *dict.fromkeys(name for name in targets_read(own) if name not in known)))
    n, n_targets, later = len(layout.variables), len(layout.targets), len(layout.targets) - len(targets)

    def padded(values: Array) -> Array:
        return np.append(values, np.zeros(later))

    x_part = layout.widened(csr_array(objective.x_part[None, :])).toarray()[0]
    rows = Rows(Affine.build(n, n_targets, 0), np.zeros(0), np.zeros(0), (), {})
    if constraints is not None and limits is not None:
        rows = Rows(layout.wide(constraints), *limits, tuple(sides), {})
    rows = rows.and_also(layout.rows(own)) if own else rows
    functions = MixtureFunctions(
        problem.model.select(layout.targets).at(problem.total_budget, problem.params),
        problem.cumulative(np.zeros(len(problem.model.sources))), problem.budget / problem.total_budget,
        Combination(x_part, padded(objective.z_part), padded(objective.loss_part), objective.constant,
                    None if curved is None else layout.place(curved)),
        rows.functions, rows.curved)
    domain = np.zeros(0, dtype=np.intp)
    if functions.reads_losses:
        domain = np.flatnonzero(~functions.proofs(part.polytope).z_positive)
        start = _start_in_domain(functions, part.polytope, start) if domain.size else start
    rows = rows.and_also(_domain_rows(layout, domain, problem)) if domain.size else rows
    functions = replace(functions, constraints=rows.functions)
    extra, n_ratios = len(auxiliaries), len(problem.model.sources)

    def complete(ratios: Array) -> Array:
        x = np.concatenate([ratios, part.excesses(ratios), np.zeros(extra)])
        if best is not None:
            x[n - extra:] = best(functions, x)
        return x

    return StandardForm(
        variables=layout.variables, polytope=_with_free(part.polytope, extra), functions=functions,
        c_lower=rows.lower, c_upper=rows.upper,
        lower_sides=(*part.lower_sides, *map(Side, auxiliaries)),
        upper_sides=(*part.upper_sides, *map(Side, auxiliaries)),
        row_sides=part.row_sides, c_sides=rows.sides, n_ratios=n_ratios,
        domain_rows=(False,) * (len(rows.sides) - domain.size) + (True,) * domain.size,
        start=np.append(start, np.zeros(extra)), complete=complete)


def _with_free(polytope: Polytope, extra: int) -> Polytope:
    """Return a polytope with unbounded variables added that stand in no row."""
    free = np.full(extra, np.inf)
    return Polytope(np.append(polytope.x_lower, -free), np.append(polytope.x_upper, free),
                    csr_array(np.hstack([polytope.dense, np.zeros((len(polytope.a_lower), extra))])),
                    polytope.a_lower, polytope.a_upper)


def _domain_rows(layout: Layout, domain: Indices, problem: AllocationProblem) -> Rows:
    """Return rows z_i >= least for the targets in `domain`."""
    n, n_targets, k = len(layout.variables), len(layout.targets), len(domain)
    unit = csr_array((np.ones(k), (np.arange(k), domain)), shape=(k, n_targets))
    return Rows(Affine.build(n, n_targets, k, z=unit), np.full(k, LEAST_EFFECTIVE_TOKENS / problem.total_budget),
                np.full(k, np.inf),
                tuple(Side(f"domain[{layout.targets[i]}]", unit="effective ratio") for i in domain.tolist()), {})


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
