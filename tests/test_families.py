"""Generated families: backends agree, certificates pass, known facts hold, and what has no answer gets none."""

from dataclasses import replace

import numpy as np
import pytest

from climbopt import InputError, Options, solve
from climbopt.backends import BACKENDS, load
from climbopt.certification.local import certify, repair
from climbopt.foundations.errors import BackendError
from climbopt.foundations.solution import Termination
from climbopt.problem.objectives import Minimax
from climbopt.procedures import joint_form
from climbopt.testing import infeasible_problems, problem_families

FAMILIES = problem_families()
PROBLEMS = {problem.name: problem for members in FAMILIES.values() for problem in members}
PROVED = [problem.name for family in ("convex", "degenerate") for problem in FAMILIES[family]]
LOCAL = [problem.name for family in ("signed", "gated") for problem in FAMILIES[family]]
INFEASIBLE = infeasible_problems()
AGREEMENT: dict[str, float] = {}
"""Relative difference in the objective of backends that are held to less than 1e-9."""
AVAILABLE = [name for name, entry in BACKENDS.items() if entry.missing is None]
FORMS, ANSWERS = {}, {}


def form_of(name):
    if name not in FORMS:
        FORMS[name] = joint_form(PROBLEMS[name])
    return FORMS[name]


def answer(name, backend):
    """Return a backend's repaired point with its certificate; None where it refuses the problem."""
    if (name, backend) not in ANSWERS:
        form, chosen = form_of(name), load(backend)
        refusal = chosen.refusal(form)
        if refusal is None:
            solution = chosen.solve(form, Options(time_limit=60.0))
            assert solution.termination.settled, f"{backend} on {name}: {solution.raw_status}"
            x = repair(form, solution.x)
        ANSWERS[name, backend] = (None, refusal) if refusal else (x, certify(form, x, claimed=solution.multipliers))
    return ANSWERS[name, backend]


def reference(name):
    """Return the certificate of the first backend that takes a problem."""
    return next(certificate for x, certificate in (answer(name, backend) for backend in AVAILABLE) if x is not None)


def skip_refusals(name, backend):
    x, certificate = answer(name, backend)
    if x is None:
        assert backend in certificate
        pytest.skip(certificate)
    return x, certificate


def test_names_are_different():
    assert len(PROBLEMS) == sum(map(len, FAMILIES.values()))


@pytest.mark.parametrize("backend", AVAILABLE)
@pytest.mark.parametrize("name", PROVED)
def test_backends_agree_on_convex_members(name, backend):
    x, certificate = skip_refusals(name, backend)
    assert certificate.passed, certificate.residuals
    assert certificate.verdict.value == "global within gap"
    assert certificate.upper_bound == pytest.approx(reference(name).upper_bound, rel=AGREEMENT.get(backend, 1e-9))


@pytest.mark.parametrize("backend", AVAILABLE)
@pytest.mark.parametrize("name", LOCAL)
def test_every_answer_is_certified(name, backend):
    _, certificate = skip_refusals(name, backend)
    assert certificate.passed, certificate.residuals
    assert certificate.verdict.value == "strict local minimum"


@pytest.mark.parametrize("constraint", ["floor[nl]", "floor[es]", "cap[en]"])
def test_the_constraints_of_convex_members_bind(constraint):
    assert reference("floors and a cap").multipliers[constraint].active


@pytest.mark.parametrize("name", ["groups", "supply", "near uniform", "loss ceilings", "custom"])
def test_a_constraint_costs_something(name):
    assert reference(name).upper_bound > reference("no constraint").upper_bound + 1e-6


@pytest.mark.parametrize("backend", AVAILABLE)
@pytest.mark.parametrize("form", ["saturating", "linear", "gated"])
def test_without_transfer_the_closed_form(form, backend):
    """w B beta (D r)^-beta / r is the same for all: with equal betas r is in proportion to (w B)^(1 / (1 + beta))."""
    problem = PROBLEMS[f"alpha 0, {form}"]
    x, _ = skip_refusals(problem.name, backend)
    shares = (problem.weight_vector * problem.model.parameters["B"]) ** (1 / 1.3)
    np.testing.assert_allclose(x, shares / shares.sum(), atol=1e-6)


