"""The subcommand between an answer and a training run: export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from climbopt.cli.arguments import quantity
from climbopt.cli.streams import check_places, complain, console, warn
from climbopt.foundations.errors import InputError, listed
from climbopt.foundations.quantities import TOKENS

if TYPE_CHECKING:
    from climbopt.files import AnswerFile
    from climbopt.files.trainers import Blend, Mixture, Trainer
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

BATCH_TOKENS = Annotated[
    float | None,
    typer.Option(
        parser=quantity("--batch-tokens", TOKENS),
        metavar="TOKENS",
        help="Of one training step: all stages of a schedule, for a trainer whose file holds them (nanotron).",
    ),
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


@dataclass(frozen=True)
class SourceFiles:
    """Files that state something of each language: the options of these names."""

    paths: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the data lie: CSV of language, path. Else placeholders.")
    ] = None
    mean_tokens: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Mean tokens of one example: CSV of language, tokens. For trainers that draw examples; else all "
            "alike.",
        ),
    ] = None
    supply: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Tokens there are: CSV of language, tokens. By default those of the problem."
        ),
    ] = None

    def mixture(self, answer: AnswerFile, budget: float | None, supply: Mapping[str, float]) -> Mixture:
        """Return the mixture of an answer with what the files state; without a file of supplies, with these."""
        from climbopt.files import load_mean_tokens, load_paths, load_supply
        from climbopt.files.trainers import Mixture

        return Mixture(
            answer.ratios,
            budget,
            supply if self.supply is None else load_supply(self.supply),
            {} if self.paths is None else load_paths(self.paths),
            {} if self.mean_tokens is None else load_mean_tokens(self.mean_tokens),
            answer.name,
        )


def export(
    answer: ANSWER,
    to: TRAINER,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The file; its suffix names the format.")
    ],
    stated: SourceFiles,
    problem: Annotated[
        str | None,
        typer.Option(
            metavar="PROBLEM", help="What was answered, for the loss that rounding costs; else problem.toml beside."
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(parser=quantity("--budget", TOKENS), metavar="TOKENS", help="Instead of the answer's own."),
    ] = None,
    stage: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Of a schedule, which sweep --stages --json writes: the stage."),
    ] = None,
    batch_tokens: BATCH_TOKENS = None,
    digits: DIGITS = 6,
    sequence_length: SEQUENCE_LENGTH = 4096.0,
) -> None:
    """Write an answer as the data configuration of a trainer."""
    from climbopt.files import load_answer, load_problem, write_text
    from climbopt.files.trainers import TRAINERS, notes_of
    from climbopt.reports.typesetting import say

    trainer = TRAINERS[to]
    # Refused before anything is read: a suffix that the trainer does not take.
    trainer.write(output.suffix)
    check_places([answer, *vars(stated).values()], None, output)
    if batch_tokens is not None:
        if stage is not None or problem is not None or budget is not None:
            raise InputError("--batch-tokens exports a whole schedule; leave out --stage, --problem and --budget")
        return _write_stages(output, trainer, _stages(answer, stated, batch_tokens), digits, sequence_length)
    read = load_answer(answer, stage)
    named = problem or read.problem
    declared = None if named is None else _answered(load_problem(named), read.ratios)
    tokens = budget or read.budget or (None if declared is None else declared.budget)
    # What the command line states goes before what the problem states.
    mixture = stated.mixture(read, tokens, {} if declared is None else declared.supply)
    exported = trainer.export(mixture, output.suffix, digits=digits, sequence_length=sequence_length)
    cost = _cost(
        read.ratios, exported.blend, None if declared is None else replace(declared, budget=tokens or declared.budget)
    )
    write_text(output, exported.text)
    warn(read.doubts)
    complain(*notes_of([exported]))
    say(console(), f"{len(exported.blend.sources)} sources for {trainer.package}: {output}")
    drawn = exported.blend.ratios
    change = max(abs(drawn.get(name, 0.0) - ratio) for name, ratio in read.ratios.items())
    say(console(), f"{digits} decimals move no ratio by more than {change:.1e}; {cost}")


def _stages(answer: Path, stated: SourceFiles, batch_tokens: float) -> dict[int, Mixture]:
    """Return the mixtures of a schedule by their first training steps."""
    from climbopt.files import load_schedule

    stages = load_schedule(answer)
    if not stages:
        raise InputError("--batch-tokens is for a schedule, which climbopt sweep --stages N --json FILE writes")
    steps = [int(part.begin // batch_tokens) + 1 for part in stages]
    # Two stages of one step would be one: the trainer's file is keyed by steps.
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise InputError(
            f"--batch-tokens of {batch_tokens:g}: the stages begin at the steps {listed(list(map(str, steps)))}, which "
            "do not rise; a step of fewer tokens keeps them apart"
        )
    # The files are read once: pipes have no second time.
    first = stated.mixture(stages[0], stages[0].budget, {})
    return {
        step: replace(first, ratios=part.ratios, budget=part.budget, name=part.name)
        for step, part in zip(steps, stages, strict=True)
    }


def _write_stages(
    output: Path, trainer: Trainer, stages: Mapping[int, Mixture], digits: int, sequence_length: float
) -> None:
    """Write the stages of a schedule as one file of a trainer."""
    from climbopt.files import write_text
    from climbopt.files.trainers import notes_of
    from climbopt.reports.typesetting import say

    parts = trainer.export_stages(stages, digits=digits, sequence_length=sequence_length)
    write_text(output, parts[0].text)
    complain(*notes_of(parts))
    say(console(), f"{len(parts)} stages for {trainer.package}: {output}")


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
