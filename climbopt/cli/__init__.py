"""The command line: an application of subcommands, one module per group of them.

Exit code 0: answered and certified; 1: answered, not certified; 2: refused input or unavailable backend.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, NoReturn

import typer

import climbopt
from climbopt.cli.decide_commands import decide, init
from climbopt.cli.describe_commands import backends, derive
from climbopt.cli.fit_commands import extend, fit, predict
from climbopt.cli.option_groups import grouped
from climbopt.cli.solve_commands import certify, compare, solve, verify
from climbopt.cli.streams import run
from climbopt.cli.study_commands import plan, plot, sweep
from climbopt.cli.training_commands import collect, export, watch

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Language mixtures for pretraining: fit pilot runs, solve for ratios, certify the answer.",
    epilog="Exit codes: 0 answered and certified; 1 answered, but not certified or no decision; 2 refused input or "
    "unavailable backend.",
)

EXAMPLES: dict[Callable[..., None], list[str]] = {
    decide: [
        "decide pilots.csv --budget 1T -o decision",
        "decide pilots.csv --budget 1T --supply supply.csv --floor sw=0.02",
    ],
    init: ["init pilots.csv -o problem.toml"],
    fit: ["fit pilots.csv -o model.toml", "fit pilots.csv --interaction auto --bootstrap 200 -o model.toml"],
    extend: ["extend model.toml sw yo --features families.csv -o extended.toml"],
    predict: ["predict model.toml mixtures.csv"],
    solve: ["solve libreoffice6", "solve problem.toml --budget 1T --certify global --json answer.json"],
    certify: ["certify problem.toml --ratios answer.json", "certify problem.toml --rigor ball --proof proof.json"],
    verify: ["verify problem.toml proof.json"],
    export: [
        "export answer.json --to megatron --paths paths.csv -o blend.json",
        "export folder --to csv -o mixture.csv",
    ],
    compare: ["compare libreoffice6 --backends newton,ipopt --repeat 3"],
    derive: ["derive libreoffice6"],
    sweep: ["sweep libreoffice6 --budgets 1M:16M:12", "sweep libreoffice6 --over floor.pt=0%:30%:7 -o path.csv"],
    plan: [
        "plan --languages en,de,sw --budgets 0.5B,1B -o plan.csv",
        "plan --languages en,de,sw --budgets 1B --export json -o jobs",
    ],
    collect: ["collect jobs --from jobs/logs -o pilots.csv"],
    watch: ["watch decision --log train.jsonl"],
    plot: ["plot answer.json --kind allocation -o allocation.pdf"],
    backends: ["backends"],
}
"""Subcommands in the order of the help, with the examples that their help ends in."""

for command, examples in EXAMPLES.items():
    # \b keeps click from filling the lines of examples as text.
    app.command(epilog="\b\nExamples:\n" + "\n".join(f"  climbopt {line}" for line in examples))(grouped(command))


def _print_version(requested: bool) -> None:
    if requested:
        print(f"climbopt {climbopt.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a subcommand."""


def main() -> NoReturn:
    """Run the command line."""
    run(partial(app, prog_name="climbopt"))
