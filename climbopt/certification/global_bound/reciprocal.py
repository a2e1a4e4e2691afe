"""The second step of two_step as a minimax.

The largest t with z_i >= slope_i t + least_i is 1 / s for the least s with slope_i / (z_i - least_i) <= s.

A Lagrangian of the first is linear in z, and says nothing of how far from the
optimum a better point may be; that of the second is convex in z.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import sympy as sp
from scipy.sparse import csr_array

from climbopt.model.laws import Law
from climbopt.model.mixture import Indices, MixtureModel
from climbopt.model.symbols import Parameter, z
from climbopt.model.templates import Array
from climbopt.numerics.polytope import Rows
from climbopt.problem.table import Table
from climbopt.program import MixtureFunctions, StandardForm

_SLOPE = sp.Symbol("share_slope", nonnegative=True)
_LEAST = sp.Symbol("share_least", real=True)
_LAW = Law("share", _SLOPE / z, (Parameter(_SLOPE, "target", meaning="share of effective data"),))


def reciprocal(form: StandardForm) -> StandardForm | None:
    """Return step 2 as a minimax whose objective is -1 / the original's; None for another form."""
    functions, n = form.functions, form.n
    if not isinstance(functions, MixtureFunctions) or len(functions.responses.parts) > 1 or n == functions.offset.size:
        return None
    shares = _shares(functions.table, form.nonlinear)
    if shares is None:
        return None
    rows, targets, slopes, least = shares
    table, lower, upper = functions.table, np.array(form.nonlinear.lower), np.array(form.nonlinear.upper)
    on_x, on_z, on_loss = (np.array(part) for part in table.parts)
    constant = table.constant + on_z @ least
    # z_i - slope_i t >= least_i, divided by (z_i - least_i) t: slope_i / (z_i - least_i) - s <= 0, with s = 1 / t
    # where t stood and the quotient as the loss of target i.
    on_x[0, -1], on_x[rows, -1], on_loss[rows, targets] = 1.0, -1.0, 1.0
    on_z[rows], constant[rows] = 0.0, 0.0
    lower[rows - 1], upper[rows - 1] = -np.inf, 0.0
    shares_of = replace(
        functions,
        responses=replace(functions.response, model=_shifted(functions.response.model, slopes, least)),
        table=Table(n, csr_array(np.hstack([on_x, on_z, on_loss])), constant),
    )

    def complete(ratios: Array) -> Array:
        x = form.complete(ratios).copy()
        x[-1] = shares_of.at(x).losses[targets].max()
        return x

    return replace(
        form,
        functions=shares_of,
        nonlinear=form.nonlinear.within(lower, upper),
        complete=complete,
        start=complete(form.start[: form.n_ratios]),
    )


def _shares(table: Table, limits: Rows) -> tuple[Indices, Indices, Array, Array] | None:
    """Return the rows z_i >= slope_i t + least_i and their targets, with slope and least of every target, (T,).

    None where the table does not maximise its last variable t, or reads it in other rows.
    """
    on_x, on_z, _ = table.parts
    rows = 1 + np.flatnonzero(on_x[1:, -1])
    targets, slopes, least = on_z[rows].argmax(axis=1), np.zeros(table.n_targets), np.zeros(table.n_targets)
    if (
        table.curved
        or table.reads_losses
        or not rows.size
        or (on_x[0] != np.append(np.zeros(table.n - 1), -1.0)).any()
        or on_z[0].any()
        # Every row that reads t must be of one target's z, bounded below alone, or the form is no second step.
        or (on_x[rows, -1] > 0).any()
        or on_x[rows, :-1].any()
        or (on_z[rows] != np.eye(table.n_targets)[targets]).any()
        or (limits.upper[rows - 1] != np.inf).any()
        or table.constant[rows].any()
        or np.unique(targets).size < targets.size
    ):
        return None
    slopes[targets], least[targets] = -on_x[rows, -1], limits.lower[rows - 1]
    return rows, targets, slopes, least


def _shifted(model: MixtureModel, slopes: Array, least: Array) -> MixtureModel:
    """Return the model of slope / (z - least)."""
    form = model.interaction
    own = replace(
        form,
        name=f"{form.name} above its share",
        own=form.own - _LEAST,
        parameters=(*form.parameters, Parameter(_LEAST, "target", meaning="what z is at a share of 0")),
        coordinates=None,
        quantity="ratio",
    )
    values = {p.name: model.parameters[p.name] for p in (*form.parameters, *model.use.parameters)}
    return replace(
        model,
        law=replace(_LAW, quantity="ratio"),
        interaction=own,
        parameters={**values, str(_SLOPE): slopes, str(_LEAST): least},
        provenance={},
    )
