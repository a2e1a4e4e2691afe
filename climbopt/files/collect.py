"""collect: the losses of planned runs, from what was logged of them, with where each comes from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from climbopt.files import event_files, wandb_runs
from climbopt.files.jobs import PlannedRun
from climbopt.files.logs import LogEntry, is_log, keys_by_language, logs_in, read_log, tokens_of
from climbopt.files.text import read_bytes, sha256
from climbopt.foundations.errors import InputError, listed, shown

if TYPE_CHECKING:
    import pandas as pd

DONE = 0.99
"""Share of its tokens at which the last losses of a finished run stand, at least."""
OVERRUN = 1.02
"""Share of its tokens past which a run is longer than planned, and its losses are those of another budget."""
SAME = 1e-6
"""Relative difference up to which two files state the same loss."""
FINISHED, ENDED = ("finished", "completed", "done", "success"), ("failed", "crashed", "killed", "running", "preempted")
"""States of runs that trackers and the job's script write."""
ROWS = (".csv", ".tsv", ".parquet")
"""Tables in which a row that states a state is a run, and not a moment of one."""


class Stated(NamedTuple):
    """A loss of a language, the tokens of the run at which it stands, where stated, and the file that states it."""

    language: str
    loss: float
    tokens: float | None
    file: Path


@dataclass(frozen=True)
class Trace:
    """What one file, or the rows of one file that name a run, logged of a run.

    Parameters
    ----------
    file : path
    entries : tuple of LogEntry
        In the order of the file.
    """

    file: Path
    entries: tuple[LogEntry, ...]

    def last(self, keys: Mapping[str, str]) -> list[Stated]:
        """Return the last loss of each language."""
        last: dict[str, Stated] = {}
        tokens: float | None = None
        for entry in self.entries:
            stated = tokens_of(entry)
            # an evaluation without a count stands where the training before it had come to
            tokens = tokens if stated is None else stated
            for language, key in keys.items():
                if key in entry.numbers:
                    last[language] = Stated(language, entry.numbers[key], tokens, self.file)
        return list(last.values())

    @property
    def tokens(self) -> float | None:
        """Most tokens that an entry states."""
        return max((tokens for entry in self.entries if (tokens := tokens_of(entry)) is not None), default=None)

    @property
    def state(self) -> str:
        """The last state that an entry states."""
        return next((entry.state for entry in reversed(self.entries) if entry.state), "")


@dataclass(frozen=True)
class CollectedRun:
    """What is known of a planned run.

    Parameters
    ----------
    planned : PlannedRun
    status : str
        ok, or what is wrong: failed, unfinished, overrun, doubled, incomplete, no logs.
    reason : str
        In words.
    losses : mapping of str to float
        By language, nats per token; those of a run that is not ok are not used.
    files : sequence of path
        Where they come from.
    """

    planned: PlannedRun
    status: str
    reason: str = ""
    losses: Mapping[str, float] = field(default_factory=dict)
    files: Sequence[Path] = ()


@dataclass(frozen=True)
class Collection:
    """Planned runs with what was logged of them.

    Parameters
    ----------
    runs : sequence of CollectedRun
        In the order of the plan; each is listed, whatever became of it.
    pattern : str
        Of the keys of losses.
    ignored : mapping of str to str
        Files that were not used, and why.
    """

    runs: Sequence[CollectedRun]
    pattern: str
    ignored: Mapping[str, str]

    @property
    def usable(self) -> list[CollectedRun]:
        """Runs whose losses are used."""
        return [run for run in self.runs if run.status == "ok"]

    def table(self) -> pd.DataFrame:
        """Return the tidy table of the usable runs, as `fit` reads it."""
        import pandas as pd

        return pd.DataFrame([row for run in self.usable for row in _rows(run)])

    def provenance(self) -> dict[str, Any]:
        """Return what became of each run, and the files that its losses come from, with their digests."""
        return {
            "format": "climbopt provenance 1",
            "losses": self.pattern,
            "runs": [
                {
                    "run": run.planned.name,
                    "status": run.status,
                    "reason": run.reason,
                    "files": [{"file": str(file), "sha256": sha256(read_bytes(file))} for file in run.files],
                }
                for run in self.runs
            ],
            "ignored": dict(self.ignored),
        }


def _rows(run: CollectedRun) -> Iterable[dict[str, Any]]:
    """Give a row per language of a run; a language without a loss has an empty one."""
    planned = run.planned
    for language in dict.fromkeys([*planned.ratios, *run.losses]):
        yield {
            "run": planned.name,
            "tokens": _count(planned.tokens),
            **({} if planned.params is None else {"params": _count(planned.params)}),
            "language": language,
            "ratio": planned.ratios.get(language, 0.0),
            "loss": run.losses.get(language),
            **({"supply": _count(planned.supply[language])} if language in planned.supply else {}),
        }


def _count(number: float) -> float:
    """Return a count as a whole number, as plans write it; any other number as it is."""
    return int(number) if float(number).is_integer() else number


