"""Quadratic minima and projections over random polytopes, judged by their optimality conditions."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.optimize import OptimizeResult
from scipy.sparse import csr_array

from climbopt.numerics.polytope import EmptyPolytopeError, Polytope, Rows
from climbopt.numerics.quadratic import _one_at_a_time, minimise, project


def polytope(seed, n, k):
    """Return a random polytope with a point inside: a simplex, some floors and caps, and k group rows."""
    rng = np.random.default_rng(seed)
    inside = rng.dirichlet(np.ones(n))
    lower = np.where(rng.random(n) < 0.4, inside * rng.random(n), 0.0)
    upper = np.where(rng.random(n) < 0.4, inside + rng.random(n), np.inf)
    A = np.vstack([(rng.random((k, n)) < 0.5).astype(float), np.ones((1, n))])
    activity = A[:-1] @ inside
    a_lower = np.append(np.where(rng.random(k) < 0.5, activity - 0.3 * rng.random(k), -np.inf), 1.0)
    a_upper = np.append(np.where(rng.random(k) < 0.7, activity + 0.3 * rng.random(k), np.inf), 1.0)
    return Polytope(Rows(lower, upper), csr_array(A), Rows(a_lower, a_upper))


def loose_polytope(seed, n, k):
    """Return a polytope with a point inside that is no simplex: bounds negative or infinite, k rows of any sign.

    Where k is odd, the only equation is a sum of some variables, which may be unbounded.
    """
    rng = np.random.default_rng(seed)
    inside = rng.normal(size=n)
    lower = np.where(rng.random(n) < 0.5, inside - rng.random(n), -np.inf)
    upper = np.where(rng.random(n) < 0.5, inside + rng.random(n), np.inf)
    A = rng.normal(size=(k, n))
    if k % 2:
        A[0] = rng.random(n) < 0.7
    activity = A @ inside
    a_lower = np.where(rng.random(k) < 0.6, activity - rng.random(k), -np.inf)
    a_upper = np.where(rng.random(k) < 0.6, activity + rng.random(k), np.inf)
    a_lower[: k % 2] = a_upper[: k % 2] = activity[: k % 2]
    return Polytope(Rows(lower, upper), csr_array(A), Rows(a_lower, a_upper))


def assert_optimal(H, g, region, face):
    """Check the KKT conditions of a quadratic minimum, which are sufficient where H is positive definite."""
    x, rows = face.x, region.dense @ face.x
    assert region.violation(x) < 1e-10
    np.testing.assert_allclose(H @ x + g + region.dense.T @ face.rows + face.bounds, 0, atol=1e-8)
    for value, lower, upper, multiplier in (
        (x, region.bounds.lower, region.bounds.upper, face.bounds),
        (rows, region.rows.lower, region.rows.upper, face.rows),
    ):
        strict = lower < upper
        assert (multiplier[strict & (value > lower + 1e-9)] >= -1e-9).all()
        assert (multiplier[strict & (value < upper - 1e-9)] <= 1e-9).all()


@given(seed=st.integers(0, 10**6), n=st.integers(1, 9), k=st.integers(0, 3))
def test_the_minimum_meets_its_conditions(seed, n, k):
    region, rng = polytope(seed, n, k), np.random.default_rng(seed + 1)
    root = rng.normal(size=(n, n))
    H, g = root @ root.T + 0.01 * np.eye(n), 3 * rng.normal(size=n)
    start = region.interior_point()
    face = minimise(H, g, region, start)
    assert_optimal(H, g, region, face)
    slow = _one_at_a_time(H, g, region, start)
    assert_optimal(H, g, region, slow)
    np.testing.assert_allclose(slow.x, face.x, atol=1e-8)
    again = minimise(H, g, region, start, warm=face.active)
    np.testing.assert_allclose(again.x, face.x, atol=1e-10)


@given(
    seed=st.integers(0, 10**6), n=st.integers(1, 9), k=st.integers(0, 3), scale=st.sampled_from([1e-12, 0.01, 1.0, 9.0])
)
def test_the_projection_is_the_nearest_point(seed, n, k, scale):
    """y is the projection of x if (x - y)'(v - y) <= 0 for every v of the polytope: checked by its linear minimum."""
    region, rng = polytope(seed, n, k), np.random.default_rng(seed + 2)
    x = region.interior_point() + scale * rng.normal(size=n)
    y = project(x, region)
    assert region.violation(y) < 1e-11
    least, _ = region.linear_minimum(y - x)
    assert (y - x) @ y - least <= 1e-8 * max(1.0, scale)
    np.testing.assert_allclose(project(y, region), y, atol=1e-11)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 12))
