"""From constraints to a polytope: redundant, contradicting and nearly empty sets; starts inside the domain."""

import numpy as np
import pytest
from test_certificate import three

from climbopt import AllocationProblem, Cap, Floor, Group, InputError, MixtureModel, solve
from climbopt.backends import BACKENDS
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.procedures import joint_form
from climbopt.program import linear_part

AVAILABLE = [name for name, entry in BACKENDS.items() if entry.missing is None]
FOUR = (4.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize("backend", AVAILABLE)
def test_redundant_equations(backend):
    """Three groups of one half each, of which one follows from the others and the simplex."""
    groups = (Group(("a", "b"), 0.5, 0.5, "g"), Group(("b", "c"), 0.5, 0.5, "h"), Group(("a", "d"), 0.5, 0.5, "i"))
    problem = AllocationProblem(three(FOUR), 1e9, constraints=groups)
    part = linear_part(problem)
    polytope, sides = part.polytope, part.polytope.rows.labels
    assert len(sides) == 3 and sides[-1].tied == ("i",)
    assert np.linalg.matrix_rank(polytope.dense) == 3
    result = solve(problem, backend=backend)
    assert result.passed
    # a = c = s and b = d = 1/2 - s: 5 / s + 2 / (1/2 - s) is least at s = 1/2 sqrt(5) / (sqrt(5) + sqrt(2))
    assert result.ratios["a"] == pytest.approx(0.5 * 5**0.5 / (5**0.5 + 2**0.5), abs=1e-6)


@pytest.mark.parametrize("backend", AVAILABLE)
def test_groups_that_force_each_other(backend):
    """Lower bounds of 0.7 and 0.3 leave no room, though neither is an equation."""
    groups = (Group(("a", "b"), lower=0.7, name="g"), Group(("c", "d"), lower=0.3, name="h"))
    result = solve(AllocationProblem(three(FOUR), 1e9, constraints=groups), backend=backend)
    assert result.passed and result.ratios["a"] == pytest.approx(0.7 * 2 / 3, abs=1e-6)


def test_a_group_of_all_languages_is_the_simplex():
    problem = AllocationProblem(three(FOUR), 1e9, constraints=(Group(("a", "b", "c", "d"), lower=1.0),))
    assert joint_form(problem).polytope.rows.labels[-1].tied == ("group",)
    with pytest.raises(InputError, match="the upper bounds sum to 0.9, which is 0.1 less than 1; widen group"):
        joint_form(AllocationProblem(three(FOUR), 1e9, constraints=(Group(("a", "b", "c", "d"), upper=0.9),)))


@pytest.mark.parametrize(
    "constraints",
    [
        (Group(("a", "b"), lower=0.66666667, name="g"), Group(("c", "d"), lower=0.33333334, name="h")),
        (Cap({"a": 0.33333333, "b": 0.33333333}), Group(("a", "b"), lower=0.66666667)),
        (Group(("a", "b"), upper=0.4, name="g"), Group(("a", "b"), lower=0.5, name="h")),
    ],
)
def test_a_set_that_is_empty_by_little_is_empty(constraints):
    with pytest.raises(InputError, match="no mixture meets|1e-08 less than the 0.66666667 that group asks for"):
        joint_form(AllocationProblem(three(FOUR), 1e9, constraints=constraints))


def test_names_that_would_hide_each_other_are_refused():
    for name in ("simplex", "share", "floor[a]", " "):
        with pytest.raises(InputError, match="choose a name without brackets|give a name"):
            AllocationProblem(three(FOUR), 1e9, constraints=(Group(("a", "b"), upper=0.3, name=name),))


def test_an_empty_group_is_refused():
    with pytest.raises(InputError, match="group 'x' is empty"):
        AllocationProblem(three(FOUR), 1e9, groups={"x": ()})


@pytest.mark.parametrize("backend", AVAILABLE)
def test_a_start_is_sought_inside_the_domain(backend):
    """a loses more to the others than it has at the middle of the simplex; most mixtures are fine all the same."""
    model = MixtureModel(
        LAWS["power"],
        INTERACTIONS["linear"],
        ("a", "b", "c"),
        ("a", "b", "c"),
        {
            "E": np.ones(3),
            "B": np.ones(3),
            "beta": np.ones(3),
            "b": [[0, -0.8, -0.8], [0, 0, 0], [0, 0, 0]],
            "k": np.zeros((3, 3)),
        },
        1e9,
    )
    problem = AllocationProblem(model, 1e9)
    middle = np.full(3, 1 / 3)
    assert np.isnan(problem.value(middle))
    form = joint_form(problem)
    assert np.isfinite(form.functions.at(form.start).value)
    assert solve(problem, backend=backend).passed


def test_bounds_merge_into_the_tightest():
    problem = AllocationProblem(
        three(FOUR),
        1e9,
        constraints=(Floor({"a": 0.1}, "low"), Floor({"a": 0.2}, "high"), Cap({"a": 0.5}), Cap({"b": 1.0}, "none")),
    )
    part = linear_part(problem)
    polytope, lower, upper = part.polytope, part.polytope.bounds.labels, part.polytope.bounds.upper_labels
    assert (polytope.bounds.lower[0], lower[0].name) == (0.2, "high[a]")
    assert (polytope.bounds.upper[0], upper[0].name) == (0.5, "cap[a]")
    assert np.isinf(polytope.bounds.upper[1])  # the simplex implies it
