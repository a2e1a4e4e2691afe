"""The conformance suite: what every backend must do; it may be excluded from a check, each time with a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from climbopt.backends import Backend, Options
from climbopt.certification.kkt import LimitsAt, flat
from climbopt.certification.local import certify, certify_feasible, repair
from climbopt.foundations.errors import InputError, refuse_unknown
from climbopt.foundations.solution import Solution, Termination
from climbopt.model.templates import Array
from climbopt.numerics.polytope import Polytope
from climbopt.program import Algebraic, Evaluation, Functions, StandardForm, System, joint_form
from climbopt.testing.cases import CASES, Case
from climbopt.testing.generate import family_problem
from climbopt.testing.hock_schittkowski import Number, PublishedProblem

RATIO_TOLERANCE = 1e-6
MULTIPLIER_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Accuracy:
    """What a backend's answer to a published problem is held to; a solver that stops within a gap declares less.

    Parameters
    ----------
    point : float
        Distance of each variable from the published solution, over max(1, |x*|).
    value : float
        Distance from the published minimum, over max(1, |f*|).
    multiplier : float
        Distance of each multiplier from its value, over max(1, |multiplier|).
    certificate : float or None
        Tolerance at which the certificate passes; None requires a feasible point only, where a solver stays further
        from active limits than a certificate allows.
    """

    point: float = 1e-5
    value: float = 1e-8
    multiplier: float = 1e-4
    certificate: float | None = 1e-6


STANDARD = Accuracy()


def check_case(backend: Backend, case: Case) -> None:
    """Assert that a backend solves a case: point, multipliers by sign and value, certificate, and what it reports.

    Raises
    ------
    AssertionError
        With the backend, the case and what differs.
    """
    form = case.form()
    solution, x, where = solved(backend, form, case.name)
    np.testing.assert_allclose(x, case.x, atol=RATIO_TOLERANCE, rtol=0, err_msg=where)
    certificate = certify(form, x, claimed=solution.multipliers)
    assert certificate.passed, f"{where}: {certificate.residuals}"
    # Scaled by the largest: solvers meet multipliers to a relative accuracy.
    expected = by_entry(form, x, case.multipliers)
    if solution.multipliers is not None:
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(
            flat(solution.multipliers) / scale,
            expected / scale,
            atol=MULTIPLIER_TOLERANCE,
            rtol=0,
            err_msg=f"{where}: multipliers",
        )
    check_report(backend, solution)


def solved(backend: Backend, form: StandardForm, name: str) -> tuple[Solution, Array, str]:
    """Return a backend's solution, its repaired point, and what it is called in messages; assert that it settled."""
    assert backend.refusal(form) is None, f"{backend.name} refuses {name}: declare it as an exclusion"
    solution = backend.solve(form, Options(time_limit=60.0))
    where = f"{backend.name} on {name} ({solution.raw_status})"
    assert solution.termination.settled, f"{where}: {solution.termination.value}"
    assert solution.x is not None, where
    return solution, repair(form, solution.x), where


def by_entry(form: StandardForm, x: Array, multipliers: Mapping[str, Number]) -> Array:
    """Return multipliers given by name as bounds, rows and nonlinear rows in one vector; the others are 0."""
    rows = LimitsAt(form, x)
    names = [{rows.side(k, upper=upper).name for upper in (False, True)} for k in range(rows.sides.size)]
    return np.array([sum(float(value) for name, value in multipliers.items() if name in each) for each in names])


def check_report(backend: Backend, solution: Solution) -> None:
    """Assert that a solution states its facts in full; what is unknown is None, never 0 or text."""
    assert solution.backend == backend.name
    assert solution.backend_version == backend.version and any(c.isdigit() for c in backend.version)
    assert isinstance(solution.termination, Termination) and solution.raw_status
    assert solution.seconds >= 0
    assert solution.iterations is None or (isinstance(solution.iterations, int) and solution.iterations >= 0)
    assert solution.evaluations is None or (isinstance(solution.evaluations, int) and solution.evaluations >= 1)


def check_limits(backend: Backend, form: StandardForm) -> None:
    """Assert that an iteration limit of 1 and a time limit of a microsecond stop a backend, and are named.

    Parameters
    ----------
    backend : Backend
    form : StandardForm
        One that takes more than an iteration from its start, unless an iteration of the backend solves a problem.
    """
    # Methods that solve a quadratic program in one step may finish; then the answer must be right.
    solution = backend.solve(form, Options(max_iterations=1))
    if solution.termination is Termination.SOLVED:
        solved = solution.x is not None and certify(form, repair(form, solution.x)).passed
        assert solved, f"{backend.name} claims a solution after one iteration, and has none"
    solution = backend.solve(form, Options(time_limit=1e-6))
    assert solution.termination is Termination.TIME_LIMIT, f"{backend.name}: {solution.raw_status}"


def check_bad_option(backend: Backend, form: StandardForm) -> None:
    """Assert that an option which the solver does not know is refused by its name."""
    try:
        backend.solve(form, Options(native={"no_such_option": 1.0}))
    except InputError as error:
        assert "no_such_option" in str(error), str(error)
        return
    raise AssertionError(f"{backend.name} takes an option that does not exist")


def check_not_a_number(backend: Backend, form: StandardForm) -> None:
    """Assert that functions which turn into NaN away from the start give no wrong answer, unless they are refused."""
    broken = replace(form, functions=_Broken(form.functions, form.start))
    if backend.refusal(broken) is not None:
        return
    solution = backend.solve(broken, Options(max_iterations=50, time_limit=20.0))
    assert solution.termination is not Termination.SOLVED, f"{backend.name} solved a problem made of NaN"


