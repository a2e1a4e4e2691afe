"""InfoLaw's published optima, by a reconstruction of its units; its kinks."""

from dataclasses import replace

import numpy as np
import pytest

from climbopt import load_problem, solve
from climbopt.certificate import Verdict


@pytest.mark.parametrize("budget, published", [(300e9, {"bucket0": 0.548, "bucket1": 0.444}),
                                               (1000e9, {"bucket0": 0.395, "bucket2": 0.214})])
@pytest.mark.parametrize("backend", ["newton", "slsqp"])
def test_published_optima(budget, published, backend):
    """Within .02, as the problem's file says of its reconstruction; a global optimum of a convex problem."""
    result = solve(replace(load_problem("infolaw7b"), budget=budget), backend=backend)
    assert result.passed and result.certificate.verdict is Verdict.GLOBAL
    for name, ratio in published.items():
        assert result.ratios[name] == pytest.approx(ratio, abs=0.02)


def test_z_is_what_the_formula_says():
    """Against the paper's M, R and lambda written out, on both sides of the kinks."""
    problem = load_problem("infolaw7b")
    supply = 258e3 * np.array([0.05, 0.15, 0.2, 0.2, 0.2, 0.2])
    for tokens in (30e3, 300e3, 1000e3):  # millions
        for seed in range(5):
            w = np.random.default_rng(seed).dirichlet(np.ones(6))
            once = np.minimum(w * tokens, supply)
            rate, scale = 0.140 * np.log(7000) + 0.018, np.log(tokens)
            z = (np.exp(-0.922 * np.arange(6)) * once * scale * (1 - np.exp(-rate * w * tokens / once / scale))).sum()
            response = problem.model.at(tokens * 1e6, 7e9)
            np.testing.assert_allclose(response.z(w), [z], rtol=1e-12)
            np.testing.assert_allclose(response.losses(response.z(w)), [3.7373 * z**-0.0441], rtol=1e-12)


def test_an_optimum_at_a_kink_is_never_certified_wrongly():
    """Two buckets of nearly one quality: the best mixture uses each once, where the slope jumps."""
    problem = load_problem("infolaw7b")
    model = problem.model
    names = ("bucket0", "bucket1")
    pair = replace(model, sources=names, parameters={
        **{p: model.parameters[p] for p in ("alpha", "beta", "K", "a", "c")},
        "q": [1.0, 0.99], "U": [12900.0, 38700.0]})
    budget = 40e9
    result = solve(replace(problem, model=pair, budget=budget, constraints=()))
    best = np.array([12.9, 27.1]) / 40
    value = problem.weight_vector @ replace(problem, model=pair, budget=budget, constraints=()).losses(best)
    assert result.objective >= value - 1e-12
    if result.passed:
        assert result.objective <= value + 1e-6
