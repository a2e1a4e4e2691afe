"""The moments of one run's logs: its tokens, its losses, and the tokens drawn by language."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from climbopt.files.logs import TOKEN_WORDS, is_log, keys_by_language, logs_in, read_log, tokens_of
from climbopt.foundations.errors import InputError


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
    others = [key for key in keys if key not in by_loss.values()]
    by_drawn = keys_by_language(others, languages, drawn, TOKEN_WORDS)[1]
    at: dict[float, tuple[dict[str, float], dict[str, float]]] = {}
    for entry in entries:
        tokens = tokens_of(entry)
        if tokens is not None and tokens > 0:
            of = at.setdefault(tokens, ({}, {}))
            for place, known in zip(of, (by_loss, by_drawn), strict=True):
                place.update({name: entry.numbers[key] for name, key in known.items() if key in entry.numbers})
    logged = [(tokens, *at[tokens]) for tokens in sorted(at) if at[tokens][0]]
    if not logged:
        raise InputError(
            "no entry of the logs states losses of the languages together with the tokens of the run; log the key "
            "tokens beside keys such as eval/loss/de, or state --loss-columns"
        )
    return logged
