"""The boundary at which a backend's answer enters: every failure becomes a Solution that describes it.

The package's own backends run in this process. Other backends run in a forked process, since they may exit or
modify their arguments.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from climbopt.backends.apart import MOST_WORDS, FailedError, TimedOutError, apart, described, printable
from climbopt.backends.backend import Backend, Options
from climbopt.foundations.errors import BackendError, ClimboptError
from climbopt.foundations.frozen import optional
from climbopt.foundations.solution import Array, Multipliers, Solution, Termination
from climbopt.program import StandardForm

T = TypeVar("T")

GRACE = 10.0
"""Seconds beyond the time limit after which a foreign backend is killed."""
LARGEST = 1e100
"""Largest size of an entry of a point or a multiplier; larger ones could overflow in the certificate."""


@dataclass(frozen=True)
class Guarded:
    """A backend whose failures and malformed answers become Solutions.

    Parameters
    ----------
    inner : Backend
    name : str
    foreign : bool
        Whether it comes from outside the package, and runs in a forked copy of this process.
    """

    inner: Backend
    name: str
    foreign: bool = False

    @property
    def version(self) -> str:
        """Version of its solver; raises BackendError where the query fails."""
        return self._before_solve(lambda: _text(self.inner.version, "its version"))

    def refusal(self, form: StandardForm) -> str | None:
        """Return why this backend cannot take the form, or None where it can; raises BackendError where it fails."""
        return self._before_solve(lambda: optional(_text)(self.inner.refusal(form), "its refusal"))

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return the backend's checked answer, or a Solution with the failure in `raw_status`.

        Raises
        ------
        InputError, BackendError
            Where the backend refuses an option or the form.
        """
        began = time.perf_counter()
        try:
            return self._run(
                lambda: checked(self.inner.solve(form, options), form, self.name),
                None if options.time_limit is None else options.time_limit + GRACE,
            )
        except TimedOutError:
            termination, words = Termination.TIME_LIMIT, f"killed {GRACE:g} s after its time limit"
        except MemoryError as error:
            termination, words = Termination.MEMORY_LIMIT, described(error)
        except FailedError as error:
            termination, words = Termination.FAILED, str(error)
        return Solution(None, None, termination, words, self.name, "unknown", None, None, time.perf_counter() - began)

    def _before_solve(self, query: Callable[[], T]) -> T:
        """Return the result of a query before a solve; raises BackendError where it fails."""
        try:
            return self._run(query)
        except FailedError as error:
            raise BackendError(f"backend '{self.name}' failed before its solve: {error}") from error

    def _run(self, call: Callable[[], T], seconds: float | None = None) -> T:
        """Return the value of a call; raises FailedError for any exception outside the contract of a backend."""
        if self.foreign:
            return apart(call, seconds)
        try:
            return call()
        # The contract allows these; whatever else a solver raises becomes a failure with its text.
        except (ClimboptError, MemoryError, FailedError):
            raise
        except Exception as error:
            raise FailedError(described(error)) from error


def checked(answer: object, form: StandardForm, name: str) -> Solution:
    """Return a backend's answer in plain types, after a check against the contract.

    Parameters
    ----------
    answer : object
        What the backend returned.
    form : StandardForm
        The form that it solved.
    name : str
        Name of the backend.

    Raises
    ------
    FailedError
        Where the answer breaks the contract; the message names the field.
    """
    if not isinstance(answer, Solution):
        raise FailedError(f"solve returned {_kind(answer)}; it must return a Solution")
    if not isinstance(answer.termination, Termination):
        raise FailedError(f"the termination is {_kind(answer.termination)}; it must be a Termination")
    if answer.backend != name:
        raise FailedError(f"the answer is that of backend {answer.backend!r:.100}, not of '{name}'")
    x = None if answer.x is None else _numbers(answer.x, form.n, "x")
    # "Solved" without a point would pass as an answer further on.
    if x is None and answer.termination.settled:
        raise FailedError(f"the termination is {answer.termination.name}, and there is no point")
    return Solution(
        x,
        None if answer.multipliers is None else _multipliers(answer.multipliers, form),
        answer.termination,
        _text(answer.raw_status, "raw_status"),
        name,
        _text(answer.backend_version, "backend_version"),
        optional(_count)(answer.iterations, "iterations"),
        optional(_count)(answer.evaluations, "evaluations"),
        _real(answer.seconds, "seconds"),
        optional(_real)(answer.bound, "bound"),
    )


def _multipliers(answer: object, form: StandardForm) -> Multipliers:
    """Return multipliers in plain arrays."""
    if not isinstance(answer, Multipliers):
        raise FailedError(f"the multipliers are {_kind(answer)}; they must be Multipliers or None")
    return Multipliers(
        _numbers(answer.bounds, form.n, "multipliers.bounds"),
        _numbers(answer.rows, form.polytope.A.shape[0], "multipliers.rows"),
        _numbers(answer.nonlinear, form.functions.n_rows, "multipliers.nonlinear"),
    )


def _numbers(values: object, size: int, what: str) -> Array:
    """Return finite real numbers as a float array, (size,)."""
    try:
        array = np.asarray(values)
    except Exception as error:  # a ragged sequence, or a class with its own conversion
        raise FailedError(f"{what} is no array: {described(error)}") from None
    # Booleans, complex numbers, text and objects convert to float without an error, or with a wrong value.
    if array.dtype.kind not in "fiu":
        raise FailedError(f"{what} is {_kind(values)} of type {array.dtype}; it must hold real numbers")
    if array.shape != (size,):
        raise FailedError(f"{what} has the shape {array.shape}; it must be ({size},)")
    result = np.array(array, dtype=float)
    sound = np.abs(result) <= LARGEST  # false for NaN
    if not sound.all():
        k = int(np.argmin(sound))
        raise FailedError(f"{what}[{k}] is {result[k]:g}; every entry must be a number of at most {LARGEST:g} in size")
    return result


def _real(value: object, what: str) -> float:
    """Return a finite real number."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or not np.isfinite(value):
        raise FailedError(f"{what} is {_kind(value)}; it must be a finite number")
    return float(value)


def _count(value: object, what: str) -> int:
    """Return a count."""
    if not isinstance(value, (int, np.integer)) or value < 0:
        raise FailedError(f"{what} is {_kind(value)}; it must be a whole number from 0, or None")
    return int(value)


def _text(value: object, what: str) -> str:
    """Return text as a printable line."""
    if not isinstance(value, str):
        raise FailedError(f"{what} is {_kind(value)}; it must be text")
    # Solver texts reach terminals and reports: control characters are escaped.
    return value if value.isprintable() and len(value) <= MOST_WORDS else printable(value)


def _kind(value: object) -> str:
    """Return a value or its type, for messages."""
    return str(value) if value is None or isinstance(value, (bool, int, float)) else f"a {type(value).__name__}"
