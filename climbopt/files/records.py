"""The JSON that ``--json`` writes, read back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from climbopt.errors import InputError
from climbopt.files.text import read_text


def load_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the object of a JSON file; raises InputError where there is none."""
    path = Path(path)
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is no JSON: {error}; give what --json has written") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object; give what --json has written")
    return content
