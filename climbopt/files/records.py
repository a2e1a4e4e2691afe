"""The JSON that ``--json`` writes, read back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from climbopt.files.text import read_json
from climbopt.foundations.errors import InputError


def load_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the object of a JSON file; raises InputError where there is none."""
    path = Path(path)
    content = read_json(path, "give what --json has written")
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object; give what --json has written")
    return content
