"""Forms whose pair template is no sum of products of functions of single ratios: their bounds, proofs and name."""

import json

import numpy as np
import pytest
import sympy as sp
from mutations import mutated
from random_problems import INSEPARABLE, repeated, signed_model
from test_global_bound import check_holds

from climbopt import certify, solve
from climbopt.certification.global_bound import enclose
from climbopt.certification.proof.decomposition import Box, Decomposition
from climbopt.foundations.errors import InputError
from climbopt.model.ensemble import Ensemble
from climbopt.model.interactions import Interaction
from climbopt.model.laws import LAWS, Law
from climbopt.model.mixture import MixtureModel
from climbopt.model.symbols import Parameter, r_i, r_j, z
from climbopt.numerics.intervals import Interval
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures import joint_form
from climbopt.procedures.optimum import Effort, certify_globally
from climbopt.reports.certificates import certificate_json

CLOSED = {name: (2, 1e-4) for name in INSEPARABLE} | {"crowded": (3, 1e-3), "beyond": (3, 1e-3)}


def form_of(name, sources, seed=0):
    return joint_form(AllocationProblem(signed_model(name, sources, seed=seed), 10e9))


@pytest.mark.parametrize("name", INSEPARABLE)
def test_branching_closes_the_gap_and_nothing_lies_below(name):
    sources, gap = CLOSED[name]
    form = form_of(name, sources)
    found = enclose(form, gap=gap, time_limit=np.inf)
    assert found.stopped == "gap"
    check_holds(form, found, 3)
    assert f"the pair template of '{name}'" in found.rests_on


@pytest.mark.parametrize("name", ["crowded", "excess"])
def test_among_others_and_with_repeated_data(name):
    model = repeated(signed_model(name, 2, seed=1), 0)
    form = joint_form(AllocationProblem(Ensemble((model, signed_model("gated", 2, seed=1)), (1, 1)), 10e9))
    found = enclose(form, gap=1e-4, time_limit=np.inf)
    assert found.stopped == "gap" and name in found.rests_on and "gated" not in found.rests_on
    check_holds(form, found, 3)


def test_the_certificate_names_the_template():
    problem = AllocationProblem(signed_model("shared", 2, seed=2), 10e9)
    result = certify_globally(solve(problem), Effort(gap=1e-3))
    assert result.certificate.passed
    assert "'shared', which is no sum of products" in certificate_json(result.certificate)["gap_rests_on"]


@pytest.mark.parametrize("name", ["crowded", "shared", "rooted"])
def test_what_is_added_beyond_functions_of_single_ratios_falls_with_the_square_of_the_box(name):
    whole = Decomposition.of(form_of(name, 3))
    center = np.array([0.3, 0.3, 0.4])
    widths = [whole.on(Box(center - h, center + h)).separable.width.max() for h in (1e-2, 1e-3)]
    assert widths[0] / widths[1] == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize("width", [1.0, 0.1, 1e-3])
@pytest.mark.parametrize("name", INSEPARABLE)
def test_z_is_enclosed_at_corners_and_inside_of_boxes(name, width):
    rng, form = np.random.default_rng(list(INSEPARABLE).index(name)), form_of(name, 3)
    whole, targets = Decomposition.of(form), np.arange(3)
    for center in [np.full(3, 0.5), *rng.random((10, 3))]:
        low, high = np.maximum(center - width * rng.random(3), 0.0), np.minimum(center + width * rng.random(3), 1.0)
        separable = whole.on(Box(low, high)).separable
        (part,) = separable.parts
        for share in [*rng.integers(0, 2, (8, 3)), *rng.random((8, 3))]:
            x = low + share * (high - low)
            sums = (part.values(x[None, :], whole.pairs) * whole.others).sum(axis=1)
            rest = separable.own.enclose(Interval.enclosing(x), targets)
            off = form.functions.responses.z(x) - sums
            assert (rest.lower - 1e-15 <= off).all() and (off <= rest.upper + 1e-15).all()


