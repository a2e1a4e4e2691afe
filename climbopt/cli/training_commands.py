"""The subcommands between climbopt and runs that are trained: export, collect and watch."""

from __future__ import annotations

import json as json_format
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import climbopt
from climbopt.cli.arguments import JOBS, JSON, SEED, quantity
from climbopt.cli.streams import check_places, complain, console, progress, report, solvers_on_standard_error, warn
from climbopt.foundations.errors import InputError, listed
from climbopt.foundations.quantities import TOKENS

if TYPE_CHECKING:
    from climbopt.files import AnswerFile
    from climbopt.files.trainers import Blend, Mixture, Trainer

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
    digits: Annotated[int, typer.Option(min=1, max=12, help="Decimals of the weights.")] = 6,
    sequence_length: SEQUENCE_LENGTH = 4096.0,
) -> None:
    """Write an answer as the data configuration of a trainer."""
    from climbopt.files import load_answer, write_text
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
    declared = None if named is None else _answered(climbopt.load_problem(named), read.ratios)
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


def _answered(problem: climbopt.AllocationProblem, ratios: Mapping[str, float]) -> climbopt.AllocationProblem:
    """Return a problem, if it is over the languages of an answer."""
    if sorted(problem.model.sources) != sorted(ratios):
        raise InputError(
            f"the problem '{problem.name}' is over {listed(problem.model.sources)}, and the answer over "
            f"{listed(list(ratios))}; name the problem that was answered"
        )
    return problem


def _cost(ratios: Mapping[str, float], blend: Blend, problem: climbopt.AllocationProblem | None) -> str:
    """Return in words what the rounded ratios cost, by the problem's own model."""
    import numpy as np

    if problem is None:
        return "name the problem by --problem, and the loss that this costs is stated"
    # In the order of the model, with 0 for what rounding left out.
    exact, drawn = (np.array([r.get(name, 0.0) for name in problem.model.sources]) for r in (ratios, blend.ratios))
    cost = float(problem.value(drawn) - problem.value(exact))
    return f"the {problem.goal.label} changes by {cost:+.1e} {problem.goal.unit}".rstrip()


LOSS_KEYS = Annotated[
    str | None, typer.Option("--loss-columns", metavar="PATTERN", help="Keys of the losses; * is the language.")
]


def collect(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Of jobs, as climbopt plan --export wrote it, or its manifest.json."),
    ],
    logs: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="LOGS",
            help="Files and folders of logs, may be repeated: JSON lines, TensorBoard, exports and offline runs of "
            "W&B, lm-eval; by default the folder logs of the jobs.",
        ),
    ] = None,
    loss_columns: LOSS_KEYS = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="pilots.csv", help="Write the pilots, and their provenance."),
    ] = None,
    json: JSON = None,
) -> None:
    """Read back what planned runs logged, as a table of pilots.

    Every run is listed; the exit code is 1 where some cannot be used.
    """
    from climbopt.files import write_table, write_text
    from climbopt.files.collect import collect as collect_runs
    from climbopt.files.jobs import MANIFEST_NAME, load_manifest
    from climbopt.reports.plans import print_collection

    manifest = folder / MANIFEST_NAME if folder.is_dir() else folder
    # A manifest that is named itself has its logs beside it.
    written = manifest.parent / "logs"
    places = logs or ([written] if written.exists() else [])
    # Provenance lies beside the table, under its name: two collections into one folder keep theirs.
    beside = None if output is None else output.with_name(f"{output.name}.provenance.json")
    check_places([manifest, *(place for place in places if place.is_file())], json, output, beside)
    collection = collect_runs(load_manifest(manifest), places, loss_columns)
    record = collection.provenance()
    if output is not None and beside is not None and collection.usable:
        write_table(output, collection.table())
        write_text(beside, json_format.dumps(record, indent=2, ensure_ascii=False) + "\n")
    after = None if output is None else shlex.join(["climbopt", "decide", str(output), "--budget", "TOKENS"])
    report(json, record, lambda to: print_collection(collection, to, after))
    raise typer.Exit(0 if len(collection.usable) == len(collection.runs) else 1)


def watch(
    answer: Annotated[
        Path, typer.Argument(metavar="ANSWER", help="A folder of climbopt decide, or an answer beside one.")
    ],
    log: Annotated[list[Path], typer.Option("--log", metavar="LOGS", help="Files and folders of the run's logs.")],
    loss_columns: LOSS_KEYS = None,
    drawn_columns: Annotated[
        str | None,
        typer.Option("--drawn-columns", metavar="PATTERN", help="Keys of the tokens drawn; * is the language."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again/--no-again", help="Past the bands, decide again with the run's own losses.")
    ] = True,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FOLDER", help="Write the new decision, as climbopt decide does."),
    ] = None,
    seed: SEED = 0,
    jobs: JOBS = 1,
    json: JSON = None,
) -> None:
    """Compare the losses of the big run with those predicted, as it goes.

    The exit code is 1 where a loss is outside its band; what would be decided now is then computed.
    """
    from climbopt.files import PILOTS_NAME, check_folder, load_answer
    from climbopt.files.logs import moments
    from climbopt.reports.decisions import print_watch, save_decision, watch_json
    from climbopt.uncertainty.watch import Moment, Watch

    inputs = [path for path in (answer, *log) if path.is_file()]
    check_places(inputs, json)
    if output is not None:
        check_folder(output, force=False)
    read = load_answer(answer)
    if read.problem is None:
        raise InputError(f"there is no problem beside {answer}; name the folder that climbopt decide wrote")
    problem = climbopt.load_problem(read.problem)
    languages = tuple(dict.fromkeys([*problem.model.sources, *problem.model.targets]))
    logged = moments(log, languages, loss_columns, drawn_columns)
    watched = Watch(problem, read.ratios, tuple(Moment(*moment) for moment in logged))
    pilots = read.problem.with_name(PILOTS_NAME)
    decided = None
    with solvers_on_standard_error(json):
        if again and watched.outside and pilots.exists() and watched.undecided:
            runs = climbopt.load_pilots(pilots, missing="drop")
            decided = watched.decide_again(runs, seed=seed, jobs=jobs, progress=progress)
            if output is not None:
                save_decision(decided, output, force=False, inputs=inputs)
        record = watch_json(watched, decided)
    report(json, record, lambda to: print_watch(watched, decided, to))
    raise typer.Exit(1 if watched.outside else 0)
