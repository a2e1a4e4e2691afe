"""The subcommands on runs that are trained: collect, which reads back what planned runs logged."""

from __future__ import annotations

import json as json_format
import shlex
from pathlib import Path
from typing import Annotated

import typer

from climbopt.cli.arguments import JSON
from climbopt.cli.streams import check_places, report

JOBS_FOLDER = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Of jobs, as climbopt plan --export wrote it, or its manifest.json.")
]
FROM = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        metavar="LOGS",
        help="Files and folders of logs, may be repeated: JSON lines, TensorBoard, exports and summaries of W&B, "
        "lm-eval; by default the folder logs of the jobs.",
    ),
]
LOSS_KEYS = Annotated[
    str | None, typer.Option("--loss-columns", metavar="PATTERN", help="Keys of the losses; * is the language.")
]
COLLECTED = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="pilots.csv", help="Write the pilots, and their provenance.")
]


def collect(
    folder: JOBS_FOLDER,
    logs: FROM = None,
    loss_columns: LOSS_KEYS = None,
    output: COLLECTED = None,
    json: JSON = None,
) -> None:
    """Read back what planned runs logged, as a table of pilots.

    Every run is listed; the exit code is 1 where some cannot be used.
    """
    from climbopt.files import write_table, write_text
    from climbopt.files.collect import collect as collect_runs
    from climbopt.files.jobs import MANIFEST_NAME, load_manifest
    from climbopt.reports.collections import print_collection

    manifest = folder / MANIFEST_NAME if folder.is_dir() else folder
    written = manifest.parent / "logs"
    places = logs or ([written] if written.exists() else [])
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
