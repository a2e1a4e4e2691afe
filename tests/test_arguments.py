"""Public functions refuse arguments of a wrong kind in one sentence."""

import dataclasses
import inspect

import numpy as np
import pandas as pd
import pytest

import climbopt

FUNCTIONS = [name for name in climbopt.__all__ if inspect.isfunction(getattr(climbopt, name))]
RUNS = "problems/libreoffice6/pilots.csv"


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Return arguments, by function, that it takes."""
    fitted = climbopt.fit(RUNS, law="power", interaction="gated", n_starts=1)
    result = climbopt.solve("known_floor")
    path = tmp_path_factory.mktemp("arguments") / "file"

    def quadratic(x):
        return float(x @ x)

    return {
        "assess": (result,),
        "bands": (climbopt.covariance(fitted),),
        "bootstrap": (fitted, 2),
        "certify": ("known_floor",),
        "certify_ratios": ("known_floor", dict(result.ratios)),
        "compare": ("known_floor",),
        "confidence_set": (object(), np.ones(3) / 3),
        "conflict": ("known_floor",),
        "covariance": (fitted,),
        "cross_validate": (RUNS, "power"),
        "decide": (RUNS, "8M"),
        "derive": ("known_floor",),
        "diagnose": (fitted, [fitted.model] * 2),
        "examine": (quadratic, lambda x: 2 * x, lambda x: 2 * np.eye(x.size), [], np.zeros(2)),
        "extend": (fitted.model, ["fr"]),
        "fit": (RUNS,),
        "load_draws": (path,),
        "load_model": (path,),
        "load_pilots": (path,),
        "load_problem": (path,),
        "load_result": (path,),
        "plan": (["en", "de"], [1e6, 2e6], 4),
        "predict": (fitted.model, RUNS),
        "ranges": (result,),
        "robust": ("libreoffice6", [fitted.model] * 2),
        "robust_ranges": (object(),),
        "save_model": (fitted.model, path),
        "save_problem": (result.problem, path),
        "save_result": (result, path),
        "schedule": ("known_floor", [1e9, 2e9]),
        "shipped_problems": (),
        "solve": ("known_floor",),
        "sweep": ("known_floor", [1e9, 2e9]),
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_argument_may_be_just_anything(name, samples):
    function, arguments = getattr(climbopt, name), samples[name]
    for position, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        keywords = {}
        wrong = list(arguments)
        if position < len(arguments):
            wrong[position] = object()
        else:
            keywords = {parameter.name: object()}
        with pytest.raises(climbopt.InputError) as caught:
            function(*wrong, **keywords)
            pytest.fail(f"{name} takes anything for {parameter.name}")
        assert "\n" not in str(caught.value), parameter.name


def test_numbers_are_written_in_python_as_they_are_printed():
    problem = climbopt.load_problem("known_floor")
    ratios = {name: 1 / len(problem.model.sources) for name in problem.model.sources}
    texts = {name: f"{100 * ratio!r}%" for name, ratio in ratios.items()}
    answers = [climbopt.certify_ratios(problem, given).ratios for given in (ratios, texts)]
    assert answers[0] == pytest.approx(answers[1], rel=1e-12)
    first, second = (climbopt.ranges(problem, tolerance) for tolerance in (0.001, "0.1%"))
    assert first == second
    floor = f"floor.{problem.model.sources[0]}"
    swept = [climbopt.sweep(problem, over=(floor, values)) for values in ([0.1, 0.2], ["10%", "20%"])]
    assert swept[0].to_dict()["points"][0]["ratios"] == swept[1].to_dict()["points"][0]["ratios"]
    with pytest.raises(climbopt.InputError, match="name of a number and a list of values"):
        climbopt.sweep(problem, over=floor)


@pytest.mark.parametrize("budget", [1e30, 1e300])
def test_where_data_can_remove_nothing_there_is_no_share_of_it(budget):
    problem = dataclasses.replace(climbopt.load_problem("known_floor"), budget=budget)
    assert climbopt.solve(problem).two_step_gap.share is None


@pytest.mark.parametrize("limit", [0, -3, 10**23, 10**400])
def test_iteration_limits_are_those_that_solvers_can_count(limit):
    with pytest.raises(climbopt.InputError, match="max_iterations is"):
        climbopt.Options(max_iterations=limit)
    assert climbopt.Options(max_iterations=10**9).max_iterations == 10**9


def test_keywords_of_a_function_are_named_without_its_object():
    with pytest.raises(
        climbopt.InputError, match="unknown keyword of TwoStep 'iterates'; did you mean 'iterate'"
    ) as caught:
        climbopt.TwoStep(iterates=True)
    assert "self" not in str(caught.value)


class Table(pd.DataFrame):
    pass


@pytest.mark.parametrize(
    ("call", "plain"),
    [
        (
            lambda fitted: climbopt.plan({"en": 1, "de": 1}, np.array([1e6, 2e6]), np.int64(4)).to_frame().to_dict(),
            lambda fitted: climbopt.plan(["en", "de"], [1e6, 2e6], 4).to_frame().to_dict(),
        ),
        (
            lambda fitted: (
                climbopt.plan(pd.Index(["en", "de"]), (f"{k}M" for k in (1, 2)), 4, floor="10%").to_frame().to_dict()
            ),
            lambda fitted: climbopt.plan(("en", "de"), (1e6, 2e6), 4, floor=0.1).to_frame().to_dict(),
        ),
        (
            lambda fitted: climbopt.load_pilots(Table(pd.read_csv(RUNS))).to_frame().to_dict(),
            lambda fitted: climbopt.load_pilots(RUNS).to_frame().to_dict(),
        ),
        (
            lambda fitted: [run.backend for run in climbopt.compare("known_floor", backends={"newton": 1}).runs],
            lambda fitted: [run.backend for run in climbopt.compare("known_floor", backends="newton").runs],
        ),
        (
            lambda fitted: climbopt.predict(fitted.model, RUNS, supply={"en": "5M"}).to_dict(),
            lambda fitted: climbopt.predict(fitted.model, RUNS, supply={"en": 5e6}).to_dict(),
        ),
        (
            lambda fitted: str(climbopt.derive("known_floor", latex=np.bool_(True))),
            lambda fitted: str(climbopt.derive("known_floor", latex=True)),
        ),
        (
            lambda fitted: climbopt.sweep("known_floor", over=("floor.a", np.array([0.1]))).to_frame().to_dict(),
            lambda fitted: climbopt.sweep("known_floor", over=("floor.a", [0.1])).to_frame().to_dict(),
        ),
    ],
)
def test_what_serves_as_a_number_a_list_or_a_table_is_taken(call, plain, samples):
    fitted = samples["covariance"][0]
    assert repr(call(fitted)) == repr(plain(fitted))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda fitted: climbopt.bootstrap(fitted, 2, seed=-1), "seed of bootstrap.. is -1; give a whole number of 0"),
        (lambda fitted: climbopt.fit(RUNS, n_starts=0), "n_starts of fit.. is 0; give a whole number of 1 or more"),
        (
            lambda fitted: climbopt.fit(RUNS, "power", fixed={"beta": 5}),
            "fixed of fit.. is {'beta': 5}; give",
        ),
        (lambda fitted: climbopt.cross_validate(RUNS, "power", []), "no interactions to compare"),
        (lambda fitted: climbopt.certify("known_floor", rigor=np.array(["ball"])), "rigor of certify.. is a ndarray"),
        (lambda fitted: climbopt.schedule("known_floor", b"12"), "ends of schedule.. is b'12'; give a list"),
        (lambda fitted: climbopt.covariance([fitted]), "that of a fit of one form, not of list; name a law"),
        (lambda fitted: climbopt.Temperature("3"), "temperature of Temperature.. is '3'; give a number"),
        (lambda fitted: climbopt.WeightedPowerMean(power="2"), "power of WeightedPowerMean.. is '2'; give a number"),
        (lambda fitted: climbopt.Group(5, 0.1), "members of Group.. is 5; give a list"),
        (lambda fitted: fitted.plot(["a"]), "kind of plot.. is .'a'.; give a text"),
        (
            lambda fitted: climbopt.sweep("known_floor", over=("floor.a", "10%")),
            "name of a number and a list of values",
        ),
        (
            lambda fitted: climbopt.certify("known_floor", pd.Series({"a": 1.0})),
            "ratios of certify.. is a Series",
        ),
    ],
)
def test_other_values_are_refused(call, words, samples):
    with pytest.raises(climbopt.InputError, match=words):
        call(samples["covariance"][0])
