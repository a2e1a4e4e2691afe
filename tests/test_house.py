"""The house keeps its limits: layers are import-linter's, these are the figures of `make house`."""

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / ".ci" / "house.py"


@pytest.fixture(scope="module")
def figures():
    spec = importlib.util.spec_from_file_location("house", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["house"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["house"]


@pytest.fixture(scope="module")
def house(figures):
    return figures.House()


def test_rooms_at_the_root(figures, house):
    assert 10 < len(house.rooms) <= figures.MOST_ROOMS, house.rooms


def test_no_module_hides_behind_a_name_of_its_package(house):
    assert house.shadows == []


def test_the_layers_are_those_of_the_page(house):
    page = (PATH.parents[1] / "CONTRIBUTING.md").read_text()
    table = page.split("## The house")[1].split("## Adding")[0]
    rows = [row[4:].split("  ")[0] for row in table.splitlines() if row.startswith("    ")]
    assert [layer for layer in house.layers if layer != "__main__"] == rows


def test_no_name_stands_for_two_things(house):
    assert house.shared_names == {}


def test_no_import_cycle(house):
    assert house.cycles == []


def test_public_definitions_have_docstrings(house):
    assert house.public and house.undocumented == []


def test_no_function_is_long(figures, house):
    assert [function for function in house.functions if function.lines > figures.LONGEST_FUNCTION] == []


def test_a_joint_solve_runs_through_few_rooms(figures, house):
    trace = house.solve
    assert 10 < len(trace.modules) <= figures.MOST_MODULES, trace.modules
    assert 10 < len(trace.classes) <= figures.MOST_CLASSES, trace.classes
