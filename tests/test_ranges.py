"""Near-optimal ranges against a fine grid, closed forms, processes and what is refused."""

import json

import numpy as np
import pytest

from climbopt import AllocationProblem, Cap, InputError, Minimax, load_problem, ranges, solve
from climbopt.backends import BACKENDS, Options
from climbopt.procedures import joint_form
from climbopt.program import extreme
from climbopt.testing import family_model, family_problem


@pytest.mark.parametrize("interaction", ["saturating", "gated"])
def test_ranges_against_a_grid(interaction):
    """No mixture of a fine grid that is good enough lies outside, and some come close to both ends."""
    problem = AllocationProblem(family_model(3, interaction=interaction, seed=2), 1e11, constraints=(Cap({"de": 0.4}),))
    result = solve(problem)
    found = ranges(result, 0.002)
    grid = np.array([(a, b, 400 - a - b) for a in range(401) for b in range(401 - a)]) / 400
    grid = grid[grid[:, 1] <= 0.4]
    good = grid[problem.value(grid) <= result.objective * 1.002]
    for j, one in enumerate(found.values()):
        assert one.certified and one.proved == (interaction == "saturating")
        assert one.lower - 1e-7 <= good[:, j].min() < one.lower + 0.008
        assert one.upper - 0.008 < good[:, j].max() <= one.upper + 1e-7


def test_ranges_do_not_depend_on_processes_or_solver():
    result = solve(load_problem("synthetic16"))
    told = []
    alone, many = ranges(result, 1e-3, jobs=1, progress=lambda *at: told.append(at)), ranges(result, 1e-3, jobs=2)
    assert alone == many and told == [(8, 16), (16, 16)]
    other = ranges(result, 1e-3, backend="slsqp")
    for name, one in other.items():
        assert one.certified
        assert one.lower == pytest.approx(alone[name].lower, abs=1e-5)
        assert one.upper == pytest.approx(alone[name].upper, abs=1e-5)


def test_ranges_of_another_objective():
    problem = AllocationProblem(family_model(3, seed=2), 1e11, objective=Minimax())
    result = solve(problem)
    for j, one in enumerate(ranges(result, 0.001).values()):
        ratio = list(result.ratios.values())[j]
        assert one.certified and one.lower < ratio < one.upper


def test_a_failed_solve_is_not_called_a_range():
    found = ranges(solve(family_problem(3)), 1e-3, backend="slsqp", options=Options(max_iterations=1))
    assert not any(one.certified or one.proved for one in found.values())


def test_derivatives_of_the_level_set():
    form = joint_form(family_problem(4, interaction="gated"))
    asked = extreme(form, 1, -1, 3.0)
    x, mu, h = form.start, np.full(len(asked.nonlinear), 0.7), 1e-6
    evaluation = asked.functions.at(x)
    assert evaluation.rows[-1] == form.functions.at(x).value and evaluation.value == -x[1]
    for j in range(4):
        step = h * np.eye(4)[j]
        ahead, behind = asked.functions.at(x + step), asked.functions.at(x - step)
        np.testing.assert_allclose((ahead.rows - behind.rows) / (2 * h), evaluation.jacobian[:, j], rtol=1e-7)
        np.testing.assert_allclose(
            (ahead.jacobian - behind.jacobian).T @ mu / (2 * h), evaluation.hessian(1.0, mu)[:, j], rtol=1e-5, atol=1e-7
        )


def test_command_line(run):
    code, out, _ = run("solve", "equal_beta", "--ranges", "0.1%", "--json", "-")
    found = json.loads(out)["ranges"]
    assert code == 0 and set(found) == {"en", "de", "sw", "yo"}
    assert all(one["lower"] < one["upper"] and one["certified"] for one in found.values())
    code, out, _ = run("solve", "equal_beta", "--ranges", "0.001")
    assert "range %" in out and code == 0
    for arguments, words in (
        (("--ranges", "much"), "write a ratio such as 0.2 or 20%"),
        (("--ranges", "-1"), "above 0"),
        (("--ranges", "1%", "--procedure", "two_step"), "for the procedure joint"),
    ):
        code, _, err = run("solve", "equal_beta", *arguments)
        assert code == 2 and words in err


def test_what_has_no_ranges():
    with pytest.raises(InputError, match="certified answer of the procedure joint"):
        ranges(solve(load_problem("equal_beta"), procedure="uniform"))
    assert BACKENDS["slsqp"].missing is None
