"""The conformance suite as a list of checks, of which a backend may be excluded, each time with a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from climbopt.backends import Backend
from climbopt.foundations.errors import InputError, unknown_name
from climbopt.program import StandardForm, joint_form
from climbopt.testing.conformance import CASES, check_bad_option, check_case, check_limits, check_not_a_number
from climbopt.testing.generate import family_problem


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
    for check, reason in (declared or {}).items():
        if check not in CHECKS:
            raise unknown_name("check", check, CHECKS)
        if not reason.strip():
            raise InputError(f"the exclusion of {backend.name} from the check '{check}' has no reason; write one")
    # A refusal is read where several backends are tried, so that it must say whose it is.
    refusal = backend.refusal(CHECKS[name].form())
    assert refusal is None or backend.name in refusal, f"the refusal does not say whose it is: {refusal}"
    return refusal or (declared or {}).get(name)
