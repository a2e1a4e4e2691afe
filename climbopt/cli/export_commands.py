"""The subcommand between an answer and a training run: export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from climbopt.cli.arguments import quantity
from climbopt.cli.streams import check_places, complain, console, warn
from climbopt.foundations.errors import InputError, listed
from climbopt.foundations.quantities import TOKENS

if TYPE_CHECKING:
    from climbopt.files.trainers import Blend
    from climbopt.problem.allocation import AllocationProblem

ANSWER = Annotated[
    Path,
    typer.Argument(
        metavar="ANSWER",
        help="A folder of climbopt decide, the JSON of solve, or a table or JSON object of ratios by language.",
    ),
]
TRAINER = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What reads the file: megatron, nemo, datasets, streaming, llm-foundry, olmo-core, torchtitan, nanotron, "
        "lingua, json, yaml or csv.",
    ),
]
OUTPUT = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The file; its suffix names the format.")]
PATHS = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Where the data lie: CSV of language, path. Else placeholders.")
]
MEAN_TOKENS = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Mean tokens of one example: CSV of language, tokens. For trainers that draw examples; else all alike.",
    ),
]
SUPPLY = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Tokens there are: CSV of language, tokens. By default those of the problem."),
]
PROBLEM = Annotated[
    str | None,
    typer.Option(
        metavar="PROBLEM", help="What was answered, for the loss that rounding costs; else problem.toml beside."
    ),
]
BUDGET = Annotated[
    float | None,
    typer.Option(parser=quantity("--budget", TOKENS), metavar="TOKENS", help="Instead of the answer's own."),
]
STAGE = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Of a schedule, which sweep --stages --json writes: the stage.")
]
DIGITS = Annotated[int, typer.Option(min=1, max=12, help="Decimals of the weights.")]
SEQUENCE_LENGTH = Annotated[
    float,
    typer.Option(
        parser=quantity("--sequence-length", TOKENS),
        metavar="TOKENS",
        help="Of one training sequence; sources with fewer tokens are named.",
    ),
]


def export(
    answer: ANSWER,
    to: TRAINER,
    output: OUTPUT,
    paths: PATHS = None,
    mean_tokens: MEAN_TOKENS = None,
    supply: SUPPLY = None,
    problem: PROBLEM = None,
    budget: BUDGET = None,
    stage: STAGE = None,
    digits: DIGITS = 6,
    sequence_length: SEQUENCE_LENGTH = 4096.0,
) -> None:
    """Write an answer as the data configuration of a trainer."""
    from climbopt.files import load_answer, load_mean_tokens, load_paths, load_problem, load_supply, write_text
    from climbopt.files.trainers import TRAINERS, Mixture
    from climbopt.reports.typesetting import say

    trainer = TRAINERS[to]
    # Refused before anything is read: a suffix that the trainer does not take.
    trainer.write(output.suffix)
    check_places([path for path in (answer, paths, mean_tokens, supply) if path is not None], None, output)
    read = load_answer(answer, stage)
    named = problem or read.problem
    declared = None if named is None else _answered(load_problem(named), read.ratios)
    tokens = budget or read.budget or (None if declared is None else declared.budget)
    # What the command line states goes before what the problem states.
    mixture = Mixture(
        read.ratios,
        tokens,
        load_supply(supply) if supply is not None else {} if declared is None else declared.supply,
        {} if paths is None else load_paths(paths),
        {} if mean_tokens is None else load_mean_tokens(mean_tokens),
        read.name,
    )
    exported = trainer.export(mixture, output.suffix, digits=digits, sequence_length=sequence_length)
    cost = _cost(
        read.ratios, exported.blend, None if declared is None else replace(declared, budget=tokens or declared.budget)
    )
    write_text(output, exported.text)
    warn(read.doubts)
    for note in exported.notes:
        complain(note)
    say(console(), f"{len(exported.blend.sources)} sources for {trainer.package}: {output}")
    say(console(), f"{digits} decimals move no ratio by more than {_change(read.ratios, exported.blend):.1e}; {cost}")


def _change(ratios: Mapping[str, float], blend: Blend) -> float:
    """Return by how much the ratio that is drawn differs most from the answer's."""
    return max(abs(blend.ratios.get(name, 0.0) - ratio) for name, ratio in ratios.items())


def _answered(problem: AllocationProblem, ratios: Mapping[str, float]) -> AllocationProblem:
    """Return a problem, if it is over the languages of an answer."""
    if sorted(problem.model.sources) != sorted(ratios):
        raise InputError(
            f"the problem '{problem.name}' is over {listed(problem.model.sources)}, and the answer over "
            f"{listed(list(ratios))}; name the problem that was answered"
        )
    return problem


def _cost(ratios: Mapping[str, float], blend: Blend, problem: AllocationProblem | None) -> str:
    """Return in words what the rounded ratios cost, by the problem's own model."""
    import numpy as np

    if problem is None:
        return "name the problem by --problem, and the loss that this costs is stated"
    # In the order of the model, with 0 for what rounding left out.
    exact, drawn = (np.array([r.get(name, 0.0) for name in problem.model.sources]) for r in (ratios, blend.ratios))
    cost = float(problem.value(drawn) - problem.value(exact))
    return f"the {problem.goal.label} changes by {cost:+.1e} {problem.goal.unit}".rstrip()
