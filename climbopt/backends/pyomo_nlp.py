"""pyomo: an algebraic model for any of Pyomo's solvers, with derivatives from its expressions."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from io import StringIO
from subprocess import TimeoutExpired
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.common.log import LoggingIntercept
from pyomo.common.tee import capture_output
from pyomo.common.tempfiles import TempfileManager
from pyomo.opt import SolverStatus, TerminationCondition
from pyomo.version import version as PYOMO_VERSION

from climbopt.backends.backend import Evaluator, Options, OptionValue, completed, inside, refused_option, unwritable
from climbopt.backends.callbacks import interior_settings
from climbopt.backends.pyomo_model import FUNCTIONS, algebraic_model, multipliers, variables
from climbopt.foundations.errors import BackendError, InputError
from climbopt.foundations.solution import Solution, Termination
from climbopt.program import StandardForm

VERSION_SECONDS = 60.0
"""Time for an executable to print its version."""
TIME_OPTION = {"ipopt": "max_cpu_time", "pounce": "max_wall_time"}
"""Ipopt and POUNCE, with the option that limits their time; Ipopt before 3.14 knows no wall time."""
COMMON = (
    "max_iter",
    "max_cpu_time",
    "mu_strategy",
    "acceptable_tol",
    "linear_solver",
    "print_level",
    "hessian_constant",
)
"""Options common to Ipopt and POUNCE, besides those that are set here."""

STATUS = {
    TerminationCondition.unknown: Termination.FAILED,
    TerminationCondition.maxTimeLimit: Termination.TIME_LIMIT,
    TerminationCondition.maxIterations: Termination.ITERATION_LIMIT,
    TerminationCondition.minFunctionValue: Termination.INTERRUPTED,
    TerminationCondition.minStepLength: Termination.STALLED,
    TerminationCondition.globallyOptimal: Termination.SOLVED,
    TerminationCondition.locallyOptimal: Termination.SOLVED,
    TerminationCondition.feasible: Termination.ALMOST_SOLVED,
    TerminationCondition.optimal: Termination.SOLVED,
    TerminationCondition.maxEvaluations: Termination.ITERATION_LIMIT,
    TerminationCondition.other: Termination.FAILED,
    TerminationCondition.unbounded: Termination.UNBOUNDED,
    TerminationCondition.infeasible: Termination.INFEASIBLE,
    TerminationCondition.infeasibleOrUnbounded: Termination.INFEASIBLE,
    TerminationCondition.invalidProblem: Termination.FAILED,
    TerminationCondition.intermediateNonInteger: Termination.FAILED,
    TerminationCondition.noSolution: Termination.INFEASIBLE,
    TerminationCondition.solverFailure: Termination.FAILED,
    TerminationCondition.internalSolverError: Termination.FAILED,
    TerminationCondition.error: Termination.FAILED,
    TerminationCondition.userInterrupt: Termination.INTERRUPTED,
    TerminationCondition.resourceInterrupt: Termination.INTERRUPTED,
    TerminationCondition.licensingProblems: Termination.FAILED,
}
"""Pyomo's termination conditions."""
WORDS = (
    (re.compile(r"(cpu|wall(clock)?) ?time ?exceeded", re.I), Termination.TIME_LIMIT),
    (re.compile(r"acceptable ?level", re.I), Termination.ALMOST_SOLVED),
    (re.compile(r"search ?direction ?becomes ?too ?small", re.I), Termination.STALLED),
    (re.compile(r"invalid ?number", re.I), Termination.NOT_A_NUMBER),
)
"""Messages of Ipopt and POUNCE that are more specific than Pyomo's condition for their AMPL codes."""
ITERATIONS = re.compile(r"^Number of Iterations\.*: *(\d+)", re.M)
EVALUATIONS = re.compile(r"^Number of objective function evaluations *= *(\d+)", re.M)


class Pyomo:
    """Pyomo with the solver that the option `solver` names: by default `ipopt` where it is on the PATH, else `pounce`.

    Native settings of these two: tol, constr_viol_tol, dual_inf_tol and compl_inf_tol at 1e-7 times the
    tolerance, bound_relax_factor 0, no scaling. Other solvers keep their defaults, do not take max_iterations, and
    their multipliers are not read. Every other option is passed to the solver by its own name.
    """

    name = "pyomo"

    @property
    def version(self) -> str:
        """Version of the default solver, then of Pyomo."""
        return _version(_default(), _solver(_default()))

    def refusal(self, form: StandardForm) -> str | None:
        """Refuse functions that cannot be written out in Pyomo."""
        return unwritable(form, FUNCTIONS, "pyomo builds an algebraic model")

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return a local minimum, reached from the form's start, or what the named solver returns."""
        own = dict(options.native)
        name = own.pop("solver", _default())
        if not isinstance(name, str):
            raise InputError(f"option solver of backend 'pyomo' is {name!r}; it is the name of one of Pyomo's solvers")
        solver, settings, evaluator = _solver(name), _settings(name, options), Evaluator(form, options.time_limit)
        if not np.isfinite(form.functions.at(form.start).value):
            return evaluator.solution(self, None, None, Termination.LEFT_DOMAIN, "the start is outside")
        model, x, claimed = algebraic_model(form), None, None
        # Building the model counts against the limit.
        run = _run(solver, model, {**settings, **own}, None if options.time_limit is None else evaluator.left, own)
        if run.answered:
            x = np.array([pyo.value(variable, exception=False) for variable in variables(model)], dtype=float)
            claimed = multipliers(form, model) if name in TIME_OPTION and np.isfinite(x).all() else None
            claimed = None if claimed is None else completed(form, x, claimed)
        termination, iterations = inside(form, x, run.termination), _total(ITERATIONS, run.words)
        return replace(
            evaluator.solution(self, x, claimed, termination, run.raw_status, iterations),
            evaluations=_total(EVALUATIONS, run.words),
            backend_version=_version(name, solver),
        )


