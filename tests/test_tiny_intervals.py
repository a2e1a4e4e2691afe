"""A wrong point in an interval of any size fails, and the right one passes, whatever the gradient's size."""

import numpy as np
import pytest

from climbopt import AllocationProblem, Cap, Custom, Floor, MixtureModel, Supply, solve
from climbopt.certification.kkt import LimitsAt
from climbopt.certification.local import Verdict, certify
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.problem.objectives import CustomObjective
from climbopt.procedures import joint_form

SIZES = [1e-3, 1e-5, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12]
LANGUAGES = ("a", "b", "c")


def plain(beta=0.3):
    """L_i = 1 + 2 / z_i^beta at 1 B tokens; no transfer."""
    values = {"E": np.ones(3), "B": np.full(3, 2.0), "beta": np.full(3, beta)}
    return MixtureModel(LAWS["power"], INTERACTIONS["none"], LANGUAGES, LANGUAGES, values, 1e9)


def optimum(price, low, high):
    """Return the r_a at which L_a + L_b + L_c + price r_a has slope 0, r_b and r_c being equal; by bisection."""
    for _ in range(200):
        middle = (low + high) / 2
        slope = price - 0.6 * middle**-1.3 + 0.6 * ((1 - middle) / 2) ** -1.3
        low, high = (middle, high) if slope < 0 else (low, middle)
    return (low + high) / 2


def mixture(a):
    return np.array([a, (1 - a) / 2, (1 - a) / 2])


def judged(form, a):
    """Return the certificate of a mixture, and its objective."""
    x = form.complete(mixture(a))
    return certify(form, x), form.functions.at(x).value


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("budget", [1e9, 1e12])
def test_wrong_points_under_a_tiny_cap_fail(size, budget):
    """Every target wants more than its cap, so that the optimum is the cap itself."""
    for kind, limit in {"cap": Cap({"a": size}), "supply": Supply(1.0)}.items():
        supply = {"a": size * budget, "b": 1e15, "c": 1e15} if kind == "supply" else {}
        form = joint_form(AllocationProblem(plain(), budget, supply=supply, constraints=(limit,)))
        right, best = judged(form, size)
        assert right.passed and right.verdict is Verdict.GLOBAL and right.multipliers[f"{kind}[a]"].active
        for share in (0.01, 0.3, 0.5, 0.9, 0.999):
            wrong, value = judged(form, share * size)
            assert value - best > 1e-6, "the optimum is far in nats"
            assert not wrong.passed and wrong.verdict is not Verdict.GLOBAL, (kind, share)
            assert f"{kind}[a]" not in wrong.multipliers or not wrong.multipliers[f"{kind}[a]"].active


@pytest.mark.parametrize("size", SIZES)
def test_wrong_points_between_a_tiny_floor_and_cap_fail(size):
    """The price of a puts the optimum in the middle of the interval [size / 4, size]."""
    price = 0.6 * (size / 2) ** -1.3  # the slope of the loss of a at half the cap
    objective = CustomObjective(f"L[a] + L[b] + L[c] + {price!r} * r[a]")
    limits = (Floor({"a": size / 4}), Cap({"a": size}))
    form = joint_form(AllocationProblem(plain(), 1e9, objective=objective, constraints=limits))
    best = optimum(price, size / 4, size)
    assert 0.4 * size < best < 0.6 * size
    right, least = judged(form, best)
    assert right.passed
    for a in (size / 4, 0.35 * size, 0.65 * size, 0.8 * size, size):
        wrong, value = judged(form, a)
        assert value > least + 1e-6 and not wrong.passed, a


@pytest.mark.parametrize("slope", [1e-8, 1.0, 1e3, 1e8])
@pytest.mark.parametrize("size", SIZES)
def test_slopes_of_any_size(slope, size):
    """A point fails where it is above the optimum by more than the tolerance says."""
    objective = CustomObjective(f"L[b] + L[c] + {slope!r} * r[a]")
    form = joint_form(AllocationProblem(plain(), 1e9, objective=objective, constraints=(Cap({"a": size}),)))
    right, best = judged(form, 0.0)
    wants_a = slope < 1.0  # the slope of the losses of b and c, 0.6 * 0.5**-1.3, is 1.48
    assert right.passed
    for share in (1e-3, 0.1, 0.5, 0.9, 1.0):
        certificate, value = judged(form, share * size)
        excess = (value - best) / max(1.0, abs(best))
        assert certificate.gap == pytest.approx(value - best, rel=0.1, abs=1e-6) or wants_a
        if excess > 1.01e-6:
            assert not certificate.passed and certificate.verdict is not Verdict.GLOBAL


