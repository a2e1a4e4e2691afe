"""Options that are fields of a dataclass."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from climbopt.cli.option_groups import grouped


@dataclass(frozen=True)
class Size:
    """Two options, the first of them required."""

    width: Annotated[int, typer.Option(min=1)]
    height: Annotated[int, typer.Option("--tall")] = 2


@pytest.mark.parametrize(
    ("arguments", "code", "output"),
    [
        (["a", "--width", "3"], 0, "a Size(width=3, height=2) 0\n"),
        (["a", "--width", "3", "--tall", "7", "--depth", "4"], 0, "a Size(width=3, height=7) 4\n"),
        (["a", "--width", "0"], 2, "width"),
        (["a"], 2, "width"),
        (["a", "--width", "3", "--size", "4"], 2, "size"),
    ],
)
def test_fields_are_options(arguments: list[str], code: int, output: str) -> None:
    app = typer.Typer()

    def box(name: Annotated[str, typer.Argument()], *, size: Size, depth: Annotated[int, typer.Option()] = 0) -> None:
        print(name, size, depth)

    app.command()(grouped(box))
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == code
    assert ran.output == output if code == 0 else output in ran.output
