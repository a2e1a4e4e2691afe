"""cvxpy: the exact convex program, through Clarabel or another conic solver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from typing import Any

import clarabel
import cvxpy as cp
import numpy as np

from climbopt.backends.backend import Evaluator, Options, OptionValue
from climbopt.backends.cvxpy_model import LEAST_NATIVE, NATIVE_SHARE, STATUS, Program, taken, written
from climbopt.foundations.errors import InputError, unknown_name
from climbopt.foundations.solution import Solution, Termination
from climbopt.model.mixture import Response
from climbopt.program import MixtureFunctions, StandardForm

REDUCED = 100.0
"""Clarabel's tests for an answer that is almost solved, as a multiple of the requested tolerances."""
PATIENT = {"min_terminate_step_length": 1e-8, "max_step_fraction": 0.95}
"""Clarabel's defaults, 1e-4 and 0.99, stop on a tenth of the problems before they reach these tolerances."""

SCS_LIMITS = {"max_iters": Termination.ITERATION_LIMIT, "time_limit_secs": Termination.TIME_LIMIT}
"""Words in SCS's status text; CVXPY reports both as an inaccurate solution."""
CLARABEL_STATUS = {
    "Solved": Termination.SOLVED,
    "AlmostSolved": Termination.ALMOST_SOLVED,
    "PrimalInfeasible": Termination.INFEASIBLE,
    "AlmostPrimalInfeasible": Termination.INFEASIBLE,
    "DualInfeasible": Termination.UNBOUNDED,
    "AlmostDualInfeasible": Termination.UNBOUNDED,
    "MaxIterations": Termination.ITERATION_LIMIT,
    "MaxTime": Termination.TIME_LIMIT,
    "InsufficientProgress": Termination.STALLED,
    "CallbackTerminated": Termination.INTERRUPTED,
    "NumericalError": Termination.FAILED,
    "Unsolved": Termination.FAILED,
}
"""Clarabel's own statuses, which are more specific."""


ITERATIONS = {"CLARABEL": "max_iter", "SCS": "max_iters"}
SECONDS = {"CLARABEL": "time_limit", "SCS": "time_limit_secs"}
TOLERANCES = {"CLARABEL": ("tol_gap_abs", "tol_gap_rel", "tol_feas"), "SCS": ("eps_abs", "eps_rel")}
"""The common options; other solvers run at their own tolerances, and take limits only as their own options."""


def _version(solver: str) -> str:
    """Return the versions of CVXPY and of a solver, where a package of its name exists."""
    try:
        return f"cvxpy {cp.__version__}, {solver} {version(solver.lower())}"
    except PackageNotFoundError:
        return f"cvxpy {cp.__version__}, {solver}"


class CvxpyConvex:
    """Problems that CVXPY's rules prove convex, as conic programs.

    Native settings: Clarabel's tol_gap_abs, tol_gap_rel and tol_feas (SCS's eps_abs and eps_rel) at `NATIVE_SHARE`
    times the tolerance, no less than `LEAST_NATIVE`; an answer that Clarabel reports as almost solved meets `REDUCED`
    times that, and short steps do not stop it (`PATIENT`). The option `solver` names another installed solver;
    every other option is that solver's own.
    """

    name = "cvxpy"
    version = _version("CLARABEL")

    def refusal(self, form: StandardForm) -> str | None:
        """CVXPY's rules must prove every part convex."""
        program = written(form, named=False)
        if isinstance(program, str):
            return f"cvxpy takes mixtures that can be written in CVXPY, and here {program}; use ipopt"
        if program.problem.is_dcp():
            return None
        return (
            f"cvxpy takes only what CVXPY's rules prove convex, and here {_obstacle(form, program)}; a conic program "
            "could only be its convex relaxation (chords and McCormick envelopes), which bounds but does not answer; "
            "use scip for the global optimum or ipopt for a local one"
        )

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return the global minimum."""
        solver, settings = _settings(options)
        program = taken(self, form, named=False)
        evaluator = Evaluator(form, options.time_limit, program.seconds)
        try:
            # Reduction and solve apart, so that the time limit is known to the solver and its raw status is seen.
            data, chain, inverse = program.problem.get_problem_data(solver, solver_opts=settings)
        except cp.SolverError as error:
            raise InputError(f"solver '{solver}' cannot take this problem: {error}; CLARABEL can") from None
        if options.time_limit is not None:
            settings[SECONDS[solver]] = left = evaluator.left
            if left <= 0:
                return evaluator.solution(self, None, None, Termination.TIME_LIMIT, "time limit")
        try:
            raw = chain.solve_via_data(program.problem, data, warm_start=False, verbose=False, solver_opts=settings)
        except (AttributeError, TypeError, ValueError) as error:
            # Clarabel's options were checked; another solver's error is most likely one of its options.
            if solver == "CLARABEL" or not options.native:
                raise
            raise InputError(f"solver '{solver}' refuses {dict(options.native)}: {error}") from None
        # Back through CVXPY's reductions, to the variables and constraints as they were written.
        answer = chain.invert(raw, inverse)
        x = answer.primal_vars.get(program.quantities.x.id)
        multipliers = None if x is None else program.multipliers(form, answer.dual_vars)
        termination, words = _termination(solver, raw, answer.status)
        return replace(
            evaluator.solution(self, x, multipliers, termination, words, answer.attr.get("num_iters")),
            backend_version=_version(solver),
        )


def _settings(options: Options) -> tuple[str, dict[str, Any]]:
    """Return the solver's name and its own settings; raises InputError for an unknown solver or option."""
    native = dict(options.native)
    solver = str(native.pop("solver", "CLARABEL")).upper()
    if solver not in cp.installed_solvers():
        raise unknown_name("solver of backend 'cvxpy'", solver, cp.installed_solvers())
    if solver not in TOLERANCES:
        for limit in ("max_iterations", "time_limit"):
            if getattr(options, limit) is not None:
                raise InputError(
                    f"{limit} is not known to be honoured by solver '{solver}'; give it by the solver's "
                    f"own name, or use one of {', '.join(TOLERANCES)}"
                )
        return solver, native
    tolerance = max(options.tolerance * NATIVE_SHARE, LEAST_NATIVE)
    settings: dict[str, Any] = dict.fromkeys(TOLERANCES[solver], tolerance)
    if solver == "CLARABEL":
        _check(native)
        # accept_unknown: without it CVXPY discards the point of a stalled solve
        loose = {f"reduced_{name}": REDUCED * tolerance for name in settings}
        settings |= {**PATIENT, **loose, "accept_unknown": True}
    return solver, settings | options.iterations_as(ITERATIONS[solver]) | native


