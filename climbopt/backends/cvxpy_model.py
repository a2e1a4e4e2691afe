"""Mixture functions as a CVXPY problem over vectors: vectorised over targets and pairs.

Constant parts of an expression are first evaluated in NumPy. A power with a negative exponent, or with a vector of
exponents, is exp(exponent log(base)): CVXPY would replace the exponents of a vector by fractions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from weakref import WeakKeyDictionary

import cvxpy as cp
import numpy as np
import sympy as sp
from scipy.sparse import csr_array, eye_array, vstack

from climbopt.backends.apart import FailedError
from climbopt.backends.backend import Backend
from climbopt.foundations.solution import Array, Multipliers, Termination
from climbopt.model import translation
from climbopt.model.expressions import entry
from climbopt.model.mixture import Indices, Response
from climbopt.model.outer import Expression, PowerMean
from climbopt.model.templates import Template
from climbopt.model.translation import Known, Rule, UntranslatableError, Value
from climbopt.program import MixtureFunctions, Placed, Rows, StandardForm, Table
from climbopt.program.written import transferring

NATIVE_SHARE = 1e-6
"""Native tolerances on gaps and residuals, as a share of the certificate's: f is flat around its minimum."""
LEAST_NATIVE = 1e-12
"""Smallest tolerance that Clarabel, and Ipopt with the variables that CVXPY adds, reach in double precision."""
STATUS = {
    "optimal": Termination.SOLVED,
    "optimal_inaccurate": Termination.ALMOST_SOLVED,
    "infeasible": Termination.INFEASIBLE,
    "infeasible_inaccurate": Termination.INFEASIBLE,
    "infeasible_or_unbounded": Termination.INFEASIBLE,
    "unbounded": Termination.UNBOUNDED,
    "unbounded_inaccurate": Termination.UNBOUNDED,
    "user_limit": Termination.ITERATION_LIMIT,
    "solver_error": Termination.FAILED,
}
"""CVXPY's statuses."""


