"""The certificate fails when anything it certifies is broken."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import Bounds
from test_newton import two_basins

import climbopt
from climbopt import (
    AllocationProblem,
    Floor,
    MixtureModel,
    Options,
    Supply,
    Verdict,
    certify_ratios,
    load_problem,
    solve,
)
from climbopt.backends import load
from climbopt.certification.kkt import LimitsAt, recover, residuals
from climbopt.certification.local import _named, certify, certify_feasible, lower_bound, repair
from climbopt.foundations.solution import Multipliers
from climbopt.model.convexity import Proofs
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.problem.objectives import CustomObjective
from climbopt.procedures import joint_form
from climbopt.procedures.direction import equal_benefit_direction
from climbopt.procedures.two_step import magnitude_form
from climbopt.program import ACTIVE
from climbopt.testing import CASES, family_problem


def three(B, beta=1.0):
    """L_i = 1 + B_i / r_i^beta for languages a, b, c."""
    m = len(B)
    return MixtureModel(
        LAWS["power"],
        INTERACTIONS["none"],
        tuple("abcdef"[:m]),
        tuple("abcdef"[:m]),
        {"E": np.ones(m), "B": B, "beta": np.full(m, beta)},
        1e9,
    )


FORMS = {
    "known floor": lambda: joint_form(load_problem("known_floor")),
    "measured": lambda: joint_form(load_problem("libreoffice6")),
    "synthetic, with a group": lambda: joint_form(load_problem("synthetic16")),
    "magnitude": lambda: magnitude_form(
        load_problem("synthetic16"), equal_benefit_direction(load_problem("synthetic16"), 1.0)
    ),
}


@pytest.fixture(params=FORMS)
def solved(request):
    """A form, its optimum and its multipliers."""
    form = FORMS[request.param]()
    solution = load("slsqp" if form.has_nonlinear_rows else "newton").solve(form, Options())
    return form, solution.x, recover(LimitsAt(form, solution.x))


def test_an_optimum_passes(solved):
    form, x, multipliers = solved
    assert certify(form, x).passed
    assert all(residual.value < 1e-6 for residual in residuals(LimitsAt(form, x), multipliers).values())


@pytest.mark.parametrize("seed", range(5))
def test_a_moved_point_fails(solved, seed):
    form, x, _ = solved
    step = np.random.default_rng(seed).normal(size=x.size)
    moved = repair(form, x + 1e-3 * step / np.abs(step).max())
    certificate = certify(form, moved)
    assert not certificate.passed and certificate.verdict in (Verdict.FEASIBLE, Verdict.INFEASIBLE)


def test_a_changed_multiplier_fails(solved):
    form, x, multipliers = solved
    for part in ("rows", "bounds", "nonlinear"):
        values = getattr(multipliers, part)
        for k in np.flatnonzero(np.abs(values) > 1e-3)[:5]:
            changed = values.copy()
            changed[k] *= 1.01
            found = residuals(LimitsAt(form, x), replace(multipliers, **{part: changed}))
            assert found["stationarity"].value > 1e-6, part


def test_a_flipped_sign_is_a_dual_residual():
    form = FORMS["known floor"]()
    x = np.array([0.5, 0.25, 0.25])
    multipliers = recover(LimitsAt(form, x))
    found = residuals(LimitsAt(form, x), replace(multipliers, bounds=-multipliers.bounds))
    assert found["dual"].value > 0.1 and found["dual"].worst == "floor[c]"


def test_a_multiplier_on_a_slack_row_is_a_complementarity_residual():
    form = FORMS["known floor"]()
    x = np.array([0.5, 0.25, 0.25])
    multipliers = recover(LimitsAt(form, x))
    moved = multipliers.bounds.copy()
    moved[0] = -1.0
    found = residuals(LimitsAt(form, x), replace(multipliers, bounds=moved))
    assert found["complementarity"].value > 0.01 and found["complementarity"].worst == "nonnegative[a]"


def test_an_infeasible_point_is_called_so():
    form = FORMS["known floor"]()
    certificate = certify(form, np.array([0.6, 0.3, 0.1]))
    assert certificate.verdict is Verdict.INFEASIBLE and not certificate.passed
    assert certificate.residuals["primal"].worst == "floor[c]"
    assert certificate.residuals["primal"].value == pytest.approx(0.15)
    assert certify_feasible(form, np.array([0.6, 0.3, 0.1])).verdict is Verdict.INFEASIBLE


def test_outside_the_domain_is_infeasible():
    form = joint_form(load_problem("equal_beta"))
    certificate = certify(form, np.array([0.0, 0.5, 0.25, 0.25]))
    assert certificate.verdict is Verdict.INFEASIBLE and not certificate.passed


def test_a_point_that_is_not_a_number_never_passes():
    form = FORMS["known floor"]()
    certificate = certify(form, np.array([np.nan, 0.5, 0.5]))
    assert not certificate.passed and certificate.verdict is Verdict.INFEASIBLE


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recovered_multipliers_are_those_derived_by_hand(case):
    form = case.form()
    certificate = certify(form, np.array(case.x))
    assert certificate.passed
    assert certificate.licq
    for name, one in certificate.multipliers.items():
        assert one.multiplier == pytest.approx(case.multipliers.get(name, 0.0), abs=1e-9), name


def test_the_lower_bound_holds_for_any_multipliers_and_any_point():
    """Weak duality needs no optimality: the bound is below the optimum wherever it is taken."""
    form = FORMS["magnitude"]()
    best = load("slsqp").solve(form, Options())
    optimum = form.functions.at(best.x).value
    rng = np.random.default_rng(0)
    for _ in range(50):
        ratios = rng.dirichlet(np.ones(form.n - 1))
        x = repair(form, np.append(ratios, 0.0))
        mu = -rng.random(form.functions.n_rows)
        bound = lower_bound(form, x, Multipliers(np.zeros(form.n), np.zeros(len(form.polytope.rows)), mu))
        assert bound is not None and bound <= optimum + 1e-9


def test_no_bound_is_claimed_where_convexity_is_not_proved():
    certificate = solve(load_problem("libreoffice6")).certificate
    assert certificate.verdict is Verdict.STRICT_LOCAL_MINIMUM
    assert (certificate.lower_bound, certificate.gap, certificate.relative_gap, certificate.bound) == (None,) * 4


def test_a_lie_about_convexity_would_give_a_bound_above_a_better_point(monkeypatch):
    """Mutation: at a saddle point the bound equals the value there; the true proof refuses to give it."""
    form = joint_form(AllocationProblem(two_basins(), 1e9))
    middle, corner = form.functions.at(form.start).value, form.functions.at(np.array([1.0, 0.0])).value
    assert lower_bound(form, form.start, recover(LimitsAt(form, form.start))) is None
    monkeypatch.setattr(Proofs, "losses_convex", True)
    assert lower_bound(form, form.start, recover(LimitsAt(form, form.start))) == pytest.approx(middle, abs=1e-9)
    assert corner < middle - 1e-4


def test_writing_a_row_as_its_negative_flips_its_multiplier():
    form = FORMS["synthetic, with a group"]()
    x = load("newton").solve(form, Options()).x
    polytope = form.polytope
    flipped = replace(
        form,
        polytope=replace(
            polytope, A=-polytope.A, rows=polytope.rows.within(-polytope.rows.upper, -polytope.rows.lower)
        ),
    )
    ours, theirs = recover(LimitsAt(form, x)), recover(LimitsAt(flipped, x))
    np.testing.assert_allclose(theirs.rows, -ours.rows, atol=1e-9)
    np.testing.assert_allclose(theirs.bounds, ours.bounds, atol=1e-9)


def test_shadow_prices_are_what_a_move_of_the_bound_brings():
    """d f* / d bound by central differences, in the user's unit, on an active floor and an active supply."""
    problem = load_problem("synthetic16")
    result = solve(problem)
    for name, change in (("floor[sv]", 1e-4), ("supply[ur]", 1e6), ("supply[mr]", 1e6)):
        language = name[name.index("[") + 1 : -1]
        values = []
        for sign in (1, -1):
            if name.startswith("supply"):
                moved = replace(problem, supply={**problem.supply, language: problem.supply[language] + sign * change})
            else:
                floors = Floor({"uk": 0.02, "sv": 0.02 + sign * change})
                kept = [c for c in problem.constraints if c.kind != "floor"]
                moved = replace(problem, constraints=(*kept, floors))
            values.append(solve(moved).objective)
        price = (values[0] - values[1]) / (2 * change)
        one = result.certificate.multipliers[name]
        assert one.active and one.shadow_price == pytest.approx(price, rel=1e-3), name


