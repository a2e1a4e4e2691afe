"""The CVXPY backends: what they write is the form, their answers and multipliers, what they refuse, how they stop."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from conftest import random_model, random_ratios

from climbopt import AllocationProblem, Floor, InputError, Options, Termination, load_problem, solve
from climbopt.backends import load
from climbopt.certification.kkt import flat
from climbopt.certification.local import certify, repair
from climbopt.problem.constraints import Custom, LossCeiling, StayNear
from climbopt.problem.objectives import CustomObjective, Minimax, WeightedPowerMean
from climbopt.procedures import joint_form
from climbopt.procedures.direction import equal_benefit_direction
from climbopt.procedures.two_step import magnitude_form
from climbopt.testing import CASES, family_problem

cp = pytest.importorskip("cvxpy", reason="the backends under test need cvxpy")
clarabel = pytest.importorskip("clarabel", reason="the backend under test needs clarabel")

from climbopt.backends import cvxpy_convex, cvxpy_model  # noqa: E402 - they need cvxpy
from climbopt.backends.cvxpy_model import translate  # noqa: E402
from climbopt.model.translation import UntranslatableError  # noqa: E402

RATIOS = 1e-5
MULTIPLIERS = 1e-4
NOISE = 1e-6
"""A multiplier below this, relative to the largest, is 0."""

FAMILY = family_problem(8, seed=3)
NAMES = FAMILY.model.sources
EN, DE, NL = NAMES[:3]


def losses_at_uniform(problem):
    response = problem.model.at(problem.total_budget)
    n = len(problem.model.sources)
    return dict(zip(problem.model.targets, response.losses(response.z(np.full(n, 1 / n))).tolist(), strict=True))


UNIFORM = losses_at_uniform(FAMILY)


def second_step(problem):
    return magnitude_form(problem, equal_benefit_direction(problem, 1.0))


def posed(**changes):
    return lambda: joint_form(replace(FAMILY, **changes))


def custom(text):
    return posed(constraints=(Custom(text),))


CONVEX = {
    **{
        name: lambda name=name: joint_form(load_problem(name))
        for name in ("synthetic16", "one_source", "equal_beta", "known_floor")
    },
    **{
        f"{name}, step 2": lambda name=name: second_step(load_problem(name))
        for name in ("synthetic16", "one_source", "equal_beta", "known_floor")
    },
    "families": posed(),
    "families, step 2": lambda: second_step(FAMILY),
    "linear": lambda: joint_form(family_problem(8, interaction="linear", seed=2)),
    "floor": posed(constraints=(Floor({EN: 0.2}),)),
    "loss ceiling": posed(constraints=(LossCeiling({NL: 0.98 * UNIFORM[NL]}),)),
    "stay near": posed(constraints=(StayNear(0.1, "uniform"),)),
    "minimax": posed(objective=Minimax()),
    **{f"power mean {power}": posed(objective=WeightedPowerMean(power=power)) for power in (1.0, 1.5, 2.0, 3.7)},
    "history": posed(history={EN: 2e10}),
    "z of two": custom(f"z[{EN}] + z[{DE}] >= 0.5"),
    "squares of losses": custom(f"L[{EN}]**2 + L[{DE}]**2 <= {0.97 * (UNIFORM[EN] ** 2 + UNIFORM[DE] ** 2):.6f}"),
    "even powers of ratios": custom(f"(r[{EN}] - r[{DE}])**2 + (r[{NL}] - 0.5)**4 <= 0.02"),
    "linear equation": custom(f"r[{EN}] == 2 * r[{DE}]"),
    "cubes": posed(objective=CustomObjective(" + ".join(f"L[{name}]**3" for name in NAMES))),
    "reciprocals": posed(objective=CustomObjective(" + ".join(f"L[{name}] + 0.1 / z[{name}]" for name in NAMES))),
}
NOT_CONVEX = {
    "gated": (lambda: joint_form(load_problem("libreoffice6")), "the objective is not: z of interaction 'gated'"),
    "gated, step 2": (lambda: second_step(load_problem("libreoffice6")), "'share[en]' is not: z of interaction"),
    "negative transfer": (lambda: joint_form(family_problem(8, negative=0.3)), "as with negative transfer"),
    "equation": (custom(f"z[{EN}] == 0.3"), "'custom' is an equation that is not linear"),
    "difference of losses": (custom(f"L[{EN}] <= L[{DE}] + 0.05"), "'custom' is not"),
    "loss from below": (custom(f"L[{EN}] >= 2.1"), "'custom' is not"),
    "product": (posed(objective=CustomObjective(f"L[{EN}] + L[{DE}] * L[{NL}]")), "the objective is not"),
}


@pytest.fixture(scope="module")
def reference():
    """Return the answer of newton; each is found once."""
    known = {}

    def answer(name, form):
        if name not in known:
            known[name] = load("newton").solve(form, Options())
        return known[name]

    return answer


@pytest.fixture(params=["cvxpy", "cvxpy_dnlp"])
def backend(request):
    if request.param == "cvxpy_dnlp":
        for module in ("cyipopt", "sparsediffpy"):
            pytest.importorskip(module, reason="cvxpy_dnlp needs it")
    return load(request.param)


def check_agreement(form, solution, best):
    assert solution.termination.settled, solution.raw_status
    x = repair(form, solution.x)
    np.testing.assert_allclose(x, repair(form, best.x), atol=RATIOS, rtol=0)
    certificate = certify(form, x, claimed=solution.multipliers)
    assert certificate.passed, certificate.residuals
    if solution.multipliers is not None:
        ours, theirs = flat(solution.multipliers), flat(best.multipliers)
        noise = NOISE * max(1.0, np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=MULTIPLIERS, atol=noise)
        large = np.abs(theirs) > noise
        np.testing.assert_array_equal(np.sign(ours[large]), np.sign(theirs[large]))


@pytest.mark.parametrize("name", CONVEX)
def test_answers_and_multipliers_agree(backend, name, reference):
    form = CONVEX[name]()
    assert backend.refusal(form) is None
    solution = backend.solve(form, Options())
    check_agreement(form, solution, reference(name, form))
    assert (solution.multipliers is None) == (backend.name == "cvxpy_dnlp")


@pytest.mark.parametrize("name", ["gated", "gated, step 2", "negative transfer", "difference of losses", "product"])
def test_what_is_smooth_is_taken_by_dnlp(name, reference):
    for module in ("cyipopt", "sparsediffpy"):
        pytest.importorskip(module, reason="cvxpy_dnlp needs it")
    form = NOT_CONVEX[name][0]()
    check_agreement(form, load("cvxpy_dnlp").solve(form, Options()), reference(name, form))


def test_two_step_as_a_whole():
    problem = load_problem("synthetic16")
    ours, theirs = (solve(problem, procedure="two_step", backend=name) for name in ("cvxpy", "slsqp"))
    assert ours.passed and ours.solution.backend == "cvxpy"
    np.testing.assert_allclose(list(ours.ratios.values()), list(theirs.ratios.values()), atol=RATIOS)


@pytest.mark.parametrize("name", NOT_CONVEX)
def test_what_is_not_convex_is_refused_with_the_reason(name):
    build, reason = NOT_CONVEX[name]
    form, backend = build(), load("cvxpy")
    refusal = backend.refusal(form)
    assert reason in refusal and "convex relaxation" in refusal and "scip" in refusal
    solution = backend.solve(form, Options())
    assert (solution.x, solution.termination, solution.raw_status) == (None, Termination.FAILED, refusal)


@pytest.mark.parametrize(
    "text, reason", [(f"1 / (r[{EN}] - 0.4) <= 3", "only where"), (f"(r[{EN}] - 0.4)**3 <= 0.1", "only where")]
)
def test_a_power_whose_domain_would_be_narrowed_is_refused(backend, text, reason):
    """The first row allows r below 0.4 too, where CVXPY's power does not exist."""
    assert reason in backend.refusal(custom(text)())