@dataclass(frozen=True, eq=False)
class Quantities:
    """x, z and L in CVXPY.

    Parameters
    ----------
    x : cvxpy.Variable, (n,)
    z : cvxpy.Expression, (T,)
    losses : cvxpy.Expression, (T,)
        None where no function depends on them.
    z_positive : bool
        Whether z > 0 because the losses are defined only there.
    named : tuple of cvxpy.Constraint, or None
        Equations that define z and L as separate variables; None where they are expressions.
    """

    x: cp.Variable
    z: cp.Expression
    losses: Value
    z_positive: bool
    named: tuple[cp.Constraint, ...] | None

    @classmethod
    def of(cls, functions: MixtureFunctions, x: cp.Variable, *, named: bool) -> Quantities:
        """Return the quantities of x."""
        equations: list[cp.Constraint] = []

        def define(value: cp.Expression, positive: bool) -> cp.Expression:
            if not named:
                return value
            # A sign known in advance makes powers and logarithms of the variable acceptable.
            variable = cp.Variable(value.shape, nonneg=positive)
            equations.append(variable == value)
            return variable

        parts = functions.responses.parts
        # z > 0 is implied by losses that are finite; without losses z may have any sign.
        z_positive = functions.table.reads_losses and all(part.model.law.needs_positive_z for part in parts)
        ratios = x if x.size == functions.offset.size else x[: functions.offset.size]
        ratios = ratios if functions.scale == 1 else functions.scale * ratios
        ratios = ratios + functions.offset if functions.offset.any() else ratios
        each = [define(effective(part, ratios), z_positive) for part in parts]
        losses = None
        if functions.table.reads_losses:
            values = _joined(
                [
                    _vector(part.model.templates.loss, (z,), part.loss_arguments, z.shape)
                    for part, z in zip(parts, each, strict=True)
                ]
            )
            losses = define(values, values.is_nonneg())
        return cls(x, _joined(each), losses, z_positive, tuple(equations) if named else None)

    def functions(self, table: Table, rows: Indices) -> cp.Expression:
        """Return the functions of a table in `rows`, (k,); a row with a curved part must be the only one."""
        on_x, on_z, on_loss = (csr_array(part[rows]) for part in table.parts)
        total = on_x @ self.x + table.constant[rows]
        for coefficients, values in ((on_z, self.z), (on_loss, self.losses)):
            if coefficients.nnz:
                total = total + coefficients @ values
        return total + self.outer(table.curved[int(rows[0])]) if int(rows[0]) in table.curved else total

    def outer(self, placed: Placed) -> cp.Expression:
        """Return an outer function of x, z and L."""
        n, n_targets = self.x.size, self.z.size
        if isinstance(placed.outer, PowerMean):
            if placed.mean is None:
                return self._power_mean(placed.outer, self.losses[placed.positions - n - n_targets])
            return self._power_mean(placed.outer, csr_array(placed.mean[:, n + n_targets :]) @ self.losses)
        entries = [self._entry(int(k)) for k in placed.positions]
        if placed.mean is not None:
            means = [csr_array(placed.mean[[k]]) for k in range(len(entries))]
            entries = [_sum(row.data, [self._entry(int(k)) for k in row.indices]) for row in means]
        if not isinstance(placed.outer, Expression):
            return placed.outer.build(entries, {"exp": cp.exp, "log": cp.log, "sqrt": cp.sqrt})
        signed = {
            symbol: self._signed(symbol, value) for symbol, value in zip(placed.outer.entries, entries, strict=True)
        }
        return translate(placed.outer.expression.subs(signed), dict(zip(signed.values(), entries, strict=True)))

    def _entry(self, k: int) -> cp.Expression:
        """Return one entry of y = (x, z, L)."""
        n, n_targets = self.x.size, self.z.size
        return self.x[k] if k < n else self.z[k - n] if k < n + n_targets else self.losses[k - n - n_targets]

    def _signed(self, symbol: sp.Symbol, value: cp.Expression) -> sp.Symbol:
        """Return a symbol that carries the sign of its quantity: ratios are nonnegative."""
        kind, _ = entry(symbol)
        known = kind == "r" or (kind == "z" and self.z_positive) or value.is_nonneg()
        return sp.Dummy(str(symbol), real=True, nonnegative=True if known else None)

    def _power_mean(self, mean: PowerMean, losses: cp.Expression) -> cp.Expression:
        """Return a power mean of losses: a p-norm for conic solvers, a smooth expression where losses are variables."""
        p = mean.power
        if p == 1:
            return (mean.weights / mean.references) @ losses
        # A norm with nonnegative weights: convex, and increasing in the losses.
        if self.named is None:
            return cp.pnorm(cp.multiply(mean.weights ** (1 / p) / mean.references, losses), p, approx=False)
        # (sum_i w_i (L_i / ref_i)^p)^(1/p), in functions that are smooth for L > 0
        return cp.exp(cp.log(mean.weights @ cp.exp(p * cp.log(cp.multiply(1 / mean.references, losses)))) / p)


def _vector(
    template: Template,
    variables: Iterable[Value],
    arguments: Iterable[Array],
    shape: tuple[int, ...],
    at: tuple[Indices, ...] = (),
) -> cp.Expression:
    """Return a template's values, (k,), for arguments that are broadcast to `shape` and taken at the indices `at`."""
    taken = [np.broadcast_to(argument, shape)[at] for argument in arguments]
    value = translate(template.written, dict(zip(template.arguments, [*variables, *taken], strict=True)))
    return value if varies(value) else cp.Constant(np.broadcast_to(value, at[0].shape if at else shape))


def _joined(values: list[cp.Expression]) -> cp.Expression:
    """Return vectors end to end."""
    return values[0] if len(values) == 1 else cp.hstack(values)


def _sum(weights: Array, values: list[cp.Expression]) -> cp.Expression:
    """Return a weighted sum of scalars."""
    return values[0] if weights.tolist() == [1.0] else weights @ cp.hstack(values)


def effective(response: Response, ratios: cp.Expression) -> cp.Expression:
    """Return z of each target, (T,), for ratios, (S,); sums only the pairs that transfer."""
    model, templates = response.model, response.model.templates
    shape = (len(model.targets), len(model.sources))
    used = _used(response, ratios)
    own = used(model.own_targets, model.own_sources)
    # Each target's entry for its own source; 0 where it is no source.
    own = own if model.sources == model.targets else eye_array(shape[0], format="csr")[:, model.own_targets] @ own
    z = _vector(templates.own, (own,), response.own_arguments, shape[:1])
    i, j = np.nonzero(transferring(model))
    if not i.size:
        return z
    # Sums the transfer of each pair k into its target i_k: column k is the unit vector of i_k.
    into = eye_array(shape[0], format="csr")[:, i]
    return z + into @ _vector(templates.pair, (own[i], used(i, j)), response.pair_arguments, shape, (i, j))


