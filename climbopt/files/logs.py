"""What trainers and trackers log of runs: JSON lines, tables of exports, TensorBoard, W&B's offline runs, lm-eval.

Only numbers are taken, with the run's name and state; configurations, arguments and environments are never read, since
they hold secrets, and plans instead of what was trained. A loss that is logged as not finite is kept: the run diverged.
"""

import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from climbopt.files import event_files, wandb_runs
from climbopt.files.formats import read_table
from climbopt.files.text import json_lines, read_bytes, read_object
from climbopt.foundations.errors import InputError, listed, shown

T = TypeVar("T")

TABLES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".gz")
SUMMARY = "wandb-summary.json"
LOSS_WORDS = ("loss", "nll", "crossentropy", "bits_per_byte")
"""What a key of losses holds, in its letters."""
TOKEN_WORDS = ("token",)
TRAINING = "train"
"""What a key of losses on the training data holds; these are no validation losses."""
LINES = (".jsonl", ".ndjson")
CONFIGURATION = "config"
"""First part of the keys of a run's configuration."""
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""Words by which trackers write such numbers."""
TOKENS = frozenset("tokens traintokens trainingtokens totaltokens tokensseen seentokens consumedtokens ntokens".split())
"""Letters of a key that counts the tokens of the run so far."""
NAMES = frozenset("name run runname runid displayname id".split())
STATES = frozenset(("state", "status"))
BITS_PER_BYTE = "bits_per_byte"
AS_WRITTEN = "give the file as its tracker wrote it"


@dataclass(frozen=True)
class LogEntry:
    """What was logged at one moment.

    Parameters
    ----------
    numbers : mapping of str to float
        By key; those that were logged, whether finite or not.
    run, state : str
        Name and state of the run, where the entry says them; else empty.
    """

    numbers: Mapping[str, float]
    run: str = ""
    state: str = ""


def is_log(path: Path) -> bool:
    """Return whether a file is of a kind that is read."""
    if path.suffix == ".json":
        return path.name == SUMMARY or "result" in path.name
    return path.suffix in (*TABLES, wandb_runs.SUFFIX) or event_files.NAME in path.name


def read_log(path: Path) -> list[LogEntry]:
    """Return what a log holds, in its order.

    Raises
    ------
    InputError
        Where the file is no log that can be read.
    """
    if event_files.NAME in path.name:
        by_step = _parsed(path, event_files.scalars, " is no event file that can be read")
        return [LogEntry({**numbers, "step": float(step)}) for step, numbers in by_step.items()]
    if path.suffix == wandb_runs.SUFFIX:
        run = _parsed(path, wandb_runs.tracked_run, " is no record of W&B that can be read")
        end = LogEntry(_numbers(run.summary), run.name, run.state)
        return [*(LogEntry(_numbers(step), run.name) for step in run.history), end]
    if path.name == SUMMARY:
        return [LogEntry(_numbers(read_object(path, AS_WRITTEN)))]
    if path.suffix == ".json":
        return [LogEntry(_harness(read_object(path, AS_WRITTEN)))]
    if path.suffix in LINES:
        return list(map(_of_record, _parsed(path, _records)))
    return [
        # An empty cell of a table is a NaN, and says nothing.
        _of_record({str(key): value for key, value in row.items() if value == value})
        for row in read_table(path).to_dict("records")
    ]


def _records(content: bytes) -> list[dict[str, Any]]:
    """Return the objects of JSON lines; the last line of a run that was killed may be cut off, and is left out."""
    return json_lines(content.decode("utf-8-sig", errors="replace"), cut_off=True)


def _parsed(path: Path, parse: Callable[[bytes], T], what: str = "") -> T:
    """Return what the bytes of a file hold; where they do not parse, they are refused with the parser's words."""
    content = read_bytes(path)
    try:
        return parse(content)
    except (ValueError, RecursionError, struct.error) as error:
        raise InputError(f"{shown(str(path))}{what}: {error}") from None