def test_a_point_of_the_simplex_stays_where_it_is(seed, n):
    """Rounding in the sum must not move a point: that once emptied a whole coordinate."""
    region = Polytope(Rows(np.zeros(n), np.full(n, np.inf)), csr_array(np.ones((1, n))), Rows(np.ones(1), np.ones(1)))
    x = np.random.default_rng(seed).dirichlet(np.ones(n)) * (1 + 4e-16)
    np.testing.assert_allclose(project(x, region), x, rtol=1e-12, atol=1e-15)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 9), k=st.integers(0, 3))
def test_the_linear_minimum_is_a_lower_bound_and_reached(seed, n, k):
    region, rng = polytope(seed, n, k), np.random.default_rng(seed + 3)
    g = rng.normal(size=n)
    value, vertex = region.linear_minimum(g)
    assert region.violation(vertex) < 1e-6
    assert value == pytest.approx(g @ vertex, abs=1e-6)
    for _ in range(20):
        point = project(rng.normal(size=n), region)
        assert g @ point >= value - 1e-12


@given(seed=st.integers(0, 10**6), n=st.integers(2, 9), k=st.integers(0, 3))
def test_the_interior_point_is_inside(seed, n, k):
    region = polytope(seed, n, k)
    x = region.interior_point()
    assert region.violation(x) < 1e-11
    movable = region.bounds.upper - region.bounds.lower > 1e-6
    if (region.bounds.lower.sum() < 1 - 1e-6) and movable.all() and k == 0:
        assert (x > region.bounds.lower).all() and (x < region.bounds.upper).all()


@given(seed=st.integers(0, 10**6), n=st.integers(1, 6), k=st.integers(0, 3))
def test_polytopes_that_are_no_simplex(seed, n, k):
    """The projection is the nearest point, the interior point is inside, the linear minimum is a bound that is met."""
    region, rng = loose_polytope(seed, n, k), np.random.default_rng(seed + 4)
    root, g = rng.normal(size=(n, n)), rng.normal(size=n)
    inner = region.interior_point()
    activity = region.dense @ inner
    assert region.violation(inner) < 1e-11
    assert (inner > region.bounds.lower).all() and (inner < region.bounds.upper).all()
    assert (region.equation | (activity > region.rows.lower) & (activity < region.rows.upper)).all()
    x = inner + 3 * rng.normal(size=n)
    y = project(x, region)
    assert region.violation(y) < 1e-11
    assert (y - x) @ y - region.linear_minimum(y - x)[0] <= 1e-8 or np.isinf(region.linear_minimum(y - x)[0])
    assert_optimal(np.eye(n), -x, region, minimise(np.eye(n), -x, region, inner))
    H = root @ root.T + 0.01 * np.eye(n)
    assert_optimal(H, g, region, minimise(H, g, region, inner))
    value, vertex = region.linear_minimum(g)
    if np.isfinite(value):
        assert region.violation(vertex) < 1e-6
        assert value == pytest.approx(g @ vertex, abs=1e-6)
        assert all(g @ project(inner + rng.normal(size=n), region) >= value - 1e-9 for _ in range(10))