def test_two_constraints_on_one_bound():
    """The tighter one has the multiplier; at a tie the first, which says so."""
    problem = load_problem("known_floor")
    tied = replace(problem, constraints=(Floor({"c": 0.25}, "first"), Floor({"c": 0.25}, "second")))
    certificate = solve(tied).certificate
    assert certificate.multipliers["first[c]"].tied == ("second[c]",) and "second[c]" not in certificate.multipliers
    nested = replace(problem, constraints=(Floor({"c": 0.2}, "loose"), Floor({"c": 0.25}, "tight")))
    certificate = solve(nested).certificate
    assert certificate.multipliers["tight[c]"].multiplier == pytest.approx(-5.12, rel=1e-6)
    assert "loose[c]" not in certificate.multipliers


def test_given_ratios():
    problem = load_problem("known_floor")
    best = certify_ratios(problem, {"a": 0.5, "b": 0.25, "c": 0.25})
    assert best.passed and best.certificate.verdict is Verdict.GLOBAL
    worse = certify_ratios(problem, {"a": 0.4, "b": 0.35, "c": 0.25})
    assert not worse.passed and worse.certificate.verdict is Verdict.FEASIBLE
    assert worse.certificate.lower_bound <= best.objective + 1e-9
    broken = certify_ratios(problem, {"a": 0.6, "b": 0.3, "c": 0.1})
    assert not broken.passed and broken.certificate.verdict is Verdict.INFEASIBLE