def _numbers(record: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers of a record by key, those of inner objects too, but for its configuration."""
    numbers: dict[str, float] = {}
    for key, value in record.items():
        number = NOT_FINITE.get(value, value) if isinstance(value, str) else value
        # Settings hold secrets, and what was planned instead of what was logged.
        if not prefix and re.split(r"[/.]", key)[0].casefold() == CONFIGURATION:
            continue
        if isinstance(value, Mapping):
            numbers |= _numbers(value, f"{prefix}{key}/")
        elif isinstance(number, int | float) and not isinstance(number, bool):
            numbers[f"{prefix}{key}"] = float(number)
    return numbers


def _harness(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the losses of lm-eval's results, in nats per byte, by task."""
    results = record.get("results")
    tasks = results if isinstance(results, Mapping) else {}
    # Bits are log2 of the probability: nats are ln 2 times as many.
    return {
        f"{task}/{BITS_PER_BYTE}": value * math.log(2)
        for task, metrics in tasks.items()
        for metric, value in _numbers(metrics if isinstance(metrics, Mapping) else {}).items()
        if metric.split(",")[0] == BITS_PER_BYTE
    }


def _of_record(record: Mapping[str, Any]) -> LogEntry:
    """Return the entry that a line or a row states."""
    named = {_plain(key): value for key, value in record.items() if isinstance(value, str)}
    run = next((named[name] for name in named if name in NAMES), "")
    state = next((named[name] for name in named if name in STATES), "")
    return LogEntry(_numbers(record), run, state.casefold())


def _plain(key: str) -> str:
    """Return the letters of the last part of a key, in lower case."""
    return re.sub("[^a-z]", "", re.split(r"[/.]", key)[-1].casefold())


def keys_by_language(
    keys: Iterable[str],
    languages: Sequence[str],
    pattern: str | None = None,
    words: Sequence[str] = LOSS_WORDS,
) -> tuple[str, dict[str, str]]:
    """Return the pattern of the keys that state a number of each language, and the keys by language.

    Without a stated pattern it is the one that names most languages, among those that hold one of some words; losses
    on training data count only where the pattern is stated.

    Raises
    ------
    InputError
        Where two patterns name equally many.

    Examples
    --------
    >>> keys_by_language(["step", "eval/loss/de", "eval/loss/en"], ["en", "de"])
    ('eval/loss/*', {'de': 'eval/loss/de', 'en': 'eval/loss/en'})
    """
    keys = list(dict.fromkeys(keys))
    if pattern is not None:
        if pattern.count("*") != 1:
            raise InputError(f"'{pattern}' is no pattern of keys; write one * for the language, as in eval/loss/*")
        return pattern, {name: key for name in languages if (key := pattern.replace("*", name)) in keys}
    groups: dict[str, dict[str, str]] = {}
    for key in keys:
        for name in languages:
            # The language is a word of the key: no letter or digit stands beside it.
            parts = re.split(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", key)
            rest = "".join(parts).casefold().replace("-", "_")
            if words is LOSS_WORDS and TRAINING in rest:
                continue
            # A language that stands twice in a key leaves no pattern with one *.
            if len(parts) == 2 and any(word in rest for word in words):
                groups.setdefault("*".join(parts), {})[name] = key
    most = max(map(len, groups.values()), default=0)
    best = [pattern for pattern, group in groups.items() if len(group) == most]
    if len(best) > 1:
        raise InputError(
            f"the logs have {listed([repr(shown(name)) for name in best], ' and ')} for the same languages; state "
            "which is the validation loss: " + " or ".join(f"--loss-columns {shown(name)!r}" for name in best[:4])
        )
    return (best[0], groups[best[0]]) if best else ("", {})


def tokens_of(entry: LogEntry) -> float | None:
    """Return the tokens of the run so far that an entry states."""
    return next((value for key, value in entry.numbers.items() if _plain(key) in TOKENS), None)


def logs_in(places: Iterable[Path]) -> Iterator[Path]:
    """Give the files of places, folders searched to the bottom, in the order of their names."""
    for place in places:
        if not place.exists():
            raise InputError(f"there is no file or folder {shown(str(place))}; check the name")
        yield from sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]


def moments(
    places: Iterable[Path], languages: Sequence[str], losses: str | None = None, drawn: str | None = None
) -> list[tuple[float, dict[str, float], dict[str, float]]]:
    """Return the tokens, the losses and the tokens drawn by language at each moment of one run's logs, in order.

    Entries of the same tokens are one moment. Patterns are those of the keys, with * for the language.

    Raises
    ------
    InputError
        Where keys have two readings, or no entry states losses together with the tokens of the run.
    """
    entries = [entry for path in logs_in(places) if is_log(path) for entry in read_log(path)]
    keys = list(dict.fromkeys(key for entry in entries for key in entry.numbers))
    by_loss = keys_by_language(keys, languages, losses)[1]
    # Tokens drawn are looked for among the keys that state no loss.
    by_drawn = keys_by_language([key for key in keys if key not in by_loss.values()], languages, drawn, TOKEN_WORDS)[1]
    at: dict[float, tuple[dict[str, float], dict[str, float]]] = {}
    for entry in entries:
        tokens = tokens_of(entry)
        if tokens is not None and tokens > 0:
            of = at.setdefault(tokens, ({}, {}))
            for place, known in zip(of, (by_loss, by_drawn), strict=True):
                place.update({name: entry.numbers[key] for name, key in known.items() if key in entry.numbers})
    # Moments without a loss say nothing of the run's quality.
    logged = [(tokens, *at[tokens]) for tokens in sorted(at) if at[tokens][0]]
    if not logged:
        raise InputError(
            "no entry of the logs states losses of the languages together with the tokens of the run; log the key "
            "tokens beside keys such as eval/loss/de, or state --loss-columns"
        )
    return logged