@pytest.mark.parametrize("backend", AVAILABLE)
def test_equal_languages_get_equal_ratios(backend):
    x, _ = skip_refusals("equal languages", backend)
    np.testing.assert_allclose(x[:3], x[:3].mean(), atol=1e-6)
    np.testing.assert_allclose(x[3:], x[3:].mean(), atol=1e-6)
    assert x[3] > x[0] + 0.01  # the two have the larger B


@pytest.mark.parametrize("backend", AVAILABLE)
def test_where_only_a_sum_matters_it_is_right(backend):
    """z_a = z_b = r_a + r_b = s and z_c = r_c: s is in proportion to (2 B_a)^(1 / (1 + beta)), r_c to B_c to it."""
    x, _ = skip_refusals("twins", backend)
    B = PROBLEMS["twins"].model.parameters["B"]
    shares = np.array([2 * B[0], B[2]]) ** (1 / 1.3)
    assert x[:2].sum() == pytest.approx(shares[0] / shares.sum(), abs=1e-6)


@pytest.mark.parametrize("backend", AVAILABLE)
def test_where_nothing_matters_nothing_is_lost(backend):
    """z_i is the sum of all ratios, 1: L_i = 1 + B_i D^-0.3 with D = 100 units."""
    _, certificate = skip_refusals("flat", backend)
    B = PROBLEMS["flat"].model.parameters["B"]
    assert certificate.upper_bound == pytest.approx(np.mean(1 + B * 100**-0.3), rel=1e-12)


@pytest.mark.parametrize("backend", AVAILABLE)
@pytest.mark.parametrize(
    ("name", "ratio", "side"),
    [("useless source", 0.0, "nonnegative[d]"), ("useless source at its floor", 0.05, "floor[d]")],
)
def test_a_source_that_helps_nobody_gets_no_more_than_it_must(name, ratio, side, backend):
    x, certificate = skip_refusals(name, backend)
    assert x[3] == pytest.approx(ratio, abs=1e-7)
    named = certificate.multipliers
    assert named[side].active  # d's own slope is 0, so that its multiplier is minus the simplex's
    assert named[side].multiplier == pytest.approx(-named["simplex"].multiplier, rel=1e-4)


@pytest.mark.parametrize("backend", AVAILABLE)
def test_floors_that_bind_and_floors_that_leave_one_mixture(backend):
    x, certificate = skip_refusals("active floors", backend)
    floors = [one for name, one in certificate.multipliers.items() if name.startswith("floor")]
    at_floor = np.array([one.active for one in floors])
    assert 2 <= at_floor.sum() <= 5
    np.testing.assert_allclose(x[at_floor], 0.16, atol=1e-7)
    assert all(one.multiplier < 0 for one in np.array(floors)[at_floor])
    x, certificate = skip_refusals("one mixture", backend)
    np.testing.assert_allclose(x, np.array([3, 2, 2, 1, 1, 1]) / 10, atol=1e-9)
    assert not certificate.licq


def test_the_ceilings_cannot_be_met():
    """The least largest loss relative to uniform's is proved above 0.95."""
    problem = INFEASIBLE["ceilings in conflict"]()
    result = solve(replace(problem, constraints=(), objective=Minimax(reference="uniform")))
    assert result.certificate.lower_bound > 0.95


@pytest.mark.parametrize("backend", AVAILABLE)
@pytest.mark.parametrize("name", INFEASIBLE)
def test_no_answer_claims_to_be_feasible(name, backend):
    """A refusal that names what is wrong, or a solve without a certificate that it passes."""
    try:
        result = solve(INFEASIBLE[name](), backend=backend, options=Options(time_limit=20.0, max_iterations=100))
    except InputError as refusal:
        assert any(constraint.name in str(refusal) for constraint in INFEASIBLE[name].keywords["constraints"])
        return
    except BackendError as refusal:
        pytest.skip(str(refusal))
    assert not result.passed
    assert result.solution.termination is not Termination.SOLVED
    if result.allocation is not None:
        assert result.certificate.verdict.value == "infeasible"
        assert result.certificate.residuals["primal"].value > 1e-3
