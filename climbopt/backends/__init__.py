"""Solver backends: one file each, listed in BACKENDS and imported only when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from climbopt.backends.base import Backend, Options, OptionValue
from climbopt.errors import BackendError
from climbopt.registry import Registry
from climbopt.standard_form import StandardForm


@dataclass(frozen=True)
class Entry:
    """Where a backend lives and what it needs.

    Parameters
    ----------
    name : str
        Name on the command line.
    target : str
        ``module:Class``.
    requires : tuple of str
        Modules it imports beyond the core; looked for without importing them.
    remedy : str
        How to install those.
    """

    name: str
    target: str
    requires: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def missing(self) -> str | None:
        """Why the backend is not available here, or None where it is."""
        absent = [module for module in self.requires if find_spec(module) is None]
        return f"{', '.join(absent)} is not installed; {self.remedy}" if absent else None


BACKENDS: Registry[Entry] = Registry("backend", (
    Entry("newton", "climbopt.backends.newton:Newton"),
    Entry("ipopt", "climbopt.backends.ipopt:Ipopt", ("cyipopt",),
          "pip install 'climbopt[ipopt]', which needs Ipopt's headers"),
    Entry("slsqp", "climbopt.backends.slsqp:Slsqp"),
    Entry("trust_constr", "climbopt.backends.trust_constr:TrustConstr"),
    Entry("cvxpy", "climbopt.backends.cvxpy_convex:CvxpyConvex", ("cvxpy", "clarabel"), "pip install cvxpy"),
    Entry("cvxpy_dnlp", "climbopt.backends.cvxpy_dnlp:CvxpyDnlp", ("cvxpy", "sparsediffpy", "cyipopt"),
          "pip install cvxpy 'climbopt[ipopt]', which needs Ipopt's headers"),
))
"""In the order in which a default is looked for."""


def load(name: str) -> Backend:
    """Return the backend of a name; raises UnknownNameError, or BackendError where it cannot be imported."""
    entry = BACKENDS[name]
    if entry.missing:
        raise BackendError(f"backend '{name}' is not available: {entry.missing}")
    module, _, attribute = entry.target.partition(":")
    try:
        backend: Backend = getattr(import_module(module), attribute)()
    except ImportError as error:
        raise BackendError(f"backend '{name}' does not import: {error}; {entry.remedy}") from error
    return backend


def choose(form: StandardForm, name: str | None = None) -> Backend:
    """Return the backend of a name, or the first available one that takes the form.

    Raises
    ------
    BackendError
        Where the named backend refuses the form, with its reason.
    """
    if name is not None:
        backend = load(name)
        reason = backend.refusal(form)
        if reason:
            raise BackendError(reason)
        return backend
    for entry in BACKENDS.values():
        if entry.missing is None and (backend := load(entry.name)).refusal(form) is None:
            return backend
    raise BackendError("no available backend takes this problem")


__all__ = ["BACKENDS", "Backend", "Entry", "OptionValue", "Options", "choose", "load"]