def _check(native: Mapping[str, OptionValue]) -> None:
    """Refuse unknown settings of Clarabel, and values that it does not take."""
    settings = clarabel.DefaultSettings()
    for name, value in native.items():
        if not hasattr(settings, name):
            raise unknown_name("option of Clarabel", name, [known for known in dir(settings) if known[0] != "_"])
        try:
            setattr(settings, name, value)
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"option {name} of Clarabel cannot be {value!r}: {error}") from None


def _termination(solver: str, raw: Any, status: str) -> tuple[Termination, str]:
    """Return why a solver stopped, and its own status."""
    if solver == "CLARABEL":
        return CLARABEL_STATUS.get(str(raw.status), Termination.FAILED), str(raw.status)
    words = raw["info"]["status"] if solver == "SCS" else status  # "solved (inaccurate - reached max_iters)"
    for limit, termination in SCS_LIMITS.items():
        if limit in words:
            return termination, words
    return STATUS.get(status, Termination.FAILED), words


def _obstacle(form: StandardForm, program: Program) -> str:
    """Return the part that is not convex by CVXPY's rules, and why."""
    functions, quantities = form.functions, program.quantities
    assert isinstance(functions, MixtureFunctions)  # other functions cannot be written in CVXPY
    what = "the objective is not" if not program.problem.objective.is_dcp() else _bent_row(form, program)
    parts, ends = functions.responses.parts, accumulate(len(part.model.targets) for part in functions.responses.parts)
    for part, end in zip(parts, ends, strict=True):
        if not quantities.z[end - len(part.model.targets) : end].is_concave():
            return f"{what}: {_bent_z(part)}"
    if quantities.losses is not None and not quantities.losses.is_convex():
        laws = dict.fromkeys(f"'{part.model.law.name}'" for part in parts)
        return f"{what}: nor are the losses of law {' and '.join(laws)}"
    return what


def _bent_row(form: StandardForm, program: Program) -> str:
    """Return the first row that is not convex: an upper limit needs a convex function, a lower limit a concave one."""
    # Position of c_k behind the bounds and the linear rows.
    for k, side in enumerate(form.nonlinear.labels):
        value = program.quantities.functions(program.table, np.array([form.n + len(form.polytope.rows) + k]))
        if form.nonlinear.lower[k] == form.nonlinear.upper[k] and not value.is_affine():
            return f"'{side.name}' is an equation that is not linear"
        if (np.isfinite(form.nonlinear.upper[k]) and not value.is_convex()) or (
            np.isfinite(form.nonlinear.lower[k]) and not value.is_concave()
        ):
            return f"'{side.name}' is not"
    return "the constraints are not"


def _bent_z(response: Response) -> str:
    """Return why z is not concave."""
    model = response.model
    name, middle = model.interaction.name, np.full(len(model.sources), 1 / len(model.sources))
    if not model.templates.pair.second[1].is_zero:
        return f"z of interaction '{name}' is not concave, since it multiplies ratios"
    for target, weights in zip(model.targets, np.eye(len(model.targets)), strict=True):
        # Without cross terms the Hessian is diagonal: one entry above 0 disproves concavity.
        curvature = np.diag(response.hessian(middle, weights))
        if curvature.max() > 0:
            return (
                f"z of '{target}' under interaction '{name}' is not concave in the ratio of "
                f"'{model.sources[int(np.argmax(curvature))]}', as with negative transfer"
            )
    return f"z of interaction '{name}' is not concave"
