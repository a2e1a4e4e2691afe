"""Global certificates: bounds on the distance of an answer's objective from the global optimum."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal, TypedDict, Unpack

import numpy as np

from climbopt.certification.global_bound import Enclosure, NoBoundError, Progress, enclose
from climbopt.certification.global_bound.record import BALLS, proved
from climbopt.certification.global_bound.search import rests_on
from climbopt.certification.local import TOLERANCE, Bound, BoundSearch, Certificate
from climbopt.files import ProblemLike, load_ratios
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.processes import checked_jobs
from climbopt.foundations.quantities import NUMBER, Amount
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures import Joint
from climbopt.procedures.result import Regret, Result, certify_ratios, solve
from climbopt.procedures.two_step import magnitude_form
from climbopt.program import StandardForm, joint_form

AT_RATIONALS = "the objective at an exactly feasible rational point, in ball arithmetic"
AT_FLOATS = "the objective in float64 at a point whose constraints hold within their tolerance"
SEARCH = 0.5
"""Share of the time limit for the search that precedes a proof."""
BETTER = 1e-9
"""A mixture counts as better than the answer where its objective is lower by more than this share of it."""

INTERRUPTED = "it was interrupted before there was one"
"""Reason for a missing bound after Ctrl-C."""

Rigor = Literal["float", "ball"]
OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Effort:
    """Limits on the search for a global bound.

    Parameters
    ----------
    gap : float
        Relative gap to reach.
    time_limit : float
        Seconds for one enclosure; the bound reached by then counts.
    rigor : {"float", "ball"}
        Arithmetic of the bound.
    jobs : int
        Number of processes.
    """

    gap: float = 1e-6
    time_limit: float = 60.0
    rigor: Rigor = "float"
    jobs: int = 1

    def __post_init__(self) -> None:
        for key in ("gap", "time_limit"):
            object.__setattr__(self, key, NUMBER.positive(getattr(self, key), key))
        checked_jobs(self.jobs)
        if self.rigor not in ("float", "ball"):
            raise InputError(f"rigor is '{self.rigor}'; it is float or ball")


STANDARD = Effort()


class EffortKeywords(TypedDict, total=False):
    """The fields of :class:`Effort`, as keywords."""

    gap: float
    time_limit: float
    rigor: Rigor
    jobs: int


@check_arguments
def certify(
    answer: Result | ProblemLike,
    ratios: Mapping[str, Amount] | str | os.PathLike[str] | None = None,
    *,
    tolerance: float = TOLERANCE,
    effort: Effort = STANDARD,
    progress: OnProgress | None = None,
    **keywords: Unpack[EffortKeywords],
) -> Result:
    """Return an answer with its global certificate; see :func:`certify_globally`.

    Parameters
    ----------
    answer : Result, AllocationProblem, path or name
        A problem is solved first, unless `ratios` is set.
    ratios : mapping of str to float, or path, optional
        Ratios by source to certify for the problem, or a JSON file of them.
    tolerance : float
        Tolerance of the certificate's scaled residuals.
    effort : Effort
    gap, time_limit, rigor, jobs
        Keywords for these of :class:`Effort`.
    progress : callable, optional
        Called with the progress of the search.

    Examples
    --------
    >>> import climbopt
    >>> result = climbopt.certify("equal_beta", {"en": 0.25, "de": 0.25, "sw": 0.25, "yo": 0.25}, gap=1e-3)
    >>> result.passed, result.better is not None
    (False, True)
    """
    effort = replace(effort, **keywords)
    if ratios is None:
        result = answer if isinstance(answer, Result) else solve(answer, tolerance=tolerance)
        return certify_globally(result, effort, progress)
    problem = answer.problem if isinstance(answer, Result) else answer
    by_source = ratios if isinstance(ratios, Mapping) else load_ratios(ratios)
    return certify_globally(certify_ratios(problem, by_source, tolerance=tolerance), effort, progress)


def certify_globally(result: Result, effort: Effort = STANDARD, progress: OnProgress | None = None) -> Result:
    """Return a result whose certificate includes a global bound of the problem that its procedure solves.

    The bound of a joint answer holds over all mixtures. That of two_step is of its second step; two_step and the
    baselines also get their regret relative to the joint optimum.

    Parameters
    ----------
    result : Result
    effort : Effort
    progress : callable, optional
        Called with the progress of the search.

    Returns
    -------
    Result
        Passed only where the gap is reached too; `better` where the search met a better mixture. An interruption
        (Ctrl-C) ends the search, and the bound reached by then counts.

    Examples
    --------
    >>> import climbopt
    >>> problem = climbopt.load_problem("equal_beta")
    >>> best = climbopt.solve(problem).objective
    >>> uniform = certify_globally(climbopt.solve(problem, "uniform"))
    >>> uniform.regret.least <= uniform.objective - best <= uniform.regret.most
    True
    """
    if result.allocation is None:
        return result
    problem, ratios = result.problem, result.allocation.ratios
    try:
        if isinstance(result.procedure, Joint):
            return _judged(result, joint_form(problem), ratios, effort, progress)
        if (steps := result.two_step) is not None:
            second = magnitude_form(problem, steps.direction, steps.magnitude)
            result = _judged(result, second, ratios, effort, progress)
        return _with_regret(result, problem, ratios, effort, progress)
    except KeyboardInterrupt:  # outside of the search, which returns its bound when interrupted
        return result.certified(replace(result.certificate, passed=False, no_bound=INTERRUPTED))


def _judged(result: Result, form: StandardForm, ratios: Array, effort: Effort, progress: OnProgress | None) -> Result:
    """Return the result with the bound of a form's optimum in its certificate."""
    certificate, known = result.certificate, result.certificate.relative_gap
    if known is not None and known <= effort.gap and effort.rigor == "float":
        assert certificate.bound is not None  # there is a gap
        bound = replace(
            certificate.bound, allowed=effort.gap * abs(certificate.upper_bound), search=BoundSearch("float")
        )
        return result.certified(certificate.bounded(bound))
    x = form.complete(ratios)
    try:
        enclosure, effort = _enclosed(form, x, effort, progress)
    except NoBoundError as error:
        return result.certified(replace(certificate, passed=False, no_bound=str(error)))
    upper = certificate.upper_bound
    if effort.rigor == "ball":
        shown = _upper_in_balls(form, x)
        upper = upper if shown is None else shown
        enclosure = replace(enclosure, rests_on=enclosure.rests_on.format(AT_FLOATS if shown is None else AT_RATIONALS))
    better = _better(form, x, enclosure) if isinstance(result.procedure, Joint) else None
    return replace(result.certified(_bounded(certificate, enclosure, effort, upper)), better=better)


