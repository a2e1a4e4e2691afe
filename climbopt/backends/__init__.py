"""Solver backends: one file each, listed in BACKENDS and imported on first use."""

from __future__ import annotations

from climbopt.backends.apart import described
from climbopt.backends.backend import Backend, Options, OptionValue
from climbopt.backends.entry import Backends, Entry, plugins
from climbopt.backends.guarded import Guarded
from climbopt.foundations.errors import BackendError
from climbopt.program import StandardForm

_OWN = (
    Entry("newton", "climbopt.backends.newton:Newton"),
    Entry(
        "ipopt",
        "climbopt.backends.ipopt:Ipopt",
        ("cyipopt",),
        "pip install 'climbopt[ipopt]', which needs Ipopt's headers",
    ),
    Entry("pounce", "climbopt.backends.pounce:Pounce", ("pounce",), "pip install 'climbopt[pounce]'"),
    Entry("uno", "climbopt.backends.uno:Uno", ("unopy",), "pip install 'climbopt[uno]'"),
    Entry("slsqp", "climbopt.backends.scipy_minimize:Slsqp"),
    Entry("trust_constr", "climbopt.backends.scipy_minimize:TrustConstr"),
    Entry("cvxpy", "climbopt.backends.cvxpy_convex:CvxpyConvex", ("cvxpy", "clarabel"), "pip install cvxpy"),
    Entry(
        "cvxpy_dnlp",
        "climbopt.backends.cvxpy_dnlp:CvxpyDnlp",
        ("cvxpy", "sparsediffpy", "cyipopt"),
        "pip install cvxpy 'climbopt[ipopt]', which needs Ipopt's headers",
    ),
    Entry(
        "pyomo",
        "climbopt.backends.pyomo_nlp:Pyomo",
        ("pyomo", "pyomo_pounce"),
        "pip install 'climbopt[pounce]'",
        instead="ipopt",
    ),
    Entry("scip", "climbopt.backends.scip:Scip", ("pyscipopt",), "pip install 'climbopt[global]'", by_default=False),
)

BACKENDS = Backends("backend", _OWN, more=lambda: plugins([entry.name for entry in _OWN]))
"""In the order in which a default is chosen; backends of other packages come last, and are found on first need."""


def load(name: str) -> Backend:
    """Return a backend by name, guarded; raises UnknownNameError, or BackendError where it cannot be imported."""
    entry = BACKENDS[name]
    if entry.missing:
        raise BackendError(f"backend '{name}' is not available: {entry.missing}")
    try:
        return Guarded(entry.backend(), name, entry.foreign)
    except Exception as error:  # a solver's package may raise anything
        raise BackendError(
            f"backend '{name}' does not import: {'; '.join(filter(None, (described(error), entry.remedy)))}"
        ) from error


def choose(form: StandardForm, name: str | None = None) -> Backend:
    """Return a backend by name, or by default the first available backend that takes the form.

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
        # In the order of the registry; loading comes last, since imports are slow.
        if entry.by_default and entry.missing is None and (backend := load(entry.name)).refusal(form) is None:
            return backend
    raise BackendError("no available backend takes this problem")


__all__ = ["BACKENDS", "Backend", "Entry", "OptionValue", "Options", "choose", "load"]
