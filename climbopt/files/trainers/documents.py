"""Texts in JSON and YAML, written by libraries, so that no name in them can be more than text."""

from __future__ import annotations

import json
from typing import Any

import yaml

from climbopt.files.trainers.blend import Blend
from climbopt.foundations.characters import shown
from climbopt.foundations.errors import InputError


def json_text(content: Any) -> str:
    """Return a value as JSON."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def yaml_text(blend: Blend, content: Any, *comments: str) -> str:
    """Return a value as YAML, after comments that say what it is."""
    budget = "" if blend.budget is None else f", {blend.budget:g} tokens"
    heading = f"{blend.name}, written by climbopt export: {len(blend.sources)} sources{budget}"
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return "".join(f"# {shown(line)}\n" for line in (heading, *comments)) + text


def omegaconf_text(blend: Blend, content: Any, *comments: str) -> str:
    """Return a value as YAML for a trainer that reads it by OmegaConf, which evaluates ${...} in every text."""
    for source in blend.sources:
        for what, text in (("name", source.language), ("path", source.path)):
            # In a name as in a path: both are values of the file.
            if "${" in text:
                raise InputError(f"the {what} {shown(text)!r} holds '${{', which OmegaConf would evaluate; change it")
    return yaml_text(blend, content, *comments)
