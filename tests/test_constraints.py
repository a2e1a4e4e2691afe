"""Every constraint kind: active, with a shadow price that re-solves confirm; derivatives; what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from conftest import PROBLEMS

import climbopt
from climbopt import (
    AllocationProblem,
    Cap,
    Custom,
    Floor,
    Group,
    InputError,
    Linear,
    LossCeiling,
    StayNear,
    Supply,
    certify_ratios,
    load_model,
    solve,
)
from climbopt.backends import BACKENDS, Options
from climbopt.numerics.polytope import EmptyPolytopeError, Label, Rows
from climbopt.procedures import joint_form
from climbopt.program.linear_rows import _independent_rows
from climbopt.testing import family_model

TAKES_ALL = [name for name, entry in BACKENDS.items() if entry.missing is None and name in ("ipopt", "slsqp")]
GATED = load_model(PROBLEMS / "libreoffice6" / "model.toml")
CONVEX = family_model(5, seed=4)
ROMANCE = {"romance": ("es", "pt")}


def gated(*constraints, **given):
    return AllocationProblem(
        GATED, 8e6, constraints=constraints, groups=ROMANCE, supply=dict.fromkeys(GATED.sources, 3e6), **given
    )


def convex(*constraints):
    return AllocationProblem(CONVEX, 1e11, constraints=constraints)


# a constraint that is active, by the user's number, with the name of its multiplier and a step for differences
KINDS = {
    "floor": (lambda v: gated(Floor({"pt": v})), 0.2, "floor[pt]", 1e-4),
    "cap": (lambda v: gated(Cap({"en": v})), 0.15, "cap[en]", 1e-4),
    "group": (lambda v: gated(Group("romance", upper=v)), 0.2, "group", 1e-4),
    "supply": (
        lambda v: replace(gated(Supply(2.0)), supply=dict.fromkeys(GATED.sources, 3e6) | {"de": v}),
        5e5,
        "supply[de]",
        1e2,
    ),
    "stay_near": (lambda v: gated(StayNear(v, "uniform")), 0.05, "stay_near", 1e-4),
    "stay_near natural": (lambda v: convex(StayNear(v, {"en": 0.7, "de": 0.3})), 0.5, "stay_near", 1e-4),
    "loss_ceiling": (lambda v: gated(LossCeiling({"ru": v})), 1.1, "loss_ceiling[ru]", 1e-4),
    "loss_ceiling relative": (
        lambda v: convex(LossCeiling(excess=v, reference="uniform", targets=["sv"])),
        -0.02,
        "loss_ceiling[sv]",
        1e-4,
    ),
    "linear": (lambda v: gated(Linear({"ru": 2.0, "en": -1.0}, lower=v)), 0.3, "linear", 1e-4),
    "custom linear": (lambda v: gated(Custom(f"r[ru] - 0.5 * r[en] >= {v:.17g}")), 0.15, "custom", 1e-4),
    "custom of D": (lambda v: gated(Custom(f"r[ru] * D + r[de] * D >= {v:.17g}")), 4e6, "custom", 1e2),
    "custom of losses": (lambda v: gated(Custom(f"L[nl] <= L[ru] + {v:.17g}")), 0.1, "custom", 1e-4),
    "custom of z": (lambda v: gated(Custom(f"z[de] + z[nl] >= {v:.17g}")), 0.21, "custom", 1e-4),
    "custom nonlinear": (
        lambda v: gated(Custom(f"L[nl] * (r[nl] + z[ru]**2) / (1 + r[en]) <= {v:.17g}")),
        0.26,
        "custom",
        1e-4,
    ),
    "custom equation": (lambda v: gated(Custom(sp.Eq(climbopt.L["nl"] - climbopt.L["ru"], v))), 0.12, "custom", 1e-4),
    "custom sum": (lambda v: gated(Custom(f"sum(r[x]**2 for x in romance) <= {v:.17g}")), 0.04, "custom", 1e-4),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", TAKES_ALL)
def test_each_kind_is_active_with_its_shadow_price(kind, backend):
    build, number, name, step = KINDS[kind]
    options = Options(tolerance=1e-8)
    result = solve(build(number), procedure="joint", backend=backend, options=options)
    assert result.passed, result.certificate.residuals
    row = result.certificate.multipliers[name]
    assert row.active and abs(row.multiplier) > 1e-5
    up, down = (
        solve(build(number + sign * step), procedure="joint", backend=backend, options=options).objective
        for sign in (1, -1)
    )
    assert row.shadow_price == pytest.approx((up - down) / (2 * step), rel=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_with_each_kind(kind):
    """Jacobian and Hessian of the Lagrangian against differences of the exact first derivatives."""
    build, number, _, _ = KINDS[kind]
    form = joint_form(build(number))
    rng = np.random.default_rng(1)
    x = form.complete(rng.dirichlet(np.full(form.n_ratios, 5.0)))
    mu, h = rng.normal(size=len(form.nonlinear)), 1e-6
    evaluation = form.functions.at(x)
    exact = evaluation.hessian(0.7, mu)
    np.testing.assert_allclose(exact, exact.T, atol=1e-13)
    for j in range(form.n):
        step = h * np.eye(form.n)[j]
        ahead, behind = form.functions.at(x + step), form.functions.at(x - step)
        assert (ahead.value - behind.value) / (2 * h) == pytest.approx(evaluation.gradient[j], rel=1e-6, abs=1e-8)
        np.testing.assert_allclose(
            (ahead.rows - behind.rows) / (2 * h), evaluation.jacobian[:, j], rtol=1e-6, atol=1e-8
        )
        slope = [0.7 * one.gradient + one.jacobian.T @ mu for one in (ahead, behind)]
        np.testing.assert_allclose((slope[0] - slope[1]) / (2 * h), exact[:, j], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_two_step_and_baselines_mind_each_kind(kind):
    build, number, _, _ = KINDS[kind]
    two = solve(build(number), procedure="two_step")
    joint = solve(build(number), procedure="joint")
    assert joint.passed
    assert not two.passed or two.objective >= joint.objective - 1e-9
    uniform = solve(build(number), procedure="uniform")
    verdict = certify_ratios(build(number), uniform.ratios)
    assert uniform.certificate.residuals["primal"].value == pytest.approx(
        verdict.certificate.residuals["primal"].value, abs=1e-9
    )


def test_two_step_under_a_distance_is_certified():
    result = solve(gated(StayNear(0.05, "uniform")), procedure="two_step")
    assert result.passed and result.certificate.multipliers["stay_near"].active
    assert sum(abs(ratio - 1 / 6) for ratio in result.ratios.values()) == pytest.approx(0.05, abs=1e-7)
    assert not any(name.startswith("stay_near[") for name in result.certificate.multipliers)


def test_newton_agrees_where_rows_are_linear_in_the_ratios():
    for kind in ("stay_near", "linear", "custom linear", "custom of D", "group"):
        build, number, name, _ = KINDS[kind]
        newton, ipopt = (solve(build(number), backend=backend) for backend in ("newton", TAKES_ALL[0]))
        assert newton.passed and ipopt.passed
        for language, ratio in ipopt.ratios.items():
            assert newton.ratios[language] == pytest.approx(ratio, abs=1e-6)
        assert newton.certificate.multipliers[name].multiplier == pytest.approx(
            ipopt.certificate.multipliers[name].multiplier, rel=1e-4
        )


def test_convex_rows_are_proved_so_and_close_the_gap():
    """Custom rows that bend the right way keep the Lagrangian bound; one that bends the other way has none."""
    for constraint in (
        LossCeiling({"sv": 3.15}),
        Custom("L[sv]**2 + r[en]**2 <= 10"),
        Custom("z[sv] >= 0.66"),
        Custom("0.5 * r[en]**2 + (r[sv] - 0.5)**2 <= 0.07"),
    ):
        result = solve(convex(constraint))
        assert result.passed and result.certificate.relative_gap < 1e-8, constraint
        assert result.certificate.multipliers[
            next(name for name in result.certificate.multipliers if name.startswith(constraint.name))
        ].active
    for constraint in (Custom("r[en]**2 - r[sv]**2 <= -0.03"), Custom("z[sv] <= 0.6")):
        assert solve(convex(constraint)).certificate.lower_bound is None


def test_a_distance_with_ratios_at_the_center_and_at_bounds():
    """Sources on either side of their center by their bounds need no auxiliary; those at 0 are no vertex too many."""
    reference = {"en": 0.4, "de": 0.3, "nl": 0.3}
    problem = convex(StayNear(0.3, reference), Floor({"en": 0.45}), Cap({"de": 0.25}))
    form = joint_form(problem)
    assert form.variables[5:] == ("stay_near[nl]",)
    result = solve(problem)
    assert result.passed
    distance = sum(abs(ratio - reference.get(name, 0.0)) for name, ratio in result.ratios.items())
    assert distance == pytest.approx(0.3, abs=1e-8)


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: StayNear(0.0, "uniform"), "above 0 and at most 2"),
        (lambda: convex(StayNear(0.1, "unifrom")), "did you mean 'uniform'"),
        (lambda: convex(StayNear(0.1, "natural")), "needs the supply of en"),
        (lambda: convex(StayNear(0.1, {"en": 0.5})), "sums to 0.5"),
        (lambda: convex(StayNear(0.1, {"xx": 1.0})), "unknown language of the reference of stay_near 'xx'"),
        (lambda: LossCeiling(), "either 'losses'"),
        (lambda: LossCeiling({"en": 1.0}, excess=0.1, reference="uniform"), "either 'losses'"),
        (lambda: LossCeiling(excess=0.1), "with a 'reference'"),
        (lambda: LossCeiling({"en": -1.0}), "a loss above 0"),
        (lambda: LossCeiling(excess=-2.0, reference="uniform"), "0.02 allows 2 %"),
        (lambda: convex(LossCeiling({"xx": 1.0})), "unknown language of loss_ceiling 'xx'"),
        (
            lambda: AllocationProblem(
                family_model(2, interaction="none"), 1e9, constraints=(LossCeiling(excess=0.1, reference={"en": 1.0}),)
            ),
            "gives de no loss above 0",
        ),
        (lambda: Linear({}, upper=0.2), "coefficients"),
        (lambda: Linear({"en": 1.0}), "neither"),
        (lambda: Linear({"en": 1.0}, 0.3, 0.2), "must not be above"),
        (lambda: convex(Linear({"xx": 1.0}, 0.3)), "unknown language of linear 'xx'"),
        (lambda: convex(Custom("r[xx] <= 1")), r"unknown language of r\[xx\] in custom"),
        (lambda: convex(Custom("L[xx] <= 1")), r"unknown language of L\[xx\] in custom"),
        (lambda: convex(Custom("sum(r[x] for x in slavic) <= 1")), "unknown group 'slavic'"),
        (lambda: convex(Custom("r[en] + 1")), "custom: cannot read"),
        (lambda: convex(Custom("D >= 1")), "holds no ratio"),
        (lambda: convex(Custom(climbopt.r["en"] < 1)), "no relation"),
    ],
)
def test_bad_constraints(build, words):
    with pytest.raises(InputError, match=words):
        _ = build().rows


def test_equations_that_the_simplex_and_others_imply_are_left_out():
    """r_a = 0.3 implies r_b + r_c = 0.7, and twice the sum is 2; 0.8 in place of 0.7, or 3, contradicts them."""
    A = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 0.0], [2.0, 2.0, 2.0]])
    labels = tuple(Label(name) for name in ("a", "others", "b", "all"))

    def kept(others, most):
        low, high = np.array([0.3, others, 0.1, -np.inf]), np.array([0.3, others, 0.2, most])
        return _independent_rows(A, Rows(low, high, labels))

    assert kept(0.7, 2.0) == ([0, 2], ("others", "all"))
    for others, most in ((0.8, 2.0), (0.6, 2.0), (0.7, 1.9)):
        with pytest.raises(EmptyPolytopeError):
            kept(others, most)
