"""pyomo: the same functions written out anew, differentiated by AMPL's rules, and every way in which a solver stops."""

import os
import shutil
import tempfile
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from conftest import random_model, random_ratios

import climbopt
from climbopt import AllocationProblem, Custom, Floor, LossCeiling, StayNear, load_problem
from climbopt.backends import BACKENDS, Options, load
from climbopt.certification.kkt import flat
from climbopt.certification.local import certify, repair
from climbopt.foundations.errors import BackendError, InputError
from climbopt.foundations.solution import Termination
from climbopt.problem.objectives import Minimax, WeightedPowerMean
from climbopt.procedures import joint_form
from climbopt.procedures.direction import equal_benefit_direction
from climbopt.procedures.two_step import magnitude_form
from climbopt.testing import CASES, family_problem

if BACKENDS["pyomo"].missing:
    pytest.skip(BACKENDS["pyomo"].missing, allow_module_level=True)

import pyomo.environ as pyo  # noqa: E402
from pyomo.core.expr.visitor import identify_components  # noqa: E402
from pyomo.opt import SolverResults, SolverStatus, TerminationCondition  # noqa: E402

from climbopt.backends import pyomo_nlp  # noqa: E402
from climbopt.backends.pyomo_model import algebraic_model, variables  # noqa: E402

CASE = {case.name: case for case in CASES}


def answer(form, **options):
    """Return pyomo's solution with its repaired point and certificate."""
    solution = load("pyomo").solve(form, Options(**options))
    x = repair(form, solution.x)
    return solution, x, certify(form, x, claimed=solution.multipliers)


@pytest.mark.parametrize("law", ["power", "power_nd"])
@pytest.mark.parametrize("interaction", ["none", "linear", "saturating", "gated"])
def test_the_model_is_the_templates(law, interaction):
    """f, c and z at random mixtures, real exponents included, to rounding; with history, and rows in z and L."""
    model = random_model(interaction, law=law, sources=4)
    problem = AllocationProblem(
        model,
        8e9,
        params=1e9 if law == "power_nd" else None,
        history={"s0": 2e9, "s2": 1e9},
        constraints=(Custom("z[s0] * z[s1] + L[s2] / 3 >= 0.1"), LossCeiling({"s3": 20.0})),
        objective=WeightedPowerMean(power=2.5),
    )
    form = joint_form(problem)
    written = algebraic_model(form)
    for seed in range(5):
        x = random_ratios(4, seed)
        for variable, value in zip(variables(written), x, strict=True):
            variable.set_value(float(value))
        evaluation = form.functions.at(x)
        assert pyo.value(written.objective) == pytest.approx(evaluation.value, rel=1e-14)
        rows = [pyo.value(written.nonlinear[name]) for name in ("custom", "loss_ceiling[s3]")]
        np.testing.assert_allclose(rows, evaluation.rows[:2], rtol=1e-13)
        assert pyo.value(written.z["s1"]) == pytest.approx(evaluation.z[1], rel=1e-14)
        assert pyo.value(written.loss["s1"]) == pytest.approx(evaluation.losses[1], rel=1e-14)


def test_the_model_is_read_by_names():
    problem = replace(family_problem(4), constraints=(Floor({"nl": 0.3}), StayNear(0.4, "uniform")))
    written = algebraic_model(joint_form(problem))
    assert list(written.r) == ["en", "de", "nl", "sv"] and written.r["nl"].lb == 0.3 and written.r["en"].ub is None
    assert pyo.value(written.linear["simplex"].lower) == pyo.value(written.linear["simplex"].upper) == 1.0
    assert "stay_near" in written.linear and all("stay_near" in name for name in written.auxiliary)
    assert "r[de]" in str(written.z["en"].expr)
    named = identify_components(written.loss["en"].expr, {type(written.z["en"])})
    assert [part.name for part in named] == ["z[en]"]


@pytest.mark.parametrize("name", ["equal_beta", "known_floor", "one_source", "synthetic16", "libreoffice6"])
def test_agrees_with_newton(name):
    """In r, in f, and in the sign and value of every multiplier."""
    form = joint_form(load_problem(name))
    solution, x, certificate = answer(form)
    other = load("newton").solve(form, Options())
    best = repair(form, other.x)
    assert solution.termination is Termination.SOLVED and certificate.passed and solution.bound is None
    np.testing.assert_allclose(x, best, atol=1e-7, rtol=0)
    assert form.functions.at(x).value == pytest.approx(form.functions.at(best).value, abs=1e-9)
    expected = flat(other.multipliers)
    scale = max(1.0, np.abs(expected).max())
    domain = np.array([label.domain for label in form.limits.labels])
    np.testing.assert_allclose(flat(solution.multipliers)[~domain] / scale, expected[~domain] / scale, atol=1e-6)


