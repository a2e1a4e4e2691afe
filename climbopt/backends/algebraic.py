"""Algebraic backends: which forms can be written out in their systems, and whether a point is in the domain."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from climbopt.foundations.solution import Array, Termination
from climbopt.program import Algebraic, StandardForm


@dataclass(frozen=True)
class Writing:
    """A modelling system by its functions of a scalar, and how it stores a named part of larger expressions."""

    functions: Mapping[str, Callable[..., Any]]
    define: Callable[[Any, str], Any] = lambda expression, name: expression


def unwritable(form: StandardForm, functions: Collection[str]) -> str | None:
    """Return why a form cannot be written out in a system with the given functions, or None.

    Parameters
    ----------
    form : StandardForm
    functions : collection of str
        Names that the system has, such as exp.
    """
    if not isinstance(form.functions, Algebraic):
        return "its functions are known by their values only, and cannot be written out"
    try:
        # Written out once with placeholders: an unsupported function shows before the solver is loaded.
        form.functions.build([_Term()] * form.n, Writing(dict.fromkeys(functions, lambda argument: argument)))
    except TypeError as error:  # UntranslatableError among them
        return f"its functions cannot be written out: {error}"
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
