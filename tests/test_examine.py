"""examine judges the answer of any nonlinear program: what is broken fails."""

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint, minimize

import climbopt
from climbopt import AllocationProblem, Cap, Floor, InputError, Verdict, examine, load_problem
from climbopt.certification.local import certify
from climbopt.procedures import joint_form


def quadratic(rows, x, multipliers=None):
    """(x_0 - 2)^2 + (x_1 - 1)^2 under some rows."""
    center = np.array([2.0, 1.0])
    return examine(
        lambda x: float((x - center) @ (x - center)),
        lambda x: 2 * (x - center),
        lambda x: 2 * np.eye(2),
        rows,
        x,
        multipliers,
    )


FLOOR, CAP = Floor({"a": 0.2}), Cap({"a": 0.4})
ROWS = (
    Bounds([0.0, 0.0], [1.0, np.inf]),
    LinearConstraint([[1.0, 1.0]], -np.inf, 1.5),
    NonlinearConstraint(lambda x: x @ x, -np.inf, 4.0, jac=lambda x: 2 * x, hess=lambda x, v: 2 * v[0] * np.eye(2)),
)
# At (1, 0.5): gradient (-2, -1); the sum has multiplier 1, the bound of x_0 what is left of 2, the circle is slack.
ANSWER, MULTIPLIERS = np.array([1.0, 0.5]), [np.array([1.0, 0.0]), np.array([1.0]), np.array([0.0])]


def test_a_right_answer_passes():
    examined = quadratic(ROWS, ANSWER, MULTIPLIERS)
    assert examined.passed and examined.certificate.verdict is Verdict.STRICT_LOCAL_MINIMUM
    assert examined.certificate.multipliers["rows[1][0]"].multiplier == pytest.approx(1.0)
    assert examined.certificate.multipliers["bound[0]"].multiplier == pytest.approx(1.0)
    assert examined.certificate.multipliers["rows[1][0]"].shadow_price == pytest.approx(-1.0)
    assert examined.certificate.licq and all(residual.value < 1e-12 for residual in examined.claimed.values())


@pytest.mark.parametrize("step", [(-1e-4, 0.0), (0.0, -1e-4), (-1e-4, 1e-4), (1e-4, 0.0), (0.0, 1e-4)])
def test_a_moved_point_fails(step):
    examined = quadratic(ROWS, ANSWER + step)
    outside = step[0] > 0 or sum(step) > 0
    assert not examined.passed
    assert examined.certificate.verdict is (Verdict.INFEASIBLE if outside else Verdict.FEASIBLE)


BROKEN = {
    "a size": ([np.array([1.0, 0.0]), np.array([1.1]), np.array([0.0])], "stationarity"),
    "a sign": ([np.array([-1.0, 0.0]), np.array([1.0]), np.array([0.0])], "stationarity"),
    "a limit that is not there": ([np.array([1.0, 0.0]), np.array([-1.0]), np.array([0.0])], "dual"),
    "a slack row": ([np.array([1.0, 0.0]), np.array([1.0]), np.array([0.5])], "complementarity"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_multipliers_fail(name):
    multipliers, condition = BROKEN[name]
    examined = quadratic(ROWS, ANSWER, multipliers)
    assert not examined.passed and examined.certificate.passed
    assert examined.claimed[condition].value > 0.01


def test_a_saddle_is_no_minimum():
    examined = examine(lambda x: x[0] * x[1], lambda x: x[::-1], lambda x: np.eye(2)[::-1], (), np.zeros(2))
    assert examined.certificate.verdict is Verdict.KKT_POINT and examined.certificate.second_order == pytest.approx(-1)


def test_two_rows_that_say_the_same_break_licq():
    rows = (LinearConstraint(np.ones((2, 2)), -np.inf, [1.5, 1.5]), Bounds([-np.inf, 0.0], [1.0, np.inf]))
    examined = quadratic(rows, ANSWER)
    assert examined.passed and not examined.certificate.licq


@pytest.mark.parametrize("factor", [1e-9, 1e-3, 1e6])
def test_the_unit_of_a_row_does_not_matter(factor):
    def circle(limit):
        return NonlinearConstraint(
            lambda x: factor * (x @ x),
            -np.inf,
            factor * limit,
            jac=lambda x: 2 * factor * x,
            hess=lambda x, v: 2 * factor * v[0] * np.eye(2),
        )

    on_circle = np.array([2.0, 1.0]) / 5**0.5
    right = quadratic((circle(1.0),), on_circle)
    assert right.passed
    assert right.certificate.multipliers["rows[0][0]"].multiplier == pytest.approx((5**0.5 - 1) / factor)
    assert quadratic((circle(1.0),), 1.001 * on_circle).certificate.verdict is Verdict.INFEASIBLE
    assert not quadratic((circle(1.0),), 0.999 * on_circle).passed


def test_an_answer_of_scipy():
    rows = (ROWS[0], ROWS[1])
    center = np.array([2.0, 1.0])
    solved = minimize(
        lambda x: (x - center) @ (x - center), np.zeros(2), bounds=ROWS[0], constraints=ROWS[1], method="SLSQP"
    )
    assert quadratic(rows, solved.x).passed
    assert not quadratic(rows, solved.x - 1e-3).passed


REFUSED = {
    "more than one Bounds": (ROWS[:1] * 2, ANSWER, None),
    "rows of examine.. is ...*; give a list, each entry a Bounds or a LinearConstraint": (
        ((0, 1),),
        ANSWER,
        None,
    ),
    "jac.x. and hess": ((NonlinearConstraint(lambda x: x, 0, 1),), ANSWER, None),
    "x has the shape": (ROWS, [[1.0]], None),
    "3 lower limits for 2 rows": ((Bounds(np.zeros(3), np.inf),), ANSWER, None),
    "A of rows.0. has the shape": ((LinearConstraint(np.ones((1, 3)), 0, 1),), ANSWER, None),
    "1 arrays of multipliers for 3 rows": (ROWS, ANSWER, [np.zeros(2)]),
    "multipliers.1. has the shape": (ROWS, ANSWER, [np.zeros(2), np.zeros(2), np.zeros(1)]),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_does_not_fit_is_refused(words):
    with pytest.raises(InputError, match=words):
        quadratic(*REFUSED[words])


def test_a_function_that_is_not_a_number_never_passes():
    examined = examine(lambda x: np.nan, lambda x: x, lambda x: np.eye(2), (), np.zeros(2), [])
    assert not examined.passed and examined.certificate.verdict is Verdict.INFEASIBLE


def test_it_is_public():
    assert climbopt.examine is examine and "examine" in dir(climbopt)


@pytest.mark.parametrize("x, name", [([1.1, 0.3], "rows[0][0]"), ([-0.9, 0.3], "rows[0][0]"), ([0.5, -0.2], "floor")])
def test_the_worst_row_is_named(x, name):
    rows = (LinearConstraint([[1.0, 0.0]], -0.5, 0.9), Bounds([-np.inf, 0.0], [np.inf, 1.0]))
    residual = quadratic(rows, x).certificate.residuals["primal"]
    assert residual.worst == ("bound[1]" if name == "floor" else name)


def test_the_nearer_limit_is_named():
    """Below both limits of a row with two names, the lower one is the nearer."""
    form = joint_form(AllocationProblem(load_problem("known_floor").model, 1e9, constraints=(FLOOR, CAP)))
    below, above = np.array([0.05, 0.6, 0.35]), np.array([0.5, 0.3, 0.2])
    assert certify(form, below).residuals["primal"].worst == "floor[a]"
    assert certify(form, above).residuals["primal"].worst == "cap[a]"