def collect(runs: Sequence[PlannedRun], places: Iterable[Path], pattern: str | None = None) -> Collection:
    """Return what logs say of planned runs.

    A log belongs to the run that its rows name, or whose name is that of a folder above it or of the file itself.

    Parameters
    ----------
    runs : sequence of PlannedRun
    places : iterable of path
        Files, and folders that are searched to the bottom.
    pattern : str, optional
        Of the keys of losses, with * for the language.

    Raises
    ------
    InputError
        Where keys of losses have two readings, or there are none.
    """
    traces: dict[str, list[Trace]] = {run.name: [] for run in runs}
    states: dict[str, str] = {}
    ignored: dict[str, str] = {}
    for path in logs_in(places):
        # By a folder above the file, or by its own name.
        owner = next((name for name in traces if name in (*path.parts[:-1], path.stem)), None)
        if path.name == "status" and owner is not None:
            states[owner] = read_bytes(path).decode(errors="replace").strip()
        elif is_log(path):
            _assign(path, owner, traces, ignored)
    languages = list(dict.fromkeys(name for run in runs for name in run.ratios))
    keys = [key for each in traces.values() for trace in each for entry in trace.entries for key in entry.numbers]
    stated, by_language = keys_by_language(keys, languages, pattern)
    if keys and not by_language:
        raise InputError(
            "no key of the logs names the loss of a language; state their pattern, such as --loss-columns 'eval/loss/*'"
        )
    return Collection([_judged(run, traces[run.name], states, by_language) for run in runs], stated, ignored)


def _assign(path: Path, owner: str | None, traces: dict[str, list[Trace]], ignored: dict[str, str]) -> None:
    """Add the entries of a log to the runs that they are of."""
    try:
        entries = read_log(path)
    except InputError as error:
        ignored[shown(str(path))] = str(error)
        return
    by_run: dict[str, list[LogEntry]] = {}
    for entry in entries:
        # Rows of a tracker's export name their runs, whatever folder the export lies in.
        by_run.setdefault(entry.run if entry.run in traces else owner or entry.run, []).append(entry)
    for name, of_run in by_run.items():
        if name in traces:
            # In a tracker's table of runs each row is a run of its own.
            apart = path.suffix in ROWS and all(entry.state for entry in of_run)
            for part in [[entry] for entry in of_run] if apart else [of_run]:
                _add(traces[name], Trace(path, tuple(part)))
        else:
            ignored[shown(str(path))] = f"it names the run '{shown(name)}', which is not planned" if name else "no run"


def _add(traces: list[Trace], trace: Trace) -> None:
    """Add a trace, which goes on with the last one where the run was resumed."""
    if traces and _goes_on(traces[-1].file, trace.file):
        traces[-1] = Trace(trace.file, traces[-1].entries + trace.entries)
    else:
        traces.append(trace)


def _goes_on(first: Path, second: Path) -> bool:
    """Return whether two files are of one run: event files in one folder, or records of W&B with one id."""
    if second.suffix == wandb_runs.SUFFIX:
        return first.name == second.name
    return first.parent == second.parent and all(event_files.NAME in path.name for path in (first, second))


def _judged(
    run: PlannedRun, traces: Sequence[Trace], states: Mapping[str, str], keys: Mapping[str, str]
) -> CollectedRun:
    """Return what became of a run."""
    finished = any(trace.state.startswith(FINISHED) for trace in traces)
    # a tracker keeps the attempts that crashed beside the one that ended
    counted = [trace for trace in traces if not (finished and trace.state.startswith(ENDED))]
    # What the script of the jobs wrote goes before what a tracker says.
    state = states.get(run.name) or next((trace.state for trace in counted if trace.state), "")
    stated = [each for trace in counted for each in trace.last(keys)]
    status, reason = _fault(run, counted, state, stated, keys)
    if status == "ok" and not (state.startswith(FINISHED) or any(trace.tokens is not None for trace in counted)):
        reason = "nothing says that it ended"
    elif status == "ok" and len(counted) < len(traces):
        reason = f"{len(traces) - len(counted)} attempts that did not end are left out"
    return CollectedRun(
        run,
        status,
        reason,
        losses={each.language: each.loss for each in stated},
        files=list(dict.fromkeys(each.file for each in stated)),
    )


def _fault(
    run: PlannedRun, traces: Sequence[Trace], state: str, stated: Sequence[Stated], keys: Mapping[str, str]
) -> tuple[str, str]:
    """Return the status of a run, and why it is no pilot; ok for one that is."""
    if state.startswith(ENDED):
        status = "unfinished" if state.startswith(("running", "preempted")) else "failed"
        return status, f"its state is '{shown(state)}'"
    if not stated:
        return "incomplete" if traces else "no logs", "no loss was logged"
    by_language = {name: [each for each in stated if each.language == name] for name in keys}
    for name, each in by_language.items():
        if each and not math.isfinite(each[-1].loss):
            return "failed", f"its last loss of {name} is {each[-1].loss}"
    for name, each in by_language.items():
        reached = max((one.tokens for one in each if one.tokens is not None), default=None)
        # A loss without a count of tokens cannot be placed, and is taken for the last one.
        if reached is not None and reached < DONE * run.tokens:
            return "unfinished", f"the last loss of {name} is at {reached:.4g} of {run.tokens:.4g} tokens"
    most = max((trace.tokens for trace in traces if trace.tokens is not None), default=0.0)
    if most > OVERRUN * run.tokens:
        return "overrun", f"it logged {most:.4g} tokens where {run.tokens:.4g} were planned"
    for name, each in by_language.items():
        losses = [one.loss for one in each]
        # Losses are positive, so that a relative difference is one of their quotient.
        if len(each) > 1 and max(losses) > (1 + SAME) * min(losses):
            files = [shown(str(one.file)) for one in each]
            return "doubled", f"{listed(files, ' and ')} state different losses of {name}"
    if missing := [name for name, each in by_language.items() if not each]:
        return "incomplete", f"the loss of {missing[0]} is not logged"
    return "ok", ""
