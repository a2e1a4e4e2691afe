"""Problems of the collection of Hock and Schittkowski, with their published solutions.

Source: W. Hock and K. Schittkowski, "Test Examples for Nonlinear Programming Codes", Lecture Notes in Economics and
Mathematical Systems 187, Springer, 1981; closed forms and further digits from the Fortran of K. Schittkowski, "An
Updated Set of 306 Test Problems for Nonlinear Programming with Validated Optimal Solutions", University of Bayreuth.

The collection prints no more of the multipliers than the largest over the smallest, so that all of those here are
derived from the published solution through

    grad f + A' rows + Jc' nonlinear + bounds = 0

in closed form. Numbers 71 and 113 have none: their published digits are continued to a double's by the root of these
equations and of the active limits, which gives the multipliers too. A multiplier is >= 0 where the upper side is
active and <= 0 where the lower is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
import sympy as sp
from scipy.sparse import csr_array

from climbopt.foundations.frozen import ByFields
from climbopt.model.templates import Array
from climbopt.numerics.polytope import Polytope
from climbopt.numerics.quadratic import project
from climbopt.program import Label, Rows, StandardForm
from climbopt.testing.symbolic import SymbolicFunctions

INFINITY = np.inf
OFF_LIMITS = 0.01
"""How far a start that lies on or outside linear limits is moved inside, at most, in any variable."""

Number: TypeAlias = float | sp.Expr
Limits: TypeAlias = tuple[Number, Number]

x1, x2, x3, x4, x5, x6, x7, x8, x9, x10 = SYMBOLS = sp.symbols("x1:11", real=True)


@dataclass(frozen=True, eq=False)
class PublishedProblem(ByFields):
    """min f(x) under bounds and constraints, with the published start and solution.

    Parameters
    ----------
    name : str
        "HS" and the number in the collection.
    objective : sympy.Expr
        Of x1, x2, ...
    start, solution : tuple of numbers or sympy.Expr, (n,)
        As published; a solution in digits is continued to a double's.
    value : number, sympy.Expr or str
        Published f*: exact, or a text of the digits printed.
    bounds : mapping of int to (lower, upper)
        By the number of the variable, from 1.
    constraints : tuple of (lower, sympy.Expr, upper)
        Called c1, c2, ... in this order; the linear ones become rows of the polytope.
    multipliers : mapping of str to number or sympy.Expr
        By x1, x2, ... and c1, c2, ...; the others are 0. >= 0 where the upper side is active, <= 0 where the lower is.
    others : tuple of tuple
        Further published solutions, with the same value and multipliers.
    printed : tuple of str
        The published digits, where the solution was published in digits and not as a closed form.
    """

    name: str
    objective: sp.Expr
    start: tuple[Number, ...]
    solution: tuple[Number, ...]
    value: Number | str
    bounds: Mapping[int, Limits] = field(default_factory=dict)
    constraints: tuple[tuple[Number, sp.Expr, Number], ...] = ()
    multipliers: Mapping[str, Number] = field(default_factory=dict)
    others: tuple[tuple[Number, ...], ...] = ()
    printed: tuple[str, ...] = ()

    @property
    def variables(self) -> tuple[sp.Symbol, ...]:
        """x1, x2, ..."""
        return tuple(SYMBOLS[: len(self.start)])

    @property
    def minimisers(self) -> Array:
        """Every published solution, one per row."""
        return np.array([_floats(minimiser) for minimiser in (self.solution, *self.others)])

    @cached_property
    def form(self) -> StandardForm:
        """The problem as a standard form."""
        x, n = self.variables, len(self.start)
        slopes = [[sp.diff(part, variable) for variable in x] for _, part, _ in self.constraints]
        # A constraint with constant slopes is linear.
        linear = np.array([not any(slope.free_symbols for slope in row) for row in slopes], dtype=bool)
        limits = np.array([_floats((lower, upper)) for lower, _, upper in self.constraints]).reshape(-1, 2)
        # lower <= a'x + constant <= upper: rows of a polytope have no constant.
        constants = _floats([part.subs(dict.fromkeys(x, 0)) for _, part, _ in self.constraints])
        on_rows = limits[linear] - constants[linear, None]
        bounds = np.array([_floats(self.bounds.get(i, (-INFINITY, INFINITY))) for i in range(1, n + 1)])
        A = np.array([_floats(row) for row, flag in zip(slopes, linear, strict=True) if flag]).reshape(-1, n)
        names = [Label(f"c{i}", unit="unit of its bound") for i in range(1, len(linear) + 1)]
        polytope = Polytope(
            Rows(bounds[:, 0], bounds[:, 1], tuple(Label(str(variable), unit="unit of its bound") for variable in x)),
            csr_array(A),
            Rows(on_rows[:, 0], on_rows[:, 1], tuple(names[i] for i in np.flatnonzero(linear).tolist())),
        )
        nonlinear = np.flatnonzero(~linear).tolist()
        return StandardForm(
            variables=tuple(map(str, x)),
            polytope=polytope,
            functions=SymbolicFunctions(x, self.objective, tuple(self.constraints[i][1] for i in nonlinear)),
            nonlinear=Rows(limits[nonlinear, 0], limits[nonlinear, 1], tuple(names[i] for i in nonlinear)),
            n_ratios=n,
            start=_inside(_floats(self.start), polytope),
        )


def _floats(values: tuple[Number, ...] | list[Number]) -> Array:
    return np.array([float(value) for value in values])


def _inside(start: Array, polytope: Polytope) -> Array:
    """Return the published start, moved a little inside where it is on or outside bounds and linear rows."""
    activity = polytope.A @ start
    # Interior-point methods need a start strictly inside; published starts may lie on or outside limits.
    strictly = ((start > polytope.bounds.lower) & (start < polytope.bounds.upper)).all() and (
        polytope.equation | (activity > polytope.rows.lower) & (activity < polytope.rows.upper)
    ).all()
    if strictly and polytope.violation(start) == 0:
        return start
    nearest = project(start, polytope)
    inwards = polytope.interior_point() - nearest
    return np.asarray(nearest + OFF_LIMITS / max(1.0, float(np.abs(inwards).max())) * inwards)


_R = sp.Rational
_s2, _s3, _s7 = sp.sqrt(2), sp.sqrt(3), sp.sqrt(7)
_W = sp.LambertW(4)
"""Of number 66: its multipliers give exp(x1 + x2) = 4 and its rows x2 = exp(x1), so that x2 exp(x2) = 4."""

HOCK_SCHITTKOWSKI: tuple[PublishedProblem, ...] = (
    PublishedProblem("HS1", 100 * (x2 - x1**2) ** 2 + (1 - x1) ** 2, (-2, 1), (1, 1), 0, {2: (-_R(3, 2), INFINITY)}),
    PublishedProblem(
        "HS4",
        (x1 + 1) ** 3 / 3 + x2,
        (1.125, 0.125),
        (1, 0),
        _R(8, 3),
        {1: (1, INFINITY), 2: (0, INFINITY)},
        multipliers={"x1": -4, "x2": -1},
    ),
    PublishedProblem(
        "HS7",
        sp.log(1 + x1**2) - x2,
        (2, 2),
        (0, _s3),
        -_s3,
        constraints=((0, (1 + x1**2) ** 2 + x2**2 - 4, 0),),
        multipliers={"c1": 1 / (2 * _s3)},
    ),
    PublishedProblem(
        "HS12",
        x1**2 / 2 + x2**2 - x1 * x2 - 7 * x1 - 7 * x2,
        (0, 0),
        (2, 3),
        -30,
        constraints=((0, 25 - 4 * x1**2 - x2**2, INFINITY),),
        multipliers={"c1": -_R(1, 2)},
    ),
    PublishedProblem(
        "HS14",
        (x1 - 2) ** 2 + (x2 - 1) ** 2,
        (2, 2),
        ((_s7 - 1) / 2, (_s7 + 1) / 4),
        9 - 23 * _s7 / 8,
        constraints=((0, x1 - 2 * x2 + 1, 0), (0, 1 - x1**2 / 4 - x2**2, INFINITY)),
        multipliers={"c1": _R(3, 2) + _s7 / 28, "c2": _R(5, 2) - 23 * _s7 / 14},
    ),
    PublishedProblem(
        "HS21",
        x1**2 / 100 + x2**2 - 100,
        (-1, -1),
        (2, 0),
        -_R(9996, 100),
        {1: (2, 50), 2: (-50, 50)},
        ((0, 10 * x1 - x2 - 10, INFINITY),),
        {"x1": -_R(1, 25)},
    ),
    PublishedProblem(
        "HS22",
        (x1 - 2) ** 2 + (x2 - 1) ** 2,
        (2, 2),
        (1, 1),
        1,
        constraints=((0, 2 - x1 - x2, INFINITY), (0, x2 - x1**2, INFINITY)),
        multipliers={"c1": -_R(2, 3), "c2": -_R(2, 3)},
    ),
    # c2 has both sides; the collection writes the upper one, x1 + sqrt(3) x2 <= 6, as a third constraint
    PublishedProblem(
        "HS24",
        ((x1 - 3) ** 2 - 9) * x2**3 / (27 * _s3),
        (1, 0.5),
        (3, _s3),
        -1,
        {1: (0, INFINITY), 2: (0, INFINITY)},
        ((0, x1 / _s3 - x2, INFINITY), (0, x1 + _s3 * x2, 6)),
        {"c1": -_s3 / 2, "c2": _R(1, 2)},
    ),
    PublishedProblem(
        "HS29",
        -x1 * x2 * x3,
        (1, 1, 1),
        (4, 2 * _s2, 2),
        -16 * _s2,
        constraints=((0, 48 - x1**2 - 2 * x2**2 - 4 * x3**2, INFINITY),),
        multipliers={"c1": -_s2 / 2},
        others=((4, -2 * _s2, -2), (-4, 2 * _s2, -2), (-4, -2 * _s2, 2)),
    ),
    PublishedProblem(
        "HS35",
        9 - 8 * x1 - 6 * x2 - 4 * x3 + 2 * x1**2 + 2 * x2**2 + x3**2 + 2 * x1 * x2 + 2 * x1 * x3,
        (0.5, 0.5, 0.5),
        (_R(4, 3), _R(7, 9), _R(4, 9)),
        _R(1, 9),
        {i: (0, INFINITY) for i in (1, 2, 3)},
        ((0, 3 - x1 - x2 - 2 * x3, INFINITY),),
        {"c1": -_R(2, 9)},
    ),
    PublishedProblem(
        "HS39",
        -x1,
        (2, 2, 2, 2),
        (1, 1, 0, 0),
        -1,
        constraints=((0, x2 - x1**3 - x3**2, 0), (0, x1**2 - x2 - x4**2, 0)),
        multipliers={"c1": -1, "c2": -1},
    ),
    PublishedProblem(
        "HS41",
        2 - x1 * x2 * x3,
        (2, 2, 2, 2),
        (_R(2, 3), _R(1, 3), _R(1, 3), 2),
        _R(52, 27),
        {1: (0, 1), 2: (0, 1), 3: (0, 1), 4: (0, 2)},
        ((0, x1 + 2 * x2 + 2 * x3 - x4, 0),),
        {"c1": _R(1, 9), "x4": _R(1, 9)},
    ),
    PublishedProblem(
        "HS43",
        x1**2 + x2**2 + 2 * x3**2 + x4**2 - 5 * x1 - 5 * x2 - 21 * x3 + 7 * x4,
        (0, 0, 0, 0),
        (0, 1, 2, -1),
        -44,
        constraints=(
            (0, 8 - x1**2 - x2**2 - x3**2 - x4**2 - x1 + x2 - x3 + x4, INFINITY),
            (0, 10 - x1**2 - 2 * x2**2 - x3**2 - 2 * x4**2 + x1 + x4, INFINITY),
            (0, 5 - 2 * x1**2 - x2**2 - x3**2 - 2 * x1 + x2 + x4, INFINITY),
        ),
        multipliers={"c1": -1, "c3": -2},
    ),
    PublishedProblem(
        "HS52",
        (4 * x1 - x2) ** 2 + (x2 + x3 - 2) ** 2 + (x4 - 1) ** 2 + (x5 - 1) ** 2,
        (2, 2, 2, 2, 2),
        (-_R(33, 349), _R(11, 349), _R(180, 349), -_R(158, 349), _R(11, 349)),
        _R(1859, 349),
        constraints=((0, x1 + 3 * x2, 0), (0, x3 + x4 - 2 * x5, 0), (0, x2 - x5, 0)),
        multipliers={"c1": _R(1144, 349), "c2": _R(1014, 349), "c3": -_R(2704, 349)},
    ),
    PublishedProblem(
        "HS66",
        x3 / 5 - 4 * x1 / 5,
        (0, 1.05, 2.9),
        (sp.log(4) - _W, _W, 4 / _W),
        "0.5181632741",
        {1: (0, 100), 2: (0, 100), 3: (0, 10)},
        ((0, x2 - sp.exp(x1), INFINITY), (0, x3 - sp.exp(x2), INFINITY)),
        {"c1": -4 / _W / 5, "c2": -_R(1, 5)},
        printed=("0.184126487951", "1.20216787321", "3.32732232258"),
    ),
    PublishedProblem(
        "HS71",
        x1 * x4 * (x1 + x2 + x3) + x3,
        (1, 5, 5, 1),
        (1, 4.74299963726441712, 3.82114998418487393, 1.37940829317267242),
        "17.0140173",
        {i: (1, 5) for i in (1, 2, 3, 4)},
        ((25, x1 * x2 * x3 * x4, INFINITY), (40, x1**2 + x2**2 + x3**2 + x4**2, 40)),
        {"x1": -1.08787122866694106, "c1": -0.552293660120726826, "c2": 0.161468566770505836},
        printed=("1.00000000000", "4.74299937545", "3.82115032617", "1.37940824585"),
    ),
    PublishedProblem(
        "HS76",
        x1**2 + x2**2 / 2 + x3**2 + x4**2 / 2 - x1 * x3 + x3 * x4 - x1 - 3 * x2 + x3 - x4,
        (0.5, 0.5, 0.5, 0.5),
        (_R(3, 11), _R(23, 11), 0, _R(6, 11)),
        "-4.681818181",
        {i: (0, INFINITY) for i in (1, 2, 3, 4)},
        (
            (0, 5 - x1 - 2 * x2 - x3 - x4, INFINITY),
            (0, 4 - 3 * x1 - x2 - 2 * x3 + x4, INFINITY),
            (0, x2 + 4 * x3 - _R(3, 2), INFINITY),
        ),
        {"c1": -_R(5, 11), "x3": -_R(19, 11)},
    ),
    PublishedProblem(
        "HS113",
        x1**2
        + x2**2
        + x1 * x2
        - 14 * x1
        - 16 * x2
        + (x3 - 10) ** 2
        + 4 * (x4 - 5) ** 2
        + (x5 - 3) ** 2
        + 2 * (x6 - 1) ** 2
        + 5 * x7**2
        + 7 * (x8 - 11) ** 2
        + 2 * (x9 - 10) ** 2
        + (x10 - 7) ** 2
        + 45,
        (2, 3, 5, 5, 1, 2, 7, 3, 6, 10),
        (
            2.17199637125545526,
            2.36368297369727982,
            8.77392573847685040,
            5.09598448794845275,
            0.990654764963859159,
            1.43057397893631589,
            1.32164420816170330,
            9.82872580788632109,
            8.28009167009834582,
            8.37592666392132335,
        ),
        "24.3062091",
        constraints=(
            (0, 105 - 4 * x1 - 5 * x2 + 3 * x7 - 9 * x8, INFINITY),
            (0, -10 * x1 + 8 * x2 + 17 * x7 - 2 * x8, INFINITY),
            (0, 12 + 8 * x1 - 2 * x2 - 5 * x9 + 2 * x10, INFINITY),
            (0, 120 - 3 * (x1 - 2) ** 2 - 4 * (x2 - 3) ** 2 - 2 * x3**2 + 7 * x4, INFINITY),
            (0, 40 - 5 * x1**2 - 8 * x2 - (x3 - 6) ** 2 + 2 * x4, INFINITY),
            (0, 30 - (x1 - 8) ** 2 / 2 - 2 * (x2 - 4) ** 2 - 3 * x5**2 + x6, INFINITY),
            (0, -(x1**2) - 2 * (x2 - 2) ** 2 + 2 * x1 * x2 - 14 * x5 + 6 * x6, INFINITY),
            (0, 3 * x1 - 6 * x2 - 12 * (x9 - 8) ** 2 + 7 * x10, INFINITY),
        ),
        multipliers={
            "c1": -1.71653315346817357,
            "c2": -0.474520154188971312,
            "c3": -1.37592666392132335,
            "c4": -0.0205455551024223986,
            "c5": -0.312028508935332625,
            "c7": -0.287049319290877263,
        },
        printed=(
            "2.17199637118",
            "2.36368297378",
            "8.77392573847",
            "5.09598448797",
            "0.990654764992",
            "1.43057397893",
            "1.32164420805",
            "9.82872580801",
            "8.28009167017",
            "8.37592666387",
        ),
    ),
)
"""In the collection's order: bounds, linear and nonlinear equations and inequalities, convex and not."""
