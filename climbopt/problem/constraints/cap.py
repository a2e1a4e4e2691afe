"""Upper bounds of single ratios."""

from climbopt.problem.constraints.constraint import RatioBounds


class Cap(RatioBounds):
    """r_i <= ratios_i.

    Examples
    --------
    >>> from climbopt.problem.constraints import Setting
    >>> setting = Setting(("en", "sw"), 1e9, {}, {})
    >>> Cap(en="50%").rows(setting)[0].upper
    0.5
    """

    kind = "cap"
    side = "upper"