def check_problem(backend: Backend, problem: PublishedProblem, accuracy: Accuracy = STANDARD) -> None:
    """Assert that a backend finds a published solution: point, minimum, multipliers by sign and value, certificate.

    Multipliers are judged where the backend gives any.

    Parameters
    ----------
    backend : Backend
    problem : PublishedProblem
        One that the backend does not refuse, nor its author excludes with a reason.
    accuracy : Accuracy

    Raises
    ------
    AssertionError
        With the backend, the problem and what differs.
    """
    form = problem.form
    solution, x, where = solved(backend, form, problem.name)
    # Any of several published minimisers counts.
    distances = np.abs(x - problem.minimisers) / np.maximum(1.0, np.abs(problem.minimisers))
    assert distances.max(axis=1).min() <= accuracy.point, f"{where}: {x} is not {problem.minimisers}"
    best, value = form.functions.at(problem.minimisers[0]).value, form.functions.at(x).value
    assert abs(value - best) <= accuracy.value * max(1.0, abs(best)), f"{where}: f is {value}, not {best}"
    if accuracy.certificate is None:
        certificate = certify_feasible(form, x, tolerance=accuracy.point)
    else:
        certificate = certify(form, x, tolerance=accuracy.certificate, claimed=solution.multipliers)
    assert certificate.passed, f"{where}: {certificate.residuals}"
    if solution.multipliers is not None:
        expected, claimed = by_entry(form, x, problem.multipliers), flat(solution.multipliers)
        np.testing.assert_allclose(
            claimed, expected, atol=accuracy.multiplier, rtol=accuracy.multiplier, err_msg=f"{where}: multipliers"
        )
        assert (claimed * expected >= 0).all(), f"{where}: signs of {claimed}, not {expected}"
    check_report(backend, solution)


@dataclass(frozen=True, eq=False)
class _Broken:
    """Functions that are NaN everywhere but at one point."""

    inner: Functions
    start: Array

    @property
    def n_rows(self) -> int:
        return self.inner.n_rows

    def at(self, x: Array) -> Evaluation:
        evaluation = self.inner.at(x)
        return evaluation if np.array_equal(x, self.start) else _NotANumber(evaluation)

    def convex(self, polytope: Polytope, multipliers: Array) -> bool:
        return False

    def build(self, x: Sequence[Any], system: System) -> tuple[Any, list[Any]]:
        assert isinstance(self.inner, Algebraic)
        f, c = self.inner.build(x, system)
        # The logarithm of a negative number at every x.
        return f + system.functions["log"](-1.0 - x[0] * x[0]), c


class _NotANumber:
    """An evaluation in which every function is NaN."""

    def __init__(self, inner: Evaluation) -> None:
        self.value, self._inner = float("nan"), inner
        self.gradient, self.rows, self.jacobian = (
            np.full_like(values, np.nan) for values in (inner.gradient, inner.rows, inner.jacobian)
        )

    def hessian(self, weight: float, multipliers: Array) -> Array:
        return np.full_like(self._inner.hessian(weight, multipliers), np.nan)


@dataclass(frozen=True, eq=False)
class Check:
    """One thing that every backend must do.

    Parameters
    ----------
    name : str
    form : callable
        Builds the standard form that the backend is tried on.
    run : callable
        Raises AssertionError where the backend fails.
    """

    name: str
    form: Callable[[], StandardForm]
    run: Callable[[Backend], None]


def _on_form(name: str, check: Callable[[Backend, StandardForm], None], form: Callable[[], StandardForm]) -> Check:
    return Check(name, form, lambda backend: check(backend, form()))


CHECKS: Mapping[str, Check] = {
    check.name: check
    for check in (
        *(Check(case.name, case.form, partial(check_case, case=case)) for case in CASES),
        _on_form("limits", check_limits, lambda: joint_form(family_problem(12, seed=3))),
        _on_form("bad option", check_bad_option, lambda: joint_form(family_problem(4))),
        _on_form("not a number", check_not_a_number, lambda: joint_form(family_problem(4))),
    )
}
"""By name: those of `CASES`, then limits, bad option and not a number."""


def exclusion(backend: Backend, name: str, declared: Mapping[str, str] | None = None) -> str | None:
    """Return why a backend is excluded from a check, or None where it has to pass it.

    Parameters
    ----------
    backend : Backend
        What it refuses, it is excluded from; its reason has to name it.
    name : str
        A key of `CHECKS`.
    declared : mapping of str to str, optional
        Reasons, by check, that its author gives for others.

    Raises
    ------
    InputError
        For a declared check that does not exist, or one without a reason.
    AssertionError
        Where a refusal does not name the backend.
    """
    # An exclusion without a reason, or of a check that was renamed, would hide a failure.
    refuse_unknown("check", declared or {}, CHECKS)
    for check, reason in (declared or {}).items():
        if not reason.strip():
            raise InputError(f"the exclusion of {backend.name} from the check '{check}' has no reason; write one")
    # A refusal is read where several backends are tried, so that it must say whose it is.
    refusal = backend.refusal(CHECKS[name].form())
    assert refusal is None or backend.name in refusal, f"the refusal does not say whose it is: {refusal}"
    return refusal or (declared or {}).get(name)
