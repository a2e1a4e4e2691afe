"""The contract of a backend, its options, the evaluator of oracle backends, and what algebraic backends share."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, TypedDict

import numpy as np

from climbopt.foundations.errors import InputError, kind_of, nearest, unknown_name
from climbopt.foundations.frozen import FrozenMap, check_arguments
from climbopt.foundations.quantities import NUMBER
from climbopt.foundations.solution import Array, Multipliers, Solution, Termination
from climbopt.program import Algebraic, Evaluation, StandardForm

OptionValue = float | int | str | bool
MOST_ITERATIONS = 10**9
"""Largest iteration limit: solvers count in 32 bits."""


@check_arguments
@dataclass(frozen=True)
class Options:
    """Options common to all backends.

    Parameters
    ----------
    tolerance : float
        Of the certificate's scaled residuals; each adapter sets native tolerances that reach it.
    max_iterations : int, optional
        The solver's own default where None.
    time_limit : float, optional
        Seconds of wall time.
    native : mapping of str to value
        The solver's own options, by its own names.
    """

    tolerance: float = 1e-6
    max_iterations: int | None = None
    time_limit: float | None = None
    native: Mapping[str, OptionValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("tolerance", "max_iterations", "time_limit"):
            if getattr(self, key) is not None:
                NUMBER.positive(getattr(self, key), key)
        if self.max_iterations is not None and self.max_iterations > MOST_ITERATIONS:
            raise InputError(f"max_iterations is {self.max_iterations:.3g}; it may be {MOST_ITERATIONS} at most")
        object.__setattr__(self, "native", FrozenMap(self.native))

    def iterations_as(self, name: str) -> dict[str, OptionValue]:
        """Return the iteration limit under a solver's name for it; nothing where there is none."""
        return {} if self.max_iterations is None else {name: self.max_iterations}


STANDARD_OPTIONS = Options()
"""The defaults."""
OptionsLike: TypeAlias = Options | Mapping[str, OptionValue] | None
"""Options, or a mapping of solver-native options."""


class CommonOptions(TypedDict, total=False):
    """The common options, as in :class:`Options`."""

    tolerance: float
    max_iterations: int | None
    time_limit: float | None


def options_of(options: OptionsLike, common: CommonOptions) -> Options:
    """Return options from Options or a mapping of solver-native options, updated by keywords.

    Raises
    ------
    InputError
        For an object of another type, and for an unknown keyword, with the nearest known one.

    Examples
    --------
    >>> options_of({"print_level": 5}, {"tolerance": 1e-8})
    Options(tolerance=1e-08, max_iterations=None, time_limit=None, native=FrozenMap({'print_level': 5}))
    """
    if options is None or isinstance(options, Mapping):
        options = Options(native=options) if options else STANDARD_OPTIONS
    if not isinstance(options, Options):
        raise InputError(f"{kind_of(options)} is no Options; give those, or a mapping of the solver's own options")
    return replace(options, **common) if common else options


def checked_native(options: Options, known: Mapping[str, type], backend: str) -> dict[str, OptionValue]:
    """Return the native options, each known and of its type; raises InputError."""
    for name, value in options.native.items():
        if name not in known:
            raise unknown_name(f"option of backend '{backend}'", name, known)
        # A whole number is a valid float; the reverse would be cut off.
        if not isinstance(value, (int, float) if known[name] is float else known[name]):
            raise InputError(
                f"option {name} of backend '{backend}' is {value!r}; it must be of type {known[name].__name__}"
            )
    return dict(options.native)


def refused_option(name: str, value: OptionValue, solver: str, known: Collection[str]) -> InputError:
    """Return the error for an option that a solver refuses: an unknown name, or else a wrong value."""
    if name in known:
        return InputError(f"option {name}={value!r} of {solver} is refused; mind its type and its range")
    near = nearest(name, known)
    return InputError(
        f"option {name}={value!r} is not one that {solver} takes; "
        + (f"did you mean '{near}'?" if near else "see its manual for those that it has")
    )


def set_options(
    setter: Callable[[str, OptionValue], object],
    settings: Mapping[str, OptionValue],
    solver: str,
    known: Callable[[], Collection[str]],
) -> None:
    """Set a solver's options one by one; raises InputError for one that it refuses, with the nearest known name."""
    for name, value in settings.items():
        try:
            setter(name, value)
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise refused_option(name, value, solver, known()) from None


class Backend(Protocol):
    """A solver behind the standard form."""

    @property
    def name(self) -> str:
        """Its key in `BACKENDS`."""

    @property
    def version(self) -> str:
        """Version of its solver."""

    def refusal(self, form: StandardForm) -> str | None:
        """Return why this backend cannot take the form, or None where it can."""

    def solve(self, form: StandardForm, options: Options) -> Solution:
        """Return the solver's answer; failure to converge is a Termination, never an exception."""


def takes_every_form(backend: object, form: StandardForm) -> None:
    """Return None: the `refusal` of a backend that takes every standard form."""


class TimeUpError(Exception):
    """Raised inside an evaluation once the time limit has passed, to stop a solver that has no limit of its own."""


