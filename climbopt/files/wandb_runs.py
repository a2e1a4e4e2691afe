"""W&B's binary record of a run (run-ID.wandb), as it stands beside an offline run; read without its package.

Of the records only the run's name, its history, its summary and its end are read. Configuration, host, environment,
settings and output are never decoded. Numbers of fields: github.com/wandb/wandb, wandb/proto/wandb_internal.proto.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from climbopt.files.records import chunked_records, fields, messages, text

SUFFIX = ".wandb"
_HEADER = b":W&B\xe1\xbe\x00"
"""Of the file: its kind, and version 0."""
_HISTORY, _SUMMARY, _RUN, _EXIT = 2, 3, 17, 18
"""Kinds of records that are read."""
_RUN_ID, _NAME = 1, 8
_KEY, _NESTED_KEY, _VALUE = 1, 2, 16
"""Of an item of the history or of the summary; the value is JSON."""
_UPDATE, _REMOVE = 1, 2


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker recorded of a run.

    Parameters
    ----------
    name : str
        As it is shown, else its id.
    state : str
        finished or failed; empty where the record has no end.
    history : tuple of dict
        Values by key at each step.
    summary : mapping
        Values by key of the summary that no step of the history has.
    """

    name: str
    state: str
    history: tuple[dict[str, Any], ...]
    summary: dict[str, Any]


def tracked_run(content: bytes) -> TrackedRun:
    """Return the run that the bytes of a record hold.

    Raises
    ------
    ValueError
        Where they are no such record, or damaged.
    """
    # A file that was cut off inside its header is no other file's.
    if content[: len(_HEADER)] != _HEADER[: len(content)]:
        raise ValueError("it does not begin as a record of W&B does")
    names, state = {_RUN_ID: "", _NAME: ""}, ""
    history: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for record in chunked_records(content, len(_HEADER)):
        for kind, value in fields(record):
            if not isinstance(value, bytes):
                continue
            if kind == _HISTORY:
                history.append(dict(_items(value, _UPDATE)))
            elif kind == _SUMMARY:
                summary |= dict(_items(value, _UPDATE))
                for key, _ in _items(value, _REMOVE):
                    summary.pop(key, None)
            elif kind == _RUN:
                names |= {of: name for of in names if (name := text(value, of))}
            # The exit record stands at the end; without it the run was killed, or is still going.
            elif kind == _EXIT:
                state = "failed" if any(number == 1 and code for number, code in fields(value)) else "finished"
    # a summary may hold the least value of a key instead of the last
    logged = {key for step in history for key in step}
    rest = {key: value for key, value in summary.items() if key not in logged}
    return TrackedRun(names[_NAME] or names[_RUN_ID], state, tuple(history), rest)


def _items(record: bytes, wanted: int) -> Iterator[tuple[str, Any]]:
    """Give keys and values of a record's items; parts of nested keys are joined by /."""
    for item in messages(record, wanted):
        parts = [part.decode(errors="replace") for part in messages(item, _NESTED_KEY)]
        yield "/".join(parts) or text(item, _KEY), json.loads(text(item, _VALUE) or "null")