PROBLEM = family_problem(4)
FORMS = {
    "gated": lambda: joint_form(family_problem(6, interaction="gated")),
    "signed": lambda: joint_form(family_problem(6, negative=0.3)),
    "stay_near": lambda: joint_form(replace(PROBLEM, constraints=(StayNear(0.1, "uniform"),))),
    "loss_ceiling": lambda: joint_form(
        replace(PROBLEM, constraints=(LossCeiling(excess=0.001, reference="uniform", targets=("sv",)),))
    ),
    "custom": lambda: joint_form(
        replace(PROBLEM, constraints=(Custom("z[en] * z[de] >= 0.52"), Custom("L[nl] <= L[sv] + 0.7", name="parity")))
    ),
    "minimax": lambda: joint_form(replace(PROBLEM, objective=Minimax())),
    "power mean": lambda: joint_form(replace(PROBLEM, objective=WeightedPowerMean(power=4.0))),
    "step 2": lambda: magnitude_form(PROBLEM, equal_benefit_direction(PROBLEM, 1.0)),
}

ACTIVE = {
    "stay_near": {"stay_near"},
    "loss_ceiling": {"loss_ceiling"},
    "custom": {"custom", "parity"},
    "minimax": {"largest"},
    "step 2": {"share"},
}


@pytest.mark.parametrize("name", FORMS)
def test_certified_with_its_own_multipliers(name):
    solution, x, certificate = answer(FORMS[name]())
    assert solution.termination is Termination.SOLVED and certificate.passed, certificate.residuals
    assert certificate.disagreement < 1e-6
    assert solution.iterations >= 1
    own = {one.partition("[")[0] for one, held in certificate.multipliers.items() if abs(held.multiplier) > 1e-4}
    assert own >= ACTIVE.get(name, set())


def test_every_condition_has_a_meaning():
    assert set(pyomo_nlp.STATUS) == set(TerminationCondition)


class Stub:
    """A solver of Pyomo's that says what it is told to say, and leaves no point."""

    def __init__(self, condition=None, message=None, error=None):
        self.error, self.results = error, SolverResults()
        self.results.solver.status = SolverStatus.warning
        if condition is not None:
            self.results.solver.termination_condition = condition
        if message is not None:
            self.results.solver.message = message

    def solve(self, model, **options):
        if self.error is not None:
            raise self.error
        return self.results


@pytest.mark.parametrize(
    ("condition", "message", "termination"),
    [
        ("optimal", "Ipopt 3.14.9\\x3a Optimal Solution Found", Termination.SOLVED),
        ("optimal", "Ipopt 3.14.9\\x3a Solved To Acceptable Level.", Termination.ALMOST_SOLVED),
        ("maxIterations", "Ipopt 3.14.9\\x3a Maximum Number of Iterations Exceeded.", Termination.ITERATION_LIMIT),
        ("maxIterations", "Ipopt 3.14.9\\x3a Maximum CPU Time Exceeded.", Termination.TIME_LIMIT),
        ("maxIterations", "Ipopt 3.14.9\\x3a Maximum Wallclock Time Exceeded.", Termination.TIME_LIMIT),
        ("maxIterations", "POUNCE 0.13.0\\x3a MaximumWallTimeExceeded", Termination.TIME_LIMIT),
        ("maxIterations", "POUNCE 0.13.0\\x3a SearchDirectionBecomesTooSmall", Termination.STALLED),
        ("internalSolverError", "Ipopt 3.14.9\\x3a Search Direction becomes Too Small.", Termination.STALLED),
        ("internalSolverError", "POUNCE 0.13.0\\x3a InvalidNumberDetected", Termination.NOT_A_NUMBER),
        ("infeasible", "Ipopt 3.14.9\\x3a Converged to a locally infeasible point.", Termination.INFEASIBLE),
        ("infeasible", None, Termination.INFEASIBLE),
        ("userInterrupt", None, Termination.INTERRUPTED),
    ],
)
def test_what_a_solver_says(condition, message, termination):
    run = pyomo_nlp._run(Stub(TerminationCondition(condition), message), pyo.ConcreteModel(), {}, None, {})
    assert run.termination is termination and run.raw_status and "\\x3a" not in run.raw_status


@pytest.mark.parametrize(
    ("error", "termination"),
    [
        (RuntimeError("no licence"), Termination.FAILED),
        (pyomo_nlp.TimeoutExpired("solver", 1.0), Termination.TIME_LIMIT),
    ],
)
def test_an_exception_is_a_status(error, termination):
    run = pyomo_nlp._run(Stub(error=error), pyo.ConcreteModel(), {}, None, {})
    assert run.termination is termination and not run.answered


class Talking(Stub):
    """A solver that fails after so many lines that the thread which reads them is behind."""

    def solve(self, model, **options):
        print("\n".join(["a line of output"] * 1000))
        print("unknown option no_such_option")
        return super().solve(model, **options)


def test_output_is_read_to_its_end():
    for _ in range(20):
        with pytest.raises(InputError, match="no_such_option"):
            pyomo_nlp._run(Talking(error=RuntimeError()), pyo.ConcreteModel(), {}, None, {"no_such_option": 1.0})


