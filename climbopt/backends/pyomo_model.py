"""A standard form as a Pyomo model, indexed by the names of languages and constraints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pyomo.environ as pyo

from climbopt.backends.backend import ModellingSystem, finite
from climbopt.foundations.solution import Array, Multipliers
from climbopt.program import Algebraic, Label, Rows, StandardForm

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    name: getattr(pyo, name)
    for name in ("exp", "log", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")
}
SUFFIXES = ("dual", "ipopt_zL_out", "ipopt_zU_out")
"""Where Pyomo, Ipopt and POUNCE store multipliers."""


def algebraic_model(form: StandardForm) -> Any:
    """Return a form as a Pyomo model, indexed by names.

    r and auxiliary are its variables, z and loss named expressions, linear and nonlinear its rows, and objective is
    minimised.
    """
    assert isinstance(form.functions, Algebraic)  # other functions were refused before
    model = pyo.ConcreteModel()
    model.r = pyo.Var(list(form.variables[: form.n_ratios]))
    model.auxiliary = pyo.Var(list(form.variables[form.n_ratios :]))
    x = variables(model)
    for variable, start, lower, upper in zip(
        x, form.start, form.polytope.bounds.lower, form.polytope.bounds.upper, strict=True
    ):
        variable.setlb(finite(lower))
        variable.setub(finite(upper))
        # A start may lie on or, by rounding, beyond a bound.
        variable.set_value(float(start), skip_validation=True)
    f, c = form.functions.build(x, ModellingSystem(FUNCTIONS, partial(_named_expression, model)))
    model.objective = pyo.Objective(expr=f)
    model.linear = _constraints(
        form.polytope.rows,
        [sum(float(row[j]) * x[j] for j in np.flatnonzero(row).tolist()) for row in form.polytope.dense],
    )
    model.nonlinear = _constraints(form.nonlinear, c)
    for suffix in SUFFIXES:
        model.add_component(suffix, pyo.Suffix(direction=pyo.Suffix.IMPORT))
    return model


def _named_expression(model: Any, expression: Any, name: str) -> Any:
    """Return model.z["en"] for z[en], and model.loss["en"] for L[en]."""
    kind, _, index = name.rstrip("]").partition("[")
    component = "loss" if kind == "L" else kind
    if model.component(component) is None:
        model.add_component(component, pyo.Expression(pyo.Any))
    group = model.component(component)
    group[index] = expression
    return group[index]


def _constraints(rows: Rows, bodies: Sequence[Any]) -> Any:
    """Return rows as constraints indexed by name; a row without a limit is left out."""
    ends = rows.lower.tolist(), rows.upper.tolist()
    limits = {
        # An equation, or a range; None stands for no limit.
        name: (body, low) if low == high else (finite(low), body, finite(high))
        for name, body, low, high in zip(_indices(rows.labels), bodies, *ends, strict=True)
        if np.isfinite([low, high]).any()
    }
    return pyo.Constraint(list(limits), rule=lambda model, name: limits[name])


def _indices(sides: Sequence[Label]) -> list[str]:
    """Return the rows' names; a repeated name is numbered."""
    seen: defaultdict[str, count[int]] = defaultdict(lambda: count(1))
    numbered = [(side.name, next(seen[side.name])) for side in sides]
    return [name if number == 1 else f"{name} ({number})" for name, number in numbered]


def variables(model: Any) -> list[Any]:
    """Return x."""
    return [*model.r.values(), *model.auxiliary.values()]


def multipliers(form: StandardForm, model: Any) -> Multipliers | None:
    """Return the multipliers in a solved model's suffixes, or None where there are none.

    Pyomo's dual is d f / d limit, the negative of climbopt's multiplier; ipopt_zL_out is >= 0 and ipopt_zU_out <= 0, so
    that their sum is also the negative. Entries missing from a suffix are 0.
    """
    dual, lower, upper = (model.component(suffix) for suffix in SUFFIXES)
    if not (len(dual) or len(lower) or len(upper)):
        return None

    def of_rows(constraints: Any, sides: Sequence[Label]) -> Array:
        duals = [dual.get(constraints[name], 0.0) if name in constraints else 0.0 for name in _indices(sides)]
        return -np.array(duals, dtype=float)

    return Multipliers(
        # At most one of the two differs from 0 at an active bound.
        -np.array([lower.get(one, 0.0) + upper.get(one, 0.0) for one in variables(model)], dtype=float),
        of_rows(model.linear, form.polytope.rows.labels),
        of_rows(model.nonlinear, form.nonlinear.labels),
    )
