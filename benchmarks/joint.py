"""The joint problem at growing sizes: every backend, and the same problem as a user would write it elsewhere.

    python benchmarks/joint.py [--sizes 16,64,128,512,1000] [--repeat 31] [--limit 60] [--processor]

Seconds are medians of whole calls in one process; behind them is the ratio to newton, whose calls take turns with
the other's. Backends are given the standard form; "with its form" is newton with the proofs and the form made anew,
"certified" the whole way from the problem to the certificate. --processor counts processor time, for a busy machine.
The last two build their problem in every call, as their users do. A solver that has taken a quarter of the limit at
one size is not asked at the next. Every answer is compared with newton's: where it is off, that stands in place of
the ratio. Needs cvxpy (extra `bench`).
"""

from __future__ import annotations

import argparse
import os
import resource
import time
import warnings
from collections.abc import Callable
from statistics import median

import numpy as np

from climbopt import solve
from climbopt.backends import BACKENDS, Options, load
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.templates import Templates
from climbopt.procedures import joint_form
from climbopt.testing import family_problem

AGREES = 1e-5


clock: Callable[[], float] = time.perf_counter


def paired(base: Callable[[], np.ndarray], other: Callable[[], np.ndarray], repeat: int) -> tuple[float, float]:
    """Return the median seconds of `other`, and the median of its ratio to `base`, called in turn."""
    seconds, ratios = [], []
    for _ in range(repeat):
        took = []
        for call in (base, other):
            began = clock()
            call()
            took.append(clock() - began)
        seconds.append(took[1])
        ratios.append(took[1] / took[0])
    return median(seconds), median(ratios)


def parameters(m):
    """Return D and the arrays of the saturating model with m languages."""
    model = family_problem(m).model
    p, D = model.parameters, 100e9 / model.token_unit
    return D, p["E"], p["B"], p["beta"], p["eta"], p["b"] + p["k"] / D * (1 - np.eye(m))


def cvxpy_dnlp(m):
    """Solve with CVXPY's disciplined nonlinear programming and Ipopt, written with vectors."""
    import cvxpy as cp

    D, E, B, beta, eta, alpha = parameters(m)
    r = cp.Variable(m, nonneg=True)
    r.value = np.full(m, 1 / m)
    transfer = cp.multiply(alpha, 1 - cp.exp(-cp.multiply(np.tile(eta[:, None], (1, m)), cp.vstack([r] * m))))
    z = r + cp.sum(transfer, axis=1)
    loss = cp.sum(E + cp.multiply(B, cp.exp(-cp.multiply(beta, cp.log(D * z))))) / m
    problem = cp.Problem(cp.Minimize(loss), [cp.sum(r) == 1])
    problem.solve(nlp=True, solver=cp.IPOPT, print_level=0, sb="yes", tol=1e-10)
    return r.value


def scipy_differences(m):
    """Solve with scipy's trust-constr as it is most often called: a function, bounds, one constraint."""
    from scipy.optimize import Bounds, LinearConstraint, minimize

    D, E, B, beta, eta, alpha = parameters(m)

    def loss(r):
        z = r + (alpha * (1 - np.exp(-eta[:, None] * r[None, :]))).sum(axis=1)
        return np.mean(E + B * (D * z) ** -beta)

    result = minimize(
        loss,
        np.full(m, 1 / m),
        method="trust-constr",
        bounds=Bounds(0, 1, keep_feasible=True),
        constraints=LinearConstraint(np.ones((1, m)), 1, 1),
    )
    return result.x


def compared(
    name: str, call: Callable[[], np.ndarray | None], newton: Callable[[], np.ndarray], repeat: int, limit: float
) -> tuple[str, bool]:
    """Return the table's cell for one solver, and whether it is worth asking at a larger size."""
    began = clock()
    try:
        answer = call()
    except Exception as error:  # another library's own failure is a cell, not the end of the table
        return type(error).__name__, False
    first = clock() - began
    difference = np.inf if answer is None else float(np.abs(answer - newton()).max())
    seconds, ratio = paired(newton, call, repeat) if first < 5 else (first, first / paired(newton, newton, 3)[0])
    words = f"{ratio:.1f}x" if difference <= AGREES else "no answer" if answer is None else f"off by {difference:.0e}"
    return f"{seconds:.4f} ({words})", first < limit / 4


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--sizes", default="16,64,128,512,1000")
    words.add_argument("--repeat", type=int, default=31)
    words.add_argument("--limit", type=float, default=60.0)
    words.add_argument("--processor", action="store_true")
    given = words.parse_args()
    if given.processor:
        global clock
        clock = time.process_time
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    templates = Templates(LAWS["power"], INTERACTIONS["saturating"])
    for template in (templates.loss, templates.own, templates.pair):
        _ = template.value, template.slopes, template.curvatures
    print(f"derivation and compilation: {time.perf_counter() - began:.3f} s at any size")
    backends = [name for name, entry in BACKENDS.items() if entry.missing is None and name != "newton"]
    others = {"cvxpy DNLP + Ipopt": cvxpy_dnlp, "scipy, differences": scipy_differences}
    columns = ["with its form", "certified", *backends, *others]
    print(f"{'m':>5} {'newton':>8} " + " ".join(f"{name:>19}" for name in columns))
    dropped: set[str] = set()
    for m in map(int, given.sizes.split(",")):
        problem = family_problem(m)
        form = joint_form(problem)
        solver = load("newton")
        newton = lambda form=form, solver=solver: solver.solve(form, Options()).x  # noqa: E731
        calls = {"with its form": lambda p=problem, s=solver: s.solve(joint_form(p), Options()).x}
        calls["certified"] = lambda p=problem: np.array([*solve(p, backend="newton").ratios.values()])
        calls |= {name: lambda n=name, f=form: load(n).solve(f, Options(time_limit=given.limit)).x for name in backends}
        calls |= {name: lambda call=call, m=m: call(m) for name, call in others.items()}
        repeat = given.repeat if m <= 64 else max(1, given.repeat // 6) if m <= 200 else 1
        cells = []
        for name in columns:
            if name in dropped:
                cells.append("-")
                continue
            cell, go_on = compared(name, calls[name], newton, repeat, given.limit)
            cells.append(cell)
            if not go_on:
                dropped.add(name)
        base, _ = paired(newton, newton, repeat)
        print(f"{m:>5} {base:>8.4f} " + " ".join(f"{cell:>19}" for cell in cells), flush=True)
    print(
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, "
        f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}"
    )


if __name__ == "__main__":
    main()
