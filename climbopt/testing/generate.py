"""Synthetic problems: languages in families, with more transfer inside a family than across."""

from __future__ import annotations

import numpy as np

from climbopt.interactions import INTERACTIONS
from climbopt.laws import LAWS
from climbopt.model import MixtureModel
from climbopt.problem import AllocationProblem

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
    same = family[:, None] == family[None, :]
    b = np.where(same, rng.uniform(0.1, 0.4, (m, m)), rng.uniform(0.0, 0.05, (m, m)))
    flipped = rng.random((m, m)) < negative
    b = np.where(flipped, -0.3 * b, b)
    values = {
        "E": rng.uniform(1.0, 2.0, m), "B": rng.uniform(2.0, 6.0, m), "beta": rng.uniform(0.2, 0.4, m),
        "eta": rng.uniform(2.0, 10.0, m), "b": b, "k": 0.5 * np.abs(b) * rng.uniform(0.0, 1.0, (m, m)),
        "h": rng.uniform(0.001, 0.01, m), "l": 0.05 * rng.uniform(0.0, 1.0, (m, m)),
    }
    law, form = LAWS["power"], INTERACTIONS[interaction]
    chosen = {p.name: values[p.name] for p in law.parameters + form.parameters}
    return MixtureModel(law, form, names, names, chosen, TOKEN_UNIT,
                        provenance={"synthetic": f"families of {FAMILY_SIZE} languages, seed {seed}"})


def family_problem(m: int, *, interaction: str = "saturating", negative: float = 0.0, seed: int = 0
                   ) -> AllocationProblem:
    """Return the joint problem of :func:`family_model` at 100 B tokens without constraints; same parameters."""
    model = family_model(m, interaction=interaction, negative=negative, seed=seed)
    return AllocationProblem(model, BUDGET, name=f"families{m}")
