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
from climbopt.model.mixture import MixtureModel
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
    functions = form.functions
    shares = _shares(form)
    if shares is None or not isinstance(functions, MixtureFunctions) or len(functions.responses.parts) > 1:
        return None
    rows, slopes, least = shares
    T, n, table = len(least), form.n, functions.table
    on_x, on_z, _ = (np.array(part) for part in table.parts)
    constant = table.constant + on_z @ least
    on_loss = np.zeros((len(table), T))
    on_x[0, n - 1] = 1.0
    lower, upper = np.array(form.nonlinear.lower), np.array(form.nonlinear.upper)
    for k in rows:
        # z_i - slope_i t >= least_i, divided by (z_i - least_i) t: slope_i / (z_i - least_i) - s <= 0, with s = 1 / t
        # where t stood and the quotient as the loss of target i.
        (i,) = np.flatnonzero(on_z[k])
        if slopes[i] > 0:
            on_x[k], on_z[k], constant[k] = 0.0, 0.0, 0.0
            on_x[k, n - 1], on_loss[k, i] = -1.0, 1.0
            lower[k - 1], upper[k - 1] = -np.inf, 0.0
    moved = Table(n, csr_array(np.hstack([on_x, on_z, on_loss])), constant)
    response = replace(functions.response, model=_shifted(functions.response.model, slopes, least))
    shares_of = replace(functions, responses=response, table=moved)

    def complete(ratios: Array) -> Array:
        x = form.complete(ratios).copy()
        shares_at = shares_of.response.losses(shares_of.response.z(shares_of.cumulative(x)))
        x[-1] = np.max(shares_at[slopes > 0])
        return x

    limits = Rows(lower, upper, form.nonlinear.labels)
    return replace(
        form, functions=shares_of, nonlinear=limits, complete=complete, start=complete(form.start[: form.n_ratios])
    )


def _shares(form: StandardForm) -> tuple[list[int], Array, Array] | None:
    """Return the rows z_i - slope_i t >= least_i of a form that maximises t, with slope and least by target."""
    functions, n = form.functions, form.n
    if not isinstance(functions, MixtureFunctions) or n == functions.offset.size:
        return None
    table = functions.table
    on_x, on_z, _ = table.parts
    only_t = np.append(np.zeros(n - 1), -1.0)
    if table.curved or table.reads_losses or (on_x[0] != only_t).any() or on_z[0].any():
        return None
    T = table.n_targets
    slopes, least, rows = np.zeros(T), np.zeros(T), []
    for k in range(1, len(table)):
        # Every row that reads t must be of one target's z, bounded below alone, or the form is no second step.
        on_t, at = on_x[k, n - 1], np.flatnonzero(on_z[k])
        if on_t == 0:
            continue
        limits = (form.nonlinear.lower[k - 1], form.nonlinear.upper[k - 1])
        if on_t > 0 or at.size != 1 or on_z[k, at[0]] != 1 or on_x[k, : n - 1].any() or limits[1] != np.inf:
            return None
        if slopes[at[0]] or table.constant[k]:
            return None
        slopes[at[0]], least[at[0]] = -on_t, limits[0]
        rows.append(k)
    return (rows, slopes, least) if rows else None


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
    law = replace(_LAW, quantity="ratio")
    return replace(
        model,
        law=law,
        interaction=own,
        parameters={**values, str(_SLOPE): slopes, str(_LEAST): least},
        provenance={},
    )
