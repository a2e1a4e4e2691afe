"""The conformance suite's check on published problems."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from climbopt.backends import Backend
from climbopt.certification.kkt import flat
from climbopt.certification.local import certify, certify_feasible
from climbopt.testing.conformance import by_entry, check_report, solved
from climbopt.testing.hock_schittkowski import PublishedProblem


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
