"""One f: what is solved, certified and reported is the loss after history and run together, computed by hand here."""

import numpy as np
import pytest

from climbopt import AllocationProblem, Custom, MixtureModel, solve
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.problem.objectives import CustomObjective, Minimax, Weighted, WeightedPowerMean
from climbopt.procedures import joint_form

HISTORY, RUN = 5e8, 1.5e9


def continued(objective=None, constraints=()):
    """L = 1 + 2 / (tokens / 1 B)^0.3 after 0.5 B tokens of a alone, then 1.5 B tokens in some ratios."""
    values = {"E": np.ones(2), "B": np.full(2, 2.0), "beta": np.full(2, 0.3)}
    model = MixtureModel(LAWS["power"], INTERACTIONS["none"], ("a", "b"), ("a", "b"), values, 1e9)
    return AllocationProblem(
        model, RUN, history={"a": HISTORY}, objective=objective or Weighted(), constraints=constraints
    )


def losses(r):
    return 1 + 2 * np.array([0.5 + 1.5 * r[0], 1.5 * r[1]]) ** -0.3


OBJECTIVES = {
    "weighted": (Weighted(), lambda L, z: L.mean()),
    "minimax": (Minimax(losses={"a": 2.0, "b": 2.5}), lambda L, z: max(L[0] / 2.0, L[1] / 2.5)),
    "power mean": (
        WeightedPowerMean(power=3.0, losses={"a": 2.0, "b": 2.5}),
        lambda L, z: ((L / [2.0, 2.5]) ** 3).mean() ** (1 / 3),
    ),
    "custom": (CustomObjective("L[a]**2 + 0.5 * L[b] + 3 * z[b]"), lambda L, z: L[0] ** 2 + 0.5 * L[1] + 3 * z[1]),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_objective_is_one_function(name):
    objective, by_hand = OBJECTIVES[name]
    problem = continued(objective)
    form = joint_form(problem)
    for a in (0.1, 1 / 3, 0.8):
        r = np.array([a, 1 - a])
        z = np.array([0.5 + 1.5 * a, 1.5 * (1 - a)]) / 2
        value = by_hand(losses(r), z)
        assert problem.losses(r) == pytest.approx(losses(r), rel=1e-13)
        assert problem.cumulative(r) == pytest.approx(z, rel=1e-14)
        assert problem.value(r) == pytest.approx(value, rel=1e-13)
        assert form.functions.at(form.complete(r)).value == pytest.approx(value, rel=1e-13)


def test_many_mixtures_at_once():
    problem = continued()
    several = np.array([[[0.1, 0.9], [0.5, 0.5]], [[0.8, 0.2], [1 / 3, 2 / 3]]])
    values = problem.value(several)
    assert values.shape == (2, 2)
    assert values[1, 1] == pytest.approx(3.0, rel=1e-14)
    assert values[0, 0] == pytest.approx(losses((0.1, 0.9)).mean(), rel=1e-14)


def test_the_answer_counts_what_was_trained():
    """Both languages end at 1 B tokens, at which each loss is 3."""
    result = solve(continued())
    assert result.passed
    assert result.ratios["a"] == pytest.approx(1 / 3, abs=1e-9) and result.ratios["b"] == pytest.approx(2 / 3, abs=1e-9)
    assert result.objective == pytest.approx(3.0, abs=1e-12)
    assert result.losses["a"] == pytest.approx(3.0, abs=1e-8)
    assert result.effective_ratios["a"] == pytest.approx(0.5, abs=1e-8)
    # -w dL/dz: L = 1 + 2 (2 z)^-0.3, so that dL/dz = -0.6 * 2 at 2 z = 1
    assert result.marginal_benefit["b"] == pytest.approx(0.6, abs=1e-8)
    assert result.certificate.upper_bound == pytest.approx(3.0, abs=1e-12)


def test_ceilings_count_what_was_trained():
    """L_b <= 1 + 2 * 1.2^-0.3 needs 1.2 B tokens of b, which is a ratio of 0.8."""
    result = solve(continued(constraints=(Custom(f"L[b] <= {float(1 + 2 * 1.2**-0.3)!r}"),)), backend="slsqp")
    assert result.passed and result.ratios["b"] == pytest.approx(0.8, abs=1e-6)
