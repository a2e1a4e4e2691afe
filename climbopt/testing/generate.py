"""Synthetic problems: languages in families, and small problems of each character.

Languages have more transfer inside their family than across.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Cap, Constraint, Custom, Floor, Group, LossCeiling, StayNear, Supply

FAMILY_SIZE = 4
TOKEN_UNIT = 1e9
BUDGET = 100e9

LANGUAGES = ("en", "de", "nl", "sv", "es", "pt", "fr", "it", "ru", "uk", "pl", "cs", "hi", "bn", "mr", "ur")
"""Names of the first sixteen languages, in families of four."""


def family_model(m: int, *, interaction: str = "saturating", negative: float = 0.0, seed: int = 0) -> MixtureModel:
    """Return a synthetic model of m languages under the law power.

    Parameters
    ----------
    m : int
        Number of languages, each both source and target.
    interaction : str
        none, linear, saturating or gated.
    negative : float
        Share of ordered pairs whose transfer is negative.
    seed : int
        Of the random parameters.

    Notes
    -----
    Transfer inside a family is drawn from U(0.1, 0.4), across from U(0, 0.05); all of it is divided by the number
    of families so that z stays near 1 at any m. A negative pair has the opposite sign, at a size that leaves z
    positive wherever a language has a ratio of its own.

    Examples
    --------
    >>> family_model(3).sources
    ('en', 'de', 'nl')
    """
    rng = np.random.default_rng(seed)
    names = tuple(LANGUAGES[k] if k < len(LANGUAGES) else f"l{k}" for k in range(m))
    family = np.arange(m) // FAMILY_SIZE
    # Ordered pairs inside a family.
    same = family[:, None] == family[None, :]
    b = np.where(same, rng.uniform(0.1, 0.4, (m, m)), rng.uniform(0.0, 0.05, (m, m)))
    flipped = rng.random((m, m)) < negative
    # Negative pairs are weakened, so that z stays positive wherever a language has data of its own.
    b = np.where(flipped, -0.3 * b, b)
    values = {
        "E": rng.uniform(1.0, 2.0, m),
        "B": rng.uniform(2.0, 6.0, m),
        "beta": rng.uniform(0.2, 0.4, m),
        "eta": rng.uniform(2.0, 10.0, m),
        "b": b,
        "k": 0.5 * np.abs(b) * rng.uniform(0.0, 1.0, (m, m)),
        "h": rng.uniform(0.001, 0.01, m),
        "l": 0.05 * rng.uniform(0.0, 1.0, (m, m)),
    }
    law, form = LAWS["power"], INTERACTIONS[interaction]
    chosen = {p.name: values[p.name] for p in law.parameters + form.parameters}
    return MixtureModel(
        law,
        form,
        names,
        names,
        chosen,
        TOKEN_UNIT,
        provenance={"synthetic": f"families of {FAMILY_SIZE} languages, seed {seed}"},
    )


def family_problem(
    m: int, *, interaction: str = "saturating", negative: float = 0.0, seed: int = 0
) -> AllocationProblem:
    """Return the joint problem of :func:`family_model` at 100 B tokens without constraints; same parameters."""
    model = family_model(m, interaction=interaction, negative=negative, seed=seed)
    return AllocationProblem(model, BUDGET, name=f"families{m}")


def problem_families(seed: int = 0) -> Mapping[str, tuple[AllocationProblem, ...]]:
    """Return small named problems with an answer, by character.

    Parameters
    ----------
    seed : int
        Of the random parameters.

    Returns
    -------
    mapping of str to tuple of AllocationProblem
        convex: positive saturating transfer, alone and under each kind of constraint. signed: saturating, with 30 % of
        the pairs negative. gated: the default interaction, its pairs positive and signed. degenerate: convex, with
        parts that give nothing, are the same, or leave no choice (see :func:`degenerate_problems`).

    Examples
    --------
    >>> {family: len(problems) for family, problems in problem_families().items()}
    {'convex': 8, 'signed': 3, 'gated': 3, 'degenerate': 10}
    """
    model = family_model(6, seed=seed)

    def convex(name: str, *constraints: Constraint, supply: Mapping[str, float] | None = None) -> AllocationProblem:
        return AllocationProblem(model, BUDGET, constraints=constraints, supply=supply or {}, name=name)

    def free(name: str, m: int, k: int, interaction: str, negative: float) -> AllocationProblem:
        drawn = family_model(m, interaction=interaction, negative=negative, seed=seed + k)
        return AllocationProblem(drawn, BUDGET, name=f"{name} {k}")

    return {
        "convex": (
            free("three languages", 3, 1, "saturating", 0.0),
            convex("no constraint"),
            convex("floors and a cap", Floor({"nl": 0.3, "es": 0.25}), Cap({"en": 0.1})),
            convex("groups", Group(("en", "de"), lower=0.5), Group(("es", "pt"), upper=0.2, name="iberian")),
            convex("supply", Supply({"en": 4.0, "de": 2.0}), supply={"en": 2e9, "de": 3e9}),
            convex("near uniform", StayNear(0.1, "uniform")),
            convex("loss ceilings", LossCeiling(excess=0.002, reference="uniform")),
            convex("custom", Custom(expression="r[de] >= 0.6 * r[en]")),
        ),
        "signed": tuple(free("signed", 5, k, "saturating", 0.3) for k in (1, 2, 3)),
        "gated": (*(free("gated", 5, k, "gated", 0.0) for k in (1, 2)), free("signed gated", 5, 3, "gated", 0.3)),
        "degenerate": degenerate_problems(seed),
    }


def degenerate_problems(seed: int = 0) -> tuple[AllocationProblem, ...]:
    """Return convex problems with known facts: no transfer, equal languages, useless sources, active floors.

    Parameters
    ----------
    seed : int
        Of the random parameters.

    Notes
    -----
    In "flat" every mixture is as good as any other, in "twins" only the sum of two ratios matters, and the floors of
    "one mixture" sum to 1. All betas are equal, so that without transfer r is in proportion to (w B)^(1 / (1 + beta)).
    """
    rng = np.random.default_rng(seed)
    scales, weights = rng.uniform(0.5, 5.0, 4), dict(zip("abcd", rng.uniform(0.5, 3.0, 4).tolist(), strict=True))
    off = 1.0 - np.eye(4)
    blocks, no_use = np.full((5, 5), 0.05), np.full((3, 4), 0.2)
    blocks[:3, :3], blocks[3:, 3:], no_use[:, 3] = 0.3, 0.2, 0.0
    with_use = np.where(np.arange(4) == 3, 0.0, 0.2)[None, :] * off
    members = family_model(6, seed=seed)
    shares = np.array([3, 2, 2, 1, 1, 1]) / 10
    return (
        *(
            AllocationProblem(_model(form, scales, np.zeros((4, 4))), BUDGET, weights=weights, name=f"alpha 0, {form}")
            for form in ("saturating", "linear", "gated")
        ),
        AllocationProblem(
            _model("saturating", np.array([2.0, 2.0, 2.0, 3.0, 3.0]), blocks), BUDGET, name="equal languages"
        ),
        # z_i is the sum of all ratios, 1 at every mixture.
        AllocationProblem(_model("linear", scales, off), BUDGET, name="flat"),
        # z of both twins is the sum of their two ratios.
        AllocationProblem(
            _model("linear", scales[[0, 0, 1]], np.array([[0, 1.0, 0], [1.0, 0, 0], [0, 0, 0]])), BUDGET, name="twins"
        ),
        AllocationProblem(_model("saturating", scales[:3], no_use), BUDGET, name="useless source"),
        AllocationProblem(
            _model("saturating", scales, with_use),
            BUDGET,
            weights={"d": 0.0, "default": 1.0},
            constraints=(Floor({"d": 0.05}),),
            name="useless source at its floor",
        ),
        AllocationProblem(
            members, BUDGET, constraints=(Floor(dict.fromkeys(members.sources, 0.16)),), name="active floors"
        ),
        AllocationProblem(
            members,
            BUDGET,
            constraints=(Floor(dict(zip(members.sources, shares.tolist(), strict=True))),),
            name="one mixture",
        ),
    )


def infeasible_problems(seed: int = 0) -> Mapping[str, Callable[[], AllocationProblem]]:
    """Return constructors of problems that no mixture solves, by what is wrong; some are refused as they are built.

    Parameters
    ----------
    seed : int
        Of the random parameters.
    """
    model = family_model(4, seed=seed)
    kinds: dict[str, tuple[Constraint, ...]] = {
        "floors past 1": (Floor({"en": 0.6, "de": 0.5}),),
        "caps below 1": (Cap(dict.fromkeys(model.sources, 0.2)),),
        "groups in conflict": (Group(("en", "de"), lower=0.7), Group(("nl", "sv"), lower=0.4, name="other")),
        "a floor too far": (StayNear(0.1, "uniform"), Floor({"en": 0.4})),
        "a ceiling below the irreducible loss": (LossCeiling({"en": 0.999 * float(model.parameters["E"][0])}),),
        "ceilings in conflict": (LossCeiling(excess=-0.05, reference="uniform"),),
        "a product too large": (Custom(expression="r[en] * r[de] >= 0.3"),),
    }
    return {
        name: partial(AllocationProblem, model, BUDGET, constraints=constraints, name=name)
        for name, constraints in kinds.items()
    }


def _model(interaction: str, B: Array, b: Array) -> MixtureModel:
    """Return L_i = 1 + B_i (D z_i)^-0.3 for the targets a, b, ...; every parameter that is not given is 0 or equal.

    Parameters
    ----------
    interaction : str
    B : ndarray, (T,)
    b : ndarray, (T, S)
        Transfer; the first T sources are the targets.
    """
    n_targets, n_sources = b.shape
    law, form = LAWS["power"], INTERACTIONS[interaction]
    zeros, ones = np.zeros((n_targets, n_sources)), np.ones(n_targets)
    values = {"E": ones, "B": B, "beta": 0.3 * ones, "eta": 4.0 * ones, "b": b, "k": zeros, "h": 0.0 * ones, "l": zeros}
    names = tuple("abcdef"[:n_sources])
    return MixtureModel(
        law,
        form,
        names,
        names[:n_targets],
        {p.name: values[p.name] for p in law.parameters + form.parameters},
        TOKEN_UNIT,
        provenance={"synthetic": "made to be degenerate"},
    )
