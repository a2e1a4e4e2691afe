"""JSON lines: one object per line."""

from __future__ import annotations

import json
from typing import Any

from climbopt.files.text import without_repeats


def objects(text: str, *, cut_off: bool = False) -> list[dict[str, Any]]:
    r"""Return the objects of JSON lines; empty lines are left out.

    Parameters
    ----------
    text : str
    cut_off : bool
        Whether a last line that is no JSON is left out: a process that was killed leaves a part of one.

    Raises
    ------
    ValueError
        Names the line that is no object of JSON, or has a key twice.

    Examples
    --------
    >>> objects('{"step": 1}\n{"step": 2, "lo', cut_off=True)
    [{'step': 1}]
    """
    # at \n alone: strings of JSON may hold other ends of lines
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    records: list[dict[str, Any]] = []
    for number, line in lines:
        try:
            record = json.loads(line, object_pairs_hook=without_repeats)
        except (json.JSONDecodeError, RecursionError):
            if cut_off and number == lines[-1][0]:
                break
            raise ValueError(f"line {number} is no JSON; write one object per line") from None
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is no JSON object; write one per line")
        records.append(record)
    return records
