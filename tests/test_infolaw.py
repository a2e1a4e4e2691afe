"""InfoLaw's published optima, by a reconstruction of its units; its kinks."""

from dataclasses import replace

import numpy as np
import pytest

from climbopt import load_problem, schedule, solve
from climbopt.backends import BACKENDS
from climbopt.certification.local import Verdict, certify
from climbopt.procedures import joint_form

AVAILABLE = [name for name, entry in BACKENDS.items() if entry.missing is None]
ON_A_KINK = 165e9
"""A budget at which the best mixture uses bucket1 exactly once."""


@pytest.mark.parametrize(
    "budget, published", [(300e9, {"bucket0": 0.548, "bucket1": 0.444}), (1000e9, {"bucket0": 0.395, "bucket2": 0.214})]
)
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


def at_a_kink(ordered=True):
    problem = replace(load_problem("infolaw7b"), budget=ON_A_KINK)
    return problem if ordered else replace(problem, constraints=())


def best_by_hand():
    """Return w_1 and the loss of the best mixture of the two best buckets, by the formula on a fine grid."""
    problem = at_a_kink(ordered=False)
    share = np.append(np.linspace(0, 1, 200001), 38.7 / 165)
    mixtures = np.zeros((share.size, 6))
    mixtures[:, 0], mixtures[:, 1] = 1 - share, share
    losses = problem.losses(mixtures)[:, 0]
    return share[np.argmin(losses)], losses.min()


@pytest.mark.parametrize("backend", AVAILABLE)
@pytest.mark.parametrize("ordered", [True, False])
def test_an_optimum_at_a_kink_is_reached_and_certified(backend, ordered):
    result = solve(at_a_kink(ordered), backend=backend)
    assert result.passed and result.certificate.verdict is Verdict.GLOBAL and result.certificate.gap < 1e-9
    assert result.ratios["bucket1"] == pytest.approx(38.7 / 165, abs=1e-8)
    share, loss = best_by_hand()
    assert share == pytest.approx(38.7 / 165, abs=1e-12)
    assert result.objective == pytest.approx(loss, abs=1e-9)


def test_the_multipliers_at_a_kink_are_within_the_jump():
    """KKT with the excess as a variable: the two sides' slopes of bucket1 have bucket0's between them."""
    form = joint_form(at_a_kink(ordered=False))
    x = form.complete(np.array([1 - 38.7 / 165, 38.7 / 165, 0, 0, 0, 0]))
    certificate = certify(form, x)
    assert certificate.passed and certificate.licq
    problem, h = at_a_kink(ordered=False), 1e-6

    def slope(j, sign):
        moved = x[:6] + sign * h * np.eye(6)[j]
        return sign * float(problem.value(moved) - problem.value(x[:6])) / h

    below, beyond, other = slope(1, -1), slope(1, 1), slope(0, 1)
    assert below + 1e-5 < other < beyond - 1e-5
    assert certificate.multipliers["simplex"].multiplier == pytest.approx(-other, abs=1e-5)


@pytest.mark.parametrize("shift", [-1e-3, 1e-3, 1e-5])
def test_beside_the_optimum_nothing_is_certified(shift):
    form = joint_form(at_a_kink(ordered=False))
    share = 38.7 / 165 + shift
    assert not certify(form, form.complete(np.array([1 - share, share, 0, 0, 0, 0]))).passed


def test_a_kink_that_is_not_the_optimum_is_not_certified():
    problem = replace(at_a_kink(ordered=False), budget=300e9)  # where bucket1 is repeated
    form = joint_form(problem)
    certificate = certify(form, form.complete(np.array([1 - 0.129, 0.129, 0, 0, 0, 0])))
    assert not certificate.passed and certificate.gap > 1e-3
    assert certificate.lower_bound <= solve(problem).objective + 1e-12


def test_history_moves_the_kinks():
    """What was used before counts: the optimum over history and run together is on the kink."""
    problem = replace(at_a_kink(ordered=False), budget=65e9, history={"bucket0": 90e9, "bucket1": 10e9})
    for backend in ("newton", "slsqp"):
        result = solve(problem, backend=backend)
        assert result.certificate.verdict is Verdict.GLOBAL
        assert result.ratios["bucket1"] * 65 + 10 == pytest.approx(38.7, abs=1e-6)


def test_a_schedule_along_the_kinks():
    """No auxiliary of the kinks is in the user's way."""
    problem = replace(at_a_kink(ordered=False), budget=300e9)
    planned = schedule(problem, [ON_A_KINK, 300e9])
    assert planned.stages[0].optimal[1] == pytest.approx(38.7 / 165, abs=1e-8)
    read = sum((stage.end - stage.begin) * stage.ratios for stage in planned.stages) / 300e9
    np.testing.assert_allclose(read, list(solve(problem).ratios.values()), atol=1e-7)


def test_benefits_beyond_a_kink():
    """The form's slopes by the ratios are those of the losses, beside every kink."""
    problem = replace(at_a_kink(ordered=False), budget=300e9)
    form, ratios = joint_form(problem), np.array([0.5, 0.2, 0.15, 0.1, 0.03, 0.02])
    numeric = [float(problem.value(ratios + h) - problem.value(ratios - h)) / 2e-6 for h in 1e-6 * np.eye(6)]
    np.testing.assert_allclose(form.slopes(ratios), numeric, rtol=1e-6)
    assert form.functions.at(form.complete(ratios)).value == pytest.approx(float(problem.value(ratios)), rel=1e-14)


def test_the_ball_bound_at_a_kink():
    pytest.importorskip("flint")
    from climbopt.procedures.optimum import Effort, certify_globally

    result = certify_globally(solve(at_a_kink()), Effort(rigor="ball", gap=1e-7))
    assert result.passed and result.certificate.bound.search.rigor == "ball" and 0 <= result.certificate.gap < 1e-6
