"""Jobs of planned runs: a configuration per run, a manifest, and scripts that start them, in a folder of their own."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from climbopt.files.text import read_object, write_text
from climbopt.files.trainers import Mixture, Trainer, notes_of
from climbopt.foundations.errors import InputError, shown

FORMAT = "climbopt manifest 1"
MANIFEST_NAME, PLAN_NAME, RUN_NAME, ARRAY_NAME = "manifest.json", "plan.csv", "run.sh", "array.sbatch"
FIELDS = ("run", "config", "tokens", "logs")
"""What a training command may hold between braces."""
_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class PlannedRun:
    """A run to be trained.

    Parameters
    ----------
    name : str
    tokens : float
    ratios : mapping of str to float
        By language.
    supply : mapping of str to float
        Tokens that the run is drawn from, where they are cut down; empty otherwise.
    params : float or None
    """

    name: str
    tokens: float
    ratios: Mapping[str, float]
    supply: Mapping[str, float]
    params: float | None = None


def write_jobs(
    place: Path, runs: Sequence[PlannedRun], trainer: Trainer, paths: Mapping[str, str], command: str | None
) -> list[str]:
    """Write configurations, manifest and scripts of runs into a folder; returns what is to be known before they start.

    Parameters
    ----------
    place : path
        A folder that is there.
    runs : sequence of PlannedRun
    trainer : Trainer
    paths : mapping of str to str
        Where the data of each language lie.
    command : str or None
        One command that trains a run, with {config}, {tokens}, {run} and {logs}; a script to be edited without it.
    """
    # Before anything is written: a command that cannot be split leaves no folder behind.
    train = None if command is None else train_words(command)
    all_exported, entries = [], []
    (place / "configs").mkdir()
    for run in runs:
        exported = trainer.export(Mixture(run.ratios, run.tokens, run.supply, paths, name=run.name))
        config = f"configs/{run.name}{trainer.suffix}"
        write_text(place / config, exported.text)
        all_exported.append(exported)
        entries.append({**vars(run), "ratios": dict(run.ratios), "supply": dict(run.supply) or None, "config": config})
    manifest = {"format": FORMAT, "trainer": trainer.name, "languages": list(runs[0].ratios), "runs": entries}
    write_text(place / MANIFEST_NAME, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    for name, script in ((RUN_NAME, _script(entries, train)), (ARRAY_NAME, _array(len(entries)))):
        write_text(place / name, script)
        (place / name).chmod(0o755)
    return [
        note if n == len(runs) else f"{note} ({n} of {len(runs)} runs)" for note, n in notes_of(all_exported).items()
    ]


def load_manifest(folder: Path) -> list[PlannedRun]:
    """Return the runs of a folder that `write_jobs` wrote; raises InputError where there are none."""
    remedy = "name a folder that climbopt plan --export wrote"
    if not folder.exists():
        raise InputError(f"there is no {shown(str(folder))}; {remedy}")
    path = folder / MANIFEST_NAME if folder.is_dir() else folder
    content = read_object(path, remedy)
    if content.get("format") != FORMAT:
        raise InputError(f"{path} is no manifest; {remedy}")
    try:
        return [
            PlannedRun(
                str(entry["name"]),
                float(entry["tokens"]),
                {str(name): float(ratio) for name, ratio in entry["ratios"].items()},
                {str(name): float(tokens) for name, tokens in (entry["supply"] or {}).items()},
                None if entry["params"] is None else float(entry["params"]),
            )
            for entry in content["runs"]
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not as climbopt writes it ({type(error).__name__}: {error})") from None


def train_words(command: str) -> str:
    """Return a training command as a shell runs it, each word quoted, with variables in the place of its fields.

    Raises
    ------
    InputError
        For an unknown field, or quotes that do not close.

    Examples
    --------
    >>> train_words("python train.py --data {config} --out {logs}/x")
    'python train.py --data "$config" --out "$logs"/x'
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(f"--command cannot be split into words: {error}") from None
    if not words:
        raise InputError("--command is empty; write for example --command 'python train.py --data {config}'")
    if unknown := [field for word in words for field in _FIELD.findall(word) if field not in FIELDS]:
        raise InputError(f"--command holds {{{unknown[0]}}}; its fields are {', '.join(f'{{{f}}}' for f in FIELDS)}")
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    """Return a word quoted for a shell, with its fields as variables."""
    # Odd parts of the split are the fields between braces.
    parts = _FIELD.split(word)
    texts = [f'"${part}"' if k % 2 else shlex.quote(part) for k, part in enumerate(parts) if k % 2 or part]
    return "".join(texts) or "''"


TO_EDIT = """\
    # Write how a run is trained, for example:
    #   python train.py --data "$config" --train-tokens "$tokens" --output "$logs"
    echo "write the training command into the function train of $0" >&2
    return 64"""


def _script(entries: Sequence[Mapping[str, Any]], train: str | None) -> str:
    """Return the script that trains the runs whose numbers it is called with, or all one after another."""
    columns = {
        "runs": [entry["name"] for entry in entries],
        "configs": [entry["config"] for entry in entries],
        "budgets": [f"{entry['tokens']:.0f}" for entry in entries],
    }
    # Names of runs and files go into a shell script: quoted, they cannot be more than words.
    arrays = "\n".join(f"{name}=({' '.join(map(shlex.quote, values))})" for name, values in columns.items())
    return f"""\
#!/usr/bin/env bash
# Trains the pilots with these numbers, counted from 1, or all of them: ./{RUN_NAME} 1 4
set -uo pipefail
cd "$(dirname "${{BASH_SOURCE[0]}}")" || exit 1
{arrays}

train() {{
{TO_EDIT if train is None else f"    {train}"}
}}

[ $# -gt 0 ] || set -- $(seq 1 {len(entries)})
failures=0
for k in "$@"; do
    run=${{runs[k - 1]}} config=${{configs[k - 1]}} tokens=${{budgets[k - 1]}} logs=logs/${{runs[k - 1]}}
    mkdir -p "$logs" && echo running > "$logs/status"
    train && echo finished > "$logs/status" || {{ echo "failed $?" > "$logs/status"; failures=1; }}
done
exit $failures
"""


def _array(n: int) -> str:
    """Return the job array of Slurm, one task per run."""
    return f"""\
#!/usr/bin/env bash
#SBATCH --job-name=pilots
#SBATCH --array=1-{n}
# Add what the cluster needs (partition, GPUs, time), and submit from this folder: sbatch {ARRAY_NAME}
exec bash "${{SLURM_SUBMIT_DIR:-.}}/{RUN_NAME}" "$SLURM_ARRAY_TASK_ID"
"""