def _enclosed(form: StandardForm, x: Array, effort: Effort, progress: OnProgress | None) -> tuple[Enclosure, Effort]:
    """Return the enclosure of a form's optimum, with rigor ball as a proof shows it, and the effort with its rigor."""
    limit = effort.time_limit if effort.rigor == "float" else SEARCH * effort.time_limit
    if effort.rigor == "ball" and find_spec("flint") is None:
        raise InputError("rigor ball needs python-flint; pip install 'climbopt[rigorous]', or use float")
    enclosure = enclose(form, gap=effort.gap, time_limit=limit, jobs=effort.jobs, incumbent=x, progress=progress)
    if effort.rigor == "float":
        return enclosure, effort
    try:
        shown = proved(form, enclosure)
    except KeyboardInterrupt:  # the bound in floating point holds all the same
        return enclosure, replace(effort, rigor="float")
    # Of a proof that does not hold, what the search found in floating point is no bound in balls.
    lower, proof = (-np.inf, None) if shown is None else shown
    return replace(enclosure, lower=lower, rests_on=rests_on(form, BALLS), written=proof), effort


def _upper_in_balls(form: StandardForm, x: Array) -> float | None:
    """Return an upper bound of the objective near x, proved in ball arithmetic; None where none is."""
    from climbopt.certification.global_bound.rational import upper_bound  # so that only proofs load python-flint

    try:
        return upper_bound(form, x)
    except KeyboardInterrupt:  # that in floating point holds all the same
        return None


def _better(form: StandardForm, x: Array, enclosure: Enclosure) -> dict[str, float] | None:
    """Return the ratios, by source, of the enclosure's feasible mixture where it is better than x; else None."""
    value = form.functions.at(x).value
    if enclosure.x is None or not enclosure.upper < value - BETTER * max(1.0, abs(value)):
        return None
    return dict(zip(form.variables, enclosure.x[: form.n_ratios].tolist(), strict=False))  # ratios come first


def _bounded(certificate: Certificate, enclosure: Enclosure, effort: Effort, upper: float) -> Certificate:
    """Return the certificate with an enclosure's lower bound and the upper bound of the certified point."""
    # Both are lower bounds of the same optimum in the same arithmetic, so that the larger holds as well.
    local = -np.inf if effort.rigor == "ball" or certificate.lower_bound is None else certificate.lower_bound
    lower = max(enclosure.lower, local)
    search = BoundSearch(effort.rigor, enclosure.nodes, enclosure.seconds, enclosure.written)
    return certificate.bounded(Bound(lower, upper, effort.gap * abs(upper), enclosure.rests_on, search))


def _with_regret(
    result: Result, problem: AllocationProblem, ratios: Array, effort: Effort, progress: OnProgress | None
) -> Result:
    """Return the result with an enclosure of its excess over the joint optimum."""
    form = joint_form(problem)
    x = form.complete(ratios)
    try:
        enclosure, _ = _enclosed(form, x, effort, progress)
    except NoBoundError:
        return result
    value = form.functions.at(x).value
    # enclosure.lower <= f* <= enclosure.upper, and the excess is value - f*
    return replace(
        result,
        regret=Regret(max(0.0, value - enclosure.upper), value - enclosure.lower),
        better=_better(form, x, enclosure),
    )
