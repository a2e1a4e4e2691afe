"""The figures of the house: rooms, layers, cycles, names, sizes, and what one joint solve runs through.

`python .ci/house.py` prints them; `tests/test_house.py` holds them to the limits below.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "climbopt"
LONGEST_FUNCTION = 60
MOST_ROOMS, MOST_MODULES, MOST_CLASSES = 18, 25, 25
ARRAYS_IN_A_TUPLE = 3

TRACED = """
import sys, climbopt
problem = climbopt.load_problem("libreoffice6")
solve = climbopt.solve
modules, classes, records = set(), set(), set()
def note(frame, event, arg):
    code = frame.f_code
    if event == "call" and code.co_filename == "<string>" and code.co_name == "__init__":  # a dataclass
        kind = type(frame.f_locals.get("self"))
        if kind.__module__.startswith("climbopt"):
            records.add(f"{kind.__module__}.{kind.__qualname__}")
    if event != "call" or "/climbopt/" not in code.co_filename or code.co_name == "<module>":
        return
    module = sys.modules.get(frame.f_globals.get("__name__"))
    if module is None or not module.__name__.startswith("climbopt"):
        return
    modules.add(module.__name__)
    owner = module
    for name in code.co_qualname.split(".<locals>")[0].split("."):
        owner = getattr(owner, name, None)
        if isinstance(owner, type):
            classes.add(f"{owner.__module__}.{owner.__qualname__}")
