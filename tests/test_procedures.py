"""Procedures as arguments: names, options, what a problem's file declares, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from climbopt import (
    InputError,
    Joint,
    NoAnswerError,
    Options,
    Solution,
    Temperature,
    Termination,
    TwoStep,
    Uniform,
    certify_ratios,
    load_problem,
    solve,
)
from climbopt.files.problems import PROCEDURE_NAMES
from climbopt.procedures import PROCEDURES, as_procedure
from climbopt.procedures.result import Result, resolve
from climbopt.reports.results import result_json


@pytest.fixture
def two_step_file(tmp_path):
    model = load_problem("equal_beta").model
    from climbopt import save_model

    save_model(model, tmp_path / "model.toml")
    path = tmp_path / "problem.toml"
    path.write_text(
        'model = "model.toml"\nbudget = 1e10\nprocedure = "two_step"\niterate = true\ntemperature = 2.0\n\n'
        "[supply]\n" + "".join(f"{name} = 1e9\n" for name in model.sources)
    )
    return path


def test_files_and_the_registry_name_the_same_procedures():
    assert set(PROCEDURES) == set(PROCEDURE_NAMES)


def test_a_file_is_solved_by_what_it_declares_and_a_problem_by_joint(two_step_file):
    assert resolve(two_step_file)[1] == TwoStep(iterate=True)
    assert solve(str(two_step_file)).procedure == TwoStep(iterate=True)
    assert solve(load_problem(two_step_file)).procedure == Joint()


def test_a_name_takes_its_options_from_the_file_and_an_object_keeps_its_own(two_step_file):
    assert resolve(two_step_file, "temperature")[1] == Temperature(2.0)
    assert as_procedure("temperature") == Temperature(3.3)
    assert resolve(two_step_file, Temperature(5.0))[1] == Temperature(5.0)
    assert resolve(load_problem(two_step_file), "two_step")[1] == TwoStep(iterate=False)


@pytest.mark.parametrize(
    ("procedure", "message"),
    [
        ("two_steps", "unknown procedure 'two_steps'; did you mean 'two_step'"),
        (Uniform, r"Uniform is a class; write Uniform\(\)"),
        (3.3, r"a float is no procedure; give a name \(joint, .*\) or an object such as climbopt.TwoStep\(\)"),
    ],
)
def test_what_is_no_procedure_is_refused(procedure, message):
    with pytest.raises(InputError, match=message):
        as_procedure(procedure)


def test_a_result_without_a_point_says_why_and_has_no_numbers():
    solution = Solution(None, None, Termination.FAILED, "out of licences", "odd", "1", None, None, 0.1)
    result = Result(load_problem("equal_beta"), Joint(), None, solution, Options())
    assert not result.passed and result.two_step_gap is None and result.conflict is None
    for name in (
        "ratios",
        "losses",
        "objective",
        "certificate",
        "effective_ratios",
        "z",
        "marginal_benefit",
        "two_step",
    ):
        with pytest.raises(NoAnswerError, match="equal_beta has no answer: odd .*out of licences"):
            getattr(result, name)
    record = result_json(result)
    assert record["ratios"] is None and record["certificate"] is None and record["losses"] == {}
    assert record["raw_status"] == "out of licences" and record["two_step_gap"] is None


def test_ratios_that_were_not_solved_for_have_no_gap():
    problem = load_problem("equal_beta")
    judged = certify_ratios(problem, solve(problem).ratios)
    assert judged.passed and judged.two_step_gap is None
    assert solve(problem).two_step_gap is not None


def test_the_marginal_benefit_is_per_unit_of_z():
    """-w_i dL_i/dz_i by differences of the declared law."""
    problem = load_problem("libreoffice6")
    result, step = solve(problem), 1e-6
    z = np.array(list(result.z.values()))
    response = problem.model.at(problem.total_budget, problem.params)
    slopes = (response.losses(z + step) - response.losses(z - step)) / (2 * step)
    np.testing.assert_allclose(list(result.marginal_benefit.values()), -problem.weight_vector * slopes, rtol=1e-6)


class Other(Joint):
    """Solves for another budget than the problem's."""

    name = "other"

    def answer(self, problem, backend, options):
        return Joint().answer(replace(problem, budget=2 * problem.budget), backend, options)


def test_what_was_solved_must_be_what_was_declared():
    problem = load_problem("equal_beta")
    result = solve(problem, Other())
    assert not result.passed
    assert result.certificate.residuals["stationarity"].worst == "declared objective"
    assert solve(problem, Joint()).passed
