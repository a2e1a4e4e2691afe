"""Names of languages, runs, constraints and groups: which names are refused."""

from __future__ import annotations

import unicodedata

from climbopt.foundations.errors import InputError, quoted, shown


def check_name(name: object, where: str) -> None:
    r"""Refuse a name that is not shown as it is, or that has two spellings.

    Parameters
    ----------
    name : object
        Text that prints, in the composed Unicode form (NFC), without blanks at its ends.
    where : str
        What the name belongs to and where it is, for the message.

    Raises
    ------
    InputError
        Names the fault and the code points.

    Examples
    --------
    >>> check_name("en\u00a0", "language in row 3")
    Traceback (most recent call last):
    ...
    climbopt.foundations.errors.InputError: language in row 3 is 'en\xa0' (U+0065 U+006E U+00A0), which holds NO-BREAK SPACE, a character that cannot be seen; write 'en'
    """  # noqa: E501
    if not isinstance(name, str):
        raise InputError(f"{where} is {name!r}, which is {type(name).__name__}; a name is text")
    # Plain ASCII, which most names are, has one spelling and nothing hidden.
    if name.isprintable() and name == name.strip() and name.isascii() and name:
        return
    composed = unicodedata.normalize("NFC", name)
    hidden = next((c for c in name if not c.isprintable()), None)
    if not name.strip():
        raise InputError(f"{where} is empty; give a name")
    if hidden is not None:
        fault = f"holds {unicodedata.name(hidden, shown(hidden))}, a character that cannot be seen"
    elif name != name.strip():
        fault = "has a blank at its end" if name == name.lstrip() else "begins with a blank"
    elif name != composed:
        fault = "is not in the composed Unicode form (NFC), and looks like the name that is"
    else:
        return
    plain = "".join(c for c in composed if c.isprintable()).strip()
    raise InputError(
        f"{where} is {quoted(name)}, which {fault}; " + (f"write {quoted(plain)}" if plain else "give another name")
    )
