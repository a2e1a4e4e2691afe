"""Names, paths and tables wherever an object is asked for; a wrong one gets one sentence with the fix."""

import importlib
import pkgutil
import shutil
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import climbopt
from climbopt.files import DrawFile, as_draws
from climbopt.foundations.errors import UnknownNameError

PILOTS = "problems/libreoffice6/pilots.csv"


def test_runs_are_an_object_a_table_or_a_path():
    form = {"law": climbopt.LAWS["power"], "interaction": climbopt.INTERACTIONS["none"], "n_starts": 1}
    expected = climbopt.fit(climbopt.load_pilots(PILOTS), **form)
    for pilots in (PILOTS, pd.read_csv(PILOTS)):
        fitted = climbopt.fit(pilots, "power", "none", n_starts=1)
        assert (fitted.model.parameters["B"] == expected.model.parameters["B"]).all() and fitted.scores == ()
    assert fitted.model.law is climbopt.LAWS["power"]


def test_without_an_interaction_the_law_takes_gated_or_its_first():
    for law, interaction in (("power", "gated"), ("bimix", "gated"), ("additive", "additive_power")):
        runs = climbopt.load_pilots(PILOTS).select(np.arange(63))
        forms = importlib.import_module("climbopt.fitting.select").candidates(law, None, sized=runs.params is not None)
        assert forms[0][1].name == interaction and len(forms) == 1


def test_auto_chooses_the_form_and_keeps_the_scores():
    mixtures = np.random.default_rng(0).dirichlet(np.ones(2), 10)
    losses = 1.5 + 0.3 * mixtures**-0.2
    names = ("a", "b")
    runs = climbopt.PilotRuns(tuple(map(str, range(10))), names, names, mixtures, np.full(10, 1e9), losses)
    fitted = climbopt.fit(runs, "auto", "none", n_starts=1)
    assert {score.interaction for score in fitted.scores} == {"none"} and len(fitted.scores) > 1
    assert fitted.scores[0].mae <= fitted.scores[1].mae
    assert fitted.model.law.name in {score.law for score in fitted.scores}


def test_keywords_are_options():
    result = climbopt.solve("equal_beta", backend="slsqp", tolerance=1e-5, options={"maxiter": 77})
    assert result.certificate.tolerance == 1e-5 and result.passed
    with pytest.raises(climbopt.InputError, match="did you mean 'tolerance'"):
        climbopt.solve("equal_beta", tolerence=1e-5)
    with pytest.raises(climbopt.InputError, match="did you mean 'maxiter'"):
        climbopt.solve("equal_beta", backend="slsqp", options={"maxiters": 77})
    with pytest.raises(climbopt.InputError, match="a float is no Options; give"):
        climbopt.solve("equal_beta", options=1e-5)


def test_budgets_are_written_as_they_are_printed():
    path = climbopt.sweep("equal_beta", ["1B", "1T"])
    assert [point.budget for point in path.points] == [1e9, 1e12]
    assert [stage.end for stage in climbopt.schedule("equal_beta", ["1B", "10B"]).stages] == [1e9, 1e10]
    plan = climbopt.plan(["a", "b"], ["1B", "2B"], 4, law="power", interaction="linear")
    assert set(plan.chosen.runs.tokens.tolist()) <= {1e9, 2e9}


