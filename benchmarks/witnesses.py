"""The global optimum from three codes that share no line: climbopt's bound, SCIP and MAiNGO, in one run.

    python benchmarks/witnesses.py [--sizes 3,4,5,6] [--seeds 2] [--limit 60] [--gap 1e-6]

Each prints its best value, its lower bound and its seconds of wall time, "limit" where it stopped at the time limit.
A row ends in a word where two of them contradict each other: one's lower bound lies above another's value by more than
what their tolerances allow. MAiNGO is written from the same declarations; without `pip install maingopy` its column is
empty. Its relative and absolute gaps and SCIP's are those of --gap.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from climbopt import load_problem
from climbopt.backends import BACKENDS, Options, load
from climbopt.certification.global_bound import enclose
from climbopt.problem.constraints import LossCeiling
from climbopt.procedures import joint_form
from climbopt.program import StandardForm
from climbopt.testing import family_problem

SLACK = 2e-6
"""Nats by which a bound may lie above another code's value: the gap, and tolerances of feasibility."""
LEAST_Z = 1e-9
"""z above it is evaluated; the rows that keep z in its domain are stated beside."""


@dataclass(frozen=True)
class Answer:
    """What one code says of a problem: value and lower bound in nats, seconds, and whether it ran out of time."""

    value: float
    lower: float
    seconds: float
    stopped: bool

    def __str__(self) -> str:
        return f"{self.value:.8f} {self.lower:.8f} {self.seconds:7.2f}{' limit' if self.stopped else '      '}"


def problems(sizes: Sequence[int], seeds: int) -> Iterator[tuple[str, StandardForm]]:
    """Yield the named problems."""
    for m in sizes:
        for seed in range(seeds):
            for interaction in ("saturating", "gated"):
                problem = family_problem(m, interaction=interaction, negative=0.3, seed=seed)
                yield f"{interaction} {m} seed {seed}", joint_form(problem)
    shipped = load_problem("libreoffice6")
    yield "libreoffice6", joint_form(shipped)
    ceiling = LossCeiling({"pt": 1.295})
    yield "libreoffice6, pt at most 1.295", joint_form(replace(shipped, constraints=(ceiling,)))


def by_climbopt(form: StandardForm, limit: float, gap: float) -> Answer:
    """Return the answer of the decomposition."""
    began = time.perf_counter()
    enclosure = enclose(form, gap=gap, time_limit=limit)
    return Answer(enclosure.upper, enclosure.lower, time.perf_counter() - began, enclosure.stopped == "time limit")


def by_scip(form: StandardForm, limit: float, gap: float) -> Answer | None:
    """Return SCIP's answer, evaluated by the form itself at SCIP's point; None where SCIP is not there."""
    if BACKENDS["scip"].missing:
        return None
    began = time.perf_counter()
    solution = load("scip").solve(form, Options(tolerance=gap, time_limit=limit))
    value = np.nan if solution.x is None else form.functions.at(solution.x).value
    lower = -np.inf if solution.bound is None else solution.bound
    return Answer(value, lower, time.perf_counter() - began, solution.raw_status == "timelimit")


def by_maingo(form: StandardForm, limit: float, gap: float) -> Answer | None:
    """Return MAiNGO's answer, evaluated by the form itself; None where MAiNGO is not there."""
    if find_spec("maingopy") is None:
        return None
    import maingopy

    functions = {name: getattr(maingopy, name) for name in ("exp", "log", "sqrt", "tanh")}

    @dataclass(frozen=True)
    class System:
        functions: Mapping[str, Callable[..., Any]]

        def define(self, expression: Any, name: str) -> Any:
            return maingopy.max(expression, LEAST_Z) if name.startswith("z[") else expression

    class Model(maingopy.MAiNGOmodel):  # type: ignore[misc]
        def get_variables(self) -> list[Any]:
            bounds = form.polytope.bounds
            ends = zip(np.maximum(bounds.lower, -10.0).tolist(), np.minimum(bounds.upper, 10.0).tolist(), strict=True)
            return [
                maingopy.OptimizationVariable(maingopy.Bounds(low, high), maingopy.VT_CONTINUOUS, name)
                for (low, high), name in zip(ends, form.variables, strict=True)
            ]

        def get_initial_point(self) -> list[float]:
            start: list[float] = form.start.tolist()
            return start

        def evaluate(self, x: list[Any]) -> Any:
            f, c = form.functions.build(x, System(functions))  # type: ignore[attr-defined]
            rows = form.polytope.rows
            linear = [sum(float(a) * v for a, v in zip(row, x, strict=True)) for row in form.polytope.dense]
            low = np.concatenate([rows.lower, form.nonlinear.lower]).tolist()
            high = np.concatenate([rows.upper, form.nonlinear.upper]).tolist()
            bodies = list(zip([*linear, *c], low, high, strict=True))
            result = maingopy.EvaluationContainer()
            result.objective = f
            result.eq = [body - b for body, a, b in bodies if a == b]
            below = [a - body for body, a, b in bodies if a != b and np.isfinite(a)]
            result.ineq = below + [body - b for body, a, b in bodies if a != b and np.isfinite(b)]
            return result

    began = time.perf_counter()
    model = Model()  # MAiNGO holds no reference of its own
    solver = maingopy.MAiNGO(model)
    for name, value in {"epsilonA": gap, "epsilonR": gap, "maxTime": limit, "deltaEq": 1e-8, "deltaIneq": 1e-8}.items():
        solver.set_option(name, value)
    for name in ("loggingDestination", "writeResultFile"):  # neither output nor a file in the working folder
        solver.set_option(name, 0)
    status = solver.solve()
    seconds = time.perf_counter() - began
    found = status in (maingopy.GLOBALLY_OPTIMAL, maingopy.FEASIBLE_POINT)
    value = form.functions.at(np.array(solver.get_solution_point())).value if found else np.nan
    return Answer(value, solver.get_final_LBD(), seconds, status != maingopy.GLOBALLY_OPTIMAL)


def contradiction(answers: Sequence[Answer | None]) -> str:
    """Return a word where a lower bound lies above the least value."""
    known = [answer for answer in answers if answer is not None]
    least = min(answer.value for answer in known if np.isfinite(answer.value))
    return "  contradiction" if any(answer.lower > least + SLACK for answer in known) else ""


def main() -> None:
    """Print one row per problem."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="3,4,5,6")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--limit", type=float, default=60.0)
    parser.add_argument("--gap", type=float, default=1e-6)
    options = parser.parse_args()
    codes = (by_climbopt, by_scip, by_maingo)
    print(f"{'problem':30s} {'climbopt: value, lower, seconds':37s}| {'SCIP':37s}| MAiNGO")
    for name, form in problems([int(m) for m in options.sizes.split(",")], options.seeds):
        answers = [code(form, options.limit, options.gap) for code in codes]
        texts = [f"{'-' if answer is None else answer!s:37s}" for answer in answers]
        print(f"{name:30s} {'| '.join(texts)}{contradiction(answers)}", flush=True)


if __name__ == "__main__":
    main()
