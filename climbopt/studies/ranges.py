"""Near-optimal ranges: the interval of each ratio with the objective within a tolerance of the optimum."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from climbopt.backends import Options, choose
from climbopt.certification.local import Verdict, certify, repair
from climbopt.files import ProblemLike
from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.processes import Progress, in_chunks
from climbopt.foundations.quantities import RATIO, Amount
from climbopt.model.templates import Array
from climbopt.procedures import Joint
from climbopt.procedures.result import Result, as_result
from climbopt.program import StandardForm, extreme, joint_form

ALONE = 24
"""Number of sources up to which a single process is fastest."""
CHUNK = 8
"""Number of sources per task of a process."""
ROOM = 0.05
"""Fraction of the way from the optimum to the form's own start at which a warm start lies; halved outside the set."""


@dataclass(frozen=True)
class Range:
    """The ratios of a source at which some mixture is within the tolerance of the optimum.

    Parameters
    ----------
    lower, upper : float
        Ratios in [0, 1]; the optimum's ratio where a solve was not certified.
    certified : bool
        Whether both ends are certified optima of their problems.
    proved : bool
        Whether both are proved to be global optima, so that no mixture beyond them is within the tolerance; otherwise
        they are the ends that a local search from the optimum reaches.
    """

    lower: float
    upper: float
    certified: bool
    proved: bool


@dataclass(frozen=True)
class RangedObjective:
    """An objective that is minimised, or must stay near its least value, perhaps without terms that are not active.

    Parameters
    ----------
    form : callable
        Returns its standard form, whose objective it is.
    grown : callable
        Returns a goal extended by the terms left out of this one that are active at a point; None if there are none.
    """

    form: Callable[[], StandardForm]
    grown: Callable[[Array], RangedObjective | None] = lambda x: None


@check_arguments
def ranges(
    result: Result | ProblemLike,
    tolerance: Amount = 1e-3,
    *,
    backend: str | None = None,
    options: Options | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Mapping[str, Range]:
    """Return the near-optimal range of every source's ratio.

    Each end is the solution of min or max r_j s.t. f(r) <= f* + tolerance |f*| and the problem's constraints, solved
    from the optimum and certified like any other answer.

    Parameters
    ----------
    result : Result, AllocationProblem, path or name
        A certified answer of the procedure joint, or a problem, which is solved.
    tolerance : float or str
        Relative, above 0: 0.001 or "0.1%".
    backend : str, optional
        A backend that takes nonlinear rows; the first available one by default.
    options : Options, optional
    jobs : int, optional
        Processes; by default one for few sources, else one per core. No range depends on it.
    progress : callable, optional
        Called with the numbers of sources done and to do.

    Raises
    ------
    InputError
        Where the result is not a certified joint answer.

    Examples
    --------
    >>> import climbopt
    >>> near = climbopt.ranges("equal_beta", 1e-3)
    >>> all(ends.lower < ends.upper and ends.proved for ends in near.values())
    True
    """
    result = as_result(result)
    if not isinstance(result.procedure, Joint) or not result.passed:
        raise InputError("ranges need a certified answer of the procedure joint, which they are measured from")
    return ranges_near(
        RangedObjective(partial(joint_form, result.problem)),
        result,
        result.objective,
        RATIO.read(tolerance, "the tolerance of ranges"),
        backend=backend,
        options=options,
        jobs=jobs,
        progress=progress,
    )


def ranges_near(
    goal: RangedObjective,
    result: Result,
    least: float,
    tolerance: float,
    *,
    backend: str | None = None,
    options: Options | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Mapping[str, Range]:
    """Return the range of every ratio while a goal stays within a share of the weighted loss above its least value.

    Parameters
    ----------
    goal : RangedObjective
    result : Result
        The ratios that are optimal for the goal, and the loss to which the tolerance is relative.
    least : float
        Value of the goal at these ratios.
    tolerance, backend, options, jobs, progress
        As of :func:`ranges`.

    Raises
    ------
    InputError
        Where the tolerance is not above 0.
    """
    if not (np.isfinite(tolerance) and tolerance > 0):
        raise InputError(f"the tolerance of ranges is {tolerance:g}; it is relative and above 0, as 0.001 (0.1 %)")
    sources, optimum = result.problem.model.sources, np.array(list(result.ratios.values()))
    # Relative to the loss even where the goal is a regret, whose least value may be 0.
    level = least + tolerance * abs(result.objective)
    # Native options are of the backend that solved the problem, which may be another than that of the ends.
    options = replace(options or Options(), native={})
    n = len(sources)
    jobs = jobs or (1 if n <= ALONE else os.cpu_count() or 1)
    # Ceiling division: every process has a task.
    size = min(CHUNK, -(-n // jobs))
    ends = in_chunks(jobs, partial(_ends, goal, optimum, level, backend, options), range(n), size, progress)
    return dict(zip(sources, ends, strict=True))


def _ends(
    goal: RangedObjective, optimum: Array, level: float, backend: str | None, options: Options, sources: Sequence[int]
) -> list[Range]:
    """Return the ranges of `sources`."""
    form, result = _near(goal, optimum, level), []
    for j in sources:
        ends, certified, proved = [], True, True
        for sign in (1, -1):
            x, best = _extreme(form, level, j, sign, backend, options)
            # scenarios are added as they become active; the extended goal serves all later sources too
            while x is not None and (grown := goal.grown(x)) is not None:
                goal, form = grown, _near(grown, optimum, level)
                x, best = _extreme(form, level, j, sign, backend, options)
            ends.append(float(optimum[j] if x is None else x[j]))
            certified &= x is not None
            proved &= best
        result.append(Range(ends[0], ends[1], certified, proved))
    return result


def _extreme(
    form: StandardForm, level: float, j: int, sign: int, backend: str | None, options: Options
) -> tuple[Array | None, bool]:
    """Return the point of the least or largest ratio, None if not certified, and whether it is proved."""
    end = extreme(form, j, sign, level)
    solution = choose(end, backend).solve(end, options)
    if solution.x is None:
        return None, False
    x = repair(end, solution.x)
    certificate = certify(end, x, tolerance=options.tolerance)
    # An end that is not certified is no end; the optimum's own ratio stands for it.
    return (x, certificate.verdict is Verdict.GLOBAL) if certificate.passed else (None, False)


def _near(goal: RangedObjective, optimum: Array, level: float) -> StandardForm:
    """Return a goal's form, with a start between the optimum and its own start, below the level."""
    form = goal.form()
    best = form.complete(optimum)
    step = ROOM
    # Below the level the start is strictly feasible for the row that bounds the objective.
    while step > 1e-6 and not form.functions.at(best + step * (form.start - best)).value < level:
        step /= 2
    return form.from_start(best + step * (form.start - best))
