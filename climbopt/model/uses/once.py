"""Every token counts as new; the default."""

from climbopt.model.symbols import r_j
from climbopt.model.uses.use import Use

ONCE = Use(name="once", expression=r_j, source="data that are not repeated")
"""u_j = r_j.

>>> ONCE.expression
r_j
"""
