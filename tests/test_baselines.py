"""Baselines, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import random_model

from climbopt import AllocationProblem, InputError, Supply, Temperature, Verdict, load_problem, solve

SUPPLY = {"s0": 8e9, "s1": 1e9, "s2": 0.5e9, "s3": 0.5e9}


@pytest.fixture
def problem():
    return AllocationProblem(random_model("linear"), 2e9, supply=SUPPLY)


def ratios(problem, procedure):
    result = solve(problem, procedure=procedure)
    assert result.passed and result.certificate.verdict is Verdict.FEASIBLE and result.two_step_gap is None
    return np.array([result.ratios[name] for name in problem.model.sources])


def test_uniform(problem):
    np.testing.assert_allclose(ratios(problem, "uniform"), 0.25)


def test_natural(problem):
    np.testing.assert_allclose(ratios(problem, "natural"), [0.8, 0.1, 0.05, 0.05])


def test_temperature(problem):
    roots = np.sqrt([8, 1, 0.5, 0.5])
    np.testing.assert_allclose(ratios(problem, Temperature(2.0)), roots / roots.sum())
    roots = np.array([8, 1, 0.5, 0.5]) ** (1 / 3.3)
    np.testing.assert_allclose(ratios(problem, "temperature"), roots / roots.sum())
    with pytest.raises(InputError, match="temperature is 0; it must be a positive number"):
        Temperature(0.0)


def test_unimax_fills_the_smallest_first(problem):
    """2 B tokens at one epoch: 0.5 each fit, so that all get an equal share; at 4 B the small ones are used up."""
    np.testing.assert_allclose(ratios(problem, "unimax"), 0.25)
    np.testing.assert_allclose(ratios(replace(problem, budget=4e9), "unimax"), np.array([2.0, 1.0, 0.5, 0.5]) / 4)
    twice = replace(problem, budget=4e9, constraints=(Supply(2.0),))
    np.testing.assert_allclose(ratios(twice, "unimax"), 0.25)
    with pytest.raises(InputError, match="the epoch cap allows 1e.10 tokens in all, and the budget is 2e.10"):
        solve(replace(problem, budget=20e9), procedure="unimax")


def test_isolated_ignores_transfer(problem):
    alone = replace(problem, model=random_model("none"))
    assert (random_model("none").parameters["B"] == problem.model.parameters["B"]).all()
    expected = solve(alone).ratios
    result = solve(problem, procedure="isolated")
    assert result.ratios == pytest.approx(expected, abs=1e-8)
    assert result.objective < solve(alone).objective  # it is judged with the transfer it did not count on
    assert result.objective >= solve(problem).objective


def test_a_baseline_that_breaks_a_constraint_is_not_certified(problem):
    result = solve(replace(problem, budget=10e9, constraints=(Supply(1.0),)), procedure="uniform")
    assert not result.passed and result.certificate.verdict is Verdict.INFEASIBLE
    assert result.certificate.residuals["primal"].worst == "supply[s2]"


def test_supply_is_needed(problem):
    with pytest.raises(InputError, match="'natural' needs the supply of s3"):
        solve(replace(problem, supply={k: v for k, v in SUPPLY.items() if k != "s3"}), procedure="natural")


def test_no_baseline_beats_joint():
    problem = replace(load_problem("libreoffice6"), constraints=())
    best = solve(problem).objective
    for procedure in ("uniform", "natural", Temperature(3.3), "unimax", "isolated", "two_step"):
        assert solve(problem, procedure=procedure).objective >= best