def test_functions_in_code_are_refused(backend):
    form = replace(joint_form(FAMILY), functions=object())
    assert "CVXPY cannot read" in backend.refusal(form)


@pytest.mark.parametrize("interaction", ["none", "linear", "saturating", "gated"])
@pytest.mark.parametrize("targets", [None, ("s2", "s0"), ("s1", "other")])
@pytest.mark.parametrize("named", [False, True])
def test_what_is_written_is_the_form(interaction, targets, named):
    """z, the losses, f and c by CVXPY are those of the templates, with history and targets that are no sources."""
    if interaction == "none" and targets and "other" in targets:
        pytest.skip("without transfer a target that is no source has no z")
    model = random_model(interaction, law="power_nd", targets=targets, seed=5)
    problem = AllocationProblem(
        model,
        2e9,
        params=1e9,
        history={"s1": 1e9},
        constraints=(Custom(f"2 * z[{model.targets[0]}] + L[{model.targets[1]}]**2 - r[s3] <= 100"),),
    )
    form = joint_form(problem)
    program = cvxpy_model.written(form, named=named)
    x = random_ratios(form.n, seed=1)
    evaluation = form.functions.at(x)
    assert program.start_at(x)
    np.testing.assert_allclose(program.quantities.z.value, evaluation.z, rtol=1e-13)
    np.testing.assert_allclose(program.quantities.losses.value, evaluation.losses, rtol=1e-13)
    np.testing.assert_allclose(program.problem.objective.value, evaluation.value, rtol=1e-13)
    first = form.n + len(form.polytope.rows)
    for k, value in enumerate(evaluation.rows):
        row = program.quantities.functions(program.table, np.array([first + k]))
        np.testing.assert_allclose(row.value, [value], rtol=1e-13)


