"""Problem files to be edited: what is stated, and as comments what else may be."""

from collections.abc import Mapping, Sequence
from typing import Any

import tomli_w

HEAD = """\
# What is to be decided. Edit this file, then run climbopt solve on it or on its folder.
# All keys: docs/formats.md and docs/constraints.md of climbopt.
"""
NOTES = {
    "budget": 'tokens of the planned run; text such as "1T" is read too',
    "params": "size of the planned model",
    "weights": "how much the loss of each language counts",
    "supply": "different tokens available of each language",
    "history": "tokens that the model was trained on before",
    "groups": "lists of languages, for constraints of the kind group",
}
"""Comment before each key."""
LARGEST_WHOLE = 1e15
"""Numbers below this are written as whole ones, where they are."""


def commented(table: Mapping[str, Any], sources: Sequence[str], targets: Sequence[str]) -> str:
    """Return the text of a problem file with comments; tables that are not stated are included as comments.

    Parameters
    ----------
    table : mapping
        What the file states.
    sources, targets : sequence of str
        Languages for the examples.

    Examples
    --------
    >>> import tomllib
    >>> text = commented({"model": "model.toml", "budget": 1e12}, ["en", "sw"], ["en", "sw"])
    >>> tomllib.loads(text)
    {'model': 'model.toml', 'budget': 1000000000000}
    """
    # Examples name languages of the table, so that a comment can be taken in as it stands.
    first, last = sources[0], sources[-1]
    examples: dict[str, Mapping[str, Any]] = {
        "weights": dict.fromkeys(targets, 1.0),
        "supply": dict.fromkeys(sources, "20B"),
        "history": {first: "50B"},
        "groups": {"family": [first, last]},
    }
    constraints: list[Mapping[str, Any]] = [
        {"kind": "floor", "ratios": {last: 0.02}},
        {"kind": "cap", "ratios": {first: 0.5}},
        {"kind": "supply", "epochs": 4},
    ]
    single = {key: value for key, value in table.items() if not isinstance(value, Mapping | list)}
    return "\n".join(
        [
            HEAD,
            # Plain keys come first: after a table's head they would belong to that table.
            *(_noted(key, f"{_key(key)} = {_inline(value)}\n") for key, value in single.items()),
            *(
                _noted(
                    key, _section(f"[{key}]", table[key]) if table.get(key) else _comment(_section(f"[{key}]", example))
                )
                for key, example in examples.items()
            ),
            *(_section("[[constraints]]", entry) for entry in table.get("constraints", ())),
            _comment("More constraints:\n" + "".join(_section("[[constraints]]", entry) for entry in constraints)),
            *(_section(f"[{key}]", table[key]) for key in table if key not in {*single, *examples, "constraints"}),
        ]
    )


def _noted(key: str, text: str) -> str:
    return f"# {NOTES[key]}\n{text}" if key in NOTES else text


def _section(head: str, entries: Mapping[str, Any]) -> str:
    """Return a table under its head."""
    return f"{head}\n" + "".join(f"{_key(key)} = {_inline(value)}\n" for key, value in entries.items())


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in text.splitlines())


def _key(name: str) -> str:
    """Return a key as TOML writes it, in quotes where it needs them."""
    # The library decides about quotes: names may hold dots, blanks and other scripts.
    return tomli_w.dumps({name: 0}).removesuffix(" = 0\n")


def _inline(value: Any) -> str:
    """Return a value on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_inline(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST_WHOLE:
        return f"{int(value):_}"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").removesuffix("\n")
