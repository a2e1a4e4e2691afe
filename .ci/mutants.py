"""Changes one operator or number at a time in a copy of the package, and names the changes that no test notices.

    python .ci/mutants.py --sample 40 --seed 0 --out mutants.jsonl

A seeded sample over certification, program, numerics and the table. Each change runs the tests of its
module, which stop at the first failure and after --cap seconds, which counts as noticed. What was run is kept in the
file, and not run again.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TESTS = {
    "climbopt/certification/kkt.py": ["certificate", "tiny_intervals", "examine", "kinks", "prices", "scale"],
    "climbopt/certification/local.py": ["certificate", "tiny_intervals", "examine", "prices", "proofs"],
    "climbopt/certification/examine.py": ["examine", "hock_schittkowski"],
    "climbopt/certification/global_bound/boxes.py": ["dual", "global_bound"],
    "climbopt/certification/proof/blocks.py": ["block_bounds", "dual"],
    "climbopt/certification/proof/check.py": ["proof_files", "dual", "global_bound"],
    "climbopt/certification/proof/separable.py": ["block_bounds", "dual"],
    "climbopt/certification/elastic.py": ["conflict"],
    "climbopt/numerics/polytope.py": ["quadratic", "constraints", "newton", "fixed"],
    "climbopt/numerics/quadratic.py": ["quadratic", "newton", "sweep"],
    "climbopt/numerics/intervals.py": ["intervals", "proofs"],
    "climbopt/program/build.py": ["standard_form", "fixed", "history", "kinks", "scale", "ensemble"],
    "climbopt/program/conflict.py": ["conflict"],
    "climbopt/program/functions.py": ["standard_form", "history", "objectives", "proofs", "ensemble"],
    "climbopt/program/level_set.py": ["ranges"],
    "climbopt/program/linear_rows.py": ["constraints", "fixed", "prices"],
    "climbopt/program/standard_form.py": ["standard_form", "certificate"],
    "climbopt/program/written.py": ["cvxpy", "pyomo"],
    "climbopt/problem/table.py": ["standard_form", "history", "objectives", "scale", "ensemble"],
}
"""The tests of each module, without test_ and .py."""

SWAPS: dict[type[ast.AST], Any] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
NAMES = {"minimum": "maximum", "maximum": "minimum", "min": "max", "max": "min", "upper": "lower", "lower": "upper"}


def changed(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Yield the field of a node that is changed, and what it becomes."""
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        yield "op", SWAPS[type(node.op)]()
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPS:
        yield "ops", [SWAPS[type(node.ops[0])]()]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "op", ast.UAdd()
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        yield "value", 0.0 if node.value == 1.0 else 2 * node.value or 1
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield "attr", NAMES[node.attr]
    elif isinstance(node, ast.Name) and node.id in ("min", "max"):
        yield "id", NAMES[node.id]


def in_annotations(tree: ast.AST) -> set[int]:
    """Return the ids of the nodes inside of annotations, which nothing executes."""
    roots = [getattr(node, part, None) for node in ast.walk(tree) for part in ("annotation", "returns")]
    return {id(inner) for root in roots if isinstance(root, ast.AST) for inner in ast.walk(root)}


def mutants(path: str) -> Iterator[tuple[str, str]]:
    """Yield what is changed where in a module, and the module's text with that change."""
    tree = ast.parse((ROOT / path).read_text())
    skipped, nodes = in_annotations(tree), list(ast.walk(tree))
    for k, node in enumerate(nodes):
        for field, value in () if id(node) in skipped else changed(node):
            other = copy.deepcopy(tree)
            target = list(ast.walk(other))[k]
            before = ast.unparse(target)
            setattr(target, field, value)
            line = getattr(node, "lineno", 0)
            yield f"{path}:{line}: {before} -> {ast.unparse(target)}", ast.unparse(other)


def outcome(path: str, text: str, cap: float) -> str:
    """Return killed, timeout or survived for a module's changed text."""
    with tempfile.TemporaryDirectory() as folder:
        for part in ("climbopt", "tests", "problems"):
            shutil.copytree(ROOT / part, Path(folder) / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        (Path(folder) / path).write_text(text)
        tests = [f"tests/test_{name}.py" for name in TESTS[path]]
        command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        try:
            run = subprocess.run(command, cwd=folder, env=_environment(folder), capture_output=True, timeout=cap)
        except subprocess.TimeoutExpired:
            return "timeout"
    return "survived" if run.returncode == 0 else "killed"


def _environment(folder: str) -> dict[str, str]:
    """Return the environment of a run, in which the package is the copy."""
    return {**os.environ, "PYTHONPATH": folder}


def main() -> None:
    """Run a sample, and print the survivors of all that was run so far."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sample", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cap", type=float, default=300.0, help="seconds for one change")
    parser.add_argument("--out", type=Path, default=ROOT / "mutants.jsonl")
    parser.add_argument("--only", default="", help="part of the path of modules to change")
    asked = parser.parse_args()
    known = [json.loads(line) for line in asked.out.read_text().splitlines()] if asked.out.exists() else []
    done = {record["change"] for record in known}
    everything = [
        (path, *mutant) for path in TESTS if asked.only in path and (ROOT / path).exists() for mutant in mutants(path)
    ]
    sample = random.Random(asked.seed).sample(everything, min(asked.sample, len(everything)))
    for path, change, text in sample:
        if change not in done:
            record = {"change": change, "outcome": outcome(path, text, asked.cap)}
            print(record["outcome"], change, flush=True)
            known.append(record)
            with asked.out.open("a") as file:
                file.write(json.dumps(record) + "\n")
    survivors = [record["change"] for record in known if record["outcome"] == "survived"]
    print(f"{len(known)} of {len(everything)} changes run, {len(survivors)} survived", *survivors, sep="\n  ")


if __name__ == "__main__":
    main()
