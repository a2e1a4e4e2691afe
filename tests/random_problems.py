"""Random problems of every form and setting, and random points of them; the ground of the tests of global bounds."""

from dataclasses import replace

import numpy as np
import sympy as sp
from conftest import random_model

from climbopt.certification.global_bound.boxes import allowed
from climbopt.certification.global_bound.search import optimal
from climbopt.certification.proof.blocks import Prices
from climbopt.model.interactions import Interaction
from climbopt.model.laws import LAWS
from climbopt.model.mixture import MixtureModel
from climbopt.model.symbols import Parameter, r_i, r_j
from climbopt.model.uses import USES
from climbopt.numerics.polytope import Polytope
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Cap, Floor, Group, StayNear

a, g, t = sp.symbols("a g t", positive=True)
USERS = {
    "both_curved": Interaction(
        "both_curved", r_i, a * r_i**2 * (1 - sp.exp(-g * r_j)), (Parameter(a, "pair"), Parameter(g, "target"))
    ),
    "rising": Interaction("rising", r_i + r_i**2 / 4, a * r_j**2 - a * r_j, (Parameter(a, "pair"),)),
    "wavy": Interaction(
        "wavy", r_i, a * (r_j**3 - r_j**2) + t * sp.sqrt(r_j + 1) * r_i, (Parameter(a, "pair"), Parameter(t, "target"))
    ),
}
c, k = sp.Symbol("c", real=True), sp.Symbol("k", positive=True)
AHEAD = r_i + sp.Rational(2, 5)


def _inseparable(name, pair):
    """Return an interaction whose pair template is no sum of products of a function of r_i and one of r_j."""
    targets = (Parameter(k, "target"),) if pair.has(k) else ()
    return Interaction(name, AHEAD, pair, (Parameter(c, "pair"), *targets))


INSEPARABLE = {
    form.name: form
    for form in (
        _inseparable("crowded", c * r_j / (1 + r_i + r_j)),
        _inseparable("shared", c * (1 - sp.exp(-20 * k * r_i * r_j))),
        _inseparable("beyond", c * sp.log(1 + 9 * k * r_j / (1 + r_i))),
        _inseparable("rooted", c * sp.sqrt(r_i**2 + r_j)),
        _inseparable("excess", c * sp.Max(r_j - r_i, 0)),
        _inseparable("jump", c * sp.Piecewise((r_j / 2, r_j <= r_i), (r_j, True))),
    )
}
FORMS = ("none", "linear", "saturating", "gated", *USERS)


def signed_model(form, sources=4, targets=None, seed=0, scale=1.0):
    """Return a model whose transfer has both signs and whose z is above 0 wherever a target has data of its own."""
    if form in USERS or form in INSEPARABLE:
        interaction = USERS.get(form) or INSEPARABLE[form]
        rng = np.random.default_rng(seed)
        names = tuple(f"s{j}" for j in range(sources))
        targets = names if targets is None else targets
        values = {
            p.name: 0.3 * rng.uniform(0.2, 1.0, (len(targets), sources)[: 2 if p.per == "pair" else 1])
            for p in interaction.parameters
        }
        if form in INSEPARABLE:
            values["c"] *= np.where(rng.random(values["c"].shape) < 0.3, -1.0, 1.0)
        values |= {
            "E": rng.uniform(0.5, 1.5, len(targets)),
            "B": rng.uniform(1.0, 3.0, len(targets)),
            "beta": rng.uniform(0.2, 0.5, len(targets)),
        }
        return MixtureModel(LAWS["power"], interaction, names, targets, values, token_unit=1e9)
    model = random_model(form, sources=sources, targets=targets, signed=True, seed=seed)
    if "b" not in model.parameters:
        return model
    return replace(model, parameters={**model.parameters, "b": scale * model.parameters["b"]})


def repeated(model, seed):
    """Return a model whose sources have little data, so that most of what they give is repeated."""
    rng, use = np.random.default_rng(seed), USES[("saturating", "information")[seed % 2]]
    values = {p.name: rng.uniform(1.0, 4.0, len(model.sources)) for p in use.parameters}
    return replace(model, use=use, parameters={**model.parameters, **values})


def random_multipliers(problem, x, rng, noise, size=1.0):
    """Return multipliers near a point's own: with noise, and of nonlinear rows of both signs and of a size."""
    n_rows = problem.functions.n_rows
    nonlinear = size * rng.normal(size=n_rows) * (rng.random(n_rows) < 0.7)
    own = optimal(problem, x, nonlinear)
    return allowed(
        problem,
        Prices(
            own.rows + noise * rng.normal(size=own.rows.size),
            nonlinear,
            own.sums + noise * rng.normal(size=own.sums.shape) * (rng.random(own.sums.shape) < 0.7),
        ),
    )


VERTICES = 6
SETTINGS = {
    "plain": {},
    "floors": {"constraints": (Floor({"s0": 0.05, "s1": 0.02}), Cap({"s1": 0.6}))},
    "group": {"constraints": (Group(("s0", "s1"), lower=0.2, upper=0.6),)},
    "near": {"constraints": (StayNear(0.5, "uniform"),)},
    "history": {"history": {"s0": 4e9, "s1": 1e9}},
}


def the_problem(form, setting, seed, sources=4, scale=1.0):
    """Return a random problem of a form in one of the settings."""
    targets = ("s0", "s1", "zero") if setting == "zero_shot" else None
    if setting == "group":
        sources = max(sources, 3)
    return AllocationProblem(signed_model(form, sources, targets, seed, scale), 10e9, **SETTINGS.get(setting, {}))


def points(form, box, rng, count):
    """Return random points of the polytope cut by a box: mixtures of some of its vertices, most of them near faces."""
    lower, upper = (np.where(np.isfinite(end), end, 0.0) for end in (box.lower, box.upper))
    cut = Polytope(form.polytope.bounds.within(lower, upper), form.polytope.A, form.polytope.rows)
    vertices = np.array([cut.linear_minimum(rng.normal(size=form.n))[1] for _ in range(VERTICES)])
    shares = np.array([rng.dirichlet(rng.uniform(0.1, 3.0) * np.ones(VERTICES)) for _ in range(count)])
    return list(np.clip(shares @ vertices, cut.bounds.lower, cut.bounds.upper))
