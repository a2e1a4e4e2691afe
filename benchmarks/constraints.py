"""What constraints cost: the same problem by the same backend without and with them, calls taking turns.

    python benchmarks/constraints.py [--sizes 16,64,128] [--repeat 11] [--backend ipopt]

Seconds are medians of whole calls from the problem to the certified answer; behind them is the ratio to the problem
without constraints.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from statistics import median

from climbopt import AllocationProblem, Custom, Joint, LossCeiling, Options, StayNear, solve
from climbopt.procedures.result import answered
from climbopt.testing import family_problem


def kinds(problem: AllocationProblem) -> dict[str, tuple]:
    """Return constraints that the optimum of a family problem breaks by little, so that they are active."""
    best = solve(problem)
    a, b, c = problem.model.sources[:3]
    apart = best.losses[a] - best.losses[b]
    product = best.losses[a] * best.ratios[b] + best.z[c] ** 2
    return {
        "custom, linear": (Custom(f"r[{a}] - 0.5 * r[{c}] >= {best.ratios[a] - 0.5 * best.ratios[c] + 0.01}"),),
        "custom, losses": (Custom(f"L[{a}] <= L[{b}] + {apart - 0.002}"),),
        "custom, products": (Custom(f"L[{a}] * r[{b}] + z[{c}]**2 >= {1.02 * product}"),),
        "loss_ceiling": (LossCeiling({a: 0.999 * best.losses[a]}),),
        "stay_near": (StayNear(0.2, "uniform"),),
    }


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--sizes", default="16,64,128")
    words.add_argument("--repeat", type=int, default=11)
    words.add_argument("--backend", default="ipopt")
    given = words.parse_args()
    names = list(kinds(family_problem(4)))
    print(f"{'m':>5} {'none':>8} " + " ".join(f"{name:>18}" for name in names))
    for m in map(int, given.sizes.split(",")):
        problem = family_problem(m)
        cells = []
        for constraints in kinds(problem).values():
            both = (problem, replace(problem, constraints=constraints))
            seconds: list[list[float]] = [[], []]
            for _ in range(given.repeat):
                for k, asked in enumerate(both):
                    began = time.perf_counter()
                    result = answered(asked, Joint(), given.backend, Options())
                    seconds[k].append(time.perf_counter() - began)
                    assert result.passed, (asked.constraints, result.certificate.residuals)
            base, took = map(median, seconds)
            cells.append(f"{took:.4f} ({median(b / a for a, b in zip(*seconds, strict=True)):.2f}x)")
        print(f"{m:>5} {base:>8.4f} " + " ".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    main()