def test_infeasible_and_outside():
    form = joint_form(replace(PROBLEM, constraints=(LossCeiling({"en": 1.2}),)))
    assert load("pyomo").solve(form, Options()).termination is Termination.INFEASIBLE
    form = joint_form(PROBLEM).from_start(np.zeros(4))
    solution = load("pyomo").solve(form, Options())
    assert solution.termination is Termination.LEFT_DOMAIN and solution.x is None


def test_limits_say_how_far_it_came():
    solution = load("pyomo").solve(joint_form(family_problem(12, seed=3)), Options(max_iterations=3))
    assert solution.termination is Termination.ITERATION_LIMIT and solution.iterations == 3
    assert solution.x is not None


def test_solver_by_option():
    """A linear program goes to HiGHS; what HiGHS cannot take is its failure, and it has no iteration limit here."""
    case = CASE["magnitude"]
    solution, x, certificate = answer(case.form(), native={"solver": "appsi_highs"})
    np.testing.assert_allclose(x, case.x, atol=1e-9)
    assert certificate.passed and solution.backend_version.startswith("appsi_highs") and solution.multipliers is None
    form = CASE["floor"].form()
    solution = load("pyomo").solve(form, Options(native={"solver": "appsi_highs"}))
    assert solution.termination is Termination.FAILED and solution.x is None and "degree" in solution.raw_status
    with pytest.raises(InputError, match="max_iterations"):
        load("pyomo").solve(form, Options(max_iterations=5, native={"solver": "appsi_highs"}))


@pytest.mark.parametrize(
    ("native", "error", "match"),
    [
        ({"solver": "no_such_solver"}, InputError, "no solver 'no_such_solver'"),
        ({"solver": "baron"}, BackendError, "'baron' is not available"),
        ({"solver": 3}, InputError, "is 3"),
        ({"tol": "small"}, InputError, "tol='small'"),
        ({"max_iter": 2.5}, InputError, "max_iter=2.5"),
    ],
)
def test_refused_options(native, error, match):
    with pytest.raises(error, match=match):
        load("pyomo").solve(CASE["floor"].form(), Options(native=native))


def test_native_options_arrive():
    native = {"solver": "pounce", "max_iter": 2, "mu_strategy_fallback": "no"}
    solution = load("pyomo").solve(CASE["floor"].form(), Options(native=native))
    assert solution.termination is Termination.ITERATION_LIMIT and solution.iterations == 2


def test_refuses_what_cannot_be_written():
    values_only = replace(joint_form(PROBLEM), functions=type("Values", (), {"n_rows": 0})())
    assert load("pyomo").refusal(values_only).startswith("pyomo builds an algebraic model, and its functions are known")
    form = joint_form(replace(PROBLEM, constraints=(Custom(sp.erf(climbopt.r["en"]) <= 0.9),)))
    assert "cannot be written out" in load("pyomo").refusal(form)
    form = joint_form(replace(PROBLEM, constraints=(Custom(sp.gamma(climbopt.r["en"]) <= 9.0),)))
    assert load("pyomo").refusal(form) is not None


@pytest.mark.parametrize(
    "options", [{}, {"time_limit": 1e-6}, {"native": {"no_such_option": 1}}], ids=["solved", "time limit", "refused"]
)
def test_leaves_nothing_behind(options, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    try:
        load("pyomo").solve(CASE["floor"].form(), Options(**options))
    except InputError as error:
        assert "no_such_option" in str(error)
    assert not os.listdir(tmp_path / "temporary") and not os.listdir(tmp_path / "work")
    out = capfd.readouterr()
    assert out.out == out.err == ""


def test_ipopt_on_the_path_is_preferred(tmp_path, monkeypatch):
    """Any executable of that name, however slowly it starts; here POUNCE's, which takes Ipopt's options."""
    pounce = shutil.which("pounce")
    if pounce is None:
        import pounce._cli as cli

        pounce = cli._bundled_binary()
    script = tmp_path / "ipopt"
    script.write_text(f'#!/bin/sh\n[ "$1" != -v ] || sleep 2.5\nexec "{pounce}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    case = CASE["cap"]
    solution, x, certificate = answer(case.form())
    assert solution.backend_version.startswith("ipopt ") and solution.termination is Termination.SOLVED
    np.testing.assert_allclose(x, case.x, atol=1e-7)
    assert certificate.disagreement < 1e-6


def test_available_with_either_solver(monkeypatch):
    from climbopt.backends import entry

    monkeypatch.setattr(entry, "find_spec", lambda name: None if name == "pyomo_pounce" else name)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "pyomo_pounce is not installed and there is no ipopt on the PATH" in BACKENDS["pyomo"].missing
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    assert BACKENDS["pyomo"].missing is None
    monkeypatch.setattr(entry, "find_spec", lambda name: None)
    assert "pyomo is not installed" in BACKENDS["pyomo"].missing
