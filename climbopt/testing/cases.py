"""Problems of the conformance suite, with the answers that were derived by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Cap, Constraint, Custom, Floor, Group, LossCeiling, Supply
from climbopt.procedures.two_step import magnitude_form
from climbopt.program import StandardForm, joint_form

UNIT = 1e9
"""Token unit and budget of the cases, so that D is 1."""


@dataclass(frozen=True, eq=False)
class Case:
    """One problem with its answer.

    Parameters
    ----------
    name : str
    form : callable
        Builds the standard form.
    x : tuple of float
        The optimum.
    multipliers : mapping of str to float
        By name; the others are 0. Signs as everywhere: >= 0 where the upper side is active.
    """

    name: str
    form: Callable[[], StandardForm]
    x: tuple[float, ...]
    multipliers: Mapping[str, float]


def _model(
    B: tuple[float, ...], interaction: str = "none", b: tuple[tuple[float, ...], ...] | None = None
) -> MixtureModel:
    """Return L_i = 1 + B_i / z_i for languages a, b, c, ...; with linear interaction z_i = r_i + sum b_ij r_j."""
    names, m = tuple("abcdef"[: len(B)]), len(B)
    values: dict[str, Array] = {"E": np.ones(m), "B": np.array(B), "beta": np.ones(m)}
    if b is not None:
        values |= {"b": np.array(b), "k": np.zeros((m, m))}
    return MixtureModel(LAWS["power"], INTERACTIONS[interaction], names, names, values, UNIT)


def _joint(
    model: MixtureModel,
    *constraints: Constraint,
    history: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
    supply: Mapping[str, float] | None = None,
) -> StandardForm:
    return joint_form(
        AllocationProblem(
            model, UNIT, constraints=constraints, history=history or {}, weights=weights or {}, supply=supply or {}
        )
    )


_THREE = (4.0, 1.0, 0.04)

CASES: tuple[Case, ...] = (
    # one variable, fixed by the simplex: lambda = B / r^2
    Case("one source", lambda: _joint(_model((4.0,))), (1.0,), {"simplex": 4.0}),
    # r in proportion to sqrt(B) = (2, 1, 0.2); lambda = w B / r^2
    Case("no constraint", lambda: _joint(_model(_THREE)), (0.625, 0.3125, 0.0625), {"simplex": 4 / 3 / 0.390625}),
    # weights w = (0.5, 0.5, 0): the target c does not count, so that its source gets nothing; lambda = 0.5 * 4 * 2.25
    Case(
        "weight 0",
        lambda: _joint(_model(_THREE), weights={"c": 0.0, "default": 1.0}),
        (2 / 3, 1 / 3, 0.0),
        {"simplex": 4.5, "nonnegative[c]": -4.5},
    ),
    # c at its floor of 0.25: the others share 0.75 as 2 : 1; lambda = 16/3, zeta_c = 0.64/3 - 16/3
    Case(
        "floor",
        lambda: _joint(_model(_THREE), Floor({"c": 0.25})),
        (0.5, 0.25, 0.25),
        {"simplex": 16 / 3, "floor[c]": -5.12},
    ),
    # a at its cap of 0.4: the others share 0.6 as 1 : 0.2; lambda = 4/3, zeta_a = 25/3 - 4/3
    Case("cap", lambda: _joint(_model(_THREE), Cap({"a": 0.4})), (0.4, 0.5, 0.1), {"simplex": 4 / 3, "cap[a]": 7.0}),
    # the same bound through a supply of 0.2 B tokens at two epochs
    Case(
        "supply",
        lambda: _joint(_model(_THREE), Supply({"a": 2.0}), supply={"a": 0.2e9}),
        (0.4, 0.5, 0.1),
        {"simplex": 4 / 3, "supply[a]": 7.0},
    ),
    # a + b at most 0.8, shared as 2 : 1; lambda = 1/3, mu = 75/16 - 1/3
    Case(
        "group",
        lambda: _joint(_model(_THREE), Group(("a", "b"), upper=0.8)),
        (8 / 15, 4 / 15, 0.2),
        {"simplex": 1 / 3, "group": 209 / 48},
    ),
    # a group whose lower side is active: b + c at least 0.6, shared as 1 : 0.2; lambda = 4 / 0.48, mu = 4/3 - 25/3
    Case(
        "group from below",
        lambda: _joint(_model(_THREE), Group(("b", "c"), lower=0.6)),
        (0.4, 0.5, 0.1),
        {"simplex": 25 / 3, "group": -7.0},
    ),
    # L_c at most 1.4, so that r_c = 0.1 and the others share 0.9 as 2 : 1; lambda = 100/27, mu = (lambda - 4/3) / 4
    Case(
        "loss ceiling",
        lambda: _joint(_model(_THREE), LossCeiling({"c": 1.4})),
        (0.6, 0.3, 0.1),
        {"simplex": 100 / 27, "loss_ceiling[c]": 16 / 27},
    ),
    # L_c exactly 2, above its loss at the free optimum: r_c = 0.04; mu = (lambda - 25/3) / 25
    Case(
        "loss equation",
        lambda: _joint(_model(_THREE), Custom("L[c] == 2")),
        (0.64, 0.32, 0.04),
        {"simplex": 3125 / 960, "custom": (3125 / 960 - 25 / 3) / 25},
    ),
    # floor and cap of b both 0.2: the others share 0.8 as 2 : 0.2; lambda = 121/48, zeta_b = 25/3 - 121/48
    Case(
        "fixed",
        lambda: _joint(_model(_THREE), Floor({"b": 0.2}), Cap({"b": 0.2})),
        (8 / 11, 0.2, 0.8 / 11),
        {"simplex": 121 / 48, "cap[b]": 5.8125},
    ),
    # a floor at the free optimum: active with multiplier 0
    Case(
        "weakly active floor",
        lambda: _joint(_model(_THREE), Floor({"c": 0.0625})),
        (0.625, 0.3125, 0.0625),
        {"simplex": 4 / 3 / 0.390625},
    ),
    # z_a = r_a + 0.75 r_b, z_b = r_b with B = (4, 1): z_a = z_b = 0.8
    Case(
        "transfer",
        lambda: _joint(_model((4.0, 1.0), "linear", ((0.0, 0.75), (0.0, 0.0)))),
        (0.2, 0.8),
        {"simplex": 3.125},
    ),
    # as many tokens trained before, all in a: cumulative ratios 2/3 and 1/3 at D = 2, so that r = 1/3 and 2/3;
    # gradient = -w B / (2 rho^2) * 1/2
    Case("history", lambda: _joint(_model((4.0, 1.0)), history={"a": UNIT}), (1 / 3, 2 / 3), {"simplex": 1.125}),
    # step 2 without interaction: r = t p, t = 1, every share row has multiplier -1
    Case(
        "magnitude",
        lambda: magnitude_form(AllocationProblem(_model((4.0, 1.0)), UNIT), np.array([2 / 3, 1 / 3])),
        (2 / 3, 1 / 3, 1.0),
        {"simplex": 1.0, "share[a]": -1.0, "share[b]": -1.0},
    ),
)
