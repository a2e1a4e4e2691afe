"""newton under nonlinear rows beside other solvers: how often each is certified, and how long each takes.

    python benchmarks/nonlinear_rows.py [--random 300] [--sizes 16,64,128] [--repeat 11] [--backends ipopt,uno]

Random problems have 2 to 8 languages with gated, saturating or linear transfer, up to 3 rows over losses and z
(ceilings, differences, products, sums, equations) that a random mixture meets, and bounds; they are joint, minimax,
power mean, or two_step's second step. The second table is of single solves from the standard form to the solver's
answer, without certificate: a ceiling 0.2 % below the loss of the first language at the optimum, minimax, and
two_step's second step. Medians, calls taking turns; behind them is the ratio to newton.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import numpy as np

from climbopt import AllocationProblem, Cap, ClimboptError, Custom, Floor, Group, LossCeiling, Options
from climbopt.backends import load
from climbopt.certification.local import certify, repair
from climbopt.problem.objectives import Minimax, WeightedPowerMean
from climbopt.procedures import joint_form
from climbopt.procedures.direction import equal_benefit_direction
from climbopt.procedures.two_step import magnitude_form
from climbopt.program import StandardForm
from climbopt.testing import family_problem

SAME = 1e-9
"""Objectives that differ by less, in their own unit, count as the same."""


def magnitude(problem: AllocationProblem) -> StandardForm:
    """Return the second step of two_step."""
    return magnitude_form(problem, equal_benefit_direction(problem, 1.0))


def random_form(seed: int) -> StandardForm:
    """Return a random problem; raises ClimboptError where the random mixture has a target without a loss."""
    rng = np.random.default_rng(seed)
    m, kind = int(rng.integers(2, 9)), str(rng.choice(["gated", "saturating", "linear"], p=[0.5, 0.4, 0.1]))
    problem = family_problem(m, interaction=kind, negative=float(rng.choice([0, 0.3])), seed=seed)
    names, inside = problem.model.sources, 0.9 * rng.dirichlet(np.full(m, 1.5)) + 0.1 / m
    losses = [float(loss) for loss in np.ravel(problem.losses(inside))]
    constraints: list = []
    if rng.random() < 0.3:
        constraints.append(Floor({names[0]: float(0.8 * inside[0])}))
    if rng.random() < 0.3:
        constraints.append(Cap({names[-1]: float(min(1, 1.1 * inside[-1]))}))
    if rng.random() < 0.2 and m > 3:
        constraints.append(Group(names[:2], upper=float(min(1, 1.05 * inside[:2].sum()))))
    goal = str(rng.choice(["weighted", "minimax", "magnitude", "power"], p=[0.6, 0.15, 0.15, 0.1]))
    equations = 0
    for k in range(int(rng.integers(goal in ("minimax", "magnitude"), 4)) or 1):
        i, j = (int(index) for index in rng.choice(m, 2, replace=False))
        a, b, room = names[i], names[j], float(rng.choice([0, 1e-3, 0.02]))
        equations += (row := int(rng.integers(6))) == 0
        relation = {
            0: f"L[{a}] == {losses[i]!r}" if m > 2 and equations == 1 else f"L[{a}] <= {losses[i] + room!r}",
            1: f"L[{a}] <= {losses[i] + room!r}",
            2: f"L[{a}] <= L[{b}] + {losses[i] - losses[j] + room!r}",
            3: f"L[{a}] * L[{b}] <= {losses[i] * losses[j] + room!r}",
            4: f"L[{a}] + 2 * L[{b}] <= {losses[i] + 2 * losses[j] + room!r}",
            5: f"z[{a}] >= {float(0.9 * inside[i])!r}",
        }[row]
        constraints.append(Custom(relation, name=f"row {k}"))
    problem = replace(problem, constraints=tuple(constraints))
    if goal in ("minimax", "power"):
        problem = replace(problem, objective=Minimax() if goal == "minimax" else WeightedPowerMean(power=4.0))
    return magnitude(problem) if goal == "magnitude" else joint_form(problem)


def certified(form: StandardForm, backend: str) -> tuple[bool, float]:
    """Return whether a backend's answer is certified, and its objective."""
    solution = load(backend).solve(form, Options(time_limit=60.0))
    if solution.x is None:
        return False, np.inf
    x = repair(form, solution.x)
    return certify(form, x, claimed=solution.multipliers).passed, form.functions.at(x).value


def robustness(count: int, backends: list[str]) -> None:
    """Print how many random problems each backend solves, and how its objectives compare with newton's."""
    solved, compared, total, seed = Counter(), {name: Counter() for name in backends}, 0, 0
    while total < count:
        seed += 1
        try:
            form = random_form(seed)
        except ClimboptError:
            continue
        if not form.has_nonlinear_rows:
            continue
        total += 1
        answers = {name: certified(form, name) for name in ("newton", *backends)}
        solved.update(name for name, (passed, _) in answers.items() if passed)
        ours = answers["newton"]
        for name in backends:
            if ours[0] and answers[name][0]:
                ahead = answers[name][1] - ours[1]
                compared[name]["same" if abs(ahead) <= SAME else "newton lower" if ahead > 0 else "newton higher"] += 1
    print(f"certified, of {total}: " + ", ".join(f"{name} {solved[name]}" for name in ("newton", *backends)))
    for name in backends:
        print(f"objective beside {name}: " + ", ".join(f"{key} {n}" for key, n in compared[name].items()))


def forms(m: int) -> Iterator[tuple[str, StandardForm]]:
    """Yield the problems of the second table."""
    for interaction in ("saturating", "gated"):
        problem = family_problem(m, interaction=interaction)
        best = np.ravel(problem.losses(load("newton").solve(joint_form(problem), Options()).x))
        ceiling = LossCeiling({problem.model.sources[0]: 0.998 * float(best[0])})
        yield f"{interaction}, ceiling", joint_form(replace(problem, constraints=(ceiling,)))
        yield f"{interaction}, minimax", joint_form(replace(problem, objective=Minimax()))
        yield f"{interaction}, second step", magnitude(problem)


def speed(sizes: list[int], repeat: int, backends: list[str]) -> None:
    """Print the seconds of newton, and those of the others with their ratio to it."""
    print(f"{'m':>5} {'problem':>24} {'newton':>8} " + " ".join(f"{name:>16}" for name in backends))
    for m in sizes:
        for name, form in forms(m):
            seconds: dict[str, list[float]] = {one: [] for one in ("newton", *backends)}
            for _ in range(repeat):
                for one, times in seconds.items():
                    began = time.perf_counter()
                    solution = load(one).solve(form, Options())
                    times.append(time.perf_counter() - began)
                    assert solution.termination.settled, (m, name, one, solution.raw_status)
            ratios = {
                one: median(b / a for a, b in zip(seconds["newton"], seconds[one], strict=True)) for one in backends
            }
            cells = (f"{median(seconds[one]):.4f} ({ratios[one]:.1f}x)" for one in backends)
            print(f"{m:>5} {name:>24} {median(seconds['newton']):>8.4f} " + " ".join(f"{cell:>16}" for cell in cells))


def main() -> None:
    """Print both tables."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--random", type=int, default=300)
    words.add_argument("--sizes", default="16,64,128")
    words.add_argument("--repeat", type=int, default=11)
    words.add_argument("--backends", default="ipopt,uno")
    asked = words.parse_args()
    backends = asked.backends.split(",")
    if asked.random:
        robustness(asked.random, backends)
    speed([int(m) for m in asked.sizes.split(",") if m], asked.repeat, backends)


if __name__ == "__main__":
    main()