def _used(response: Response, ratios: cp.Expression) -> Callable[[Indices, Indices], cp.Expression]:
    """Return u as a function of indices of targets and sources, (k,); written once where all targets share it."""
    template, arguments = response.model.templates.used, response.use_arguments
    if template is None:
        return lambda i, j: ratios[j]
    shape = np.broadcast_shapes((1, len(response.model.sources)), *(argument.shape for argument in arguments))

    def written(i: Indices, j: Indices) -> cp.Expression:
        return _vector(template, (ratios[j],), arguments, shape, (i, j))

    if shape[0] > 1:
        return written
    each = np.arange(shape[1])
    shared = written(np.zeros_like(each), each)
    return lambda i, j: shared[j]


@dataclass(frozen=True, eq=False)
class WrittenRows:
    """A CVXPY constraint, and the rows that its dual values belong to.

    Parameters
    ----------
    constraint : cvxpy.Constraint
    positions : ndarray of int
        In the concatenation of bounds, rows of A and entries of c.
    sign : float
        A multiplier is sign times the dual value; -1 for lower limits, whose dual values are >= 0 in CVXPY.
    """

    constraint: cp.Constraint
    positions: Indices
    sign: float


def _limits(quantities: Quantities, table: Table, rows: Rows) -> Iterator[WrittenRows]:
    """Yield equations, lower and upper limits: a constraint per kind for affine rows, and one per curved row."""
    curved = sorted(table.curved)
    # Affine rows are vectorised; each curved row is an expression of its own.
    for group in (np.setdiff1d(np.arange(len(rows)), curved), *(np.array([k]) for k in curved)):
        low, high = rows.lower[group], rows.upper[group]
        for chosen, relation, limit, sign in (
            (group[low == high], cp.Expression.__eq__, rows.lower, 1.0),
            (group[(low != high) & np.isfinite(low)], cp.Expression.__ge__, rows.lower, -1.0),
            (group[(low != high) & np.isfinite(high)], cp.Expression.__le__, rows.upper, 1.0),
        ):
            if chosen.size:
                yield WrittenRows(relation(quantities.functions(table, chosen), limit[chosen]), chosen, sign)


@dataclass(frozen=True, eq=False)
class Program:
    """A standard form in CVXPY, the table of its limits, and the seconds spent writing and checking it."""

    quantities: Quantities
    table: Table
    limits: tuple[WrittenRows, ...]
    problem: cp.Problem
    seconds: float = 0.0

    def start_at(self, x: Array) -> bool:
        """Set every variable to its value at x; False where a value is not finite."""
        self.quantities.x.save_value(x)
        with np.errstate(all="ignore"):
            for equation in self.quantities.named or ():
                # In order: losses are functions of the z that are set just before.
                variable, value = equation.args
                variable.save_value(value.value)
        return all(np.isfinite(variable.value).all() for variable in self.problem.variables())

    def multipliers(self, form: StandardForm, duals: Mapping[int, Array]) -> Multipliers | None:
        """Return the multipliers for the dual values by a constraint's id; None where any is missing."""
        values = np.zeros(len(form.limits))
        for limit in self.limits:
            # A solver that returns duals for some constraints only is of no use for the certificate.
            dual = duals.get(limit.constraint.id)
            if dual is None or not np.isfinite(dual).all():
                return None
            values[limit.positions] += limit.sign * np.ravel(dual)
        return Multipliers(*np.split(values, [form.n, form.n + len(form.polytope.rows)]))


_WRITTEN: WeakKeyDictionary[StandardForm, dict[bool, Program | str]] = WeakKeyDictionary()


def written(form: StandardForm, *, named: bool) -> Program | str:
    """Return a form in CVXPY, or why that is impossible; the result is cached per form.

    Parameters
    ----------
    form : StandardForm
    named : bool
        Whether z and L are separate variables, tied to the ratios by nonlinear equations, for solvers that take them.
    """
    known = _WRITTEN.setdefault(form, {})
    if named not in known:
        began = time.perf_counter()
        try:
            program = _program(form, named)
            _ = program.problem.is_dnlp() if named else program.problem.is_dcp()  # cached by CVXPY
            known[named] = replace(program, seconds=time.perf_counter() - began)
        except UntranslatableError as error:
            known[named] = str(error)
    return known[named]


