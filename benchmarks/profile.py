"""Performance profiles of every available backend: shipped problems and generated families, joint and two_step.

    python benchmarks/profile.py [--repeat 3] [--time-limit 10] [-o docs/profile.svg]

Prints the tables of `climbopt compare` over all of them and draws the profiles.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from climbopt import load_problem, shipped_problems
from climbopt.reports.comparisons import print_comparison
from climbopt.reports.plots import profile_figure
from climbopt.studies.comparison.backend_runs import compare, profiles
from climbopt.testing import problem_families


def main() -> None:
    """Run, print and draw."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--repeat", type=int, default=3)
    words.add_argument("--time-limit", type=float, default=10.0)
    words.add_argument("-o", "--output", type=Path)
    given = words.parse_args()
    families = problem_families()
    problems = [
        *map(load_problem, shipped_problems()),
        *families["convex"][1:6],
        *families["signed"][:2],
        *families["gated"][:1],
    ]
    comparison = compare(
        problems,
        procedures=("joint", "two_step"),
        repeat=given.repeat,
        time_limit=given.time_limit,
        progress=lambda done, total: print(f"\r{done} of {total}", end="", file=sys.stderr),
    )
    print(file=sys.stderr)
    print_comparison(comparison, Console(width=170, soft_wrap=True))
    if given.output is not None:
        profile_figure(profiles(comparison)).savefig(given.output, metadata={"Date": None})


if __name__ == "__main__":
    main()