@dataclass(eq=False)
class Evaluator:
    """Evaluates a form for a solver that calls single functions: caches the last x, counts evaluations, measures time.

    Parameters
    ----------
    form : StandardForm
    time_limit : float, optional
        Seconds from now; past it, evaluations raise TimeUpError.
    spent : float
        Seconds spent on the form before now, which count.
    """

    form: StandardForm
    time_limit: float | None = None
    spent: float = 0.0
    count: int = 0
    last_x: Array | None = None
    """The last point evaluated."""

    def __post_init__(self) -> None:
        self._began = time.perf_counter() - self.spent

    @property
    def seconds(self) -> float:
        """Wall time since the evaluator was created, and what was spent before."""
        return time.perf_counter() - self._began

    @property
    def left(self) -> float:
        """Seconds until the limit; infinite without one."""
        return np.inf if self.time_limit is None else self.time_limit - self.seconds

    def at(self, x: Array) -> Evaluation:
        """Return the evaluation at x; cached while x does not change."""
        if self.left < 0:
            raise TimeUpError
        # Solvers ask for value, gradient and Hessian at one x in separate calls.
        if self.last_x is None or not (self.last_x == x).all():
            self.count += 1
            # A copy: solvers reuse the array that they pass.
            self.last_x, self._last = np.array(x, dtype=float), self.form.functions.at(x)
        return self._last

    def solution(
        self,
        backend: Backend,
        x: Array | None,
        multipliers: Multipliers | None,
        termination: Termination,
        raw_status: str,
        iterations: int | None = None,
    ) -> Solution:
        """Return the Solution of a finished solve, without its point, or its multipliers, where they are not finite."""
        if x is not None and not np.isfinite(x).all():
            x, multipliers, termination = None, None, Termination.NOT_A_NUMBER
        if (
            multipliers is not None
            and not np.isfinite(np.concatenate([multipliers.bounds, multipliers.rows, multipliers.nonlinear])).all()
        ):
            multipliers = None
        count = self.count or None  # a solver with derivatives of its own calls nothing here
        return Solution(
            x, multipliers, termination, raw_status, backend.name, backend.version, iterations, count, self.seconds
        )


def completed(form: StandardForm, x: Array, claimed: Multipliers) -> Multipliers:
    """Return a solver's multipliers with those of fixed variables, which interior-point solvers eliminate.

    They follow from stationarity: zeta = -(grad f + A' lambda + Jc' mu).
    """
    polytope, evaluation = form.polytope, form.functions.at(x)
    # What the multipliers of rows leave of the gradient is the bound's.
    left = evaluation.gradient + polytope.A.T @ claimed.rows + evaluation.jacobian.T @ claimed.nonlinear
    return replace(claimed, bounds=np.where(polytope.bounds.equation, -left, claimed.bounds))


@contextmanager
def silenced(descriptor: int, to: int | None = None) -> Iterator[None]:
    """Keep the output of a native library out of standard output (1) or standard error (2).

    Parameters
    ----------
    descriptor : int
    to : int, optional
        Descriptor of a file that receives it; discarded by default.
    """
    (sys.stdout if descriptor == 1 else sys.stderr).flush()
    # Native libraries write to the descriptor, past Python's sys.stdout.
    before, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere if to is None else to, descriptor)
        yield
    finally:
        if os.name == "posix":
            ctypes.CDLL(None).fflush(None)  # C has a buffer of its own
        os.dup2(before, descriptor)
        os.close(before)
        os.close(nowhere)


@dataclass(frozen=True)
class ModellingSystem:
    """A modelling system by its functions of a scalar, and how it stores a named part of larger expressions."""

    functions: Mapping[str, Callable[..., Any]]
    define: Callable[[Any, str], Any] = lambda expression, name: expression


def unwritable(form: StandardForm, functions: Collection[str], what: str) -> str | None:
    """Return why a form cannot be written out in a system with the given functions, or None.

    Parameters
    ----------
    form : StandardForm
    functions : collection of str
        Names that the system has, such as exp.
    what : str
        What the backend does, to begin the reason.
    """
    if not isinstance(form.functions, Algebraic):
        return f"{what}, and its functions are known by their values only, and cannot be written out"
    try:
        # Written out once with placeholders: an unsupported function shows before the solver is loaded.
        form.functions.build([_Term()] * form.n, ModellingSystem(dict.fromkeys(functions, lambda argument: argument)))
    except TypeError as error:  # UntranslatableError among them
        return f"{what}, and its functions cannot be written out: {error}"
    return None


def inside(form: StandardForm, x: Array | None, termination: Termination) -> Termination:
    """Return why a solver stopped: LEFT_DOMAIN if it settled at an x where f is NaN.

    Another system may evaluate a function outside the law's domain, such as 1/z at z < 0.
    """
    left = x is not None and termination.settled and not np.isfinite(form.functions.at(x).value)
    return Termination.LEFT_DOMAIN if left else termination


def finite(bound: float) -> float | None:
    """Return a bound as systems take it: None where there is none."""
    return float(bound) if np.isfinite(bound) else None


class _Term:
    """A placeholder scalar: the result of any arithmetic on it is itself."""

    def _itself(self, *_: object) -> _Term:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _itself
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __neg__ = __pos__ = _itself
