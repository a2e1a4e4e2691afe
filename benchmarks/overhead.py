"""What compare costs beside the start of its processes and the solves themselves, per backend.

    python benchmarks/overhead.py [--problem libreoffice6] [--repeat 5]

Per run: the whole wall time of `compare` for one backend; the time to start Python and import the worker and the
backend; the solve's own seconds; and what is left.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from statistics import median

from climbopt import load_problem
from climbopt.backends import BACKENDS
from climbopt.studies.comparison.backend_runs import compare


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--problem", default="synthetic16")
    words.add_argument("--repeat", type=int, default=5)
    given = words.parse_args()
    problem = load_problem(given.problem)
    print(f"{'backend':<14} {'whole':>7} {'start':>7} {'solve':>7} {'left':>7}")
    for name, entry in BACKENDS.items():
        if entry.missing:
            continue
        rows = []
        for _ in range(given.repeat):
            began = time.perf_counter()
            (run,) = compare([problem], backends=[name]).runs
            whole = time.perf_counter() - began
            if run.seconds is None:
                break
            began = time.perf_counter()
            subprocess.run(
                [
                    sys.executable,
                    "-c",
                    "import climbopt.studies.comparison.worker; "
                    f"from climbopt.backends import load; load('{name}').version",
                ],
                check=True,
            )
            start = time.perf_counter() - began
            rows.append((whole, start, run.seconds, whole - start - run.seconds))
        if rows:
            print(f"{name:<14} " + " ".join(f"{median(column):7.3f}" for column in zip(*rows, strict=True)))


if __name__ == "__main__":
    main()
