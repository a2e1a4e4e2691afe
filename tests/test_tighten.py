"""Tightening keeps every point that is better than the incumbent."""

from dataclasses import replace

import numpy as np
import pytest
from test_relaxation import functions_on, points, signed_model, the_problem, value

from climbopt.certification.bounds import Box, tighten
from climbopt.certification.bounds.lagrangian import lagrangian
from climbopt.certification.bounds.oracle import boxed, minimise
from climbopt.certification.bounds.relaxation import relax
from climbopt.certification.bounds.tangents import tangents
from climbopt.certification.bounds.tighten import by_costs, by_curvature, by_levels, by_rows
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Floor, Group
from climbopt.procedures import joint_form


def test_tightening_keeps_every_better_point():
    for name, setting, seed in (
        ("gated", "plain", 0),
        ("gated", "group", 1),
        ("saturating", "near", 2),
        ("saturating", "history", 3),
        ("wavy", "plain", 4),
    ):
        form, made, _, _ = functions_on(the_problem(name, setting, seed), seed)
        rng = np.random.default_rng(seed)
        cloud = points(form, made.problem.root, rng, 400)
        values = np.array([value(made, x) for x in cloud])
        upper = float(np.nanquantile(values, 0.1))
        better = [x for x, v in zip(cloud, values, strict=True) if v <= upper]
        box = by_rows(made.problem.root, made.polytope)
        for functions in (relax(made, box, better[0]), tangents(made, box, better[0])):
            minimum = minimise(functions, boxed(made.polytope, box.lower, box.upper), better[0])
            cut = by_costs(box, minimum, upper)
            if functions.__class__.__name__ == "Tangents":
                cut = by_curvature(cut, minimum, functions.least, upper)
            cut = by_levels(cut, made.polytope, functions, minimum, upper, np.arange(form.n), lambda: False)
            for x in better:
                assert (x >= cut.lower - 1e-9).all() and (x <= cut.upper + 1e-9).all()


def test_level_sets_that_claim_too_much_are_caught(monkeypatch):
    exact = tighten.minimise

    def higher(functions, *arguments, **options):
        found = exact(functions, *arguments, **options)
        return replace(found, lower=found.lower + 0.02)

    monkeypatch.setattr(tighten, "minimise", higher)
    with pytest.raises(AssertionError):
        test_tightening_keeps_every_better_point()


def test_rows_tighten_a_box_as_by_hand():
    problem = AllocationProblem(
        signed_model("linear", 3),
        1e9,
        constraints=(Floor({"s0": 0.1, "s1": 0.1, "s2": 0.1}), Group(("s0", "s1"), upper=0.5)),
    )
    made = lagrangian(joint_form(problem), np.zeros(0))
    box = by_rows(made.problem.root, made.polytope)
    np.testing.assert_allclose(box.lower, [0.1, 0.1, 0.2], atol=1e-9)
    np.testing.assert_allclose(box.upper, [0.4, 0.4, 0.8], atol=1e-9)
    assert by_rows(Box(box.lower, np.array([0.2, 0.2, 0.5])), made.polytope) is None
