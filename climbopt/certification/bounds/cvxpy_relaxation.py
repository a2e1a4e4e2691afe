"""The relaxation by envelopes as a CVXPY program, to read and to cross-check."""

from __future__ import annotations

from collections.abc import Sequence

import cvxpy as cp
import numpy as np
import sympy as sp

from climbopt.backends.cvxpy_expressions import translate
from climbopt.certification.bounds.lagrangian import Lagrangian, lagrangian
from climbopt.certification.bounds.relaxable import Box, NoRelaxationError, relaxable
from climbopt.certification.bounds.relaxation import Relaxation, relax
from climbopt.model.mixture import Indices
from climbopt.model.templates import Array, Template
from climbopt.model.translation import UntranslatableError, Value
from climbopt.program import StandardForm


def relaxation_program(
    form: StandardForm, box: Box | None = None, *, multipliers: Array | None = None, reference: Array | None = None
) -> cp.Problem:
    """Return min of a convex function below the objective on a box, as a disciplined convex program.

    Parameters
    ----------
    form : StandardForm
    box : Box, optional
        The form's own bounds by default.
    multipliers : ndarray, (k,), optional
        Of the nonlinear rows, which stand in the objective with them; 0 by default.
    reference : ndarray, (n,), optional
        Where McCormick's planes are chosen; the form's start by default.

    Returns
    -------
    cvxpy.Problem
        Its one variable is x, (n,). Its least value is a lower bound of the form's on the box.

    Raises
    ------
    NoRelaxationError
        Where the problem has no relaxation, or CVXPY no form of what is in it.
    """
    mu = np.zeros(form.functions.n_rows) if multipliers is None else multipliers
    made = lagrangian(relaxable(form, centered=False), mu)
    cut = made.problem.root if box is None else box
    relaxation = relax(made, cut, form.start if reference is None else reference)
    x = cp.Variable(form.n, name="x")
    try:
        objective = _written(relaxation, x)
    except UntranslatableError as error:
        raise NoRelaxationError(f"the relaxation has no form in CVXPY: {error}") from None
    polytope, low = made.polytope, np.isfinite(made.polytope.rows.lower)
    high, rows = np.isfinite(polytope.rows.upper) & ~polytope.equation, polytope.dense
    limits = [x >= cut.lower, x <= cut.upper]
    kinds = (
        (polytope.equation, 0, polytope.rows.lower),
        (low & ~polytope.equation, 1, polytope.rows.lower),
        (high, -1, polytope.rows.upper),
    )
    for chosen, sign, bound in kinds:
        if chosen.any():
            value = rows[chosen] @ x
            limits.append(value == bound[chosen] if sign == 0 else sign * value >= sign * bound[chosen])
    problem = cp.Problem(cp.Minimize(objective), limits)
    if not problem.is_dcp():
        raise NoRelaxationError("a function that is kept is convex, but not by CVXPY's rules")
    return problem


def _written(relaxation: Relaxation, x: cp.Variable) -> cp.Expression:
    """Return the relaxation of a CVXPY variable."""
    made = relaxation.lagrangian
    z = _envelope(relaxation, made, x)
    objective = made.x_part @ x + (made.z_part * made.falls) @ z + made.constant
    on = np.flatnonzero(made.loss_part)
    if on.size:
        law = made.response.model.templates.loss
        arguments = [_entries(value, on) for value in made.response.loss_arguments]
        losses = _translated(law, cp.multiply(made.falls[on], z[on]), arguments)
        objective = objective + made.loss_part[on] @ losses
    return objective


def _envelope(relaxation: Relaxation, made: Lagrangian, x: cp.Variable) -> cp.Expression:
    """Return Z, (T,): kept functions target by target, or source by source."""
    functions, separable, own = made.functions, relaxation.separable, made.response.model.own_source
    n = functions.offset.size
    rho = functions.offset + functions.scale * x[:n]
    is_source = (own >= 0).astype(float)
    own_ratio = cp.multiply(is_source, rho[np.maximum(own, 0)])
    z = separable.constant + separable.linear @ rho
    for c, own_piece in zip(separable.own, made.problem.own_pieces, strict=True):
        if c.any():
            arguments = [_entries(value, slice(None)) for value in own_piece.function.arguments]
            z = z + cp.multiply(c, _translated(own_piece.function.template, own_ratio, arguments))
    for on_gate, on_source, piece in zip(separable.gates, separable.sources, made.problem.pieces, strict=True):
        for j in np.flatnonzero(on_gate.any(axis=0)).tolist():
            arguments = [_column(value, j) for value in piece.gate.arguments]
            z = z + cp.multiply(on_gate[:, j], _translated(piece.gate.template, own_ratio, arguments))
        for i in np.flatnonzero(on_source.any(axis=1)).tolist():
            arguments = [_row(value, i) for value in piece.source.arguments]
            kept = cp.multiply(on_source[i], _translated(piece.source.template, rho, arguments))
            z = z + np.eye(len(on_source))[i] * cp.sum(kept)
    return z


def _translated(template: Template, variable: cp.Expression, arguments: Sequence[Array]) -> Value:
    """Return a template of a CVXPY vector."""
    symbols: tuple[sp.Symbol, ...] = template.arguments
    return translate(template.expression, dict(zip(symbols, [variable, *arguments], strict=True)))


def _entries(value: Array, index: Indices | slice) -> Array:
    """Return some entries of an argument of a vector; a single number as it is."""
    value = np.asarray(value)
    return value.reshape(()) if value.size == 1 else np.asarray(value[index])


def _column(value: Array, j: int) -> Array:
    """Return an argument of pairs for source j: a number, or one a target."""
    value = np.asarray(value)
    if value.size == 1:
        return value.reshape(())
    if value.ndim == 1:  # per source
        return np.asarray(value[j])
    return np.asarray(value[:, j if value.shape[1] > 1 else 0])


def _row(value: Array, i: int) -> Array:
    """Return an argument of pairs for target i: a number, or one a source."""
    value = np.asarray(value)
    if value.size == 1:
        return value.reshape(())
    if value.ndim == 1:  # per source
        return value
    row = value[i if value.shape[0] > 1 else 0]
    return np.asarray(row if row.size > 1 else row[0])