@pytest.mark.parametrize("name", ["crowded", "shared", "beyond", "excess"])
def test_proofs(name):
    pytest.importorskip("flint")
    from climbopt.certification.global_bound.record import proved
    from climbopt.certification.proof.check import check

    form = form_of(name, 2)
    found = enclose(form, gap=1e-3)
    lower, proof = proved(form, found)
    assert found.lower - 1e-9 <= lower <= found.lower
    assert check(form, json.loads(json.dumps(proof)))[0] == lower
    rng = np.random.default_rng(list(INSEPARABLE).index(name))
    for above in [*10 * [1e-9], *10 * [1e-6], *10 * [1e-3]]:
        with pytest.raises(InputError):
            check(form, mutated(proof, found.upper + above, rng))


def test_what_several_processes_cut_is_proved():
    pytest.importorskip("flint")
    from climbopt.certification.global_bound.record import proved

    form = form_of("beyond", 3)
    found = enclose(form, gap=1e-4, jobs=2)
    assert found.nodes > 1 and proved(form, found)[0] == pytest.approx(found.lower, abs=1e-8)


C, E, B = sp.symbols("c E B", real=True)
HALF, THIRD = sp.Rational(1, 2), sp.Rational(1, 3)
SQUARE = Law("square", E + B * (z - sp.Rational(3, 5)) ** 2, (Parameter(E, "target"), Parameter(B, "target")))


@pytest.mark.parametrize(
    ("law", "own", "pair", "m"),
    [
        (SQUARE, r_i + sp.Rational(2, 5), C * (r_j / (r_i - HALF) + sp.exp(-r_j)), 2),
        (LAWS["power"], r_i + sp.Rational(2, 5), C * r_j / (r_i - HALF), 2),
        (LAWS["power"], sp.Max(r_i, sp.Rational(1, 10)), C / ((r_i - THIRD) * (r_j + 1)), 3),
        (LAWS["power"], r_i, C / (r_i - THIRD) ** 2, 3),
    ],
)
def test_at_a_pole_nothing_is_claimed(capfd, law, own, pair, m):
    """The equal mixture, from which solvers start, is a pole of z; slopes and curvature are not finite there."""
    names = tuple("abc"[:m])
    values = {"E": np.ones(m), "B": np.ones(m), "beta": np.full(m, 0.3), "c": np.full((m, m), 0.1)}
    values = {p.name: values[p.name] for p in law.parameters} | {"c": values["c"]}
    model = MixtureModel(law, Interaction("polar", own, pair, (Parameter(C, "pair"),)), names, names, values)
    problem = AllocationProblem(model, 1.0)
    result, found = solve(problem), enclose(joint_form(problem), time_limit=2.0)
    ratios = np.random.default_rng(0).dirichlet(np.ones(m), 2000)
    with np.errstate(all="ignore"):
        at = model.at(1.0)
        losses = at.losses(at.z(ratios)).mean(axis=1)
    least, bound = np.nanmin(losses, initial=np.inf), result.certificate.lower_bound
    assert found.lower <= least and (bound is None or bound <= least)
    assert "illegal value" not in "".join(capfd.readouterr())


def test_a_function_without_an_interval_form_leaves_an_answer_without_a_bound():
    c = sp.Symbol("c", real=True)
    wave = Interaction("wave", r_i + sp.Rational(1, 10), c * sp.sin(3 * r_j), (Parameter(c, "pair"),))
    model = MixtureModel(
        LAWS["power"],
        wave,
        ("a", "b"),
        ("a", "b"),
        {"c": np.full((2, 2), 0.1), "E": np.ones(2), "B": np.ones(2), "beta": np.full(2, 0.3)},
        token_unit=1e9,
    )
    certificate = certify(AllocationProblem(model, 1e10), time_limit=20).certificate
    assert certificate.lower_bound is None and "no interval form of sin" in certificate.no_bound