def test_a_steep_objective_next_to_zero():
    form = joint_form(AllocationProblem(plain(), 1e9, objective=CustomObjective("L[b] + L[c] + 1e7 * r[a]")))
    assert not judged(form, 9e-8)[0].passed
    assert judged(form, 0.0)[0].passed


@pytest.mark.parametrize("width", SIZES)
def test_floors_that_leave_little_to_choose(width):
    """All that is left goes to a, whose slope is the steepest; the floors of the others are active."""
    floors = Floor({"a": 0.2, "b": 0.3, "c": 0.5 - width})
    objective = CustomObjective("-1e8 * r[a] + L[b] + L[c]")
    form = joint_form(AllocationProblem(plain(), 1e9, objective=objective, constraints=(floors,)))
    right = certify(form, np.array([0.2 + width, 0.3, 0.5 - width]))
    assert right.passed
    assert not right.multipliers["floor[a]"].active and right.multipliers["floor[c]"].active
    for share in (0.0, 0.5, 0.9):
        x = np.array([0.2 + share * width, 0.3, 0.5 - share * width])
        gap = 1e8 * (1 - share) * width / abs(form.functions.at(x).value)
        assert not certify(form, x).passed or gap <= 1.01e-6


@pytest.mark.parametrize("seed", range(6))
def test_what_passes_is_no_worse_than_any_other_point(seed):
    """Random caps, floors and prices: nothing that passes is beaten by more than the tolerance says."""
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.uniform(-12, -3, 2)
    slopes = 10.0 ** rng.uniform(-8, 8, 2) * rng.choice([-1, 1], 2)
    objective = CustomObjective(f"L[a] + L[b] + L[c] + {float(slopes[0])!r} * r[a] + {float(slopes[1])!r} * r[b]")
    floors = {"a": 0.1 * sizes[0], "b": 0.1 * sizes[1]}
    limits = (Cap({"a": sizes[0], "b": sizes[1]}), Floor(floors))
    problem = AllocationProblem(plain(), 1e9, objective=objective, constraints=limits)
    shares = rng.uniform(0.1, 1.0, (30, 2))
    shares[:4] = [[0.1, 0.1], [0.1, 1.0], [1.0, 0.1], [1.0, 1.0]]
    points = np.column_stack([shares * sizes, 1 - (shares * sizes).sum(axis=1)])
    values = problem.value(points)
    answer = solve(problem)
    least = min(values.min(), answer.objective)
    assert answer.certificate.verdict is Verdict.GLOBAL
    assert answer.objective <= values.min() + 1e-6 * max(1.0, abs(least))
    form = joint_form(problem)
    for point, value in zip(points, values, strict=True):
        if certify(form, form.complete(point)).passed:
            assert value - least <= 1.01e-6 * max(1.0, abs(value))


@pytest.mark.parametrize("backend", ["newton", "cvxpy", "ipopt", "pyomo"])
@pytest.mark.parametrize("tokens", [5e4, 5e6, 5e8])
def test_no_backend_is_certified_above_the_optimum(backend, tokens):
    problem = AllocationProblem(plain(), 1e12, supply={"a": tokens, "b": 1e15, "c": 1e15}, constraints=(Supply(1.0),))
    r = tokens / 1e12
    best = float(problem.value(np.array([r, (1 - r) / 2, (1 - r) / 2])))
    answer = solve(problem, backend=backend)
    assert not answer.passed or answer.objective <= best + 1e-6 * abs(best)
    if backend == "newton":
        assert answer.passed


def test_rows_are_active_in_units_of_their_own_change():
    """A row times any number is active at the same points."""
    for factor in (1e-9, 1e-3, 1.0, 1e9):
        problem = AllocationProblem(plain(), 1e9, constraints=(Custom(f"{factor!r} * z[a] >= {0.4 * factor!r}"),))
        form = joint_form(problem)
        for a, active in ((0.4, True), (0.4 + 1e-10, True), (0.4 + 1e-3, False)):
            x = form.complete(np.array([a, (1 - a) / 2, (1 - a) / 2]))
            assert (LimitsAt(form, x).sides[4] != 0) == active
        x = form.complete(np.array([0.4 - 1e-4, 0.3, 0.3 + 1e-4]))
        assert certify(form, x).residuals["primal"].value == pytest.approx(1e-4)
