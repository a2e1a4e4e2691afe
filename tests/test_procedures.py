"""Procedures as arguments: names, options, what a problem's file declares, and what is refused."""

import pytest

from climbopt import InputError, Joint, Temperature, TwoStep, Uniform, load_problem, solve
from climbopt.files.problems import PROCEDURE_NAMES
from climbopt.procedures import PROCEDURES, as_procedure
from climbopt.procedures.result import resolve


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
    assert resolve(two_step_file, Temperature(5.0))[1] == Temperature(5.0)
    assert resolve(load_problem(two_step_file), "two_step")[1] == TwoStep(iterate=False)


@pytest.mark.parametrize(
    ("procedure", "message"),
    [
        ("two_steps", "unknown procedure 'two_steps'; did you mean 'two_step'"),
        ("temperature", r"needs the number 'temperature'; .* climbopt.Temperature\(3.3\)"),
        (Uniform, r"Uniform is a class; write Uniform\(\)"),
        (3.3, r"a float is no procedure; give a name \(joint, .*\) or an object such as climbopt.TwoStep\(\)"),
    ],
)
def test_what_is_no_procedure_is_refused(procedure, message):
    with pytest.raises(InputError, match=message):
        as_procedure(procedure)
