"""What rounding may add to a bound is taken off: against fractions, 60 digits, and routines that err to one side."""

from fractions import Fraction
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
from scipy.sparse import csr_array
from test_block_bounds import check_block, plain, sparse

from climbopt.certification.global_bound.rational import exactly_feasible
from climbopt.certification.proof.blocks import Cells, Dual, Prices, Value
from climbopt.certification.proof.check import cut
from climbopt.certification.proof.decomposition import Box, Decomposition
from climbopt.numerics.intervals import Interval, evaluated_by
from climbopt.numerics.polytope import Polytope, Rows
from climbopt.procedures import joint_form


def exact(values):
    """Return floats as an array of fractions."""
    return np.vectorize(Fraction, otypes=[object])(values)


def test_the_least_over_nodes_is_enclosed():
    rng = np.random.default_rng(0)
    for _ in range(60):
        K, T, S, M, P = 2, 3, 5, 4, 3
        ratios, values = rng.normal(size=(S, M)), rng.normal(size=(K, T, S, M))
        parts = [SimpleNamespace(values=of_part) for of_part in values]
        of = SimpleNamespace(ratios=ratios, parts=parts, problem=SimpleNamespace(n_sources=S, summed=np.ones((T, S))))
        t, q, theta = np.arange(T), rng.normal(size=(K, P, 2)), rng.normal(size=P)
        least = Dual._least(of, t, list(q), theta)
        for p in range(P):
            for end in range(2):
                cost = -Fraction(theta[p]) * exact(ratios)
                cost = cost + sum(exact(q[k, p, end]) * exact(values[k, t[p]]) for k in range(K))
                true = sum(min(row) for row in cost)
                assert Fraction(least.lower[p, end]) <= true <= Fraction(least.upper[p, end])
        assert (least.upper - least.lower <= 1e-12).all()


def test_sums_are_enclosed():
    rng = np.random.default_rng(1)
    for _ in range(60):
        values = rng.normal(size=(4, 50)) * 10.0 ** rng.integers(-8, 8, size=(4, 50))
        total = Interval.enclosing(values).sum(1)
        for row, low, high in zip(values, total.lower, total.upper, strict=True):
            assert Fraction(low) <= sum(map(Fraction, row)) <= Fraction(high)


def test_what_lifts_a_piece_is_below_the_exact_sum():
    """Of the other blocks' least and the piece's own bound; with its own block's least counted once."""
    rng = np.random.default_rng(2)
    for _ in range(100):
        bound, block = rng.normal(size=12), np.repeat(np.arange(4), 3)
        least = bound.reshape(4, 3).min(axis=1)
        pieces = Cells(block, np.zeros(12), np.ones(12))
        constant = rng.normal()
        value = Value(pieces, bound, least, Interval.enclosing(np.array([constant])), 4)
        total = sum(map(Fraction, least)) + Fraction(constant)
        assert Fraction(value.lower) <= total
        lifted = [total - Fraction(least[j]) + Fraction(b) for j, b in zip(block, bound, strict=True)]
        targets = np.array([float(one) for one in lifted])
        for k, target in enumerate(targets):
            assert not value.without(target)[k] or Fraction(target) <= lifted[k]
            assert value.without(target - 1e-13)[k]
            assert not value.without(target + 1e-13)[k]


def test_rows_cut_away_no_point_that_meets_them():
    """At corners of a box but for one variable, where the row leaves nothing else."""
    rng, n_cut = np.random.default_rng(5), 0
    for _ in range(200):
        low = rng.normal(size=4)
        high = low + rng.exponential(size=4)
        a = rng.normal(size=(3, 4)) * (rng.random((3, 4)) < 0.7)
        for row in a:
            x = np.where(row > 0, low, high)
            j = rng.integers(4)
            x[j] = low[j] + rng.random() * (high[j] - low[j])
            at_most = sum(exact(row) * exact(x))
            limit = float(at_most) if Fraction(float(at_most)) >= at_most else np.nextafter(float(at_most), np.inf)
            box = cut(Box(low, high), row[None], np.array([limit]))
            assert (box.lower <= x).all() and (x <= box.upper).all()
            n_cut += (box.width < high - low).any()
    assert n_cut > 300


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "tanh", "power"])
def test_balls_enclose_what_sixty_digits_say(name):
    pytest.importorskip("flint")
    from climbopt.certification.proof.balls import in_balls

    rng, function = np.random.default_rng(3), getattr(np, name)
    x, p = rng.uniform(0.01, 3.0, 300), rng.uniform(-2.0, 2.0, 300)
    at = (x, p) if name == "power" else (x,)
    with in_balls():
        value = function(*(Interval.enclosing(one) for one in at))
    with mpmath.workdps(60):
        for k in range(x.size):
            numbers = [mpmath.mpf(float(one[k])) for one in at]
            true = getattr(mpmath, name)(*numbers)
            assert mpmath.mpf(float(value.lower[k])) < true < mpmath.mpf(float(value.upper[k]))
    assert (value.upper - value.lower <= 4 * np.spacing(np.abs(value.upper))).all()


def one_sided(direction):
    """Return a routine whose enclosures of exp begin or end at the value and are a thousandth of it wide."""

    def wide(function, *at):
        value = function(*at)
        size = np.where(np.isinf(value), 0.0, np.abs(value))
        off = (1e-3 if function is np.exp else 4e-16) * size
        below, above = (4e-16 * size, off) if direction > 0 else (off, 4e-16 * size)
        return value - below, value + above

    return wide


@pytest.mark.parametrize("direction", [-1, 1])
def test_gates_that_are_known_on_one_side_alone(direction):
    """No bound may rest on the middles of their enclosures."""
    rng, problem = np.random.default_rng(0), Decomposition.of(joint_form(sparse(3, 1)))
    box, sums = Box(np.zeros(3), np.array([1.0, 0.5, 0.5])), np.zeros((2, 3))
    with evaluated_by(one_sided(direction)):
        for block in range(3):
            for slope in (-20.0, 20.0):
                at = (3 if slope < 0 else 0) + block
                nonlinear = np.where(np.arange(6) == at, slope, 0.0)
                for price in (0.0, 3.0, -3.0, 30.0, -30.0):
                    check_block(problem, Prices(np.zeros(1), nonlinear, sums + price), box, block, (0.2, 0.2), rng)


@pytest.mark.parametrize("direction", [-1, 1])
def test_parts_that_are_known_on_one_side_alone(direction):
    rng, problem = np.random.default_rng(0), Decomposition.of(joint_form(plain("saturating", 3, 1)))
    box, sums = Box(np.full(3, 0.332), np.full(3, 0.335)), np.zeros((len(problem.separable.parts), 3))
    with evaluated_by(one_sided(direction)):
        for block in range(3):
            for price in (0.0, 3.0, -3.0, 30.0, -30.0):
                prices = Prices(np.zeros(1), np.zeros(problem.functions.n_rows), sums + price)
                check_block(problem, prices, box, block, (0.333, 0.333), rng)


def test_a_polytope_without_rows_has_exactly_feasible_points():
    x = np.array([0.3, 0.4])
    box = Polytope(Rows(np.zeros(2), np.ones(2)), csr_array((0, 2)), Rows(np.zeros(0), np.zeros(0)))
    assert [float(value) for value in exactly_feasible(box, x)] == x.tolist()
