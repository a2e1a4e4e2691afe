"""The errors that climbopt raises on purpose: a clear message each, without a traceback at the command line.

In messages, characters that do not print are shown as escapes, and spellings that look alike are told apart.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Collection, Iterable, Sequence

MOST_LISTED = 8
"""Names listed in a message."""
_LATIN = str.maketrans("авекмнорстухіјѕαικνορτυχ", "abekmhopctyxijsaiknoptux")
"""Small Cyrillic and Greek letters, and the Latin letters that they resemble."""


class ClimboptError(Exception):
    """Base of every error that climbopt raises on purpose; the command line turns it into exit code 2."""


class InputError(ClimboptError, ValueError):
    """Refused input: the message names the value at fault, what is allowed and what to do."""


class UnknownNameError(InputError, KeyError):
    """A name that is not in its registry; the message offers the nearest registered name."""

    __str__ = Exception.__str__  # KeyError.__str__ would print the repr of the message


class BackendError(ClimboptError):
    """A backend that is not installed, or that cannot take the problem; the message says why."""


def kind_of(value: object) -> str:
    """Return the type of a value with its article, as messages call it: an int, a Fit."""
    return with_article(type(value).__name__)


def with_article(noun: str) -> str:
    """Return a noun with its indefinite article."""
    return f"{'an' if noun[0] in 'AEIOUaeiou' else 'a'} {noun}"


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """Return the error for an unknown `name` of a `kind`, with the nearest known name and the whole list.

    Parameters
    ----------
    kind : str
        What was looked up, in the singular ("interaction", "key of a floor").
    name : object
        What the user wrote.
    known : iterable of str
        Every valid name.

    Examples
    --------
    >>> print(unknown_name("law", "powr", ["power", "power_nd"]))
    unknown law 'powr'; did you mean 'power'? Known: power, power_nd
    """
    names, name = list(known), str(name)
    # Names that look alike go before names of a similar spelling.
    near = [known for known in names if look_alike(known, name)] or difflib.get_close_matches(name, names, 1, 0.5)
    hint = f"; did you mean {quoted(near[0])}?" if near else "."
    return UnknownNameError(f"unknown {kind} {quoted(name)}{hint} Known: {', '.join(map(shown, names)) or 'none'}")


def refuse_unknown(kind: str, names: Iterable[str], known: Collection[str]) -> None:
    """Refuse names of a `kind` that are not among the known ones; raises UnknownNameError."""
    for name in names:
        if name not in known:
            raise unknown_name(kind, name, known)


def nearest(name: object, known: Iterable[str]) -> str | None:
    """Return the known name closest to `name`, or None where none is close."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return near[0] if near else None


def listed(names: Sequence[str], last: str = ", ", most: int = MOST_LISTED) -> str:
    """Return names as a list to read, with `last` before the last one; beyond `most`, the number of further names.

    Examples
    --------
    >>> listed(["a", "b", "c"], " and ")
    'a, b and c'
    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return last.join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def shown(text: str) -> str:
    r"""Return text with each character that does not print (controls, bidi marks, surrogates) as its escape.

    Examples
    --------
    >>> print(shown("caf\u00e9 \x1b[31m\u202e"))
    café \x1b[31m\u202e
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quoted(text: str) -> str:
    r"""Return text in quotes, with its code points where it contains more than plain ASCII.

    Examples
    --------
    >>> print(quoted("en"), quoted("\xe9\u200b"))
    'en' 'é\u200b' (U+00E9 U+200B)
    """
    plain = text.isascii() and text.isprintable() and text == text.strip()
    return f"'{shown(text)}'" + ("" if plain else f" ({' '.join(f'U+{ord(c):04X}' for c in text)})")


def look_alike(first: str, second: str) -> bool:
    r"""Return whether a reader can hardly tell two names apart.

    They may differ in Unicode form, blanks, invisible marks, case, or by Cyrillic and Greek letters that resemble
    Latin ones.

    Examples
    --------
    >>> look_alike("en", "En\u200b"), look_alike("en", "\u0435n"), look_alike("en", "de")
    (True, True, False)
    """
    return _skeleton(first) == _skeleton(second)


def _skeleton(name: str) -> str:
    visible = "".join(c if c.isprintable() else " " if c.isspace() else "" for c in unicodedata.normalize("NFKC", name))
    return " ".join(visible.casefold().translate(_LATIN).split())
