"""scip: the global optimum with its dual bound, by spatial branch and bound on the expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import pyscipopt

from climbopt.backends.backend import (
    Evaluator,
    ModellingSystem,
    Options,
    OptionValue,
    finite,
    inside,
    set_options,
    silenced,
    unwritable,
)
from climbopt.foundations.solution import Solution, Termination
from climbopt.program import Algebraic, Rows, StandardForm

STANDARD_ERROR = 2
"""Its file descriptor, to which SoPlex and SCIP print warnings and errors."""
FEASIBILITY_SHARE, LEAST_FEASIBILITY = 1e-3, 1e-9
"""numerics/feastol as a share of the certificate's tolerance, and the smallest value that SCIP reaches."""
SUBPROBLEM = {"heuristics/subnlp/opttol": 1e-14}
"""Makes incumbents accurate: where f is flat, a gap alone leaves an error in r of about its square root."""
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(pyscipopt, name) for name in ("exp", "log", "sqrt", "sin", "cos")},
    "tanh": lambda argument: 1 - 2 / (pyscipopt.exp(2 * argument) + 1),  # which SCIP lacks
}
STATUS = {
    "optimal": Termination.SOLVED,
    "gaplimit": Termination.SOLVED,
    "timelimit": Termination.TIME_LIMIT,
    "nodelimit": Termination.ITERATION_LIMIT,
    "totalnodelimit": Termination.ITERATION_LIMIT,
    "restartlimit": Termination.ITERATION_LIMIT,
    "stallnodelimit": Termination.STALLED,
    "infeasible": Termination.INFEASIBLE,
    "inforunbd": Termination.INFEASIBLE,
    "unbounded": Termination.UNBOUNDED,
    "userinterrupt": Termination.INTERRUPTED,
    "terminate": Termination.INTERRUPTED,
    "memlimit": Termination.INTERRUPTED,
    "sollimit": Termination.INTERRUPTED,
    "bestsollimit": Termination.INTERRUPTED,
    "primallimit": Termination.INTERRUPTED,
    "duallimit": Termination.INTERRUPTED,
    "unknown": Termination.FAILED,
}
"""SCIP's status by name; a stop at the gap counts as solved, since this adapter or the user set the gap."""


class Scip:
    """SCIP through PySCIPOpt.

    Native settings: limits/gap at the tolerance (of the objective, relative), numerics/feastol at
    `FEASIBILITY_SHARE` times it but no less than `LEAST_FEASIBILITY`, and `SUBPROBLEM`. max_iterations is
    limits/totalnodes. Any parameter of SCIP may be set by its own name. SCIP has no multipliers of a nonlinear
    problem; `bound` is its dual bound, which holds up to numerics/feastol.
    """

    name = "scip"

    @property
    def version(self) -> str:
        """Version of SCIP itself, then of PySCIPOpt."""
        scip = pyscipopt.Model()
        numbers = scip.getMajorVersion(), scip.getMinorVersion(), scip.getTechVersion()
        return f"SCIP {'.'.join(map(str, numbers))}, PySCIPOpt {version('pyscipopt')}"

    def refusal(self, form: StandardForm) -> str | None:
        """Refuse functions that cannot be written out in SCIP."""
        return unwritable(form, FUNCTIONS, "scip branches on expressions")

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a global minimum within the gap, and a lower bound of it; the start is not used."""
        evaluator = Evaluator(form, options.time_limit)
        scip = pyscipopt.Model()
        scip.hideOutput()
        with silenced(STANDARD_ERROR):
            _set_parameters(scip, options)
            x = _written_out(scip, form)
            if options.time_limit is not None:
                scip.setParam("limits/time", max(evaluator.left, 0.0))
            scip.optimize()
        best, bound = scip.getBestSol() if scip.getNSols() else None, float(scip.getDualbound())
        # An incumbent may come from a heuristic: it counts whatever ended the search.
        point = None if best is None else np.array([best[variable] for variable in x], dtype=float)
        termination = inside(form, point, STATUS.get(scip.getStatus(), Termination.FAILED))
        return replace(
            evaluator.solution(self, point, None, termination, scip.getStatus(), int(scip.getNTotalNodes())),
            bound=bound if abs(bound) < scip.infinity() else None,
        )


def _set_parameters(scip: Any, options: Options) -> None:
    """Set SCIP's parameters; raises InputError for an unknown parameter or a refused value."""
    feasibility = max(options.tolerance * FEASIBILITY_SHARE, LEAST_FEASIBILITY)
    settings: dict[str, OptionValue] = {
        "numerics/feastol": feasibility,
        "limits/gap": options.tolerance,
        **SUBPROBLEM,
        **options.iterations_as("limits/totalnodes"),
        **options.native,
    }
    set_options(scip.setParam, settings, "SCIP", scip.getParams)


def _written_out(scip: Any, form: StandardForm) -> list[Any]:
    """Write a form into a model, its objective as a variable that is no less than f; return x."""
    assert isinstance(form.functions, Algebraic)  # other functions were refused before
    polytope = form.polytope
    x = [
        scip.addVar(name, lb=finite(lower), ub=finite(upper))
        for name, lower, upper in zip(form.variables, polytope.bounds.lower, polytope.bounds.upper, strict=True)
    ]
    least = {
        label.name: low
        for label, low in zip(form.nonlinear.labels, form.nonlinear.lower.tolist(), strict=True)
        if label.domain
    }
    f, c = form.functions.build(x, ModellingSystem(FUNCTIONS, partial(_kept_positive, scip, least)))
    linear = [pyscipopt.quicksum(float(row[j]) * x[j] for j in np.flatnonzero(row).tolist()) for row in polytope.dense]
    # SCIP minimises linear objectives only: min t s.t. f(x) - t <= 0.
    objective = scip.addVar("objective", lb=None, ub=None, obj=1.0)
    limits = polytope.rows + form.nonlinear + Rows(np.array([-np.inf]), np.zeros(1))
    for body, low, high in zip([*linear, *c, f - objective], limits.lower.tolist(), limits.upper.tolist(), strict=True):
        # quicksum turns a number or a variable into an expression that can be compared.
        for constraint in _constraints(pyscipopt.quicksum([body]), low, high):
            scip.addCons(constraint)
    return x


def _constraints(body: Any, low: float, high: float) -> Iterator[Any]:
    """Yield low <= body <= high, one side at a time where both are finite and differ."""
    if low == high:
        yield body == low
    elif np.isfinite(low):
        yield body >= low
    if low < high < np.inf:
        yield body <= high


def _kept_positive(scip: Any, least: Mapping[str, float], expression: Any, name: str) -> Any:
    """Return an expression, or a variable in its place where only a row keeps it > 0.

    A variable's bound holds exactly; a row's limit may be missed by the tolerance, near the pole of 1/z.

    Parameters
    ----------
    scip : pyscipopt.Model
    least : mapping of str to float
        Lower limits of the rows that keep z in its law's domain, by name.
    expression : pyscipopt.Expr
    name : str
    """
    row = name.replace("z[", "domain[")
    if row not in least:
        return expression
    variable = scip.addVar(name, lb=least[row], ub=None)
    scip.addCons(variable == expression)
    return variable