def test_pairs_that_give_nothing_are_left_out():
    model = FAMILY.model
    values = dict(model.parameters) | {
        "b": np.where(np.arange(8) < 2, model.parameters["b"], 0.0),
        "k": np.where(np.arange(8) < 2, model.parameters["k"], 0.0),
    }
    form = joint_form(replace(FAMILY, model=replace(model, parameters=values)))
    data, _, _ = cvxpy_model.written(form, named=False).problem.get_problem_data(cp.CLARABEL)
    assert data["dims"].exp == 2 * 7 + 2 * 8  # two donors to seven others; log and exp of each law


def test_z_and_losses_become_cones_once():
    """However many rows read them."""
    rows = (LossCeiling({EN: 2 * UNIFORM[EN], DE: 2 * UNIFORM[DE]}), Custom(f"z[{NL}] >= 0.05"))
    form = joint_form(replace(FAMILY, constraints=rows))
    data, _, _ = cvxpy_model.written(form, named=False).problem.get_problem_data(cp.CLARABEL)
    assert data["dims"].exp == 8 * 7 + 2 * 8


@pytest.mark.parametrize(
    "expression", ["2*exp(-k*a)*b + k", "(3*a)**(-k)", "a**2.5 + sqrt(b)", "log(a*k)/b", "(a-b)**4", "k**a", "a**3/k"]
)
def test_translation_has_the_value_of_the_expression(expression):
    a, b, k = symbols = sp.symbols("a b k", positive=True)
    parsed = sp.sympify(expression, locals=dict(zip("abk", symbols, strict=True)))
    numbers = [np.array([0.3, 0.7]), np.array([1.1, 0.2]), np.array([0.4, 1.7])]
    variables = [cp.Variable(2, value=number) for number in numbers[:2]]
    written = translate(parsed, dict(zip(symbols, [*variables, numbers[2]], strict=True)))
    np.testing.assert_allclose(written.value, sp.lambdify(symbols, parsed)(*numbers), rtol=1e-14)


def test_a_vector_of_exponents_is_no_power():
    a, k = sp.symbols("a k", positive=True)
    x = cp.Variable(2)
    written = translate(a**-k, {a: x, k: np.array([0.31, 0.27])})
    assert written.is_convex() and {atom.__name__ for atom in written.atoms()} >= {"exp", "log"}


def test_a_function_without_a_form_is_named():
    a = sp.Symbol("a")
    with pytest.raises(UntranslatableError, match="sin"):
        translate(sp.sin(a), {a: cp.Variable()})


