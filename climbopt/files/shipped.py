"""The problems that come with the package, and files that are found by their names."""

import os
from pathlib import Path

from climbopt.foundations.errors import unknown_name


def shipped_problems() -> tuple[str, ...]:
    """Return the names of the problems that come with the package."""
    return tuple(sorted(path.stem for path in shipped_folder().glob("*.toml")))


def shipped_folder() -> Path:
    """Return where the shipped problems are: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "problems"
    return inside if inside.is_dir() else package.parent / "problems"


PROBLEM_NAME, PILOTS_NAME = "problem.toml", "pilots.csv"
"""Files in a folder that a decision is written to: the problem, and the runs."""


def find_problem(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the path of a problem or model file, that in a decision's folder, or that of a shipped problem by name.

    A folder hides no shipped problem.
    """
    path = Path(name_or_path)
    if (path / PROBLEM_NAME).is_file() and str(path) not in shipped_problems():
        return path / PROBLEM_NAME
    return _find_shipped(path, "*.toml", "problem")


def find_pilots(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the path of a table of runs, or of those that a shipped problem was fitted to by its name alone."""
    return _find_shipped(Path(name_or_path), f"*/{PILOTS_NAME}", "file or shipped table of runs")


def find_supply(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the path of a table of supplies, or of those of a shipped problem by its name alone."""
    return _find_shipped(Path(name_or_path), "*/supply.csv", "file or shipped table of supplies")


def _find_shipped(path: Path, pattern: str, what: str) -> Path:
    """Return a path, or that of the shipped file of a pattern that it names."""
    folder = shipped_folder()
    shipped = {file.relative_to(folder).with_suffix("").parts[0]: file for file in sorted(folder.glob(pattern))}
    # A file that is there is meant, whatever it is called.
    if str(path) in shipped and not path.is_file():
        return shipped[str(path)]
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    raise unknown_name(what, path, shipped)
