"""What the name of a column states: its role among pilot runs, and the unit of its numbers."""

import re

SYNONYMS = {
    "run": "run runname runid name id index experiment",
    "language": "language lang languagecode domain source subset corpus",
    "ratio": "ratio weight share proportion fraction probability prob mixtureweight mixtureratio ratios weights",
    "loss": "loss avgloss meanloss valloss validationloss evalloss validloss testloss nll crossentropy losses",
    "tokens": "tokens traintokens trainingtokens totaltokens ntokens numtokens tokenbudget budget",
    "params": "params nparams modelsize parameters numparams numparameters modelparams",
    "seed": "seed rngseed randomseed",
    "supply": "supply",
}
"""Names of each column of a tidy table, in lower case, letters and digits only."""
ROLES = {name: role for role, names in SYNONYMS.items() for name in names.split()}
"""Role by name."""
PER_RUN = ("run", "tokens", "params", "seed")
"""What a wide table has one column of."""
COUNTS = ("tokens", "params", "supply")
"""What is counted, in whole numbers."""
_COUNTED_IN = re.compile(r"(.+?)[ _.(\[]+(k|m|b|g|t|thousand|million|billion|trillion)s?[)\]]?", re.IGNORECASE)
"""A column's name with the unit of its counts behind it, as in tokens_b."""
_MEASURED_IN = re.compile(r"(.+?)[ _]*[(\[] *(nats?(?: */ *token| per token)?|%|per ?cent)[ )\]]+", re.IGNORECASE)
"""A column's name with a unit in brackets that changes no number: loss (nats)."""
_PREFIX = re.compile(r"(config|summary)[./]")
"""What trackers write before the names of settings."""


def plain(name: str) -> str:
    """Return the letters and digits of a column's name, without a tracker's prefix, in lower case.

    Examples
    --------
    >>> plain("config.Total_Tokens")
    'totaltokens'
    """
    return re.sub(r"[^0-9a-z]", "", _PREFIX.sub("", name).casefold())


def role_of(column: str) -> str | None:
    """Return the role that a column's name states, with or without a unit behind it.

    Examples
    --------
    >>> role_of("val_loss"), role_of("tokens (B)"), role_of("loss [nats]"), role_of("ratio_de")
    ('loss', 'tokens', 'loss', None)
    """
    measured = _MEASURED_IN.fullmatch(column)
    stated = ROLES.get(plain(measured[1] if measured else column))
    counted = _COUNTED_IN.fullmatch(column)
    if stated or not counted:
        return stated
    stated = ROLES.get(plain(counted[1]))
    return stated if stated in COUNTS else None


def unit_of(column: str) -> str:
    """Return the suffix of the unit that a count's column names: K, M, B or T; empty where it names none.

    Examples
    --------
    >>> unit_of("tokens (B)"), unit_of("train_tokens_million"), unit_of("tokens")
    ('B', 'M', '')
    """
    # a name that is a role as a whole has no unit
    counted = None if plain(column) in ROLES else _COUNTED_IN.fullmatch(column)
    return counted[2][0].upper() if counted else ""