def taken(backend: Backend, form: StandardForm, *, named: bool) -> Program:
    """Return a form in CVXPY; raises FailedError with the reason where a backend refuses it."""
    program, reason = written(form, named=named), backend.refusal(form)
    if reason is not None or isinstance(program, str):
        raise FailedError(reason)
    return program


def _program(form: StandardForm, named: bool) -> Program:
    """Return a form in CVXPY."""
    functions = form.functions
    if not isinstance(functions, MixtureFunctions):
        raise UntranslatableError("its functions are code, which CVXPY cannot read")
    quantities = Quantities.of(functions, cp.Variable(form.n), named=named)
    objective = cp.Minimize(cp.sum(quantities.functions(functions.table, np.zeros(1, dtype=np.intp))))
    # Bounds, rows of A and entries of c, one below the other.
    linear = vstack([eye_array(form.n), form.polytope.A])
    table = Table.build(form.n, functions.table.n_targets, linear.shape[0], x=linear) + functions.table[1:]
    limits = tuple(_limits(quantities, table, form.limits))
    constraints = [*(quantities.named or ()), *(limit.constraint for limit in limits)]
    return Program(quantities, table, limits, cp.Problem(objective, constraints))


def translate(expression: sp.Expr, values: Mapping[sp.Symbol, Value]) -> Value:
    """Return a SymPy expression of CVXPY expressions and arrays.

    Raises
    ------
    UntranslatableError
        For a function without a CVXPY form, or a power whose domain CVXPY would restrict.
    """
    return translation.translate(expression, values, _FUNCTIONS, _RULES)


def varies(value: Value) -> bool:
    """Return whether a value contains variables."""
    return isinstance(value, cp.Expression)


def _folded(parts: list[Value], numeric: Callable[..., Value], symbolic: Callable[..., Value]) -> Value:
    """Return the sum or product of values, constants first."""
    constants = [part for part in parts if not varies(part)]
    varying = [part for part in parts if varies(part)]
    # Folded in NumPy first: every CVXPY atom costs time in its reductions.
    return reduce(symbolic, ([reduce(numeric, constants)] if constants else []) + varying)


def _power(node: sp.Expr, known: Known) -> Value:
    """Return base**exponent, with positive constant factors of the base separated."""
    factors = {part: known[part] for part in sp.Mul.make_args(node.base)}
    # (c b)**p = c**p b**p needs c > 0; DCP rules then see a power of b alone
    constant = [part for part, value in factors.items() if not varies(value) and np.all(np.asarray(value) > 0)]
    groups = (constant, [part for part in factors if part not in constant])
    powers = [
        _power_of(_folded([factors[part] for part in group], np.multiply, cp.multiply), known[node.exp], sp.Mul(*group))
        for group in groups
        if group
    ]
    return _folded(powers, np.multiply, cp.multiply)


def _power_of(base: Value, exponent: Value, inside: sp.Expr) -> Value:
    """Return base**exponent in the form that CVXPY takes exactly; `inside` is the base in SymPy."""
    # Numbers alone.
    if not varies(base) and not varies(exponent):
        return np.asarray(base, dtype=float) ** exponent
    whole = not varies(exponent) and bool(np.all(np.asarray(exponent) % 1 == 0))
    if whole and np.ndim(exponent) == 0 and exponent in (1, 2, 4):  # defined for a base of any sign
        return base if exponent == 1 else cp.square(_power_of(base, exponent / 2, inside))
    if whole and not inside.is_nonnegative and not base.is_nonneg():
        raise UntranslatableError(f"CVXPY would take ({inside})**{exponent} only where {inside} is not negative")
    # approx=False: a power cone, and no rational approximation of the exponent.
    if not varies(exponent) and np.ndim(exponent) == 0 and exponent > 0:
        return cp.power(base, float(exponent), approx=False)
    return cp.exp(cp.multiply(exponent, cp.log(base) if varies(base) else np.log(base)))


_FUNCTIONS: Mapping[str, Callable[[Value], Value]] = {
    "exp": lambda value: (cp.exp if varies(value) else np.exp)(value),
    "log": lambda value: (cp.log if varies(value) else np.log)(value),
}
_RULES: Mapping[str, Rule] = {
    "Add": lambda node, known: _folded([known[part] for part in node.args], np.add, lambda a, b: a + b),
    "Mul": lambda node, known: _folded([known[part] for part in node.args], np.multiply, cp.multiply),
    "Pow": _power,
}
