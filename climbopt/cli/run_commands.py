"""The subcommands on runs that are trained: collect, which reads back what planned runs logged, and watch."""

from __future__ import annotations

import json as json_format
import shlex
from pathlib import Path
from typing import Annotated

import typer

from climbopt.cli.arguments import JOBS, JSON, SEED
from climbopt.cli.streams import check_places, progress, report, solvers_on_standard_error
from climbopt.foundations.errors import InputError

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
    from climbopt.files import PILOTS_NAME, check_folder, load_answer, load_pilots, load_problem
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
    problem = load_problem(read.problem)
    languages = tuple(dict.fromkeys([*problem.model.sources, *problem.model.targets]))
    logged = moments(log, languages, loss_columns, drawn_columns)
    watched = Watch(problem, read.ratios, tuple(Moment(*moment) for moment in logged))
    pilots = read.problem.with_name(PILOTS_NAME)
    decided = None
    with solvers_on_standard_error(json):
        if again and watched.outside and pilots.exists() and watched.undecided:
            decided = watched.decide_again(load_pilots(pilots, missing="drop"), seed=seed, jobs=jobs, progress=progress)
            if output is not None:
                save_decision(decided, output, force=False, inputs=inputs)
        record = watch_json(watched, decided)
    report(json, record, lambda to: print_watch(watched, decided, to))
    raise typer.Exit(1 if watched.outside else 0)
