"""Enclosures: every value taken on a box lies inside, and signs that are exact stay exact."""

import operator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from climbopt.numerics.intervals import Interval, UnsupportedFunctionError, _select

FUNCTIONS = {
    "sum": lambda x, y: x + y - 0.5,
    "product": lambda x, y: x * y * -3.0,
    "quotient": lambda x, y: x / (y * y + 0.1),
    "square": lambda x, y: x**2 - y**3,
    "exponential": lambda x, y: 1 - np.exp(-2.0 * x) * y,
    "logarithm": lambda x, y: np.log(x * x + 1.0) + np.tanh(y),
    "power": lambda x, y: (x * x + 0.2) ** -0.37 + np.sqrt(y * y + 1),
    "reciprocal": lambda x, y: (x * x + 0.2) ** (-1.0) - (x**2 + 1.0) ** -2,
}
ends = st.tuples(st.floats(-3, 3), st.floats(0, 2))


@pytest.mark.parametrize("name", FUNCTIONS)
@given(x=ends, y=ends, at=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_every_value_lies_inside(name, x, y, at):
    function = FUNCTIONS[name]
    box = function(Interval.of(x[0], x[0] + x[1]), Interval.of(y[0], y[0] + y[1]))
    for s, t in at:
        value = function(np.float64(x[0] + s * x[1]), np.float64(y[0] + t * y[1]))
        assert box.lower <= value + 1e-12 * abs(value) and value <= box.upper + 1e-12 * abs(value)


@given(a=st.floats(-1e6, 1e6), b=st.floats(-1e6, 1e6))
def test_points_are_enclosed_exactly(a, b):
    """Against exact rational arithmetic: no tolerance at all."""
    operations = [operator.add, operator.sub, operator.mul] + [operator.truediv] * bool(b)
    for operation in operations:
        box = operation(Interval.of(a, a), Interval.of(b, b))
        exact = operation(Fraction(a), Fraction(b))
        assert np.isneginf(box.lower) or Fraction(float(box.lower)) <= exact
        assert np.isposinf(box.upper) or exact <= Fraction(float(box.upper))


def test_signs_are_exact():
    nonnegative = Interval.of(0.0, 2.0)
    assert (nonnegative * 3.0).lower == 0.0 and (-nonnegative).upper == 0.0
    assert (nonnegative * -3.0).upper == 0.0
    assert np.exp(Interval.of(-800.0, 0.0)).lower >= 0.0
    assert (nonnegative * 0.0).lower == 0.0 == (nonnegative * 0.0).upper
    assert (1.0 - Interval.of(0.0, 1.0)).lower == 0.0
    for function, zero in ((np.tanh, 0.0), (np.sqrt, 0.0), (np.log, 1.0)):
        assert function(Interval.of(zero, 2.0)).lower == 0.0
    assert np.tanh(Interval.of(-1.0, 0.0)).upper == 0.0


def test_infinite_ends():
    z = Interval.of(0.0, np.inf)
    power = 2.0 * z ** np.array(-0.3)
    assert power.lower == 0.0 and power.upper == np.inf
    assert (1.0 / z).lower == 0.0 and (1.0 / z).upper == np.inf
    assert (1.0 / Interval.of(-1.0, 1.0)).lower == -np.inf


def test_a_function_without_interval_form_is_named():
    with pytest.raises(UnsupportedFunctionError, match="no interval form of sin"):
        np.sin(Interval.of(0.0, 1.0))
    with pytest.raises(UnsupportedFunctionError):
        np.add.reduce(Interval.of(np.zeros(2), np.ones(2)))


def test_sum_along_an_axis():
    box = Interval.of(np.full((3, 1000), 0.1), np.full((3, 1000), 0.2)).sum(1)
    assert (box.lower <= 100.0).all() and (box.upper >= 200.0).all()
    np.testing.assert_allclose(box.lower, 100.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("function", "box", "value"),
    [
        (lambda x: np.log(x) * 1.0, (-1.0, 2.0), np.log(0.5)),
        (lambda x: np.log(x) * Interval.of(1.0, 1.0), (-1.0, 2.0), np.log(1e-300)),
        (lambda x: x**-1, (-0.5, 0.0), -1e9),
        (lambda x: x**-2, (-0.5, 0.0), 1e9),
        (lambda x: x**1.5, (-np.inf, 2.0), 0.001),
        (lambda x: np.sqrt(x), (-1.0, 4.0), 0.0),
        (lambda x: x**-1, (0.0, 0.5), 1e300),
        (lambda x: x * 0.0 + 1.0, (-np.inf, np.inf), 1.0),
        (lambda x: x**3, (-2.0, 1.0), -8.0),
        (lambda x: x - x, (-np.inf, np.inf), 5.0),
    ],
)
def test_at_the_edge_of_a_domain_everything_is_possible(function, box, value):
    enclosure = function(Interval.of(*box))
    assert enclosure.lower <= value <= enclosure.upper


def test_sums_do_not_overflow_inwards():
    """An end of +inf that is a lower one would stay above every number that is taken off later."""
    large = Interval.of(1e308, 1e308)
    above, below = large + large, -large - large
    assert np.isfinite(above.lower) and above.upper == np.inf
    assert below.lower == -np.inf and np.isfinite(below.upper)


def test_ends_of_sums_are_the_nearest_outward():
    """Intervals whose two ends round differently: an end that is exact stays, another moves by one step outwards."""
    rng = np.random.default_rng(7)
    low = rng.normal(size=(2, 400)) * 2.0 ** rng.integers(-40, 40, (2, 400))
    high = low + rng.random((2, 400)) * 2.0 ** rng.integers(-40, 40, (2, 400))
    total = Interval(low[0], high[0]) + Interval(low[1], high[1])
    for k in range(400):
        below, above = (Fraction(end[0, k]) + Fraction(end[1, k]) for end in (low, high))
        assert Fraction(total.lower[k]) <= below < Fraction(np.nextafter(total.lower[k], np.inf))
        assert Fraction(np.nextafter(total.upper[k], -np.inf)) < above <= Fraction(total.upper[k])


def test_a_choice_that_cannot_be_the_first_true_one_is_left_out():
    one, two, three = (Interval.of(value, value) for value in (1.0, 2.0, 3.0))
    true, maybe, false = Interval.of(1.0, 1.0), Interval.of(0.0, 1.0), Interval.of(0.0, 0.0)
    for conditions, ends in (
        ([true, maybe, true], (1.0, 1.0)),
        ([maybe, true, true], (1.0, 2.0)),
        ([false, maybe, true], (2.0, 3.0)),
        ([maybe, false, true], (1.0, 3.0)),
    ):
        chosen = _select(conditions, [one, two, three])
        assert (float(chosen.lower), float(chosen.upper)) == ends
