"""What uncertainty costs: the fit, its bootstrap, its bands, and robust allocation over many draws.

    python benchmarks/uncertainty.py [--draws 1000] [--jobs 2] [--size 16] [--scenarios 500]

The first part is on libreoffice6, the second on synthetic families of languages whose parameters are drawn around the
model's own. Seconds are wall time of one run each; the load of the machine is printed beside them.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from climbopt import load_pilots, solve
from climbopt.fitting.fit import fit
from climbopt.testing import family_problem
from climbopt.uncertainty.bands import bands
from climbopt.uncertainty.bootstrap import bootstrap
from climbopt.uncertainty.confidence import confidence_set
from climbopt.uncertainty.covariance import covariance
from climbopt.uncertainty.diagnosis import missing_runs
from climbopt.uncertainty.robust import robust

T = TypeVar("T")
PILOTS = Path(__file__).parents[1] / "problems" / "libreoffice6" / "pilots.csv"
SPREAD = 0.15
"""Standard deviation of a drawn parameter's logarithm."""


def timed(label: str, call: Callable[[], T]) -> T:
    began, cpu = time.perf_counter(), time.process_time()
    result = call()
    wall, own = time.perf_counter() - began, time.process_time() - cpu
    print(f"{label:<44} {wall:8.2f} s   {own:8.2f} s of this process's CPU", flush=True)
    return result


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--draws", type=int, default=1000)
    words.add_argument("--jobs", type=int, default=2)
    words.add_argument("--size", type=int, default=16)
    words.add_argument("--scenarios", type=int, default=500)
    given = words.parse_args()
    pilots = load_pilots(PILOTS)
    fitted = timed("fit", lambda: fit(pilots))
    found = timed("covariance", lambda: covariance(fitted))
    timed("bands, 7 folds inside the runs", lambda: bands(found))
    timed("missing runs", lambda: missing_runs(found))
    timed(
        f"{given.draws} bootstrap refits, {given.jobs} processes",
        lambda: bootstrap(fitted, given.draws, jobs=given.jobs),
    )
    for interaction in ("saturating", "gated"):
        problem = family_problem(given.size, interaction=interaction)
        rng = np.random.default_rng(0)
        draws = [
            replace(
                problem.model,
                parameters={
                    name: value * np.exp(SPREAD * rng.standard_normal(value.shape))
                    for name, value in problem.model.parameters.items()
                },
            )
            for _ in range(given.scenarios)
        ]
        timed(f"{interaction}, m = {given.size}: joint", lambda problem=problem: solve(problem))
        for measure in ("mean", "cvar:0.9"):
            answer = timed(
                f"{interaction}, {given.scenarios} draws: {measure}",
                lambda problem=problem, draws=draws, measure=measure: robust(problem, draws, measure),
            )
            assert answer.result.passed
        timed(f"{interaction}: confidence set", lambda answer=answer: confidence_set(answer.regrets, answer.ratios))
    print(
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, OMP_NUM_THREADS="
        f"{os.environ.get('OMP_NUM_THREADS', 'unset')}"
    )


if __name__ == "__main__":
    main()