def test_active_means_within_its_tolerance():
    form = FORMS["known floor"]()
    near, far = np.array([0.5, 0.25, 0.25]), np.array([0.5, 0.25, 0.25])
    for x, distance in ((near, 0.1 * ACTIVE), (far, 10 * ACTIVE)):
        x += np.array([-distance, 0.0, distance])
    assert certify(form, near).multipliers["floor[c]"].active
    assert not certify(form, far).multipliers["floor[c]"].active


def test_weakly_active_rows_are_named():
    case = next(case for case in CASES if case.name == "weakly active floor")
    certificate = certify(case.form(), np.array(case.x))
    assert certificate.weakly_active == ("floor[c]",) and certificate.verdict is Verdict.GLOBAL


def test_a_convex_problem_at_many_languages():
    form = joint_form(family_problem(100))
    certificate = certify(form, load("newton").solve(form, Options()).x)
    assert certificate.verdict is Verdict.GLOBAL and certificate.gap < 1e-10
    assert "proved" in certificate.bound.rests_on


def test_the_gradient_of_one_language_excuses_no_other():
    """A language held near 0 by its supply has a huge gradient; the others are far from their optimum all the same."""
    problem = AllocationProblem(
        three((4.0, 1.0, 1.0), beta=0.5), 1e9, supply={"a": 1e12, "b": 1e12, "c": 1e4}, constraints=(Supply(1.0),)
    )
    given = certify_ratios(problem, {"a": 0.5, "b": 0.5 - 1e-5, "c": 1e-5})
    assert not given.passed and given.certificate.gap > 0.1
    best = solve(problem)
    assert best.passed and best.objective < given.objective - 0.1


def test_no_gap_is_given_for_an_infeasible_point():
    certificate = certify(FORMS["known floor"](), np.array([0.6, 0.3, 0.1]))
    assert certificate.lower_bound is None and certificate.gap is None


def test_at_the_edge_of_the_domain():
    problem = AllocationProblem(three((4.0, 1.0, 1.0)), 1e9)
    assert not certify_ratios(problem, {"a": 1e-200, "b": 0.5, "c": 0.5}).passed


@pytest.mark.parametrize("seed", range(40))
def test_rounding_lifts_no_bound_above_the_optimum(seed):
    """f = c'r: the least of c is the optimum, exactly; the bound of any mixture is not above it, nor far below."""
    c = np.random.default_rng(seed).normal(size=3) * 10.0 ** np.random.default_rng(seed).integers(-3, 9)
    terms = " + ".join(f"{float(value)!r} * r[{name}]" for value, name in zip(c, "abc", strict=True))
    problem = AllocationProblem(three((4.0, 1.0, 1.0)), 1e9, objective=CustomObjective(terms))
    form = joint_form(problem)
    for x in np.random.default_rng(seed).dirichlet(np.ones(3), 10):
        bound = lower_bound(form, x, Multipliers(np.zeros(3), np.zeros(1), np.zeros(form.functions.n_rows)))
        assert c.min() - 1e-13 * np.abs(c).max() <= bound <= c.min()


def test_a_limit_whose_multiplier_is_zero_is_named_by_its_active_side():
    problem = replace(climbopt.load_problem("equal_beta"), constraints=(climbopt.Cap({"en": 0.3}),))
    form = joint_form(problem)
    for share, active in ((0.3, True), (0.2, False)):
        limits = LimitsAt(form, form.complete(np.array([share, *np.full(3, (1 - share) / 3)])))
        assert ("cap[en]" in _named(limits, np.zeros(limits.value.size))) == active


def test_the_bound_is_lowered_by_the_rounding_of_a_large_constant():
    form = joint_form(replace(climbopt.load_problem("equal_beta"), objective="1000000 + L[en] + L[de] + L[sw] + L[yo]"))
    solution = load("newton").solve(form, Options())
    value = form.functions.at(solution.x).value
    least = lower_bound(form, solution.x, recover(LimitsAt(form, solution.x)))
    assert value - 1e-8 < least <= value - 4 * np.finfo(float).eps * 1e6


def test_recovered_multipliers_have_the_right_sign_at_any_point():
    """At a corner that f falls away from, no sign fits, and the multipliers are 0."""
    bounds = Bounds([0.0, 0.0], [1.0, 1.0])
    examined = climbopt.examine(
        lambda x: -x.sum(), lambda x: -np.ones(2), lambda x: np.zeros((2, 2)), [bounds], np.zeros(2)
    )
    assert not examined.passed
    assert [examined.certificate.multipliers[f"bound[{i}]"].multiplier for i in range(2)] == [0.0, 0.0]


def test_convexity_is_asked_up_to_the_upper_bounds():
    """3 r^2 - 2 r^3 is convex up to r = 0.5 only."""
    problem = replace(climbopt.load_problem("equal_beta"), objective="3 * r[en]**2 - 2 * r[en]**3 + L[en] + L[de]")
    wide, narrow = joint_form(problem), joint_form(replace(problem, constraints=(climbopt.Cap({"en": 0.4}),)))
    assert not wide.functions.convex(wide.polytope, np.zeros(len(wide.nonlinear)))
    assert narrow.functions.convex(narrow.polytope, np.zeros(len(narrow.nonlinear)))