def test_a_fixed_sum_of_unbounded_variables_is_no_simplex():
    region = Polytope(
        Rows(np.array([-np.inf, 0.0]), np.full(2, np.inf)), csr_array(np.ones((1, 2))), Rows(np.ones(1), np.ones(1))
    )
    assert region.simplex is None
    assert region.violation(region.interior_point()) < 1e-12
    np.testing.assert_allclose(project(np.array([-1.0, 3.0]), region), [-1.5, 2.5], atol=1e-12)
    assert region.linear_minimum(np.ones(2))[0] == pytest.approx(1.0, abs=1e-12)
    assert region.linear_minimum(np.array([2.0, 1.0]))[0] == -np.inf


def test_rows_imply_bounds():
    """A gradient with rounding in it is bounded all the same, where a row leaves an unbounded variable no room."""
    row = csr_array(np.array([[1.0, 1.0, 2.0]]))
    region = Polytope(Rows(np.zeros(3), np.full(3, np.inf)), row, Rows(np.full(1, -np.inf), np.full(1, 3.0)))
    for rounding in (-1e-16, 1e-16):
        value, _ = region.linear_minimum(np.array([-1.0, -1.0, -2.0]) + rounding)
        assert value == pytest.approx(-3.0, abs=1e-12) and value <= -3.0 + 1e-15


def test_an_empty_polytope_is_named():
    two = Polytope(
        Rows(np.array([0.7, 0.7]), np.full(2, np.inf)), csr_array(np.ones((1, 2))), Rows(np.ones(1), np.ones(1))
    )
    rows = Polytope(
        Rows(np.zeros(2), np.full(2, np.inf)),
        csr_array(np.array([[1.0, 1.0], [1.0, 1.0]])),
        Rows(np.array([0.0, 1.0]), np.array([0.5, 1.0])),
    )
    for region in (two, rows):
        with pytest.raises(EmptyPolytopeError):
            region.interior_point()
        with pytest.raises(EmptyPolytopeError):
            region.linear_minimum(np.ones(2))


def test_no_minimum_where_the_quadratic_is_not_convex():
    region = Polytope(Rows(np.zeros(2), np.full(2, np.inf)), csr_array(np.ones((1, 2))), Rows(np.ones(1), np.ones(1)))
    assert minimise(-np.eye(2), np.zeros(2), region, np.full(2, 0.5)) is None


def test_unbounded_below():
    region = Polytope(
        Rows(np.array([0.0, -np.inf]), np.array([1.0, np.inf])),
        csr_array(np.array([[1.0, 0.0]])),
        Rows(np.ones(1), np.ones(1)),
    )
    assert region.linear_minimum(np.array([0.0, 1.0]))[0] == -np.inf


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("exponent", [-1000, -60, 60, 90, 500, 1000])
def test_the_linear_minimum_of_slopes_of_any_size(seed, exponent):
    """Scaling the slopes by a power of two scales the bound, and moves no vertex."""
    rng = np.random.default_rng(seed)
    region = polytope(seed, 6, 3)
    g = rng.normal(size=6)
    value, vertex = region.linear_minimum(g)
    scaled, same = region.linear_minimum(np.ldexp(g, exponent))
    assert scaled == pytest.approx(np.ldexp(value, exponent), rel=1e-12)
    assert same == pytest.approx(vertex, abs=1e-9)


@pytest.mark.parametrize("slopes", [(np.inf, 0.0, 1.0), (np.nan, 0.0, 1.0), (-np.inf, np.inf, 0.0)])
def test_slopes_that_are_not_numbers_give_no_bound(slopes):
    region = polytope(0, 3, 2)
    value, vertex = region.linear_minimum(np.array(slopes))
    assert value == -np.inf and np.isnan(vertex).all()


def test_a_failure_of_highs_gives_no_bound(monkeypatch):
    region = polytope(0, 3, 2)
    nothing = OptimizeResult(status=4, x=None, ineqlin=OptimizeResult(marginals=None))
    monkeypatch.setattr(type(region), "_linear_program", lambda *_: nothing)
    assert region.linear_minimum(np.ones(3))[0] == -np.inf
