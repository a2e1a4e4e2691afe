"""Global certificates of answers: bounds, verdicts, regret, better mixtures, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from climbopt import AllocationProblem, InputError, Verdict, certify_ratios, load_problem, solve
from climbopt.model.interactions import Interaction
from climbopt.model.laws import LAWS
from climbopt.model.mixture import MixtureModel
from climbopt.model.symbols import Parameter, r_i, r_j
from climbopt.procedures.optimum import Effort, certify_globally
from climbopt.testing import degenerate_problems, family_problem


def simplex_grid(m, steps):
    """Return every mixture of m languages whose ratios are multiples of 1 / steps."""
    if m == 1:
        return np.ones((1, 1))
    axes = np.stack(np.meshgrid(*[np.arange(steps + 1)] * (m - 1), indexing="ij"), -1).reshape(-1, m - 1)
    axes = axes[axes.sum(axis=1) <= steps]
    return np.column_stack([axes, steps - axes.sum(axis=1)]) / steps


@pytest.mark.parametrize("interaction, negative", [("saturating", 0.3), ("gated", 0.3), ("gated", 0.0)])
def test_no_mixture_of_a_grid_is_below_the_bound(interaction, negative):
    problem = family_problem(4, interaction=interaction, negative=negative, seed=5)
    result = certify_globally(solve(problem))
    certificate = result.certificate
    assert result.passed and certificate.verdict is Verdict.GLOBAL and certificate.relative_gap <= 1e-6
    best = np.nanmin(problem.value(simplex_grid(4, 60)))
    assert certificate.lower_bound <= best
    assert certificate.upper_bound <= best + 1e-12
    assert (
        certificate.bound.search.rigor == "float"
        and certificate.bound.search.nodes >= 0
        and "Lagrangian decomposition" in certificate.bound.rests_on
    )


def test_what_is_convex_needs_no_branching():
    certificate = certify_globally(solve(load_problem("synthetic16"))).certificate
    assert certificate.bound.search.nodes == 0 and "convexity" in certificate.bound.rests_on


def test_a_local_answer_is_told_from_the_global_one():
    """Uniform ratios are feasible and no optimum: the bound says by how much, and a better mixture is shown."""
    problem = load_problem("libreoffice6")
    free = replace(problem, constraints=())
    given = certify_globally(certify_ratios(free, dict.fromkeys(free.model.sources, 1 / 6)), Effort(gap=1e-4))
    best = solve(free)
    assert not given.passed and given.certificate.verdict is Verdict.FEASIBLE
    assert given.certificate.lower_bound <= best.objective < given.certificate.upper_bound
    assert given.certificate.gap >= given.objective - best.objective
    better = problem.value(np.array(list(given.better.values())))
    assert better < given.objective and given.certificate.lower_bound <= better


def test_regret_of_two_step_and_baselines():
    problem = family_problem(4, negative=0.3, seed=2)
    joint = certify_globally(solve(problem))
    for procedure in ("two_step", "uniform"):
        result = certify_globally(solve(problem, procedure=procedure))
        excess = result.objective - joint.objective
        assert result.regret.least <= excess + 1e-9 and excess <= result.regret.most + 1e-9
        assert result.regret.most - result.regret.least <= 1e-5
    assert joint.regret is None


def test_a_gap_that_is_not_reached_does_not_pass():
    result = certify_globally(solve(load_problem("libreoffice6")), Effort(gap=1e-17, time_limit=0.3))  # below rounding
    assert not result.passed and result.certificate.gap > 0
    assert result.certificate.verdict is not Verdict.GLOBAL
    assert result.certificate.lower_bound <= result.certificate.upper_bound


def test_a_template_that_does_not_decompose_is_named():
    import sympy as sp

    mixed = Interaction(
        "mixed_up",
        own=r_i,
        pair=sp.Symbol("q", real=True) * sp.sqrt(r_i * r_j + 1) * r_j,
        parameters=(Parameter(sp.Symbol("q", real=True), "pair"),),
    )
    model = MixtureModel(
        LAWS["power"],
        mixed,
        ("a", "b"),
        ("a", "b"),
        {"E": np.ones(2), "B": np.ones(2), "beta": np.ones(2), "q": np.full((2, 2), 0.1)},
        1e9,
    )
    result = certify_globally(solve(AllocationProblem(model, 1e9)))
    assert "mixed_up" in result.certificate.bound.rests_on
    # by symmetry the halves are stationary: L = 1 + 1 / (1/2 + 0.05 sqrt(5/4))
    assert result.certificate.upper_bound == pytest.approx(1 + 1 / (0.5 + 0.05 * np.sqrt(1.25)), abs=1e-9)
    assert 0 <= result.certificate.gap < 1e-5 and result.passed


def test_what_cannot_be_bounded_says_why():
    model = family_problem(2, interaction="gated", negative=0.3, seed=5).model
    product = " * ".join(f"L[{name}]" for name in model.targets)
    result = certify_globally(solve(AllocationProblem(model, 1e9, objective=product)))
    assert result.certificate.lower_bound is None and "not affine" in result.certificate.no_bound
    assert not result.passed


def test_command_line(run, tmp_path):
    code, out, _ = run("certify", "known_floor", "--json", "-")
    certificate = json.loads(out)["certificate"]
    assert code == 0 and {
        "lower_bound",
        "upper_bound",
        "gap",
        "relative_gap",
        "rigor",
        "gap_rests_on",
        "nodes",
        "seconds",
    } <= set(certificate)
    assert certificate["relative_gap"] <= 1e-6 and certificate["rigor"] == "float"
    ratios = tmp_path / "r.json"
    ratios.write_text(json.dumps({"en": 0.25, "de": 0.25, "sw": 0.25, "yo": 0.25}))
    code, out, _ = run("certify", "equal_beta", "--ratios", ratios, "--gap", "1e-3")
    assert code == 1 and "NOT passed: feasible" in out and "no mixture is below" in out
    code, out, _ = run("solve", "equal_beta", "--procedure", "uniform", "--certify", "global", "--json", "-")
    regret = json.loads(out)["regret"]
    assert 0 < regret["least"] <= regret["most"]
    for arguments, words in (
        (("--gap", "0"), "must be a positive number"),
        (("--rigor", "exact"), "float or ball"),
        (("--time-limit", "-1"), "must be a positive number"),
    ):
        code, _, err = run("certify", "equal_beta", *arguments)
        assert code == 2 and words in err
    code, _, err = run("solve", "equal_beta", "--certify", "globally")
    assert code == 2 and "local or global" in err


def test_bad_effort():
    for wrong in ({"gap": 0.0}, {"time_limit": float("nan")}, {"rigor": "exact"}, {"jobs": 0}):
        with pytest.raises(InputError):
            Effort(**wrong)


def test_a_tighter_gap_than_was_reached_claims_no_other_kind_of_optimum():
    """Every mixture of the flat problem is as good: its bound stays true, and it is no strict local minimum."""
    flat = next(one for one in degenerate_problems() if one.name == "flat")
    local = solve(flat)
    assert local.certificate.verdict is Verdict.GLOBAL
    result = certify_globally(local, Effort(gap=1e-300, time_limit=1.0))
    assert result.certificate.verdict is Verdict.GLOBAL and result.certificate.gap >= 0
    assert result.passed == (result.certificate.relative_gap <= 1e-300)
