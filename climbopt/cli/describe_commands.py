"""The subcommands that describe what there is: equations and solver backends."""

from __future__ import annotations

from typing import Annotated

import typer

from climbopt.cli.streams import console


def derive(
    path: Annotated[
        str,
        typer.Argument(metavar="MODEL_OR_PROBLEM", help="A model or problem file, or the name of a shipped problem."),
    ],
    latex: Annotated[bool, typer.Option("--latex", help="LaTeX instead of text.")] = False,
) -> None:
    """Print the equations a model or problem rests on."""
    from climbopt.reports.derivation import derive as derive_equations

    print(derive_equations(path, latex=latex, columns=console().width))


def backends() -> None:
    """List the solver backends."""
    from climbopt.reports.availability import print_backends

    print_backends(console())