def test_draws_come_from_a_file(tmp_path):
    model = climbopt.load_problem("equal_beta").model
    file = DrawFile(tmp_path / "draws.jsonl", model, {})
    for k in range(2):
        file.append(k, model.parameters)
    (first, second), again = as_draws(tmp_path / "draws.jsonl"), climbopt.robust("equal_beta", tmp_path / "draws.jsonl")
    assert (first.parameters["B"] == model.parameters["B"]).all() and len(again.regrets.draws) == 2
    assert climbopt.robust("equal_beta", [first, second]).ratios == pytest.approx(again.ratios)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda model: climbopt.solve(model), r"a MixtureModel is no problem; write AllocationProblem\(model, budget="),
        (
            lambda model: climbopt.solve(3),
            "an int is no problem; give an AllocationProblem, the path of a problem",
        ),
        (lambda model: climbopt.sweep(model, [1e9]), "a MixtureModel is no problem"),
        (lambda model: climbopt.robust(model, [model]), "a MixtureModel is no problem"),
        (lambda model: climbopt.ranges(model), "a MixtureModel is no problem"),
        (lambda model: climbopt.certify(model), "a MixtureModel is no problem"),
        (
            lambda model: climbopt.certify("equal_beta", [0.5, 0.5]),
            "ratios of certify.. is .0.5, 0.5.; give a mapping",
        ),
        (
            lambda model: climbopt.solve("equal_beta", tolerance="1e-8"),
            "tolerance of solve.. is '1e-8'; give a number",
        ),
        (lambda model: climbopt.conflict(model), "a MixtureModel is no problem"),
        (lambda model: climbopt.fit(model), "a MixtureModel is no table of pilot runs; give PilotRuns, a tidy pandas"),
        (lambda model: climbopt.fit(PILOTS, law=model), "MixtureModel is no law; give a name"),
        (lambda model: climbopt.robust("equal_beta", model), "no sequence of draws; give the models that bootstrap"),
        (lambda model: climbopt.predict(3, PILOTS), "an int is no model; give a MixtureModel"),
        (lambda model: climbopt.derive(3), "an int is no model; give a MixtureModel"),
        (lambda model: climbopt.plan(["a", "b"], ["much"]), "much"),
    ],
)
def test_a_wrong_type_gets_one_sentence_and_the_fix(call, words):
    with pytest.raises(climbopt.InputError, match=words) as error:
        call(climbopt.load_problem("equal_beta").model)
    assert "\n" not in str(error.value)


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'equal_beta'"):
        climbopt.solve("equal_betta")
    with pytest.raises(UnknownNameError, match="did you mean 'gated'"):
        climbopt.fit(PILOTS, interaction="gate")


def test_certify_takes_a_problem_an_answer_or_ratios():
    uniform = {name: 0.25 for name in ("en", "de", "sw", "yo")}
    answer = climbopt.solve("equal_beta")
    assert (
        climbopt.certify("equal_beta").passed
        and climbopt.certify(answer, gap=1e-4).certificate.bound.search.rigor == "float"
    )
    worse = climbopt.certify("equal_beta", uniform, gap=1e-3)
    assert not worse.passed and worse.certificate.lower_bound <= answer.objective < worse.objective
    assert climbopt.certify(answer, uniform, gap=1e-3).objective == worse.objective


def test_conflict_says_what_must_give():
    model = climbopt.load_problem("equal_beta").model
    ceiling = climbopt.LossCeiling({"yo": 1.0})
    found = climbopt.conflict(climbopt.AllocationProblem(model, 1e12, constraints=(ceiling,)))
    assert [member.name for member in found.members] == ["loss_ceiling[yo]"]
    assert climbopt.conflict("equal_beta") is None


def test_predict_and_derive_take_files(tmp_path):
    table = climbopt.predict("problems/libreoffice6/model.toml", PILOTS)
    assert np.abs(table["predicted"] - table["loss"])[table["ratio"] > 0].mean() < 0.02
    shutil.copytree("problems/libreoffice6", tmp_path / "libreoffice6")
    assert climbopt.derive(tmp_path / "libreoffice6" / "model.toml") in climbopt.derive("libreoffice6")
    assert r"\begin{align*}" in climbopt.derive("libreoffice6", latex=True)


def test_no_public_function_hides_a_module():
    for module in pkgutil.walk_packages(climbopt.__path__, "climbopt."):
        if module.name.split(".")[-1] != "__main__" and not module.name.startswith("climbopt.problems"):
            parent, _, name = module.name.rpartition(".")
            found = importlib.import_module(module.name)
            assert isinstance(getattr(importlib.import_module(parent), name), ModuleType), module.name
            assert found.__name__ == module.name