sys.setprofile(note)
solve(problem)
sys.setprofile(None)
print(*sorted(modules)); print(*sorted(classes)); print(*sorted(records - classes))
"""
"""Runs in a process of its own: the first joint solve of a problem that was loaded before."""


@dataclass(frozen=True)
class Function:
    """A function and the lines that it takes, docstring included."""

    place: str
    lines: int


@dataclass(frozen=True)
class Trace:
    """Modules and classes of the package whose code runs, and further dataclasses that are only made."""

    modules: list[str]
    classes: list[str]
    records: list[str]


class House:
    """The package as its source text shows it."""

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """Return the syntax tree of each module by its dotted name."""
        return {self.name(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}

    @staticmethod
    def name(path: Path) -> str:
        """Return the dotted name of a module's file."""
        return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

    @cached_property
    def rooms(self) -> list[str]:
        """Return the files and folders at the root of the package."""
        return sorted(p.name for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists())

    @cached_property
    def layers(self) -> list[str]:
        """Return the layers from the top down, as import-linter keeps them."""
        contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        return list(contracts[0]["layers"])

    @cached_property
    def statements(self) -> int:
        """Return the number of statements of the package."""
        return sum(isinstance(node, ast.stmt) for tree in self.trees.values() for node in ast.walk(tree))

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """Return what each module imports of the package, at any depth and for type checking too."""
        graph: dict[str, set[str]] = {name: set() for name in self.trees}
        for name, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    for alias in node.names:
                        inner = f"{node.module}.{alias.name}"
                        graph[name] |= {inner if inner in self.trees else node.module} & self.trees.keys()
                elif isinstance(node, ast.Import):
                    graph[name] |= {alias.name for alias in node.names} & self.trees.keys()
        return graph

    @cached_property
    def cycles(self) -> list[list[str]]:
        """Return the groups of modules that import one another (strongly connected components)."""
        reach = {name: self._reachable(name) for name in self.imports}
        groups = {tuple(sorted(b for b in reach[a] if a in reach[b])) for a in self.imports if a in reach[a]}
        return [list(group) for group in sorted(groups)]

    def _reachable(self, start: str) -> set[str]:
        reached: set[str] = set()
        pending = list(self.imports[start])
        while pending:
            name = pending.pop()
            if name not in reached:
                reached.add(name)
                pending += self.imports[name]
        return reached

    def definitions(self, kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[tuple[str, ast.AST]]:
        """Yield the definitions of some kind with the module that they stand in."""
        for name, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, kind):
                    yield name, node

    @cached_property
    def functions(self) -> list[Function]:
        """Return every function, the longest first."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        sizes = [Function(f"{m}.{n.name}", n.end_lineno - n.lineno + 1) for m, n in self.definitions(kinds)]
        return sorted(sizes, key=lambda function: -function.lines)

    @cached_property
    def shared_names(self) -> dict[str, list[str]]:
        """Return the names of classes and of modules that stand for more than one thing."""
        homes: dict[str, list[str]] = defaultdict(list)
        for module, node in self.definitions(ast.ClassDef):
            homes[f"class {node.name}"].append(module)
        for module in self.trees:
            homes[f"module {module.rpartition('.')[2]}"].append(module)
        return {name: where for name, where in sorted(homes.items()) if len(where) > 1}

    @cached_property
    def shadows(self) -> list[str]:
        """Return the modules that their own package hides behind another object of the same name."""
        hidden = []
        for module, tree in self.trees.items():
            bound = {a.asname or a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names}
            bound |= {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
            hidden += [
                f"{module}.{name}"
                for name in sorted(bound)
                if f"{module}.{name}" in self.trees and f"{module}.{name}" not in self.imports[module]
            ]
        return hidden

    @cached_property
    def wide_tuples(self) -> list[str]:
        """Return the functions that pass three or more arrays by position in one tuple."""
        wide = []
        for module, node in self.definitions(ast.FunctionDef):
            given = [a.annotation for a in [*node.args.args, *node.args.kwonlyargs] if a.annotation] + [node.returns]
            for part in [p for a in given if a is not None for p in ast.walk(a)]:
                if (
                    isinstance(part, ast.Subscript)
                    and ast.unparse(part.value) == "tuple"
                    and sum(ast.unparse(e).endswith("Array") for e in getattr(part.slice, "elts", []))
                    >= ARRAYS_IN_A_TUPLE
                ):
                    wide.append(f"{module}.{node.name}")
        return wide

    @cached_property
    def public(self) -> list[tuple[str, ast.ClassDef | ast.FunctionDef]]:
        """Return the public definitions of modules and of public classes, each with its module."""
        return [
            (module, node)
            for module, tree in self.trees.items()
            for owner in [tree, *(n for n in tree.body if isinstance(n, ast.ClassDef) and not n.name.startswith("_"))]
            for node in owner.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
        ]

    @cached_property
    def undocumented(self) -> list[str]:
        """Return the public definitions without a docstring."""
        return sorted({f"{module}.{node.name}" for module, node in self.public if not ast.get_docstring(node)})

    @cached_property
    def comments(self) -> float:
        """Return the share of lines that hold a comment."""
        lines = comments = 0
        for path in PACKAGE.rglob("*.py"):
            text = path.read_text()
            lines += text.count("\n")
            tokens = tokenize.generate_tokens(io.StringIO(text).readline)
            comments += sum(token.type == tokenize.COMMENT for token in tokens)
        return comments / lines

    @cached_property
    def solve(self) -> Trace:
        """Return what one joint solve of libreoffice6 runs through."""
        done = subprocess.run([sys.executable, "-c", TRACED], capture_output=True, text=True, cwd=ROOT, check=True)
        return Trace(*(line.split() for line in done.stdout.split("\n")[:3]))


def main() -> None:
    """Print the figures."""
    house = House()
    trace = house.solve
    print("layers, each importing only downwards:")
    for layer in house.layers:
        sizes = []
        for room in layer.split(" | "):
            names = [name for name in house.trees if name.split(".")[1:2] == [room]]
            count = sum(isinstance(node, ast.stmt) for name in names for node in ast.walk(house.trees[name]))
            sizes.append(f"{room} ({len(names)} modules, {count} statements)")
        print("  " + " | ".join(sizes))
    long = [f for f in house.functions if f.lines > LONGEST_FUNCTION]
    print(f"rooms at the root: {len(house.rooms)} (at most {MOST_ROOMS})")
    print(f"modules: {len(house.trees)}; statements: {house.statements}")
    print(f"import cycles: {len(house.cycles)}", *(f"\n  {' <-> '.join(c)}" for c in house.cycles))
    print(
        f"one joint solve: code of {len(trace.modules)} modules (at most {MOST_MODULES}), {len(trace.classes)} classes "
        f"(at most {MOST_CLASSES}); {len(trace.records)} more dataclasses hold data"
    )
    print(
        f"longest function: {house.functions[0].lines} lines, {house.functions[0].place}; over "
        f"{LONGEST_FUNCTION}: {len(long)}",
        *(f"\n  {f.lines} {f.place}" for f in long),
    )
    print(
        f"names for two things: {len(house.shared_names)}",
        *(f"\n  {name}: {', '.join(where)}" for name, where in house.shared_names.items()),
    )
    print(f"modules hidden by a name of their package: {len(house.shadows)}", *(f"\n  {s}" for s in house.shadows))
    print(f"tuples of three or more arrays: {len(house.wide_tuples)}", *(f"\n  {t}" for t in house.wide_tuples))
    print(
        f"public definitions without a docstring: {len(house.undocumented)} of {len(house.public)}",
        *(f"\n  {u}" for u in house.undocumented),
    )
    print(f"comments: {100 * house.comments:.1f} % of the lines")
    if "--solve" in sys.argv:
        print("modules of one joint solve:", *(f"\n  {m}" for m in trace.modules))
        print("classes of one joint solve:", *(f"\n  {c}" for c in trace.classes))
        print("dataclasses that hold data there:", *(f"\n  {r}" for r in trace.records))


if __name__ == "__main__":
    main()