def _default() -> str:
    """Return the name of the default solver."""
    return "ipopt" if shutil.which("ipopt") else "pounce"


def _solver(name: str) -> Any:
    """Return a solver of Pyomo; raises InputError for an unknown name, BackendError if it is not installed."""
    if name == "pounce":
        try:
            import_module("pyomo_pounce")  # registers it
        except ImportError as error:
            raise BackendError(f"Pyomo's solver 'pounce' does not import: {error}") from error
    with LoggingIntercept(StringIO(), "pyomo", logging.WARNING):
        if name not in pyo.SolverFactory:
            raise InputError(
                f"Pyomo has no solver '{name}' (option solver of backend 'pyomo'); "
                "`pyomo help --solvers` lists those that it has"
            )
        solver = pyo.SolverFactory(name)
        if hasattr(solver, "_version_timeout"):  # of 2 s, which a solver's start takes on a busy machine
            solver._version_timeout = VERSION_SECONDS
        if not solver.available(exception_flag=False):
            raise BackendError(f"Pyomo's solver '{name}' is not available here; install it or choose another one")
    return solver


def _version(name: str, solver: Any) -> str:
    """Return the versions of a solver and of Pyomo."""
    numbers: tuple[int, ...] = getattr(solver, "version", tuple)() or ()  # Pyomo's meta-solvers have no version
    return f"{name} {'.'.join(map(str, numbers[:3]))}".rstrip() + f", Pyomo {PYOMO_VERSION}"


def _settings(name: str, options: Options) -> dict[str, OptionValue]:
    """Return a solver's options for those common to all backends."""
    if name not in TIME_OPTION:
        if options.max_iterations is not None:
            raise InputError(f"max_iterations means nothing to Pyomo's solver '{name}' here; give its own option")
        return {}
    time = {} if options.time_limit is None else {TIME_OPTION[name]: options.time_limit}
    return {**interior_settings(options, pounce=name == "pounce"), **time}


@dataclass(frozen=True)
class _Run:
    """Why a solver stopped, whether it left a point in the model, and its output."""

    termination: Termination
    raw_status: str
    answered: bool = False
    words: str = ""


def _run(
    solver: Any, model: Any, settings: Mapping[str, OptionValue], seconds: float | None, own: Mapping[str, OptionValue]
) -> _Run:
    """Solve a model; InputError for an option of `own`, the user's, that the solver refuses."""
    if seconds is not None and seconds <= 0:
        return _Run(Termination.TIME_LIMIT, "the time limit passed before the solver began")
    words = StringIO()
    try:
        with _captured(words):
            # Loaded by hand: Pyomo warns or raises where a solver stopped early.
            results = solver.solve(model, load_solutions=False, tee=True, options=dict(settings), timelimit=seconds)
            answered = len(results.solution) > 0 and results.solver.status != SolverStatus.error
            if answered:
                model.solutions.load_from(results)
    # Output is read once the capture has ended: a thread brings it, and may be late on a busy machine.
    except TimeoutExpired:
        return _Run(Termination.TIME_LIMIT, "ended at the time limit", words=words.getvalue())
    except Exception as error:  # any exception of a solver's interface is that solver's failure
        output = f"{error} {words.getvalue()}"
        # The output of a solver that refuses an option names it; there is no error type for it.
        for option, value in own.items():
            if re.search(rf"\b{re.escape(option)}\b", output):
                known = {*settings} - {*own} | {*COMMON}
                raise refused_option(option, value, "Pyomo's solver", known) from None
        return _Run(Termination.FAILED, f"{type(error).__name__}: {error}", words=output)
    condition, message = results.solver.termination_condition, results.solver.message
    status = message.replace("\\x3a", ":") if isinstance(message, str) else str(condition)
    # AMPL's codes are coarse: Ipopt's own message says more than the condition that Pyomo derives.
    specific = (meaning for pattern, meaning in WORDS if pattern.search(status))
    return _Run(next(specific, STATUS.get(condition, Termination.FAILED)), status, answered, words.getvalue())


@contextmanager
def _captured(words: StringIO) -> Iterator[None]:
    """Capture the output and logs of Pyomo and its solvers; their files go to a temporary folder."""
    before = TempfileManager.tempdir
    with (
        tempfile.TemporaryDirectory(prefix="climbopt-") as folder,
        LoggingIntercept(words, "pyomo", logging.WARNING),
        TempfileManager,
        capture_output(words, capture_fd=False),
    ):
        TempfileManager.tempdir = folder
        try:
            yield
        finally:
            TempfileManager.tempdir = before


def _total(pattern: re.Pattern[str], words: str) -> int | None:
    """Return the sum of the numbers after a pattern, which occurs once per run; None where it is absent."""
    numbers = [int(number) for number in pattern.findall(words)]
    return sum(numbers) if numbers else None
