"""Lower bounds of single ratios."""

from climbopt.problem.constraints.constraint import RatioBounds


class Floor(RatioBounds):
    """r_i >= ratios_i.

    Examples
    --------
    >>> from climbopt.problem.constraints import Setting
    >>> setting = Setting(("en", "sw"), 1e9, {}, {})
    >>> Floor(sw=0.05).rows(setting)[0].name
    'floor[sw]'
    """

    kind = "floor"
    side = "lower"
