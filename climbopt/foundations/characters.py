"""Characters that do not print, and how they are shown; spellings that look alike."""

from __future__ import annotations

import unicodedata

_LATIN = str.maketrans("авекмнорстухіјѕαικνορτυχ", "abekmhopctyxijsaiknoptux")
"""Small Cyrillic and Greek letters, and the Latin letters that they resemble."""


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
