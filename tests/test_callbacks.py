"""What ipopt, pounce and uno share: the callbacks; and the statuses and options of the last two."""

from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest

from climbopt import BACKENDS, InputError, Options, Termination, load_problem
from climbopt.backends import load
from climbopt.backends.backend import Evaluator
from climbopt.backends.callbacks import STATUS, Callbacks
from climbopt.problem.constraints import LossCeiling
from climbopt.procedures import joint_form
from climbopt.procedures.direction import equal_benefit_direction
from climbopt.procedures.two_step import magnitude_form
from climbopt.testing import family_problem

UNIFORM = np.full(4, 0.25)
SOLVERS = ("ipopt", "pounce", "uno")


def magnitude(m=4):
    problem = family_problem(m)
    return magnitude_form(problem, equal_benefit_direction(problem, 1.0))


@pytest.fixture(params=SOLVERS)
def backend(request):
    if BACKENDS[request.param].missing:
        pytest.skip(BACKENDS[request.param].missing)
    return load(request.param)


def dense(structure, values, shape):
    matrix = np.zeros(shape)
    np.add.at(matrix, structure, values)
    return matrix


def test_derivatives_are_those_of_the_values():
    form = magnitude()
    calls, x, step = Callbacks(Evaluator(form)), form.start, 1e-6 * np.eye(form.n)
    weights = np.random.default_rng(0).normal(size=calls.constraints(x).size)

    def slopes(function):
        return np.array([(function(x + e) - function(x - e)) / 2e-6 for e in step]).T

    jacobian = dense(calls.jacobianstructure(), calls.jacobian(x), (weights.size, form.n))
    lower = dense(calls.hessianstructure(), calls.hessian(x, weights, 0.7), (form.n, form.n))

    def lagrangian_slope(at):
        on_rows = dense(calls.jacobianstructure(), calls.jacobian(at), (weights.size, form.n))
        return 0.7 * calls.gradient(at) + on_rows.T @ weights

    np.testing.assert_allclose(slopes(calls.objective), calls.gradient(x), atol=1e-7)
    np.testing.assert_allclose(slopes(calls.constraints), jacobian, atol=1e-6)
    np.testing.assert_allclose(slopes(lagrangian_slope), lower + np.tril(lower, -1).T, atol=1e-5)


@pytest.mark.parametrize("limit, shift", [(None, -1e3), (1e-9, 0.0)])
def test_outside_the_domain_and_past_the_limit_nothing_is_a_number(limit, shift):
    form = joint_form(replace(family_problem(4), constraints=(LossCeiling({"en": 9.0}),)))
    calls, x = Callbacks(Evaluator(form, limit)), form.start + shift
    n_linear, n_rows = form.polytope.A.shape[0], form.functions.n_rows
    assert np.isnan(calls.objective(x)) and np.isnan(calls.gradient(x)).all()
    assert list(np.isnan(calls.constraints(x))) == [False] * n_linear + [True] * n_rows
    assert np.isnan(calls.jacobian(x)).sum() == n_rows * form.n
    assert np.isnan(calls.hessian(x, np.zeros(n_linear + n_rows), 1.0)).all()
    assert calls.out_of_time == (limit is not None) and calls.intermediate(0, 7) == (limit is None)
    assert calls.iterations == 7


def test_infeasible_rows_are_a_status(backend):
    problem = family_problem(4)
    form = joint_form(replace(problem, constraints=(LossCeiling({"en": 0.5 * float(problem.losses(UNIFORM)[0])}),)))
    assert backend.solve(form, Options()).termination is Termination.INFEASIBLE


def test_a_limit_of_iterations_is_named(backend):
    solution = backend.solve(magnitude(12), Options(max_iterations=1))
    assert solution.termination is Termination.ITERATION_LIMIT and solution.iterations == 1


def test_the_answers_agree():
    form = magnitude(6)
    solutions = [load(name).solve(form, Options()) for name in SOLVERS if not BACKENDS[name].missing]
    for solution in solutions[1:]:
        np.testing.assert_allclose(solution.x, solutions[0].x, atol=1e-8)
        np.testing.assert_allclose(solution.multipliers.nonlinear, solutions[0].multipliers.nonlinear, atol=1e-6)


def test_versions_are_those_of_the_packages():
    for name, package in (("pounce", "pounce-solver"), ("uno", "unopy")):
        if not BACKENDS[name].missing:
            assert version(package) in load(name).version


def test_unos_options_exist():
    unopy = pytest.importorskip("unopy")
    from climbopt.backends.uno import OPTION_NAMES, POINT_STATUS, STATUS as UNO_STATUS

    solver = unopy.UnoSolver()
    solver.set_preset("filtersqp")
    for name in OPTION_NAMES:
        for value in (1.0, 1, True, "1"):
            try:
                solver.set_option(name, value)
            except (TypeError, RuntimeError, ValueError):  # known, of another type; an unknown one is a KeyError
                continue
    assert {*UNO_STATUS, "SUCCESS"} == set(unopy.OptimizationStatus.__members__)
    assert {*POINT_STATUS, "NOT_OPTIMAL"} == set(unopy.SolutionStatus.__members__)


def test_an_option_of_the_wrong_type_is_refused(backend):
    form = joint_form(load_problem("equal_beta"))
    name = "max_iterations" if backend.name == "uno" else "max_iter"
    with pytest.raises(InputError, match=f"option {name}='many' of .* is refused"):
        backend.solve(form, Options(native={name: "many"}))
    assert backend.solve(form, Options(native={name: 1})).termination in (
        Termination.ITERATION_LIMIT,
        Termination.SOLVED,
    )


def test_every_status_of_ipopt_is_named():
    assert set(STATUS.values()) >= {Termination.SOLVED, Termination.INFEASIBLE, Termination.TIME_LIMIT}
    assert STATUS[0] is STATUS[6] is Termination.SOLVED and STATUS[2] is Termination.INFEASIBLE