def test_a_form_is_written_once_and_let_go(backend):
    form = joint_form(FAMILY)
    named = backend.name == "cvxpy_dnlp"
    backend.refusal(form)
    program = cvxpy_model.written(form, named=named)
    assert cvxpy_model.written(form, named=named) is program
    gone = weakref.ref(form)
    del form
    gc.collect()
    assert gone() is None


def test_a_second_solve_is_the_first(backend):
    form = joint_form(load_problem("known_floor"))
    first, second = (backend.solve(form, Options()).x for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_every_status_is_mapped():
    statuses = {name for name in dir(clarabel.SolverStatus) if not name.startswith("_")}
    assert statuses == set(cvxpy_convex.CLARABEL_STATUS)
    known = cp.settings
    assert {*known.SOLUTION_PRESENT, *known.INF_OR_UNB, *known.ERROR} == set(cvxpy_convex.STATUS)


def test_infeasible(backend):
    """A ceiling below what any mixture reaches is found out."""
    form = joint_form(replace(FAMILY, constraints=(LossCeiling({EN: 0.5 * UNIFORM[EN]}),)))
    solution = backend.solve(form, Options())
    assert (solution.termination, solution.x, solution.multipliers) == (Termination.INFEASIBLE, None, None)


@pytest.mark.parametrize("native", [{}, {"solver": "SCS"}])
def test_limits_are_named(native):
    form = joint_form(FAMILY)
    solution = load("cvxpy").solve(form, Options(max_iterations=2, native=native))
    assert solution.termination is Termination.ITERATION_LIMIT and solution.iterations == 2
    solution = load("cvxpy").solve(form, Options(time_limit=1e-6, native=native))
    assert solution.termination is Termination.TIME_LIMIT


def test_dnlp_names_its_iteration_limit():
    for module in ("cyipopt", "sparsediffpy"):
        pytest.importorskip(module, reason="cvxpy_dnlp needs it")
    solution = load("cvxpy_dnlp").solve(joint_form(FAMILY), Options(max_iterations=2))
    assert solution.termination is Termination.ITERATION_LIMIT and solution.iterations is None


def test_dnlp_needs_a_start_inside_the_domain():
    for module in ("cyipopt", "sparsediffpy"):
        pytest.importorskip(module, reason="cvxpy_dnlp needs it")
    form = joint_form(load_problem("known_floor")).from_start([1.0, 0.0, 0.0])
    assert load("cvxpy_dnlp").solve(form, Options()).termination is Termination.LEFT_DOMAIN


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_another_conic_solver(case):
    form, backend = case.form(), load("cvxpy")
    if (refusal := backend.refusal(form)) is not None:
        pytest.skip(refusal)
    solution = backend.solve(form, Options(native={"solver": "SCS"}))
    assert "SCS" in solution.backend_version
    x = repair(form, solution.x)
    np.testing.assert_allclose(x, case.x, atol=1e-6)
    assert certify(form, x, claimed=solution.multipliers).disagreement < MULTIPLIERS


@pytest.mark.parametrize(
    "options, message",
    [
        (Options(native={"solver": "CLARABELL"}), "did you mean 'CLARABEL'"),
        (Options(native={"solver": "OSQP"}), "solver 'OSQP' cannot take this problem"),
        (Options(native={"solver": "OSQP"}, time_limit=5.0), "time_limit is not known to be honoured by solver 'OSQP'"),
        (Options(native={"tol_gap_abss": 1e-9}), "did you mean 'tol_gap_abs'"),
        (Options(native={"max_iter": "many"}), "option max_iter of Clarabel cannot be 'many'"),
        (Options(native={"solver": "SCS", "no_such_option": 1}), "no_such_option"),
    ],
)
def test_solvers_and_options_that_do_not_exist(options, message):
    with pytest.raises(InputError, match=message):
        load("cvxpy").solve(joint_form(FAMILY), options)


def test_native_options_reach_the_solver():
    form = joint_form(FAMILY)
    assert load("cvxpy").solve(form, Options(native={"max_iter": 3})).iterations == 3
    loose = load("cvxpy").solve(form, Options(tolerance=1.0))
    assert loose.iterations < load("cvxpy").solve(form, Options()).iterations
